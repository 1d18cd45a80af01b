"""Sanic without sessions: what the others are compared with."""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers.common import arguments


def make_app() -> Sanic[Any, Any]:
    """Return the app."""
    app = Sanic("bare", configure_logging=False)

    @app.get("/untouched")
    @app.get("/read", name="read")
    @app.get("/write", name="write")
    @app.get("/start", name="start")
    async def untouched(request: Request) -> HTTPResponse:
        return text("1")

    return app


def serve(app: Sanic[Any, Any], port: int) -> None:
    """Serve in one process, as a worker does."""
    app.run("127.0.0.1", port, single_process=True, access_log=False, motd=False)


if __name__ == "__main__":
    serve(make_app(), arguments().port)
