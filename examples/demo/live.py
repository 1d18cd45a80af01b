"""A socket that lives as long as the login, and not a second longer."""

from __future__ import annotations

from sanic import Blueprint, Request, Websocket

from sanic_cookies import watch

bp = Blueprint("live")


@bp.websocket("/live")
async def live(request: Request, ws: Websocket) -> None:
    async with watch(request, ws, every=1):  # what ends in another worker is seen within a second
        async for _ in ws:
            pass
