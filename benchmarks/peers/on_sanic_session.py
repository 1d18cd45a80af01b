"""Sanic with sanic_session 0.8.0, patched so that it runs on Sanic 25 at all.

Two patches, neither of which makes it slower: its middleware is registered by Sanic's own method
(it appends bare functions to a list that Sanic sorts by priority now), and its cookie is set by
`add_cookie` (it assigns to `response.cookies[...]`, which Sanic 25 does not allow).
"""

from __future__ import annotations

from typing import Any

import redis.asyncio
import sanic_session.aioredis
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text
from sanic_session import AIORedisSessionInterface, InMemorySessionInterface

from benchmarks.peers.common import DATA, IDLE, arguments


class Patched:
    """Mixed into an interface."""

    def _set_cookie_props(self: Any, request: Any, response: Any) -> None:
        response.add_cookie(
            self.cookie_name,
            request.ctx.session.sid,
            secure=self.secure,
            httponly=self.httponly,
            max_age=self.expiry,
            samesite=self.samesite,
        )


class Memory(Patched, InMemorySessionInterface):  # type: ignore[misc]
    """In memory, patched."""


class Redis(Patched, AIORedisSessionInterface):  # type: ignore[misc]
    """In Redis, patched."""


def make_interface(store: str, url: str) -> Any:
    """Return an interface with its documented settings."""
    if store == "memory":
        return Memory(expiry=IDLE)
    # aioredis is a part of redis-py by now; the interface only asks whether it is there.
    sanic_session.aioredis.aioredis = redis.asyncio
    return Redis(redis.asyncio.from_url(url), expiry=IDLE, samesite="Lax")


def make_app(interface: Any) -> Sanic[Any, Any]:
    """Return the app."""
    app = Sanic("sanic-session", configure_logging=False)

    @app.on_request
    async def load(request: Request) -> None:
        await interface.open(request)

    @app.on_response
    async def save(request: Request, response: HTTPResponse) -> None:
        await interface.save(request, response)

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        request.ctx.session.update(DATA)
        return text("0")

    @app.get("/untouched")
    async def untouched(request: Request) -> HTTPResponse:
        return text("1")

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        return text(str(request.ctx.session["n"]))

    @app.get("/write")
    async def write(request: Request) -> HTTPResponse:
        request.ctx.session["n"] += 1
        return text(str(request.ctx.session["n"]))

    return app


if __name__ == "__main__":
    given = arguments()
    app = make_app(make_interface(given.store, given.url))
    app.run("127.0.0.1", given.port, single_process=True, access_log=False, motd=False)
