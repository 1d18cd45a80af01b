"""Sequences of events that once went wrong, each over a real socket or a real store."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from sanic import Request, json, text

from auth_lab import AuthLab
from bare import bare_session, begin, request_with, value_of
from harness import Browser, make_app, serve, set_cookies
from lab import Failed, Lab
from sanic_cookies import (
    AuthSession,
    InCookieEncrypted,
    InMemory,
    Redis,
    Session,
    SessionConfigError,
    SessionDict,
    SessionInterrupted,
)
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.token import Credential


async def test_a_later_middleware_cannot_make_our_cookie_cacheable() -> None:
    """Cache headers that a response middleware sets do not outlast a cookie of ours."""
    app = make_app()
    Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["a"] = 1
        return text("")

    @app.on_response
    async def cache(request: Request, response: Any) -> None:
        response.headers["cache-control"] = "public, max-age=300"
        response.headers["vary"] = "Accept-Encoding"

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/")

    assert len(set_cookies(response)) == 1
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["vary"] == "Accept-Encoding, Cookie"


async def test_a_save_inside_is_not_rolled_back_nor_taken_for_the_next(redis_url: str) -> None:
    """What an inner block saved stays, and what comes after it is saved too."""
    interface = Redis(redis_url)
    session = bare_session(interface)
    cookie = await begin(session, n=0)
    sess = request_with(session, cookie)

    async with sess:
        with pytest.raises(ZeroDivisionError):
            async with sess:
                sess["a"] = 1
                await sess.save()
                raise ZeroDivisionError
        sess["b"] = 2

    assert dict(await request_with(session, cookie).peek()) == {"n": 0, "a": 1, "b": 2}
    await interface.close()


class Flaky(InMemory):
    """A store that can be out of order."""

    broken = False

    async def save(self, draft: Any) -> Any:
        """Fail while broken."""
        if self.broken:
            raise OSError
        return await super().save(draft)


async def test_an_added_interface_heals_from_a_missed_rotation() -> None:
    """An interface that missed a rotation has the new secret after the next write."""
    other = Flaky()
    session = bare_session(InMemory())
    session.add_interface(other)
    session.start()
    former = await begin(session, n=0)
    sess = request_with(session, former)
    other.broken = True
    async with sess:
        sess.rotate()
    other.broken = False
    value = value_of(sess)
    assert value is not None
    async with request_with(session, value) as again:
        again["n"] = 1

    new, old = Credential.parse(value), Credential.parse(former)
    assert new is not None
    assert old is not None
    record = await other.fetch("session", new.sid)
    assert record is not None
    assert record.secret_hash == new.secret_hash
    assert record.previous_hash == old.secret_hash
    assert b'"n":1' in record.payload


async def test_any_failure_of_the_unlocked_save_is_the_answer() -> None:
    """A callable of the application that fails while saving gives 500, never a 200 unsaved."""
    app = make_app()
    auth = AuthSession(app, warn_lock=False, user_key=lambda user: user["key"])

    @app.get("/login")
    async def login(request: Request) -> Any:
        await auth.login_user(request, {"key": "ann"})
        return text("")

    @app.get("/spoil")
    async def spoil(request: Request) -> Any:
        request.ctx.auth_session["current_user"]
        request.ctx.auth_session["cart"] = [1]
        request.ctx.auth_session._content.identity.user = {}
        auth._user_key = lambda user: user["no such key"]
        return text("saved")

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/login")
        assert (await browser.get("/spoil")).status_code == 500


async def test_a_failing_block_does_not_undo_an_earlier_destroy() -> None:
    """`destroy()` before a block holds, whatever becomes of the block."""
    app = make_app()
    Session(app, warn_lock=False)

    @app.get("/set")
    async def fill(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["a"] = 1
        return text("")

    @app.get("/end")
    async def end(request: Request) -> Any:
        request.ctx.session.destroy()
        with pytest.raises(ZeroDivisionError):
            async with request.ctx.session as sess:
                sess["b"] = 1
                raise ZeroDivisionError
        return text("")

    @app.get("/look")
    async def look(request: Request) -> Any:
        return json(dict(await request.ctx.session.peek()))

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/set")
        thief = browser.copy()
        assert (await browser.get("/end")).status_code == 200
        assert (await thief.get("/look")).json() == {}
        await thief.__aexit__()


async def test_no_live_cookie_goes_with_an_interrupted_request() -> None:
    """A session that was begun and ended during one request leaves no cookie behind."""
    app = make_app()
    session = Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["a"] = 1
        sid = request.ctx.session.sid
        await session.master_interface.delete("session", sid)  # type: ignore[union-attr]
        async with request.ctx.session as sess:
            sess["b"] = 1
        return text("")

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/")

    assert response.status_code == 409
    assert set_cookies(response) == []


async def test_a_copy_in_a_cookie_does_not_stop_a_revocation() -> None:
    """With a copy in a cookie added, sessions can be looked up and ended outside of requests."""
    app = make_app()
    auth = AuthSession(app, InMemory())
    auth.add_interface(InCookieEncrypted(new_key()))

    @app.get("/login")
    async def login(request: Request) -> Any:
        await auth.login_user(request, "ann")
        return text(request.ctx.auth_session.sid)

    @app.get("/end/<sid>")
    async def end(request: Request, sid: str) -> Any:
        return json([await auth.exists(sid), await auth.revoke(sid), await auth.exists(sid)])

    async with serve(app) as url, Browser(url) as browser:
        sid = (await browser.get("/login")).text
        assert (await browser.get(f"/end/{sid}")).json() == [True, True, False]


async def test_interfaces_are_not_changed_while_serving() -> None:
    """Adding an interface to a running server is refused, and possible again when it stopped."""
    app = make_app()
    session = Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        with pytest.raises(SessionConfigError, match="before the server starts"):
            session.add_interface(InMemory())
        return text("")

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).status_code == 200
    session.add_interface(InMemory())


async def test_logins_in_a_cookie_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """An AuthSession in a cookie without revocations says at start that logout is not real."""
    app = make_app()
    AuthSession(app, InCookieEncrypted(new_key()))

    @app.get("/")
    async def index(request: Request) -> Any:
        return text("")

    with caplog.at_level(logging.WARNING, "sanic_cookies"):
        async with serve(app):
            pass

    assert "give revocations=" in caplog.text


async def test_a_waiter_that_became_a_stranger_gives_its_turn_back(redis_url: str) -> None:
    """A waiter whose secret was replaced meanwhile does not keep the lease that it was handed."""
    one, two = Redis(redis_url), Redis(redis_url)
    holding, waiting = bare_session(one), bare_session(two)
    cookie = await begin(holding, n=0)
    holder, late = request_with(holding, cookie), request_with(waiting, cookie)

    async def write_late() -> None:
        async with late:
            late["n"] = 99

    async with holder:
        task = asyncio.create_task(write_late())
        key = one._key("session", holder.sid or "")
        while b" " not in await one._client.hget(key, "l"):  # noqa: ASYNC110 - the server's line
            await asyncio.sleep(0.005)
        holder.rotate()
    with pytest.raises(SessionInterrupted):
        await task
    await waiting.drain(2)

    async with asyncio.timeout(5), request_with(holding, value_of(holder) or "") as sess:
        assert sess["n"] == 0
    for interface in (one, two):
        await interface.close()


@pytest.mark.parametrize("inner", [True, False])
async def test_a_login_that_is_undone_leaves_a_replaced_token_dead(inner: bool) -> None:
    """A request that came with a replaced token gets no session by a login that was rolled back."""
    async with AuthLab() as lab:
        await lab.login()
        late = await lab.thief()
        await lab.login()

        async def body(request: Request) -> None:
            sess = request.ctx.auth_session
            if inner:
                async with sess:
                    sess.rotate()
                    await failing_login(request)
            else:
                await failing_login(request)
                async with sess:
                    sess["a"] = 1

        async def failing_login(request: Request) -> None:
            with suppress(Failed):
                async with request.ctx.auth_session:
                    await lab.auth.login_user(request, "ann")
                    raise Failed

        response = await lab.visit(body, browser=late)

    assert response.status_code == 409
    assert set_cookies(response) == []


@pytest.mark.parametrize("locked", [True, False])
async def test_what_is_saved_after_a_destroy_stays(locked: bool) -> None:
    """A block that fails after it has saved another session takes the request back to no other."""

    async def body(sess: SessionDict) -> None:
        if not locked:
            sess.destroy()
        with suppress(Failed):
            async with sess:
                if locked:
                    sess.destroy()
                sess["a"] = 2
                await sess.save()
                sess["a"] = 3
                raise Failed
        async with sess:
            sess["b"] = 4

    async with Lab() as lab:
        await lab.put(a=1)
        await lab.do(body)

        assert await lab.stored() == {"a": 2, "b": 4}
        assert len(lab.session.master_interface) == 1
