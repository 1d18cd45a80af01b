"""The floor in Redis: the least that a session takes that is locked across processes; see `floor`.

A read is one GET. A locked write is two scripts: one takes the lease and reads, one writes, if the
lease is still ours, and gives it up. Who finds it taken by another process looks again soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha1
from hmac import compare_digest
from itertools import count
from secrets import token_hex
from typing import Any, Protocol

from sanic import Sanic
from sanic.exceptions import Unauthorized
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers import floor
from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import DATA, IDLE, arguments
from benchmarks.peers.floor_wire import Wire

LEASE_MS, POLL = 10_000, 0.005
HASH = 32  # bytes, before the data
# KEYS: session, lease. ARGV: token, hash of the secret, lease in ms. The hashes are compared by
# Redis, so that nobody without the secret gets a lease; how long that takes tells of a hash only.
ACQUIRE = """
local kept = redis.call('GET', KEYS[1])
if not kept or string.sub(kept, 1, 32) ~= ARGV[2] then return false end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[3]) then return 0 end
return kept
"""
# KEYS: session, lease. ARGV: token, what to keep or '', seconds. A session that has ended stays so.
COMMIT = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
if ARGV[2] == '' then return 1 end
return redis.call('SET', KEYS[1], ARGV[2], 'XX', 'EX', ARGV[3]) and 1 or 0
"""
ACQUIRE_SHA, COMMIT_SHA = (
    sha1(each.encode(), usedforsecurity=False).hexdigest() for each in (ACQUIRE, COMMIT)
)


class Client(Protocol):
    """What sends commands; each is answered, or fails, within `floor.WAIT` seconds."""

    async def connect(self, *scripts: str) -> None:
        """Connect, and have Redis know the scripts."""

    async def close(self) -> None:
        """Leave nothing behind."""

    def call(self, *command: str | bytes | int) -> Awaitable[Any]:
        """Send a command and return its reply."""

    def forget(self, *command: str | bytes | int) -> object:
        """Send a command of which nobody needs the reply."""


def make_app(client: Client) -> Sanic:
    """Return the app."""
    app = floor.make_app()
    tokens = map(f"{token_hex(16)}:{{}}".format, count())
    turns: floor.Turns

    @app.before_server_start
    async def begin(app: Sanic) -> None:
        nonlocal turns
        turns = floor.Turns()
        await client.connect(ACQUIRE, COMMIT)

    @app.after_server_stop
    async def end(app: Sanic) -> None:
        await client.close()

    async def acquired(key: str, lease: str, token: str, secret_hash: bytes) -> bytes:
        for _ in range(int(floor.WAIT / POLL)):
            kept: bytes | int | None = await client.call(
                "EVALSHA", ACQUIRE_SHA, 2, key, lease, token, secret_hash, LEASE_MS
            )
            if kept is None:
                raise Unauthorized("There is no session.")
            if not isinstance(kept, int):
                return kept
            await asyncio.sleep(POLL)
        raise TimeoutError("another process holds the lease")

    def locked(handler: floor.Handler) -> Callable[[Request], Awaitable[HTTPResponse]]:
        """Have a handler change the data while nobody else does; what it raises changes nothing."""

        async def locked_handler(request: Request) -> HTTPResponse:
            sid, secret_hash = floor.presented(request)
            turn = await turns.take(sid)
            key, lease, token = f"floor:{sid}", f"floor:lease:{sid}", next(tokens)
            done = False
            try:
                kept = await acquired(key, lease, token, secret_hash)
                data = floor.decode(kept[HASH:])
                response = await handler(request, data)
                new = secret_hash + floor.encode(data)
                changed = new if new != kept else b""
                done = await client.call("EVALSHA", COMMIT_SHA, 2, key, lease, token, changed, IDLE)
                if not done:
                    raise TimeoutError("the lease, or the session, has ended meanwhile")
                return response
            finally:
                turns.give(sid, turn)
                if not done:
                    # Not awaited, since we may have been cancelled.
                    client.forget("EVALSHA", COMMIT_SHA, 2, key, lease, token, b"", IDLE)

        return locked_handler

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        sid, secret_hash, response = floor.issued()
        await client.call("SET", f"floor:{sid}", secret_hash + floor.encode(DATA), "EX", IDLE)
        return response

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        sid, secret_hash = floor.presented(request)
        kept = await client.call("GET", f"floor:{sid}")
        if kept is None or not compare_digest(kept[:HASH], secret_hash):
            raise Unauthorized("There is no session.")
        return text(str(floor.decode(kept[HASH:])["n"]), headers=floor.LEFT_ALONE)

    floor.add_write(app, locked)
    return app


if __name__ == "__main__":
    given = arguments()
    serve(make_app(Wire(given.url)), given.port)
