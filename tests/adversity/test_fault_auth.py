"""Logins while the store is away: nobody gets in, nobody is told that they are out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sanic import Request, json

from auth_lab import AuthLab, Pause
from fault_lab import check_refusal
from faults import Site, black_hole, refused
from harness import set_cookies
from lab import Lab
from sanic_cookies import AuthSession, InMemory, SessionDict
from sanic_cookies.interfaces.base import SupportsLease
from sanic_cookies.testing import Faulty
from sanic_cookies.token import Credential


@pytest.fixture
async def lab(site: Site) -> AsyncIterator[Lab]:
    """An app whose browser is logged in."""
    master = site.master()
    lab = Lab(master, store_timeout=2.0)
    auth = AuthSession(lab.app, master, store_timeout=2.0)

    @lab.app.get("/login/<user>")
    async def login(request: Any, user: str) -> Any:
        await auth.login_user(request, user)
        return json(user)

    @lab.app.get("/me")
    @auth.login_required()
    async def me(request: Any) -> Any:
        return json(await auth.current_user(request))

    @lab.app.get("/logout")
    async def logout(request: Any) -> Any:
        await auth.logout_user(request)
        return json(None)

    @lab.app.get("/everywhere/<user>")
    async def everywhere(request: Any, user: str) -> Any:
        return json(await auth.logout_everywhere(user))

    async with lab:
        assert (await lab.browser.get("/login/ann")).json() == "ann"
        yield lab


@pytest.mark.parametrize("fault", [refused, black_hole])
async def test_logins_while_the_store_is_away(site: Site, lab: Lab, fault: Any) -> None:
    """Guards answer 503 and not 401, logins and logouts that did not happen are not claimed."""
    cookies, stranger = dict(lab.browser.cookies), await lab.open_browser()
    async with fault(site):
        for path in ("/me", "/logout", "/everywhere/ann", "/login/ann", "/me"):
            check_refusal(await lab.browser.get(path), cookies)
        check_refusal(await stranger.get("/login/bob"), {})
        assert (await stranger.get("/me")).status_code == 401
        assert set_cookies(await stranger.get("/login/bob")) == []
    assert lab.browser.cookies == cookies
    assert stranger.cookies == {}

    async with asyncio.timeout(10):
        while (answer := await lab.browser.get("/me")).status_code != 200:
            assert answer.status_code == 503
            await asyncio.sleep(0.05)
    assert answer.json() == "ann"
    assert (await lab.browser.get("/everywhere/ann")).json() == 1
    assert (await lab.browser.get("/me")).status_code == 401


@pytest.mark.parametrize("has_session", [False, True])
async def test_a_login_without_answer_takes_no_place(shared_master: Any, has_session: bool) -> None:
    """A login that was made, and was told to have failed, does not count against the next one."""
    faulty = Faulty(shared_master)
    async with AuthLab(faulty, max_sessions=1, on_max_sessions="refuse") as lab:
        if has_session:
            await lab.write(n=1)
        faulty.lose_reply("admit")
        check_refusal(await lab.visit(lambda request: lab.auth.login_user(request, "ann")), {})
        assert len(await lab.auth.sessions_of("ann")) == 1
        await lab.auth.runtime.background.drain(30)

        assert await lab.auth.sessions_of("ann") == []
        await lab.login("ann")
        assert await lab.user() == "ann"


@pytest.mark.parametrize("has_session", [False, True])
async def test_a_login_after_the_answer_takes_no_place(
    shared_master: Any, has_session: bool
) -> None:
    """A login that was given up, and is stored when the answer has gone, is nobody's: it ends."""
    pause, faulty, told = Pause(), Faulty(shared_master), []

    async def give_up(request: Request) -> str:
        login = asyncio.create_task(lab.auth.login_user(request, "ann"))
        await pause.reached.wait()
        login.cancel()
        await asyncio.wait([login])
        return "another time"

    async with AuthLab(faulty, max_sessions=1, on_max_sessions="refuse") as lab:

        @lab.app.signal("session.user.login")
        async def tell(**context: Any) -> None:
            told.append(context["user_key"])

        if has_session:
            await lab.write(n=1)
        cookies = dict(lab.browser.cookies)
        faulty._add("admit", 1, 1, before=pause.wait)
        assert await lab.do(give_up) == "another time"
        assert lab.browser.cookies == cookies
        pause.resume.set()
        await lab.auth.runtime.background.drain(30)

        assert await lab.auth.sessions_of("ann") == []
        assert told == []
        await lab.login("ann")
        assert await lab.user() == "ann"


async def rotate(lab: AuthLab) -> httpx.Response:
    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["n"] = 2
            sess.rotate()

    return await lab.visit(body)


async def confirm(lab: AuthLab) -> httpx.Response:
    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["n"] = 2
            await lab.auth.confirm_login(request)

    return await lab.visit(body)


async def is_current(lab: AuthLab) -> bool:
    """Say whether the browser's cookie is the session's own, and not one in its grace."""
    credential = Credential.parse(lab.browser.cookies[lab.cookie])
    assert credential is not None
    record = await lab.auth.master_interface.fetch(lab.auth.name, credential.sid)
    return record is not None and record.secret_hash == credential.secret_hash


@pytest.mark.parametrize("gain", [rotate, confirm])
async def test_a_token_that_nobody_was_given_is_taken_back(shared_master: Any, gain: Any) -> None:
    """Whoever was told that it failed goes on with their cookie, and has gained nothing."""
    faulty = Faulty(shared_master)
    async with AuthLab(faulty) as lab:
        await lab.login("ann")
        await lab.write(n=1)
        cookies = dict(lab.browser.cookies)
        faulty.lose_reply("commit" if isinstance(shared_master, SupportsLease) else "save")
        check_refusal(await gain(lab), cookies)
        assert not await is_current(lab)
        await lab.auth.runtime.background.drain(30)

        assert await is_current(lab)
        assert await lab.data() == {"current_user": "ann", "n": 1}
        assert len(await lab.auth.sessions_of("ann")) == 1
        assert (await lab.write(n=3)).status_code == 200
        assert lab.browser.cookies == cookies


async def test_a_user_who_was_taken_out_is_not_put_back(shared_master: Any) -> None:
    """A session that was made nobody's, as a logout may, is not anybody's again: it ends."""

    async def empty(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess.reset()
            sess["theme"] = "dark"

    faulty = Faulty(shared_master)
    async with AuthLab(faulty) as lab:
        await lab.login("ann")
        cookies = dict(lab.browser.cookies)
        faulty.lose_reply("commit" if isinstance(shared_master, SupportsLease) else "save")
        check_refusal(await lab.visit(empty), cookies)
        await lab.auth.runtime.background.drain(30)

        assert await lab.user() is None
        assert await shared_master.fetch(lab.auth.name, lab.sid()) is None


async def test_a_renewed_token_that_nobody_was_given_is_taken_back(shared_master: Any) -> None:
    """The cookie stays good, and what others have written with it meanwhile stays."""
    faulty = Faulty(shared_master)
    async with AuthLab(faulty, renew_every=0.05) as lab:
        await lab.login("ann")
        await asyncio.sleep(0.06)
        cookies = dict(lab.browser.cookies)
        faulty.lose_reply("commit" if isinstance(shared_master, SupportsLease) else "save")
        check_refusal(await lab.write(n=1), cookies)
        assert (await lab.write(m=2)).status_code == 200
        assert not await is_current(lab)
        await lab.auth.runtime.background.drain(30)

        assert await is_current(lab)
        assert await lab.data() == {"current_user": "ann", "n": 1, "m": 2}


async def test_a_session_after_the_answer_is_not_kept() -> None:
    """So it is with any session that is stored when no response can carry its token any more."""
    pause, master = Pause(), InMemory()
    faulty = Faulty(master)

    async def begin(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 1

    async def give_up(request: Request) -> None:
        block = asyncio.create_task(begin(request.ctx.auth_session))
        await pause.reached.wait()
        block.cancel()
        await asyncio.wait([block])

    async with AuthLab(faulty) as lab:
        faulty._add("create", 1, 1, before=pause.wait)
        await lab.do(give_up)
        assert lab.browser.cookies == {}
        pause.resume.set()
        await lab.auth.runtime.background.drain(30)
        assert len(master) == 0


async def test_a_login_that_was_not_made_ends_nothing(shared_master: Any) -> None:
    """A session that somebody could not be logged into goes on as it was."""
    faulty = Faulty(shared_master)
    async with AuthLab(faulty, max_sessions=1) as lab:
        await lab.write(n=1)
        faulty.fail("admit")
        check_refusal(await lab.visit(lambda request: lab.auth.login_user(request, "ann")), {})
        await lab.auth.runtime.background.drain(30)

        assert await lab.data() == {"n": 1}
