"""Logging out: it ends the session now, for everybody, whoever holds its lock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from sanic import Request
from sanic.exceptions import SanicException

from auth_lab import AuthLab, Clock, Pause
from harness import set_cookies
from lab import until
from proxy import ToxicProxy
from sanic_cookies import InMemory, Redis, SessionDict, SessionInterrupted, SessionStoreError
from sanic_cookies.testing import Faulty


@pytest.fixture
async def lab(master: Any) -> AsyncIterator[AuthLab]:
    """A lab over each kind of interface."""
    async with AuthLab(master) as lab:
        yield lab


@pytest.fixture
async def shared_lab(shared_master: Any) -> AsyncIterator[AuthLab]:
    """A lab over each kind of interface that keeps sessions on the server."""
    async with AuthLab(shared_master) as lab:
        yield lab


async def test_logout_ends_the_session(lab: AuthLab) -> None:
    """A logout removes the cookie, and a copy of it opens nothing any more."""
    await lab.login("ann")
    await lab.write(cart=1)
    thief = await lab.thief()
    response = await lab.logout()
    assert response.status_code == 200
    (line,) = set_cookies(response)
    assert line.startswith(f"{lab.cookie}=; Path=/; Max-Age=0;")
    assert await lab.user() is None
    assert await lab.data(thief) == {}


async def test_logout_is_seen_at_once(lab: AuthLab) -> None:
    """After a logout the same request sees nobody, locked or not."""

    async def body(request: Request) -> None:
        sess = request.ctx.auth_session
        await lab.auth.logout_user(request)
        assert await lab.auth.current_user() is None
        assert dict(await sess.peek()) == {}
        async with sess:
            assert dict(sess) == {}

    await lab.login("ann")
    assert (await lab.visit(body)).status_code == 200, lab.errors


async def test_logout_is_idempotent(lab: AuthLab) -> None:
    """Logging out twice, in one request and in two, is no error."""

    async def twice(request: Request) -> None:
        await lab.auth.logout_user(request)
        await lab.auth.logout_user(request)

    await lab.login("ann")
    assert len(set_cookies(await lab.visit(twice))) == 1
    assert set_cookies(await lab.visit(twice)) == []


@pytest.mark.parametrize("logout_anon", [True, False])
async def test_logout_works_without_a_session(lab: AuthLab, logout_anon: bool) -> None:
    """Without a session a logout does nothing: no error, no cookie."""
    response = await lab.logout(logout_anon=logout_anon)
    assert response.status_code == 200
    assert set_cookies(response) == []


@pytest.mark.parametrize("logout_anon", [True, False])
async def test_anonymous_sessions(lab: AuthLab, logout_anon: bool) -> None:
    """`logout_anon=False` leaves a session alone in which nobody is logged in."""
    await lab.write(cart=1)
    await lab.logout(logout_anon=logout_anon)
    assert await lab.data() == ({} if logout_anon else {"cart": 1})


async def test_logout_anon_false_still_logs_users_out(lab: AuthLab) -> None:
    """`logout_anon=False` makes no difference to somebody who is logged in."""
    await lab.login("ann")
    await lab.logout(logout_anon=False)
    assert await lab.user() is None


# Against the lock of another request.


@pytest.mark.parametrize("preload", [True, False])
async def test_logout_does_not_wait_for_the_lock(shared_master: Any, preload: bool) -> None:
    """A logout is answered while another request is inside, whose write is then refused."""
    pause = Pause()

    async def hold(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["cart"] = "revived"
            await pause.wait()

    async with AuthLab(shared_master, preload=preload, lock_timeout=40) as lab:
        await lab.login("ann")
        tab = await lab.thief()
        sid = lab.sid()
        running = asyncio.create_task(lab.visit(hold, browser=tab))
        await pause.reached.wait()
        began = time.monotonic()
        assert (await lab.logout()).status_code == 200
        assert time.monotonic() - began < 20
        assert not running.done()
        pause.resume.set()
        response = await running
        assert [type(error) for error in lab.errors] == [SessionInterrupted]
        assert response.status_code == 409
        assert set_cookies(response) == []
        assert await lab.user(tab) is None
        assert not await lab.auth.exists(sid)


async def test_unlocked_changes_of_others_are_refused_too(shared_lab: AuthLab) -> None:
    """A plain write whose request began before the logout revives nothing."""
    lab, pause = shared_lab, Pause()

    async def late(request: Request) -> None:
        with pytest.warns(RuntimeWarning, match="without its lock"):
            request.ctx.auth_session["cart"] = "revived"
        await pause.wait()

    await lab.login("ann")
    tab = await lab.thief()
    running = asyncio.create_task(lab.visit(late, browser=tab))
    await pause.reached.wait()
    await lab.logout()
    pause.resume.set()
    response = await running
    assert response.status_code == 409
    assert set_cookies(response) == []
    assert await lab.data(tab) == {}


@pytest.mark.parametrize("gain", ["login_user", "confirm_login"])
@pytest.mark.parametrize("preload", [True, False])
async def test_a_logout_that_a_login_overtook(master: Any, gain: str, preload: bool) -> None:
    """A logout that came with the token from before a login, or a proof, ends that too."""
    pause = Pause()

    async def log_out(request: Request) -> None:
        await pause.wait()
        await lab.auth.logout_user(request)

    async def rise(request: Request) -> None:
        user = ["ann"] if gain == "login_user" else []
        await getattr(lab.auth, gain)(request, *user)

    async with AuthLab(master, preload=preload) as lab:
        await lab.login("ann")
        tab = await lab.thief()
        running = asyncio.create_task(lab.visit(log_out, browser=tab))
        await pause.reached.wait()
        await lab.do(rise)
        assert await lab.user() == "ann"
        pause.resume.set()
        response = await running
        assert response.status_code == 200, lab.errors
        assert all("Max-Age=0" in line for line in set_cookies(response))
        assert await lab.user() is None


@pytest.mark.parametrize("grace", [0, 60])
async def test_a_former_token_logs_out_for_the_grace(master: Any, grace: float) -> None:
    """Only what may have been under way at the login: later, the former token is a stranger's."""
    async with AuthLab(master, rotation_grace=grace) as lab:
        await lab.login("ann")
        former = await lab.thief()
        await lab.login("ann")
        assert set_cookies(await lab.logout(browser=former)) == []
        assert await lab.user() == (None if grace else "ann")


async def test_a_former_token_of_a_request_that_outlives_the_grace() -> None:
    """So it is for a request, or a socket, that came with it while it was still recognised."""
    clock = Clock()

    async def body(request: Request) -> Any:
        shown = await lab.auth.current_user(request)
        clock.now += 16
        async with request.ctx.auth_session as sess:
            assert dict(sess) == {}
        await lab.auth.logout_user(request)
        return shown

    master = InMemory(clock=clock.monotonic)
    async with AuthLab(master, clock=clock.epoch, renew_every=60) as lab:
        await lab.login("ann")
        clock.now += 61
        former = await lab.thief()
        await lab.write(n=1)
        assert await lab.do(body, browser=former) == "ann"
        assert await lab.user() == "ann"


# With logins in one request.


@pytest.mark.parametrize("before", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("block", [False, True], ids=["apart", "one block"])
async def test_login_logout_login(lab: AuthLab, before: bool, block: bool) -> None:
    """Login, logout and login in one request end logged in, with one cookie, which works."""

    async def body(request: Request) -> None:
        for user in ("ann", "bob"):
            await lab.auth.login_user(request, user)
            assert await lab.auth.current_user() == user
            if user == "ann":
                await lab.auth.logout_user(request)
                assert await lab.auth.current_user() is None

    if before:
        await lab.write(cart=1)
    thief = await lab.thief()
    response = await lab.visit(_in_block(body) if block else body)
    assert response.status_code == 200, lab.errors
    assert len(set_cookies(response)) == 1
    assert await lab.data() == {"current_user": "bob"}
    assert await lab.data(thief) == {}


@pytest.mark.parametrize("before", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("block", [False, True], ids=["apart", "one block"])
async def test_logout_after_login(lab: AuthLab, before: bool, block: bool) -> None:
    """A logout after a login in one request ends anonymous, and no live cookie is left."""

    async def body(request: Request) -> None:
        await lab.auth.login_user(request, "ann", reset_session=False)
        await lab.auth.logout_user(request)
        assert await lab.auth.current_user() is None

    if before:
        await lab.write(cart=1)
    response = await lab.visit(_in_block(body) if block else body)
    assert response.status_code == 200, lab.errors
    assert all("Max-Age=0" in line for line in set_cookies(response))
    assert lab.browser.cookies == {}


async def test_a_block_begins_anew_after_a_logout(lab: AuthLab) -> None:
    """What a block writes after a logout goes into a new session, without what was there."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["before"] = 1
            await lab.auth.logout_user(request)
            assert dict(sess) == {}
            sess["after"] = 1

    await lab.login("ann")
    thief = await lab.thief()
    await lab.do(body)
    assert await lab.data() == {"after": 1}
    assert lab.browser.cookies != thief.cookies
    assert await lab.data(thief) == {}


@pytest.mark.parametrize("keeps", [False, True], ids=["leaves", "saves"])
async def test_a_logout_beside_another_tasks_block(lab: AuthLab, keeps: bool) -> None:
    """What another task's open block writes after a logout is refused; it begins no new session."""
    pause = Pause()

    async def block(sess: SessionDict) -> None:
        async with sess:
            await pause.wait()
            sess["late"] = 1
            if keeps:
                await sess.save()

    async def body(request: Request) -> None:
        sess = request.ctx.auth_session
        other = asyncio.create_task(block(sess))
        await pause.reached.wait()
        await lab.auth.logout_user(request)
        pause.resume.set()
        with pytest.raises(SessionInterrupted):
            await other

    await lab.login("ann")
    response = await lab.visit(body)
    assert response.status_code == 200, lab.errors
    assert lab.browser.cookies == {}


async def test_a_block_after_one_that_a_logout_has_cut_off(lab: AuthLab) -> None:
    """The refusal is for the block that was open: the next one, and a login in it, begin anew."""
    pause = Pause()

    async def block(request: Request, user: str | None) -> None:
        async with request.ctx.auth_session as sess:
            await pause.wait()
            if user is not None:
                await lab.auth.login_user(request, user)
            sess["late"] = 1

    async def body(request: Request, user: str | None = None) -> None:
        other = asyncio.create_task(block(request, user))
        await pause.reached.wait()
        await lab.auth.logout_user(request)
        pause.resume.set()
        await asyncio.gather(other, return_exceptions=True)
        async with request.ctx.auth_session as sess:
            sess["bye"] = True

    await lab.login("ann")
    await lab.do(body)
    assert await lab.data() == {"bye": True}
    pause = Pause()
    await lab.do(lambda request: body(request, "bob"))
    assert await lab.data() == {"bye": True, "late": 1, "current_user": "bob"}


WRITES = ["create", "save", "commit", "admit"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("options", [{}, {"logout_anon": False}], ids=["", "logout_anon"])
async def test_a_logout_beside_another_tasks_login(
    shared_master: Any, when: str, before: bool, options: Any
) -> None:
    """A logout ends a login of another task also while that is stored, made or not yet made."""
    pause, faulty, told = Pause(), Faulty(shared_master), []

    async def body(request: Request) -> Any:
        login = asyncio.create_task(lab.auth.login_user(request, "ann", remember_me=True))
        await pause.reached.wait()
        logout = asyncio.create_task(lab.auth.logout_user(request, **options))
        await asyncio.sleep(0)  # it has begun
        pause.resume.set()
        await asyncio.gather(login, logout)
        return [await lab.auth.current_user(request), getattr(request.ctx, "user", None)]

    async with AuthLab(faulty, user_loader=lambda user: user) as lab:

        @lab.app.signal("session.user.<thing>")
        async def tell(thing: str, **context: Any) -> None:
            told.append((thing, context["user_key"]))

        if before:
            await lab.write(cart=1)
        for write in WRITES:
            if hasattr(faulty, write):
                faulty._add(write, 1, 1, **{when: pause.wait})
        response = await lab.visit(body)
        assert response.json() == [None, None], lab.errors
        assert all("Max-Age=0" in line for line in set_cookies(response))
        assert lab.browser.cookies == {}
        assert await lab.auth.sessions_of("ann") == []
        await until(lambda: told == [("login", "ann"), ("logout", "ann")])


async def test_a_logout_is_not_rolled_back(lab: AuthLab) -> None:
    """A logout is done when it returns: no exception in its block, or an inner one, undoes it."""

    async def inner(request: Request) -> None:
        async with request.ctx.auth_session:
            await lab.auth.logout_user(request)
            raise ZeroDivisionError

    async def body(request: Request) -> None:
        async with request.ctx.auth_session:
            with pytest.raises(ZeroDivisionError):
                await inner(request)
            assert await lab.auth.current_user() is None
            raise SanicException("no", status_code=400)

    await lab.login("ann")
    thief = await lab.thief()
    assert (await lab.visit(body)).status_code == 400
    assert lab.browser.cookies == {}
    assert await lab.user(thief) is None


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("preload", [True, False])
async def test_reset_logs_out(master: Any, locked: bool, preload: bool) -> None:
    """`reset()` empties the session with its user, inside a block and outside of one."""

    async def body(request: Request) -> None:
        sess = request.ctx.auth_session
        if locked:
            async with sess:
                sess.reset()
                assert await lab.auth.current_user() is None
        else:
            sess.reset()

    async with AuthLab(master, preload=preload, warn_lock=False) as lab:
        await lab.login("ann")
        await lab.write(cart=1)
        thief = await lab.thief()
        assert (await lab.visit(body)).status_code == 200, lab.errors
        assert lab.browser.cookies == {}
        assert await lab.data(thief) == {}


async def test_a_reset_that_is_followed_by_a_write_replaces_the_token(lab: AuthLab) -> None:
    """What an anonymous visitor goes on with is not what somebody was logged in with."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess.reset()
            sess["cart"] = 2

    await lab.login("ann")
    thief = await lab.thief()
    await lab.do(body)

    assert await lab.user() is None
    assert await lab.data() == {"cart": 2}
    assert await lab.data(thief) == {}


# When the store fails.


@pytest.mark.parametrize("preload", [True, False])
async def test_a_logout_that_failed_is_not_claimed(redis_url: str, preload: bool) -> None:
    """If the store fails, a logout is answered with 503, and the cookie stays and works again."""
    pause = Pause()

    async def body(request: Request) -> None:
        await pause.wait()
        await lab.auth.logout_user(request)

    address = urlsplit(redis_url)
    async with ToxicProxy(str(address.hostname), int(address.port or 6379)) as proxy:
        master = Redis(f"redis://{proxy.host}:{proxy.port}", prefix=f"{time.time_ns()}:")
        async with AuthLab(master, preload=preload) as lab:
            await lab.login("ann")
            running = asyncio.create_task(lab.visit(body))
            await pause.reached.wait()
            proxy.refuse()
            pause.resume.set()
            response = await running
            assert [type(error) for error in lab.errors] == [SessionStoreError]
            assert response.status_code == 503
            assert set_cookies(response) == []
            proxy.pass_through()
            assert await lab.user() == "ann"
            assert (await lab.logout()).status_code == 200
            assert await lab.user() is None


def _in_block(body: Any) -> Any:
    async def inside(request: Request) -> None:
        async with request.ctx.auth_session:
            await body(request)

    return inside


async def test_only_logins_are_revoked(shared_master: Any) -> None:
    """A session in which nobody is logged in is none of a user's places, and stays."""
    async with AuthLab(shared_master) as lab:
        await lab.write(cart=1)
        assert await lab.auth.revoke(lab.sid()) is False
        assert await lab.data() == {"cart": 1}
        await lab.login("ann", reset_session=False)
        assert await lab.auth.revoke(lab.sid()) is True
        assert await lab.data() == {}


async def test_a_logout_and_what_another_task_begins_meanwhile(shared_master: Any) -> None:
    """While a logout waits for its store another task logs in: that login ends with it."""
    pause, writing, faulty = Pause(), Pause(), Faulty(shared_master)

    async def body(request: Request) -> Any:
        logout = asyncio.create_task(lab.auth.logout_user(request))
        await pause.reached.wait()
        await lab.auth.login_user(request, "bob")
        login = asyncio.create_task(lab.auth.login_user(request, "cleo"))
        await writing.reached.wait()
        pause.resume.set()
        await asyncio.wait({logout}, timeout=0.1)  # it has to wait: a shorter time proves less
        writing.resume.set()
        await asyncio.gather(logout, login, return_exceptions=True)
        return await lab.auth.current_user(request)

    async with AuthLab(faulty) as lab:
        await lab.login("ann")
        faulty._add("delete", 1, 1, after=pause.wait)
        write_call = "commit" if lab.auth.runtime.store.is_shared else "save"
        faulty._add(write_call, 1, 1, after=writing.wait)
        response = await lab.visit(body)

        assert response.json() is None, lab.errors
        assert lab.browser.cookies == {}
        for user in ("ann", "bob", "cleo"):
            assert await lab.auth.sessions_of(user) == []


async def test_a_logout_and_a_login_that_has_written_nothing_yet(shared_master: Any) -> None:
    """A login that only begins as a logout ends may come after it, but as a whole or not at all."""
    pause, faulty = Pause(), Faulty(shared_master)

    async def body(request: Request) -> Any:
        logout = asyncio.create_task(lab.auth.logout_user(request))
        await pause.reached.wait()
        await lab.auth.login_user(request, "bob")
        login = asyncio.create_task(lab.auth.login_user(request, "cleo"))
        pause.resume.set()
        await asyncio.gather(logout, login, return_exceptions=True)
        return await lab.auth.current_user(request)

    async with AuthLab(faulty) as lab:
        await lab.login("ann")
        faulty._add("delete", 1, 1, after=pause.wait)
        is_in = (await lab.visit(body)).json() == "cleo"

        assert len(await lab.auth.sessions_of("cleo")) == is_in, lab.errors
        assert ("auth_session" in lab.browser.cookies) == is_in
        assert await lab.user() == ("cleo" if is_in else None)
        for user in ("ann", "bob"):
            assert await lab.auth.sessions_of(user) == []


async def test_a_logout_removes_the_cookie_whatever_becomes_of_other_tasks(
    shared_master: Any,
) -> None:
    """A write of another task that is refused for the logout does not take the removal back."""
    pause, faulty = Pause(), Faulty(shared_master)

    async def write(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["late"] = 1

    async def body(request: Request) -> Any:
        late = asyncio.create_task(write(request))
        await pause.reached.wait()
        logout = asyncio.create_task(lab.auth.logout_user(request))
        await asyncio.wait({logout}, timeout=None if lab.auth.runtime.store.is_shared else 0)
        pause.resume.set()
        await asyncio.gather(late, logout, return_exceptions=True)

    async with AuthLab(faulty) as lab:
        await lab.login("ann")
        write_call = "commit" if lab.auth.runtime.store.is_shared else "save"
        faulty._add(write_call, 1, 1, before=pause.wait)
        await lab.visit(body)

        assert lab.browser.cookies == {}
        assert await lab.auth.sessions_of("ann") == []


async def test_a_login_that_its_block_has_ended_is_told_to_nobody(shared_master: Any) -> None:
    """What was asked of a session that is destroyed goes with it, and does not pass to the next."""
    told: list[str] = []

    async def change_of_mind(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            await lab.auth.login_user(request, "ann")
            sess.destroy()
            sess["theme"] = "dark"

    async with AuthLab(shared_master) as lab:

        @lab.app.signal("session.user.login")
        async def login(**context: Any) -> None:
            told.append("login")

        @lab.app.signal("session.record.created")
        async def created(**context: Any) -> None:
            told.append("created")

        await lab.do(change_of_mind)
        await until(lambda: "created" in told)
        await asyncio.sleep(0)

        assert told == ["created"]
        assert await lab.data() == {"theme": "dark"}
