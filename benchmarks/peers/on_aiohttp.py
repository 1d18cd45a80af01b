"""aiohttp, with aiohttp-session or, without a store, bare."""

from __future__ import annotations

import redis.asyncio
import uvloop
from aiohttp import web
from aiohttp_session import get_session, setup
from aiohttp_session.redis_storage import RedisStorage

from benchmarks.peers.common import DATA, IDLE, arguments


async def untouched(request: web.Request) -> web.Response:
    """Leave the session alone."""
    return web.Response(text="1")


async def start(request: web.Request) -> web.Response:
    """Make a session."""
    (await get_session(request)).update(DATA)
    return web.Response(text="0")


async def read(request: web.Request) -> web.Response:
    """Answer the number."""
    session = await get_session(request)
    return web.Response(text=str(session["n"]))


async def write(request: web.Request) -> web.Response:
    """Add one to the number."""
    session = await get_session(request)
    session["n"] += 1
    return web.Response(text=str(session["n"]))


async def make_app(store: str, url: str) -> web.Application:
    """Return the app."""
    app = web.Application()
    handlers = (start, untouched, read, write)
    app.add_routes(
        [web.get(f"/{each.__name__}", each if store else untouched) for each in handlers]
    )
    if store:
        setup(app, RedisStorage(redis.asyncio.from_url(url), max_age=IDLE))
    return app


if __name__ == "__main__":
    given = arguments()
    web.run_app(
        make_app(given.store, given.url),
        host="127.0.0.1",
        port=given.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
