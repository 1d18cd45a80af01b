"""Litestar on uvicorn, with its server-side sessions or, without a store, bare."""

from __future__ import annotations

from typing import Any

import uvicorn
from litestar import Litestar, MediaType, Request, get
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from benchmarks.peers.common import DATA, IDLE, arguments


@get(["/untouched"], media_type=MediaType.TEXT)
async def untouched() -> str:
    """Leave the session alone."""
    return "1"


@get(["/start", "/read", "/write"], media_type=MediaType.TEXT)
async def bare() -> str:
    """Do the same on every route."""
    return "1"


@get("/start", media_type=MediaType.TEXT)
async def start(request: Request[Any, Any, Any]) -> str:
    """Make a session."""
    request.session.update(DATA)
    return "0"


@get("/read", media_type=MediaType.TEXT)
async def read(request: Request[Any, Any, Any]) -> str:
    """Answer the number."""
    return str(request.session["n"])


@get("/write", media_type=MediaType.TEXT)
async def write(request: Request[Any, Any, Any]) -> str:
    """Add one to the number."""
    request.session["n"] += 1
    return str(request.session["n"])


def make_app(store: str, url: str) -> Litestar:
    """Return the app."""
    if not store:
        return Litestar([untouched, bare], openapi_config=None)
    config = ServerSideSessionConfig(max_age=IDLE)
    kept: Any = RedisStore.with_client(url) if store == "redis" else MemoryStore()
    return Litestar(
        [start, untouched, read, write],
        middleware=[config.middleware],
        stores={"sessions": kept},
        openapi_config=None,
    )


if __name__ == "__main__":
    given = arguments()
    uvicorn.run(
        make_app(given.store, given.url), port=given.port, access_log=False, log_level="warning"
    )
