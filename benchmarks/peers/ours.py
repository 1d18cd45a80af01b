"""Sanic with the sessions of this project."""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers.common import DATA, IDLE
from sanic_cookies import InMemory, Session


def make_interface(store: str, url: str) -> Any:
    """Return an interface for the kind of store."""
    if store == "memory":
        return InMemory()
    raise SystemExit(f"unknown store: {store}")


def make_app(interface: Any, *, preload: bool) -> Sanic[Any, Any]:
    """Return the app; nothing but `preload` and the idle time differs from the defaults."""
    app = Sanic("ours", configure_logging=False)
    Session(app, master_interface=interface, preload=preload, expiry=IDLE)

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        async with request.ctx.session as sess:
            sess.update(DATA)
        return text("0")

    @app.get("/untouched")
    async def untouched(request: Request) -> HTTPResponse:
        return text("1")

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        sess = await request.ctx.session.peek()
        return text(str(sess["n"]))

    @app.get("/write")
    async def write(request: Request) -> HTTPResponse:
        async with request.ctx.session as sess:
            sess["n"] += 1
            return text(str(sess["n"]))

    return app
