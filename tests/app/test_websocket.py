"""Sessions in websocket handlers: used, never begun; each block is a fresh look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sanic import Request, Websocket, json
from websockets.asyncio.client import connect

from harness import Browser, make_app, serve
from sanic_cookies import InMemory, ResponseStarted, Session, SessionDict
from sanic_cookies.interfaces import guard


def make_site(master: Any = None, **options: Any) -> Any:
    """Return an app whose socket does what it is told and says what became of it."""
    app = make_app()
    Session(app, master_interface=master, **options)

    async def write(sess: SessionDict) -> Any:
        async with sess:
            sess["n"] = sess.get("n", 0) + 1
            return sess["n"]

    async def rotate(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 99
            sess.rotate()

    async def plain(sess: SessionDict) -> None:
        sess["n"] = 99

    async def look(sess: SessionDict) -> Any:
        async with sess:
            return dict(sess)

    async def peek(sess: SessionDict) -> Any:
        return dict(await sess.peek())

    orders = {each.__name__: each for each in (write, rotate, plain, look, peek)}

    @app.get("/write")
    async def index(request: Request) -> Any:
        return json(await write(request.ctx.session))

    @app.get("/end")
    async def end(request: Request) -> Any:
        return json(await request.ctx.session.end())

    @app.websocket("/ws")
    async def socket(request: Request, ws: Websocket) -> None:
        async for order in ws:
            try:
                answer = await orders[order](request.ctx.session)
            except ResponseStarted:
                answer = "ResponseStarted"
            await ws.send(str(answer))

    return app


def dial(url: str, browser: Browser) -> Any:
    """Connect with the browser's cookies."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"Cookie": cookies} if cookies else {}
    return connect(f"{url.replace('http', 'ws')}/ws", additional_headers=headers, proxy=None)


async def say(ws: Any, order: str) -> str:
    """Send an order; return the answer."""
    await ws.send(order)
    return str(await ws.recv())


async def test_an_existing_session_can_be_used(shared_master: Any) -> None:
    """A socket's handler reads, locks and writes the session that its handshake came with."""
    async with serve(make_site(shared_master)) as url, Browser(url) as browser:
        await browser.get("/write")
        async with dial(url, browser) as ws:
            assert await say(ws, "peek") == "{'n': 1}"
            assert await say(ws, "write") == "2"
            assert await say(ws, "write") == "3"

        assert (await browser.get("/write")).json() == 4


async def test_each_look_is_fresh(shared_master: Any) -> None:
    """What a request writes meanwhile is seen by the socket's next block and next peek."""
    async with serve(make_site(shared_master)) as url, Browser(url) as browser:
        await browser.get("/write")
        async with dial(url, browser) as ws:
            for n in (2, 3):
                assert (await browser.get("/write")).json() == n
                assert await say(ws, "look") == f"{{'n': {n}}}"
                assert await say(ws, "peek") == f"{{'n': {n}}}"


async def test_a_session_that_has_ended_is_seen(shared_master: Any) -> None:
    """After a logout elsewhere the next block is empty and a write is refused, not revived."""
    app = make_site(shared_master)
    async with serve(app) as url, Browser(url) as browser, browser.copy() as copy:
        await browser.get("/write")
        copy.cookies = dict(browser.cookies)
        async with dial(url, browser) as ws:
            assert await say(ws, "look") == "{'n': 1}"
            assert (await browser.get("/end")).json() is True
            assert await say(ws, "look") == "{}"
            assert await say(ws, "peek") == "{}"

        assert (await copy.get("/write")).json() == 1


@pytest.mark.parametrize("order", ["write", "plain"])
async def test_a_session_cannot_begin(master: Any, order: str) -> None:
    """No handshake carries a cookie: creating a session raises `ResponseStarted`."""
    app = make_site(master, warn_lock=False)
    async with serve(app) as url, Browser(url) as browser, dial(url, browser) as ws:
        assert await say(ws, order) == "ResponseStarted"
        assert await say(ws, "look") == "{}"


@pytest.mark.parametrize("order", ["rotate", "plain"])
async def test_what_needs_a_response_is_refused(shared_master: Any, order: str) -> None:
    """Rotation and plain writes raise `ResponseStarted`; token and data stay as they were."""
    app = make_site(shared_master, warn_lock=False)
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/write")
        async with dial(url, browser) as ws:
            assert await say(ws, order) == "ResponseStarted"

        assert (await browser.get("/write")).json() == 2


async def test_no_lock_outlives_its_block() -> None:
    """An open socket holds nothing between its blocks: requests pass."""
    app = make_site()
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/write")
        async with dial(url, browser) as ws:
            await say(ws, "write")
            assert len(app.ctx.session.runtime.locks) == 0
            assert (await browser.get("/write")).json() == 3


class Slow(InMemory):
    """Memory that takes ten seconds for each look, by the clock by which that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def fetch(self, name: str, sid: str) -> Any:
        self.now += 10
        return await super().fetch(name, sid)


@pytest.mark.parametrize("order", ["peek", "look", "write"])
async def test_a_socket_may_live_for_long(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a request may wait for stores is counted anew for each look, not for a socket's life."""
    slow = Slow()
    monkeypatch.setattr(guard, "time", slow)
    app = make_site(slow, store_timeout=30)
    session = app.ctx.session
    session.settings = replace(session.settings, request_timeout=35)
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/write")
        async with dial(url, browser) as ws:
            for n in range(6):
                assert await say(ws, order) == (str(n + 2) if order == "write" else "{'n': 1}")
