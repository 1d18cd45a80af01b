"""The floor in the cookie: the least that a session takes that is sealed; see `floor`.

There is no lock, since it would hold nobody up: two requests of a browser that are under way at
once each have the cookie of before, and the answer that comes last decides.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from os import urandom
from time import time
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
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


class Seal(Protocol):
    """What makes a cookie's value of bytes, and gives them back for an hour."""

    def seal(self, data: bytes) -> bytes:
        """Return what only the key opens."""

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            ValueError: It is too old, or was not sealed with the key and for this purpose.
        """


class ByAESGCM:
    """AES-GCM, which knows of no time, so that the expiry is sealed too."""

    def __init__(self, key: str) -> None:
        """Take the key, as base64."""
        self._cipher = AESGCM(urlsafe_b64decode(key))

    def seal(self, data: bytes) -> bytes:
        """See `Seal`."""
        nonce, until = urandom(NONCE), int(time()) + IDLE
        sealed = self._cipher.encrypt(nonce, until.to_bytes(EXPIRY) + data, PURPOSE)
        return urlsafe_b64encode(nonce + sealed)

    def open(self, sealed: bytes) -> bytes:
        """See `Seal`."""
        raw = urlsafe_b64decode(sealed)
        try:
            kept = self._cipher.decrypt(raw[:NONCE], raw[NONCE:], PURPOSE)
        except InvalidTag:
            raise ValueError("not sealed here") from None
        if int.from_bytes(kept[:EXPIRY]) <= time():
            raise ValueError("too old")
        return kept[EXPIRY:]


class ByFernet:
    """Fernet, which knows of no purpose, so that it is sealed too."""

    def __init__(self, key: str) -> None:
        """Take the key, as base64."""
        self._fernet = Fernet(key)

    def seal(self, data: bytes) -> bytes:
        """See `Seal`."""
        return self._fernet.encrypt_at_time(PURPOSE + data, int(time()))

    def open(self, sealed: bytes) -> bytes:
        """See `Seal`."""
        try:
            kept = self._fernet.decrypt_at_time(sealed, IDLE - 1, int(time()))
        except InvalidToken:
            raise ValueError("too old, or not sealed here") from None
        if not kept.startswith(PURPOSE):
            raise ValueError("sealed for another purpose")
        return kept[len(PURPOSE) :]


SEALS: dict[str, Callable[[str], Seal]] = {"aes-gcm": ByAESGCM, "fernet": ByFernet}


def make_app(kind: str) -> Sanic:
    """Return the app; its cookies are sealed by one of `SEALS`."""
    app, seal = floor.make_app(), SEALS[kind](KEY)

    def opened(request: Request) -> dict[str, Any]:
        found = SEALED.search(request.head)
        if found is None:
            raise Unauthorized("There is no session.")
        try:
            kept = seal.open(found[1])
        except ValueError:
            raise Unauthorized("There is no session.") from None
        data: dict[str, Any] = floor.decode(kept)
        return data

    def sealed(data: dict[str, Any]) -> HTTPResponse:
        cookie = f"sid={seal.seal(floor.encode(data)).decode()}{AGE}"
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
    given = arguments()
    serve(make_app(given.store), given.port)
