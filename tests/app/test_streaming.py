"""After `request.respond()` the head is on its way: what a session can still do, and what not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sanic import Request

from harness import make_app, serve
from lab import Lab
from sanic_cookies import InMemory, ResponseStarted, Session, SessionDict
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
