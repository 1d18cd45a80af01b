"""Sanic without sessions: what the others are compared with."""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text


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
