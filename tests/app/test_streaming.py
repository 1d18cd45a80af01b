"""After `request.respond()` the head is on its way: what a session can still do, and what not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sanic import Request, Websocket, json, text
from websockets.asyncio.client import connect

from harness import make_app, serve
from lab import Lab
from sanic_cookies import InMemory, ResponseStarted, Session, SessionDict, SessionLockLost
from wire import ask


def streamed(inner: Callable[[SessionDict], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return a handler's body that begins the response, then runs `inner`."""

    async def body(sess: SessionDict) -> Any:
        response = await Request.get_current().respond(content_type="application/json")
        await response.send("null")
        await inner(sess)
        await response.eof()
        return response

    return body


async def write(sess: SessionDict) -> None:
    async with sess:
        sess["n"] = sess.get("n", 0) + 1


async def test_an_existing_session_can_be_used(shared_master: Any) -> None:
    """After the response has begun a session can still be read, locked and written."""

    async def body(sess: SessionDict) -> None:
        assert dict(await sess.peek()) == {"n": 1}
        await write(sess)
        await write(sess)

    async with Lab(shared_master) as lab:
        await lab.put(n=1)
        cookies = dict(lab.browser.cookies)
        await lab.do(streamed(body))

        assert await lab.stored() == {"n": 3}
        assert lab.browser.cookies == cookies


async def test_a_session_cannot_begin(master: Any) -> None:
    """Creating a session then raises `ResponseStarted`, and nothing is stored."""

    async def body(sess: SessionDict) -> None:
        with pytest.raises(ResponseStarted):
            await write(sess)

    async with Lab(master) as lab:
        await lab.do(streamed(body))

        assert lab.browser.cookies == {}
        if isinstance(master, InMemory):
            assert len(master) == 0


async def test_a_session_cannot_be_rotated(shared_master: Any) -> None:
    """Rotating then raises `ResponseStarted`; token and data stay as they were."""

    async def rotate(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            sess.rotate()

    async def body(sess: SessionDict) -> None:
        with pytest.raises(ResponseStarted):
            await rotate(sess)

    async with Lab(shared_master) as lab:
        await lab.put(n=1)
        await lab.do(streamed(body))

        assert await lab.stored() == {"n": 1}


@pytest.mark.parametrize("master", ["in-cookie"], indirect=True)
async def test_a_session_in_a_cookie_cannot_be_written(master: Any) -> None:
    """A session that lives in the cookie itself cannot be written any more."""

    async def body(sess: SessionDict) -> None:
        assert dict(await sess.peek()) == {"n": 1}
        with pytest.raises(ResponseStarted):
            await write(sess)

    async with Lab(master) as lab:
        await lab.put(n=1)
        await lab.do(streamed(body))

        assert await lab.stored() == {"n": 1}


@pytest.mark.parametrize("order", ["destroy", "flush", "reset", "rotate"])
@pytest.mark.parametrize("folder", ["/", "/lazy/"])
async def test_a_plain_order_is_refused(order: str, folder: str) -> None:
    """What a plain call asks for would happen with the response: nobody is told that it will."""

    async def body(sess: SessionDict) -> None:
        with pytest.raises(ResponseStarted):
            getattr(sess, order)()
        assert dict(await sess.peek()) == {"n": 1}
        async with sess:
            sess["n"] += 1

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=1)
        await lab.do(streamed(body), folder=folder)

        assert await lab.stored() == {"n": 2}


async def test_a_session_can_be_ended(shared_master: Any) -> None:
    """In a block it ends after the response has begun, too; its cookie opens nothing."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess.destroy()

    async with Lab(shared_master) as lab:
        await lab.put(n=1)
        await lab.do(streamed(body))

        assert await lab.stored() == {}


async def test_a_plain_write_is_refused() -> None:
    """Nothing comes after the response that could save an unlocked write: `ResponseStarted`."""

    async def body(sess: SessionDict) -> None:
        with pytest.raises(ResponseStarted):
            sess["n"] = 2

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=1)
        await lab.do(streamed(body))

        assert await lab.stored() == {"n": 1}


async def test_before_the_response_begins_everything_works() -> None:
    """A session that is made before `respond()` is sent with its head."""
    app, master = make_app(), InMemory()
    Session(app, master_interface=master)

    @app.get("/")
    async def index(request: Request) -> None:
        await write(request.ctx.session)
        response = await request.respond()
        await response.send("one ")
        await write(request.ctx.session)
        await response.send("two")
        await response.eof()

    async with serve(app) as url:
        reply = await ask(url)
        (line,) = reply.set_cookies
        record = await master.fetch("session", line.partition("=")[2][:22])

        assert record is not None
        assert b'"n":2' in record.payload


async def test_who_has_the_cookie_of_a_block_that_goes_on_loses_nothing(
    shared_master: Any,
) -> None:
    """A session whose cookie went out while its block runs may be written by others meanwhile."""
    app, sent, go = make_app(), asyncio.Event(), asyncio.Event()
    Session(app, master_interface=shared_master)

    @app.get("/")
    async def index(request: Request) -> None:
        with pytest.raises(SessionLockLost):
            async with request.ctx.session as sess:
                sess["n"] = 1
                await sess.save()
                response = await request.respond()
                await response.send("one ")
                sent.set()
                await go.wait()
                sess["n"] = 10
        await response.eof()

    @app.get("/other")
    async def other(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] += 1
            return json(sess["n"])

    async with (
        serve(app) as url,
        httpx.AsyncClient(base_url=url) as client,
        client.stream("GET", "/") as reply,
    ):
        await sent.wait()
        cookies = {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}
        assert (await client.get("/other", headers=cookies)).json() == 2
        go.set()
        assert await reply.aread() == b"one "
        assert (await client.get("/other", headers=cookies)).json() == 3


def make_answered() -> tuple[Any, InMemory]:
    """Return an app whose handlers look at no session, and its store."""
    app, master = make_app(), InMemory()
    Session(app, master_interface=master, warn_lock=False, preload=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        return text("")

    return app, master


async def test_a_middleware_may_be_the_first_to_look() -> None:
    """A response middleware can read; it begins no session that nobody gets the cookie of."""
    app, master = make_answered()
    refused = []

    @app.on_response
    async def count(request: Request, response: Any) -> None:
        assert not await request.ctx.session.peek()
        for attempt in (write(request.ctx.session), plain(request.ctx.session)):
            try:
                await attempt
            except ResponseStarted:
                refused.append(1)

    async with serve(app) as url:
        reply = await ask(url)

    assert refused == [1, 1]
    assert reply.all("vary") == ["Cookie"]
    assert len(master) == 0


async def plain(sess: SessionDict) -> None:
    sess["n"] = 1


async def test_who_looks_first_after_the_response_is_told() -> None:
    """A task that outlives a request which used no session is refused like in one which did."""
    app, master = make_answered()
    requests: list[Request] = []

    @app.get("/kept")
    async def kept(request: Request) -> Any:
        requests.append(request)
        return text("")

    async with serve(app) as url:
        await ask(url, "/kept")
        with pytest.raises(ResponseStarted):
            await plain(requests[0].ctx.session)
        with pytest.raises(ResponseStarted):
            await write(requests[0].ctx.session)
    assert len(master) == 0


async def test_a_socket_is_known_as_one_whoever_looked_before_the_routing() -> None:
    """A tracer that writes to `request.ctx` before the routing changes nothing for a socket."""
    app, master = make_answered()

    @app.signal("http.lifecycle.request")
    async def trace(request: Request) -> None:
        request.ctx.span = 1

    @app.websocket("/ws")
    async def socket(request: Request, ws: Websocket) -> None:
        try:
            await write(request.ctx.session)
        except ResponseStarted:
            await ws.send(f"refused {request.ctx.span}")
        else:
            await ws.send("begun, and nobody has its cookie")

    async with serve(app) as url, connect(url.replace("http", "ws") + "/ws", proxy=None) as ws:
        assert await ws.recv() == "refused 1"
    assert len(master) == 0
