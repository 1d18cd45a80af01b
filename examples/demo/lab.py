"""The race lab: fifty requests at once read a number, work a little, and write it back plus one.

Each is a request of its own: a websocket's handshake, with the cookie, on whichever worker it
lands. They are opened first and then started together, because of fifty `fetch()` calls a browser
would send six at a time.
"""

from __future__ import annotations

import asyncio
import os
import time

from sanic import Blueprint, HTTPResponse, Request, Websocket, json

from sanic_cookies import public

from .pages import render

bp = Blueprint("lab", url_prefix="/lab")
RUNNERS = 50
WORK = 0.02  # seconds between reading and writing, as a query or a template would take


@bp.get("/")
@public
async def page(request: Request) -> HTTPResponse:
    return await render(request, "lab.html", runners=RUNNERS, work=round(WORK * 1000))


@bp.post("/start", ctx_csrf=False)  # all that a forged one could do is to set counters to 0
@public
async def start(request: Request) -> HTTPResponse:
    async with request.ctx.lab as sess:  # begun here: a socket's handshake can set no cookie
        sess.update(locked=0, unlocked=0)
    return json({"runners": RUNNERS})


@bp.get("/counters")
@public
async def counters(request: Request) -> HTTPResponse:
    return json(dict(await request.ctx.lab.peek()), headers={"cache-control": "no-store"})


@bp.websocket("/race/locked")
@public
async def locked(request: Request, ws: Websocket) -> None:
    began = await start_of(ws)
    async with request.ctx.lab as sess:
        waited = time.monotonic() - began
        number = sess.get("locked")
        if number is None:
            return  # nobody has begun a race
        await asyncio.sleep(WORK)
        sess["locked"] = number + 1
    await tell(ws, waited)  # not in the block: others would wait for a slow client


@bp.websocket("/race/unlocked")
@public
async def unlocked(request: Request, ws: Websocket) -> None:
    """Do what a session without a lock does: load first, save last."""
    began = await start_of(ws)
    number = (await request.ctx.lab.peek()).get("unlocked")
    waited = time.monotonic() - began
    if number is None:
        return
    await asyncio.sleep(WORK)
    async with request.ctx.lab as sess:
        sess["unlocked"] = number + 1
    await tell(ws, waited)


async def start_of(ws: Websocket) -> float:
    """Wait for the page to say "go", ten seconds at most; return when that was."""
    await ws.recv(timeout=10)
    return time.monotonic()


async def tell(ws: Websocket, waited: float) -> None:
    """Tell the page how long the request has waited, and which worker served it."""
    await ws.send(f'{{"waited": {1000 * waited:.1f}, "worker": {os.getpid()}}}')
