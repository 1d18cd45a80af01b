"""The floor in the cookie: the least that a session takes that is sealed with AES-GCM; see `floor`.

There is no lock, since it would hold nobody up: two requests of a browser that are under way at
once each have the cookie of before, and the answer that comes last decides.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from os import urandom
from time import time
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sanic import Sanic
from sanic.exceptions import Unauthorized
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers import floor
from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import DATA, IDLE, KEY, arguments

SEALED = re.compile(
    rb"\r\n(?i:cookie):(?:[^\r\n]*;)?[ \t]*sid=([\w-]{40,4000}={0,2})(?=[; \t\r]|\Z)"
)
PURPOSE = b"floor: session"  # what was sealed with this key for something else is no session
NONCE, EXPIRY = 12, 8  # bytes; random nonces are good for 2^32 cookies of a key (NIST SP 800-38D)
AGE = f"; Path=/; Max-Age={IDLE}; HttpOnly; SameSite=Lax"


def make_app() -> Sanic:
    """Return the app."""
    app, cipher = floor.make_app(), AESGCM(urlsafe_b64decode(KEY))

    def opened(request: Request) -> dict[str, Any]:
        found = SEALED.search(request.head)
        if found is None:
            raise Unauthorized("There is no session.")
        try:
            raw = urlsafe_b64decode(found[1])
            kept = cipher.decrypt(raw[:NONCE], raw[NONCE:], PURPOSE)
        except (ValueError, InvalidTag):
            raise Unauthorized("There is no session.") from None
        if int.from_bytes(kept[:EXPIRY]) <= time():
            raise Unauthorized("There is no session.")
        data: dict[str, Any] = floor.decode(kept[EXPIRY:])
        return data

    def sealed(data: dict[str, Any]) -> HTTPResponse:
        nonce, until = urandom(NONCE), int(time()) + IDLE
        raw = nonce + cipher.encrypt(nonce, until.to_bytes(EXPIRY) + floor.encode(data), PURPOSE)
        cookie = f"sid={urlsafe_b64encode(raw).decode()}{AGE}"
        if len(cookie) > 4096:
            raise ValueError("the session is too large for a cookie")
        return text(str(data["n"]), headers={**floor.SET, "set-cookie": cookie})

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        return sealed(DATA)

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        return text(str(opened(request)["n"]), headers=floor.LEFT_ALONE)

    @app.get("/write")
    async def write(request: Request) -> HTTPResponse:
        data = opened(request)
        data["n"] += 1
        return sealed(data)

    return app


if __name__ == "__main__":
    serve(make_app(), arguments().port)
