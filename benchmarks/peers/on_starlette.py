"""Starlette on uvicorn, with starsessions or, without a store, bare."""

from __future__ import annotations

from typing import Any

import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import InMemoryStore, SessionMiddleware, load_session
from starsessions.stores.redis import RedisStore

from benchmarks.peers.common import DATA, IDLE, arguments


async def untouched(request: Request) -> PlainTextResponse:
    """Leave the session alone."""
    return PlainTextResponse("1")


async def start(request: Request) -> PlainTextResponse:
    """Make a session."""
    await load_session(request)
    request.session.update(DATA)
    return PlainTextResponse("0")


async def read(request: Request) -> PlainTextResponse:
    """Answer the number."""
    await load_session(request)
    return PlainTextResponse(str(request.session["n"]))


async def write(request: Request) -> PlainTextResponse:
    """Add one to the number."""
    await load_session(request)
    request.session["n"] += 1
    return PlainTextResponse(str(request.session["n"]))


def make_app(store: str, url: str) -> Starlette:
    """Return the app."""
    if not store:
        bare = [Route(f"/{path}", untouched) for path in ("start", "untouched", "read", "write")]
        return Starlette(routes=bare)
    kept: Any = InMemoryStore()
    if store == "redis":
        kept = RedisStore(connection=redis.asyncio.from_url(url))
    options: dict[str, Any] = {"store": kept, "lifetime": IDLE, "cookie_https_only": False}
    return Starlette(
        routes=[Route(f"/{each.__name__}", each) for each in (start, untouched, read, write)],
        middleware=[Middleware(SessionMiddleware, **options)],
    )


if __name__ == "__main__":
    given = arguments()
    uvicorn.run(
        make_app(given.store, given.url), port=given.port, access_log=False, log_level="warning"
    )
