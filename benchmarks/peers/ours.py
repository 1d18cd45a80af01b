"""Sanic with the sessions of this project."""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import DATA, IDLE, KEY, arguments
from sanic_cookies import AsyncPG, InCookieEncrypted, InMemory, Redis, Session

TABLE = "ours"


def make_interface(store: str, url: str) -> Any:
    """Return an interface for a kind of store, as its documentation shows it."""
    match store:
        case "memory":
            return InMemory()
        case "redis":
            return Redis(url, prefix="ours:")
        case "postgres":
            return AsyncPG(url, table=TABLE)
        case "fernet" | "aes-gcm":
            return InCookieEncrypted(KEY, cipher=store)
    raise ValueError(f"unknown store: {store}")


def make_app(interface: Any, *, preload: bool) -> Sanic[Any, Any]:
    """Return the app; the options that it names differ from the defaults."""
    app = Sanic("ours", configure_logging=False)
    # One session for 32 connections is asked for on purpose here; the default refuses the 17th.
    options: dict[str, Any] = {"preload": preload, "expiry": IDLE, "max_waiters": 64}
    Session(app, master_interface=interface, **options)

    @app.before_server_start
    async def create_table(app: Sanic[Any, Any]) -> None:
        if isinstance(interface, AsyncPG):
            await interface.create_table()

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


if __name__ == "__main__":
    given = arguments()
    serve(make_app(make_interface(given.store, given.url), preload=given.preload), given.port)
