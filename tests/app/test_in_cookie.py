"""Sessions in cookies over real sockets: several on one app, the size of a head, older cookies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from contextlib import nullcontext as noop
from functools import partial
from itertools import count
from typing import Any

import pytest
from sanic import Request, json

from harness import Browser, make_app, serve, set_cookies
from lab import Lab
from samples import Clock
from sanic_cookies import (
    InCookieEncrypted,
    InMemory,
    Session,
    SessionDict,
    SessionNotLoaded,
    SessionUnavailable,
)
from stores import KEY
from wire import ask


async def put(url: str, browser: Browser, session: str, size: int) -> int:
    """Have a session store so many characters; give the status."""
    return (await browser.get(f"/{session}/{size}")).status_code


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Three sessions of one app, all of them in cookies, with Sanic's own limits."""
    app, store = make_app(), InCookieEncrypted(KEY)
    for name in ("one", "two", "three"):
        Session(app, store, session_name=name)

    @app.get("/<name:str>/<size:int>")
    async def put(request: Request, name: str, size: int) -> Any:
        async with getattr(request.ctx, name) as sess:
            sess["text"] = "x" * size
        return json(None)

    @app.get("/<name:str>")
    async def length(request: Request, name: str) -> Any:
        return json(len((await getattr(request.ctx, name).peek()).get("text", "")))

    async with serve(app) as url:
        yield url


async def test_sessions_together_leave_the_server_reachable(url: str) -> None:
    """However they are filled, the next request is read; what would not fit is refused."""
    async with Browser(url) as browser:
        statuses = [
            await put(url, browser, name, size)
            for name, size in [("one", 2700), ("two", 2700), ("two", 1000), ("three", 2000)]
        ]
        lengths = [(await browser.get(f"/{each}")).json() for each in ("one", "two", "three")]

    assert statuses == [200, 500, 200, 500]
    assert lengths == [2700, 1000, 0]


async def test_a_session_may_shrink_where_it_may_not_grow(url: str) -> None:
    """What came with the request may come again; one byte less is always taken."""
    async with Browser(url) as browser:
        assert await put(url, browser, "one", 2600) == 200
        browser.cookies["foreign"] = "f" * 2500
        assert await put(url, browser, "one", 2700) == 500
        assert await put(url, browser, "one", 2500) == 200
        assert (await browser.get("/one")).json() == 2500


async def test_the_last_size_that_is_taken_is_read_again(url: str) -> None:
    """At the very limit, found byte by byte: what was taken is read, and one more is refused."""
    for length in range(5000, 5003):  # longer than what is reserved for the rest of a head
        filler = b"X-Filler: " + b"f" * length
        fits, refused, slack = 100, 4000, 0
        while refused - fits > 1:
            size = (fits + refused) // 2
            reply = await ask(url, f"/one/{size}", filler)
            if reply.status != 200:
                assert reply.status == 500
                refused = size
                continue
            fits, cookie = size, reply.set_cookies[0].partition(";")[0].encode()
            again = await ask(url, "/one/1234", filler, b"Cookie: " + cookie)
            assert again.status == 200
            slack = await spare(url, "/one/1234", filler, b"Cookie: " + cookie)

        assert 1500 < fits < 2500
        assert slack < 16  # a prefix, a separator, and what base64 rounds up


async def spare(url: str, path: str, *headers: bytes) -> int:
    """Return by how much the request may be longer until Sanic refuses to read it."""
    for extra in count():
        reply = await ask(url, path + "?" + "q" * extra, *headers)
        if reply.status == 413:
            return extra
    raise AssertionError


class CookieLab(Lab):
    """A lab whose session lives in the cookie, with an interface for revocations."""

    def __init__(self, revocations: Any = None, **options: Any) -> None:
        remembered = InMemory() if revocations is None else revocations
        super().__init__(InCookieEncrypted(KEY, revocations=remembered), **options)


async def put_in_block(sess: SessionDict, value: int) -> dict[str, Any]:
    async with sess:
        before = dict(sess)
        sess["value"] = value
        return before


async def test_an_older_cookie_opens_no_block_and_changes_nothing() -> None:
    """It may be looked at while answers are under way; who wants to change anything is told."""
    entered = []

    async def in_block(sess: SessionDict) -> None:
        async with sess:
            entered.append(dict(sess))

    async with CookieLab() as lab:
        await lab.put(value=1)
        thief = lab.browser.copy()
        await lab.put(value=2)
        async with thief:
            assert await lab.stored(thief) == {"value": 1}
            for body in (in_block, put_unlocked):
                with pytest.warns(RuntimeWarning) if body is put_unlocked else noop():
                    response = await lab.visit(body, browser=thief)
                assert response.status_code == 503
                assert response.headers["retry-after"] == "1"
                assert set_cookies(response) == []
            assert entered == []
        assert await lab.stored() == {"value": 2}


async def test_a_refused_block_settles_nothing() -> None:
    """Who catches the refusal of an older cookie knows no more of the session than before."""

    async def refused(sess: SessionDict) -> dict[str, Any]:
        with pytest.raises(SessionUnavailable):
            async with sess:
                pass
        with pytest.raises(SessionNotLoaded):
            sess["value"]
        return dict(await sess.peek())

    async with CookieLab(warn_lock=False) as lab:
        await lab.put(value=1)
        late = lab.browser.copy()
        await lab.put(value=2)
        async with late:
            assert await lab.do(refused, browser=late, folder="/lazy/") == {"value": 1}


async def put_unlocked(sess: SessionDict) -> None:
    sess["value"] = 3


async def test_an_older_cookie_ends_with_the_grace() -> None:
    """Without a grace there is nothing to see at all, and it is a security event."""
    async with CookieLab(rotation_grace=0) as lab:
        await lab.put(value=1)
        thief = lab.browser.copy()
        await lab.put(value=2)
        async with thief:
            assert await lab.stored(thief) == {}
            assert await lab.do(lambda sess: put_in_block(sess, 3), browser=thief) == {}
        assert await lab.stored() == {"value": 2}


async def test_a_session_begun_over_an_older_cookie_is_written_again() -> None:
    """What a request begins in the place of what its cookie held is a session like any other."""

    async def write_twice(sess: SessionDict) -> None:
        async with sess:
            sess["value"] = 3
            await sess.save()
            sess["value"] = 4

    async with CookieLab(rotation_grace=0) as lab:
        await lab.put(value=1)
        late = lab.browser.copy()
        await lab.put(value=2)
        async with late:
            assert (await lab.visit(write_twice, browser=late)).status_code == 200
            assert await lab.stored(late) == {"value": 4}
        assert await lab.stored() == {"value": 2}


async def test_of_writers_at_once_one_is_served() -> None:
    """Six requests with one cookie: one writes, and no other is told that it has."""
    async with CookieLab() as lab:
        await lab.put(value=0)
        copies = [lab.browser.copy() for _ in range(6)]
        async with AsyncExitStack() as stack:
            for copy in copies:
                await stack.enter_async_context(copy)
            responses = await asyncio.gather(
                *(
                    lab.visit(partial(put_in_block, value=number), browser=copy)
                    for number, copy in enumerate(copies, 1)
                )
            )
            served = [n for n, response in enumerate(responses, 1) if response.status_code == 200]

            assert len(served) == 1
            assert {response.status_code for response in responses} == {200, 503}
            assert await lab.stored(copies[served[0] - 1]) == {"value": served[0]}


async def test_a_touch_does_not_bring_an_older_cookie_back() -> None:
    """A request that only looks is answered without a cookie, however long ago the last use was."""
    clock = Clock(time.time())
    store = InCookieEncrypted(KEY, revocations=InMemory(), clock=clock)
    async with Lab(store, expiry=100) as lab:
        await lab.put(value=1)
        thief = lab.browser.copy()
        await lab.put(value=2)
        clock.forward(50)
        async with thief:
            response = await lab.visit(look, browser=thief)
        assert response.json() == {"value": 1}
        assert set_cookies(response) == []
        assert len(set_cookies(await lab.visit(look))) == 1


async def look(sess: SessionDict) -> dict[str, Any]:
    return dict(await sess.peek())


async def test_versions_are_remembered_in_any_store(shared_master: Any) -> None:
    """Memory, Redis or Postgres behind it: old cookies are refused, and the end is the end."""
    async with CookieLab(shared_master, rotation_grace=0) as lab:
        await lab.put(value=0)
        copies = []
        for number in range(1, 4):
            copies.append(lab.browser.copy())
            await lab.put(value=number)
        assert await lab.stored() == {"value": 3}
        latest = lab.browser.copy()
        await lab.visit(rotate)
        copies.append(latest)
        ended = lab.browser.copy()
        assert await lab.do(end) is True
        copies.append(ended)
        for copy in copies:
            async with copy:
                assert await lab.stored(copy) == {}
                response = await lab.visit(partial(put_in_block, value=9), browser=copy)
                assert response.json() == {}  # a session of its own, with nothing of the former


async def rotate(sess: SessionDict) -> None:
    async with sess:
        sess.rotate()


async def end(sess: SessionDict) -> bool:
    return await sess.end()
