"""Where you are signed in: the list, and the end of one, of the others, or of all."""

from __future__ import annotations

import time

from sanic import Blueprint, HTTPResponse, Request, redirect
from sanic.exceptions import NotFound

from sanic_cookies import flash

from .account import count
from .pages import TEMPLATES, render

bp = Blueprint("devices", url_prefix="/devices")
BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome",
            "Safari/": "Safari", "curl/": "curl"}  # fmt: skip
SYSTEMS = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows",
           "Mac OS X": "macOS", "CrOS": "ChromeOS", "Linux": "Linux"}  # fmt: skip
UNITS = {"day": 86400, "hour": 3600, "minute": 60}


@bp.get("/")
async def places(request: Request) -> HTTPResponse:
    auth = request.app.ctx.auth_session
    found = await auth.sessions_of(request.ctx.user.id, request)
    found.sort(key=lambda place: not place.current)
    return await render(request, "devices.html", places=found)


@bp.post("/<sid:str>/end")
async def end(request: Request, sid: str) -> HTTPResponse:
    # With the user: nobody ends what is somebody else's.
    if not await request.app.ctx.auth_session.revoke(sid, request.ctx.user.id):
        raise NotFound("That session has ended already.")
    await flash(request, "That browser is signed out.", "success")
    return redirect("/devices", status=303)


@bp.post("/others/end")
async def end_others(request: Request) -> HTTPResponse:
    ended = await request.app.ctx.auth_session.logout_others(request)
    await flash(request, f"Ended: {count(ended)}.", "success")
    return redirect("/devices", status=303)


@bp.post("/all/end")
async def end_all(request: Request) -> HTTPResponse:
    auth = request.app.ctx.auth_session
    await auth.logout_everywhere(request.ctx.user.id)
    await auth.logout_user(request)  # the cookie goes, too
    return redirect("/", status=303)


def browser(agent: str) -> str:
    """Return what a browser says it is, for people; good enough for a list, never for trust."""
    name = next((name for sign, name in BROWSERS.items() if sign in agent), "Some program")
    system = next((f" on {name}" for sign, name in SYSTEMS.items() if sign in agent), "")
    return name + system


def ago(moment: float) -> str:
    """Return how long ago a moment was, for people."""
    seconds = time.time() - moment
    for unit, length in UNITS.items():
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' * (number > 1)} ago"
    return "just now"


TEMPLATES.filters |= {"browser": browser, "ago": ago}
