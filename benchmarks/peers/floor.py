"""The least that a locked session takes: what the floors have in common.

Written as an expert would for one app, in pure Python, with no library and nothing to configure.
What is there may not be left out: a token that nobody guesses and of which no store keeps the
secret half, a check of it, an expiry, one handler at a time for each session with a wait that ends,
data that no two requests share, and a write of all or nothing. What makes a library is missing:
another store or name, rotation, logout, idle time kept by reads, limits, users, clean-up of memory,
websockets, metrics, settings.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

from hiredis import ReplyError
from msgspec import json
from sanic import Sanic
from sanic.exceptions import Unauthorized
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers.common import IDLE

WAIT = 5.0  # seconds that a request stands in line, and that a store may take to answer
LEFT_ALONE = {"vary": "Cookie"}
SET = {"vary": "Cookie", "cache-control": "no-store"}
# A public id, which names record and lock, and a secret. Found in the raw head, since Sanic's own
# parser makes a list of each cookie of the request first.
TOKEN = re.compile(
    rb"\r\n(?i:cookie):(?:[^\r\n]*;)?[ \t]*sid=([\w-]{22})\.([\w-]{43})[ \t]*(?=[;\r]|\Z)"
)
encode = json.Encoder().encode
decode = json.Decoder().decode
Handler = Callable[[Request, dict[str, Any]], Awaitable[HTTPResponse]]


def make_app() -> Sanic:
    """Return an app with the route that has nothing to do with sessions."""
    app = Sanic("floor", configure_logging=False)

    @app.get("/untouched")
    async def untouched(request: Request) -> HTTPResponse:
        return text("1")

    @app.exception(OSError, ReplyError)
    async def unavailable(request: Request, error: Exception) -> HTTPResponse:
        """Tell of a store that fails, or a wait that was too long: both have an end."""
        return text("Try again later.", 503)

    return app


def add_write(
    app: Sanic, locked: Callable[[Handler], Callable[[Request], Awaitable[HTTPResponse]]]
) -> None:
    """Add the route that changes the data, in a handler that has been locked."""
    app.ctx.locked = locked  # for more routes than the benchmark has

    @app.get("/write", name="write")
    @locked
    async def write(request: Request, data: dict[str, Any]) -> HTTPResponse:
        data["n"] += 1
        return text(str(data["n"]), headers=LEFT_ALONE)


def presented(request: Request) -> tuple[str, bytes]:
    """Return the id and the hash of the secret that a request comes with.

    Raises:
        Unauthorized: Nothing in it has the shape of a token.
    """
    found = TOKEN.search(request.head)
    if found is None:
        raise Unauthorized("There is no session.")
    sid, secret = found.groups()
    return sid.decode(), sha256(secret).digest()


def issued() -> tuple[str, bytes, HTTPResponse]:
    """Return the id of a new session, the hash of its secret, and the answer that sets both."""
    sid, secret = token_urlsafe(16), token_urlsafe(32)
    response = text("0", headers=SET)
    response.add_cookie(
        "sid", f"{sid}.{secret}", secure=False, httponly=True, samesite="Lax", max_age=IDLE
    )
    return sid, sha256(secret.encode()).digest(), response


class Turns:
    """One at a time for each session of this process, in the order in which they came.

    Each waits for the one before it, and only the last of a line is kept: the least there is for an
    `asyncio.Lock` for each session, of which nothing may stay when nobody wants it any more.
    """

    def __init__(self) -> None:
        """Begin with nobody; to be made in the loop."""
        self._loop = asyncio.get_running_loop()
        self._last: dict[str, asyncio.Future[None]] = {}

    async def take(self, sid: str) -> asyncio.Future[None]:
        """Return a turn, to be given back by `give`.

        Raises:
            TimeoutError: Those before took too long.
        """
        before = self._last.get(sid)
        turn = self._last[sid] = asyncio.Future(loop=self._loop)
        if before is not None:
            try:
                async with asyncio.timeout(WAIT):
                    await asyncio.shield(before)
            except BaseException:
                # Who stands behind us waits for the one before us instead.
                before.add_done_callback(lambda _: self.give(sid, turn))
                raise
        return turn

    def give(self, sid: str, turn: asyncio.Future[None]) -> None:
        """Let the next one in."""
        turn.set_result(None)
        if self._last[sid] is turn:
            del self._last[sid]
