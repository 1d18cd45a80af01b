"""`user_loader` and `session_stamp`: who stands behind a session, and whether that still holds."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sanic import Request, text
from sanic.response import HTTPResponse
from websockets.asyncio.client import connect

from auth_lab import AuthLab, Pause
from harness import make_app, set_cookies
from lab import Failed
from sanic_cookies import (
    AuthSession,
    InCookieEncrypted,
    InMemory,
    LoginRequired,
    Redis,
    ResponseStarted,
    Session,
    SessionConfigError,
    SessionLimitReached,
    login_required,
)
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.testing import Faulty

SECURITY = "sanic_cookies.security"


@dataclass
class User:
    """A user as an app's database has it."""

    name: str
    password: str = "first"


@dataclass
class Users:
    """The database."""

    rows: dict[Any, User] = field(default_factory=lambda: {1: User("ann"), 2: User("bob")})
    asked: list[Any] = field(default_factory=list)

    async def load(self, key: Any) -> User | None:
        self.asked.append(key)
        await asyncio.sleep(0)
        return self.rows.get(key)

    def load_now(self, key: Any) -> User | None:
        self.asked.append(key)
        return self.rows.get(key)


def stamp(user: User) -> str:
    return user.password


async def stamp_async(user: User) -> bytes:
    await asyncio.sleep(0)
    return user.password.encode()


@pytest.fixture
def users() -> Users:
    return Users()


async def name_in_ctx(request: Request) -> str | None:
    user = request.ctx.user
    return None if user is None else user.name


async def public_id(request: Request) -> str | None:
    sid: str | None = request.ctx.auth_session.sid
    return sid


# The loader.


@pytest.mark.parametrize("kind", ["load", "load_now"])
async def test_the_loader_gives_the_user(master: Any, users: Users, kind: str) -> None:
    """`current_user` and `request.ctx.user` are what the loader returned; the session is not."""
    async with AuthLab(master, user_loader=getattr(users, kind)) as lab:
        assert await lab.do(name_in_ctx) is None
        assert users.asked == []
        await lab.login(1)

        async def body(request: Request) -> list[Any]:
            user = await lab.auth.current_user(request)
            assert user is request.ctx.user is await lab.auth.current_user()
            async with request.ctx.auth_session as sess:
                return [user.name, sess["current_user"], (await lab.auth.current_user()).name]

        assert await lab.do(body) == ["ann", 1, "ann"]
        await lab.logout()
        assert await lab.do(name_in_ctx) is None


async def test_it_is_asked_once_a_request(master: Any, users: Users) -> None:
    """However many ask, in blocks, guards or tasks at once, the loader is called once."""
    lab = AuthLab(master, user_loader=users.load)

    @lab.app.get("/x", ctx_session_preload=False)
    @login_required(check=lambda user: user.name == "ann")
    async def page(request: Request) -> HTTPResponse:
        found = await asyncio.gather(*(lab.auth.current_user(request) for _ in range(5)))
        async with request.ctx.auth_session:
            found.append(await lab.auth.current_user())
        return text(str(len({id(user) for user in found})))

    async with lab:
        await lab.login(1)
        users.asked.clear()
        assert (await lab.browser.get("/x")).text == "1"
        assert users.asked == [1]


async def test_tasks_that_ask_at_once_load_once(users: Users) -> None:
    """Tasks of one request that ask before anything is known share one call."""
    lab = AuthLab(None, user_loader=users.load)

    async def body(request: Request) -> int:
        found = await asyncio.gather(*(lab.auth.current_user(request) for _ in range(5)))
        return len({id(user) for user in found})

    async with lab:
        await lab.login(1)
        users.asked.clear()
        assert (await lab.visit(body, folder="/lazy/")).json() == 1
        assert users.asked == [1]


async def test_a_login_and_a_logout_show_at_once(master: Any, users: Users) -> None:
    """Within one request `request.ctx.user` follows login, another login, and logout."""
    async with AuthLab(master, user_loader=users.load) as lab:

        async def body(request: Request) -> list[str | None]:
            seen = [await name_in_ctx(request)]
            for user in (1, 2):
                await lab.auth.login_user(request, user)
                seen.append(await name_in_ctx(request))
                assert (await lab.auth.current_user()) is request.ctx.user
            await lab.auth.logout_user(request)
            assert await lab.auth.current_user() is None
            return [*seen, await name_in_ctx(request)]

        assert await lab.do(body) == [None, "ann", "bob", None]


async def test_a_user_that_is_gone_is_logged_out(
    master: Any, users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    """A loader that returns None ends the session, everywhere and for good, with a line of log."""
    async with AuthLab(master, user_loader=users.load) as lab:
        await lab.login(1)
        thief, sid = await lab.thief(), await lab.do(public_id)
        ann = users.rows.pop(1)
        with caplog.at_level(logging.WARNING, SECURITY):
            response = await lab.visit(name_in_ctx)
        assert (response.status_code, response.json()) == (200, None)
        assert "Max-Age=0" in response.headers["set-cookie"]
        assert f"auth_session: session ended: the user is gone sid={sid}" in caplog.text
        users.rows[1] = ann
        assert await lab.do(name_in_ctx) is None
        assert await lab.do(name_in_ctx, browser=thief) is None


async def test_a_user_that_is_gone_gets_past_no_guard(users: Users) -> None:
    """Where nothing is read before the handler, the guard finds out."""
    lab = AuthLab(None, user_loader=users.load, preload=False)

    @lab.app.get("/x")
    @login_required()
    async def page(request: Request) -> HTTPResponse:
        return text(request.ctx.user.name)

    async with lab:
        await lab.login(1)
        assert (await lab.browser.get("/x")).text == "ann"
        del users.rows[1]
        assert (await lab.browser.get("/x")).status_code == 401
        assert lab.browser.cookies == {}


async def test_a_user_who_does_not_count_gets_past_no_guard() -> None:
    """A loader that says `found and found.active` returns False, which is nobody's user."""
    active = {"ann": True}
    lab = AuthLab(None, user_loader=lambda user: active[user] and user)

    @lab.app.get("/x")
    @login_required()
    async def page(request: Request) -> HTTPResponse:
        return text("in")

    async with lab:
        await lab.login("ann")
        assert (await lab.browser.get("/x")).text == "in"
        active["ann"] = False
        assert (await lab.browser.get("/x")).status_code == 401
        assert lab.browser.cookies == {}


async def test_who_is_unknown_cannot_log_in(master: Any, users: Users) -> None:
    """A login of a user that the loader does not know is a mistake, and stores nothing."""
    async with AuthLab(master, user_loader=users.load) as lab:
        with pytest.raises(ValueError, match="no such user"):
            await lab.do(lambda request: lab.auth.login_user(request, 3))
        assert lab.browser.cookies == {}


async def test_routes_that_read_nothing_load_nobody(users: Users) -> None:
    """Where sessions are not read before the handler, the user is not loaded before it either."""
    async with AuthLab(None, user_loader=users.load) as lab:
        await lab.login(1)
        users.asked.clear()

        async def body(request: Request) -> bool:
            return hasattr(request.ctx, "user")

        assert (await lab.visit(body, folder="/lazy/")).json() is False
        assert users.asked == []
        assert (await lab.visit(body)).json() is True


async def test_pages_vary_with_the_user(users: Users) -> None:
    """A page may show `request.ctx.user`, so it varies by cookie, for strangers too."""
    async with AuthLab(None, user_loader=users.load) as lab:
        assert (await lab.visit(name_in_ctx)).headers["vary"] == "Cookie"


async def test_a_loader_that_fails_lets_nobody_in(users: Users) -> None:
    """Its error is the request's error, and the session goes on."""
    async with AuthLab(None, user_loader=users.load) as lab:
        await lab.login(1)
        ann = users.rows[1]
        users.rows = None  # type: ignore[assignment]
        assert (await lab.visit(name_in_ctx)).status_code == 500
        users.rows = {1: ann}
        assert await lab.do(name_in_ctx) == "ann"


async def test_a_loader_that_fails_concerns_those_who_ask(users: Users) -> None:
    """Routes that need no user go on, a logout too; who looks for one gets the loader's error."""

    async def nothing(request: Request) -> bool:
        return hasattr(request.ctx, "user")

    async def peek(request: Request) -> Any:
        return (await request.ctx.auth_session.peek())["current_user"]

    async def read(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            return sess["current_user"]

    async def look(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            return "current_user" in sess

    async def go_through(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            return list(sess)

    async def cart(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            return sess["cart"]

    async with AuthLab(None, user_loader=users.load) as lab:
        await lab.login(1)
        await lab.write(cart=1)
        ann = users.rows[1]
        users.rows = None  # type: ignore[assignment]
        for ask in (lab.auth.current_user, peek, read, look, go_through):
            with pytest.raises(AttributeError, match="get"):
                await lab.do(ask)
        assert await lab.do(nothing) is False
        assert await lab.do(cart) == 1

        async def ask_again(request: Request) -> Any:
            users.rows = {1: ann}
            return [(await lab.auth.current_user(request)).name, await peek(request)]

        assert await lab.do(ask_again) == ["ann", 1]
        users.rows = None  # type: ignore[assignment]
        assert (await lab.logout()).status_code == 200
        assert lab.browser.cookies == {}


async def test_a_loader_that_asks_for_the_user() -> None:
    """A loader that asks for what it is to load is a clear error, and never hangs."""

    armed: list[bool] = []

    async def load(key: Any) -> Any:
        return await lab.auth.current_user() if armed else key

    lab = AuthLab(None, user_loader=load)
    async with lab:
        await lab.login(1)
        armed.append(True)
        with pytest.raises(SessionConfigError, match="could not be used"):
            await lab.do(lab.auth.current_user, folder="/lazy/")


async def test_a_wait_for_the_loader_ends() -> None:
    """A task that waits for another one's loader gives up after `lock_timeout`."""
    pause = Pause()

    async def load(key: Any) -> str:
        if armed:
            await pause.wait()
        return "ann"

    armed: list[bool] = []
    lab = AuthLab(None, user_loader=load, lock_timeout=0.05)

    async def body(request: Request) -> list[str]:
        first = asyncio.create_task(lab.auth.current_user(request))
        await pause.reached.wait()
        second = await asyncio.gather(lab.auth.current_user(request), return_exceptions=True)
        pause.resume.set()
        return [type(second[0]).__name__, await first]

    async with lab:
        await lab.login(1)
        armed.append(True)
        response = await lab.visit(body, folder="/lazy/")
        assert response.json() == ["SessionLockTimeout", "ann"]


async def test_a_store_that_is_down_shows_nobody(users: Users) -> None:
    """Routes that need no user go on; who asks gets the 503, and `request.ctx` has no user."""
    async with AuthLab(None) as known:
        await known.login(1)
    lab = AuthLab(Redis("redis://127.0.0.1:1"), user_loader=users.load)
    async with lab:
        lab.browser.cookies = dict(known.browser.cookies)

        async def body(request: Request) -> bool:
            return hasattr(request.ctx, "user")

        assert (await lab.visit(body)).json() is False
        assert (await lab.visit(lab.auth.current_user)).status_code == 503


async def test_another_name_in_ctx(users: Users) -> None:
    """`user_name` is where the user stands."""
    async with AuthLab(None, user_loader=users.load, user_name="member") as lab:
        await lab.login(1)

        async def body(request: Request) -> list[Any]:
            return [request.ctx.member.name, hasattr(request.ctx, "user")]

        assert await lab.do(body) == ["ann", False]


async def test_without_a_loader_nothing_changes(master: Any) -> None:
    """The user is the stored value, and `request.ctx` gets no attribute."""
    async with AuthLab(master) as lab:
        await lab.login({"id": 1})

        async def body(request: Request) -> list[Any]:
            return [await lab.auth.current_user(), hasattr(request.ctx, "user")]

        assert await lab.do(body) == [{"id": 1}, False]


@pytest.mark.parametrize("other", ["session", "auth"])
@pytest.mark.parametrize("first", [True, False])
def test_a_name_in_ctx_is_given_once(users: Users, other: str, first: bool) -> None:
    """A name that another session or loader has is refused, whichever comes first."""
    app, store = make_app(), InMemory()

    def loading() -> None:
        AuthSession(app, store, user_loader=users.load, session_name="members")

    def taking() -> None:
        if other == "auth":
            AuthSession(app, store, user_loader=users.load, session_name="admins")
        else:
            AuthSession(app, store, session_name="user")

    steps = [taking, loading] if first else [loading, taking]
    steps[0]()
    with pytest.raises(SessionConfigError, match="taken"):
        steps[1]()


def test_a_name_in_ctx_may_stand_in_the_config(users: Users) -> None:
    """The user's name that counts is the configured one: free or taken, as for a keyword."""
    app, store = make_app(ADMINS_USER_NAME="admin", OTHERS_USER_NAME="session"), InMemory()
    Session(app, store)
    AuthSession(app, store, user_loader=users.load)
    AuthSession(app, store, user_loader=users.load, session_name="admins")
    with pytest.raises(SessionConfigError, match=r"request\.ctx\.session is taken"):
        AuthSession(app, store, user_loader=users.load, session_name="others")


async def test_a_plain_session_of_that_name_is_found_out(users: Users) -> None:
    """A plain session that is made later and has the user's name is never overwritten."""
    lab = AuthLab(None, user_loader=users.load, user_name="basket")
    Session(lab.app, session_name="basket")
    async with lab:
        assert (await lab.visit(lab.auth.current_user)).status_code == 500


@pytest.mark.parametrize(
    "options",
    [
        {"user_loader": "load"},
        {"session_stamp": 7},
        {"user_name": "member"},
        {"user_loader": stamp, "user_name": "a b"},
        {"user_loader": stamp, "user_name": 7},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    """They are refused at construction."""
    with pytest.raises(SessionConfigError):
        AuthSession(**options)


async def test_a_socket_asks_anew(users: Users) -> None:
    """A websocket may last for hours: each look asks the loader again, and finds who is gone."""
    lab = AuthLab(None, user_loader=users.load)

    @lab.app.websocket("/ws")
    @login_required()
    async def socket(request: Request, ws: Any) -> None:
        while await ws.recv():
            user = await lab.auth.current_user(request)
            await ws.send("nobody" if user is None else user.name)

    async with lab:
        await lab.login(1)
        cookie = f"{lab.cookie}={lab.browser.cookies[lab.cookie]}"
        url = lab.url.replace("http", "ws") + "/ws"
        async with connect(url, additional_headers={"cookie": cookie}) as ws:
            for name in ("ann", "eve", None):
                users.rows.pop(1)
                if name is not None:
                    users.rows[1] = User(name)
                await ws.send("who am I?")
                assert await asyncio.wait_for(ws.recv(), 5) == (name or "nobody")


# Stamps.


def stamped(users: Users, master: Any = None, **options: Any) -> AuthLab:
    return AuthLab(master, **{"user_loader": users.load, "session_stamp": stamp, **options})


@pytest.mark.parametrize("make", [stamp, stamp_async])
async def test_a_changed_stamp_ends_every_session(
    master: Any, users: Users, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """After a new password all sessions of the user end at their next request, no others."""
    async with stamped(users, master, session_stamp=make) as lab:
        phone, other = await lab.open_browser(), await lab.open_browser()
        await lab.login(1)
        await lab.login(1, browser=phone)
        await lab.login(2, browser=other)
        users.rows[1].password = "second"
        with caplog.at_level(logging.WARNING, SECURITY):
            for browser in (lab.browser, phone):
                assert await lab.do(name_in_ctx, browser=browser) is None
                assert browser.cookies == {}
        assert caplog.text.count("session ended: the stamp has changed") == 2
        assert "second" not in caplog.text
        assert await lab.do(name_in_ctx, browser=other) == "bob"
        users.rows[1].password = "first"
        assert await lab.do(name_in_ctx, browser=phone) is None


async def test_a_changed_stamp_ends_a_login_that_was_under_way(
    shared_master: Any, users: Users
) -> None:
    """A login that is stored after `logout_everywhere()` ends by the stamp that it began with."""
    pause, faulty = Pause(), Faulty(shared_master)
    async with stamped(users, faulty) as lab:
        faulty._add("create", 1, 1, before=pause.wait)
        login = asyncio.create_task(lab.login(1))
        await pause.reached.wait()
        users.rows[1].password = "second"
        assert await lab.auth.logout_everywhere(1) == 0
        pause.resume.set()
        await login
        assert lab.browser.cookies
        assert await lab.do(name_in_ctx) is None


@pytest.mark.parametrize("folder", ["/", "/lazy/"])
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_session_with_a_former_stamp_ends_no_others(
    shared_master: Any, users: Users, folder: str, is_known: bool
) -> None:
    """After a new password a thief's session logs nobody out, nor if the loader fails just then."""
    async with stamped(users, shared_master) as lab:
        thief = await lab.open_browser()
        await lab.login(1, browser=thief)
        users.rows[1].password = "second"
        await lab.login(1)

        if is_known:
            assert await lab.do(lab.auth.logout_others, browser=thief, folder=folder) == 0
        else:
            rows, users.rows = users.rows, None  # type: ignore[assignment]
            with pytest.raises(AttributeError, match="get"):
                await lab.do(lab.auth.logout_others, browser=thief, folder=folder)
            users.rows = rows
        assert await lab.do(name_in_ctx) == "ann"


async def change(lab: AuthLab, users: Users) -> Any:
    """Change the password of user 1 in a request, and keep its session."""

    async def body(request: Request) -> str:
        users.rows[1].password = "second"
        await lab.auth.refresh_stamp(request)
        return str(request.ctx.user.name)

    return await lab.visit(body)


async def test_refreshing_keeps_this_session(master: Any, users: Users) -> None:
    """The one that changed the password goes on, with a new token and its data; others end."""
    async with stamped(users, master) as lab:
        phone = await lab.open_browser()
        await lab.login(1)
        await lab.write(cart=[1])
        await lab.login(1, browser=phone)
        thief = await lab.thief()
        response = await change(lab, users)
        assert (response.status_code, response.json()) == (200, "ann")
        assert len(set_cookies(response)) == 1
        assert await lab.data() == {"cart": [1], "current_user": 1}
        assert await lab.do(name_in_ctx) == "ann"
        assert await lab.do(name_in_ctx, browser=phone) is None
        assert await lab.do(name_in_ctx, browser=thief) is None


async def test_refreshing_inside_a_block(users: Users) -> None:
    """Also within a block; an exception there undoes it, so the session ends like the others."""
    async with stamped(users) as lab:
        await lab.login(1)

        async def body(request: Request, fail: bool) -> None:
            async with request.ctx.auth_session as sess:
                users.rows[1].password += "x"
                await lab.auth.refresh_stamp(request)
                sess["n"] = 1 / (not fail)

        assert (await lab.visit(lambda request: body(request, False))).status_code == 200
        assert await lab.do(name_in_ctx) == "ann"
        assert (await lab.visit(lambda request: body(request, True))).status_code == 500
        assert await lab.do(name_in_ctx) is None


async def places(lab: AuthLab, user: Any) -> set[str]:
    """Return the public ids of the sessions that are listed for a user."""
    return {info.sid for info in await lab.auth.sessions_of(user)}


async def test_what_the_next_use_will_end_is_not_listed(shared_master: Any, users: Users) -> None:
    """Who looks where they are signed in sees no session that a new password has ended."""
    async with stamped(users, shared_master) as lab:
        phone = await lab.open_browser()
        await lab.login(1, browser=phone)
        await lab.login(1)
        users.asked.clear()
        assert len(await places(lab, 1)) == 2
        assert users.asked == [1]
        await change(lab, users)

        assert await places(lab, 1) == {lab.sid()}
        del users.rows[1]
        assert await places(lab, 1) == set()


async def test_a_login_that_was_undone_names_nobody(shared_master: Any, users: Users) -> None:
    """A user who was loaded for a login is forgotten when its block is rolled back."""

    async def body(request: Request) -> list[Any]:
        seen = []
        with suppress(Failed):
            async with request.ctx.auth_session:
                await lab.auth.login_user(request, 1)
                seen.append(await name_of(request))
                raise Failed
        return [*seen, await name_of(request)]

    async def name_of(request: Request) -> str | None:
        user = await lab.auth.current_user(request)
        return None if user is None else str(user.name)

    async with stamped(users, shared_master) as lab:
        assert await lab.do(body) == ["ann", None]


@pytest.mark.parametrize("folder", ["/", "/lazy/"])
@pytest.mark.parametrize("before", [None, 2])
async def test_a_login_that_was_undone_is_not_shown(
    users: Users, before: int | None, folder: str
) -> None:
    """`request.ctx.user` goes back with its block, or inner block, to what was known before."""

    async def inner(request: Request) -> None:
        async with request.ctx.auth_session:
            await lab.auth.login_user(request, 1)
            assert request.ctx.user.name == "ann"
            assert (await lab.auth.current_user(request)).name == "ann"
            raise Failed

    async def outer(request: Request) -> list[str | None]:
        async with request.ctx.auth_session:
            with suppress(Failed):
                await inner(request)
            return [shown(request)]

    async def body(request: Request) -> list[str | None]:
        seen = [shown(request)]
        with suppress(Failed):
            await inner(request)
        return [*seen, shown(request), *await outer(request), shown(request)]

    def shown(request: Request) -> str | None:
        user = getattr(request.ctx, "user", None)
        return None if user is None else str(user.name)

    async with AuthLab(None, user_loader=users.load) as lab:
        if before is not None:
            await lab.login(before)
        known = "bob" if before and folder == "/" else None
        assert await lab.do(body, folder=folder) == [known] * 4


async def test_a_login_that_was_refused_is_not_shown(users: Users) -> None:
    """Whoever may not log in at one more place is not shown as the user, where that turns out."""

    async def body(request: Request) -> Any:
        with suppress(SessionLimitReached):
            async with request.ctx.auth_session:
                await lab.auth.login_user(request, 1)
        return request.ctx.user

    limit: Any = {"max_sessions": 1, "on_max_sessions": "refuse"}
    async with AuthLab(None, user_loader=users.load, **limit) as lab:
        await lab.login(1)
        assert await lab.do(body, browser=await lab.open_browser()) is None


@dataclass
class Member:
    """A user as loaded, by whose id the login was made."""

    id: Any


async def test_a_loaded_user_names_the_sessions_too(shared_master: Any) -> None:
    """What the loader returned finds, and ends, the sessions of the id that it was loaded by."""
    async with AuthLab(shared_master, user_loader=Member) as lab:
        phone = await lab.open_browser()
        await lab.login(1)
        await lab.login(1, browser=phone)

        async def end_the_other(request: Request) -> bool:
            user = await lab.auth.current_user(request)
            places = await lab.auth.sessions_of(user, request)
            [other] = [place.sid for place in places if not place.current]
            return await lab.auth.revoke(other, user)

        assert await lab.do(end_the_other)
        assert await lab.user(phone) is None
        assert await lab.auth.logout_everywhere(Member(2)) == 0
        assert await lab.auth.logout_everywhere(Member(1)) == 1
        await lab.login(str(UUID(int=7)))
        assert await lab.auth.logout_everywhere(Member(UUID(int=7))) == 1


async def test_what_names_nobody_is_an_error(users: Users) -> None:
    """A loaded user without an id is refused: that it has no sessions would be a lie."""
    async with stamped(users) as lab:
        await lab.login(1)
        for ask in (lab.auth.sessions_of, lab.auth.logout_everywhere):
            with pytest.raises(TypeError, match="login_user"):
                await ask(users.rows[1])


async def test_no_ended_session_is_brought_back(users: Users) -> None:
    """A session whose stamp was never found right in this request cannot be refreshed."""
    async with stamped(users) as lab:
        await lab.login(1)
        users.rows[1].password = "second"
        for folder, status in (("/lazy/", 500), ("/", 401)):
            response = await lab.visit(lab.auth.refresh_stamp, folder=folder)
            assert response.status_code == status
        assert await lab.do(name_in_ctx) is None


async def test_refreshing_needs_somebody(users: Users) -> None:
    """Nobody has no stamp; a user who is gone by now is logged out."""
    async with stamped(users) as lab:
        with pytest.raises(LoginRequired):
            await lab.do(lab.auth.refresh_stamp)
        await lab.login(1)

        async def body(request: Request) -> None:
            del users.rows[1]
            await lab.auth.refresh_stamp(request)

        with pytest.raises(LoginRequired):
            await lab.do(body)
    async with AuthLab(None, user_loader=users.load) as lab:
        await lab.login(2)
        with pytest.raises(SessionConfigError):
            await lab.do(lab.auth.refresh_stamp)


async def test_refreshing_revives_nothing(master: Any, users: Users) -> None:
    """A session that is ended while the password is changed stays ended."""
    async with stamped(users, master) as lab:
        await lab.login(1)
        other = await lab.thief()

        async def body(request: Request) -> None:
            users.rows[1].password = "second"
            await lab.logout(browser=other)
            await lab.auth.refresh_stamp(request)

        assert (await lab.visit(body)).status_code == 401
        assert await lab.do(name_in_ctx) is None


async def test_refreshing_needs_a_cookie(users: Users) -> None:
    """Once the response has begun no token can be replaced."""
    lab = stamped(users)

    @lab.app.get("/late")
    async def late(request: Request) -> None:
        response = await request.respond(content_type="text/plain")
        try:
            await lab.auth.refresh_stamp(request)
        except ResponseStarted:
            await response.send("refused")
        await response.eof()

    async with lab:
        await lab.login(1)
        assert (await lab.browser.get("/late")).text == "refused"


@pytest.mark.parametrize("confirms", [True, False])
async def test_a_change_with_a_renewed_token(master: Any, users: Users, confirms: bool) -> None:
    """Who confirms first is refused before the change; else the session ends with the others."""

    async def body(request: Request) -> None:
        if confirms:
            await lab.auth.confirm_login(request)
        users.rows[1].password = "second"
        await lab.auth.refresh_stamp(request)

    async with stamped(users, master, renew_every=0.01) as lab:
        await lab.login(1)
        await asyncio.sleep(0.05)  # the store's own clock
        late = await lab.thief()
        await lab.write(n=1)
        response = await lab.visit(body, browser=late)
        assert (response.status_code, set_cookies(response)) == (503, [])
        assert users.rows[1].password == ("first" if confirms else "second")
        assert await lab.do(name_in_ctx) == ("ann" if confirms else None)
        if confirms:
            await lab.do(body)
            assert users.rows[1].password == "second"
            assert await lab.do(name_in_ctx) == "ann"


async def test_former_stamps_may_still_be_good(users: Users) -> None:
    """With a list the newest is kept at login, and each in it is accepted."""
    secrets = ["old"]

    def make(user: User) -> list[str]:
        return [f"{secret}:{user.password}" for secret in secrets]

    async with stamped(users, session_stamp=make) as lab:
        await lab.login(1)
        secrets.insert(0, "new")
        assert await lab.do(name_in_ctx) == "ann"
        phone = await lab.open_browser()
        await lab.login(1, browser=phone)
        secrets.pop()
        assert await lab.do(name_in_ctx, browser=phone) == "ann"


async def test_a_part_that_all_users_share(master: Any, users: Users) -> None:
    """A stamp with a part that is the same for all ends the sessions of all when that changes."""
    epoch = [1]

    async with stamped(
        users, master, session_stamp=lambda user: f"{epoch[0]}:{user.password}"
    ) as lab:
        other = await lab.open_browser()
        await lab.login(1)
        await lab.login(2, browser=other)
        epoch[0] += 1

        for browser in (lab.browser, other):
            assert await lab.do(name_in_ctx, browser=browser) is None


async def test_sessions_from_before_there_were_stamps(users: Users) -> None:
    """A session without a stamp ends when stamps are asked for: nothing says that it is good."""
    store = InMemory()
    async with AuthLab(store, user_loader=users.load) as before:
        await before.login(1)
    for lab, name in (
        (AuthLab(store, user_loader=users.load), "ann"),
        (stamped(users, store), None),
    ):
        async with lab:
            lab.browser.cookies = dict(before.browser.cookies)
            assert await lab.do(name_in_ctx) == name


async def test_stamps_without_a_loader() -> None:
    """Without a loader the stored value is the user, and the routes that read it check it."""
    passwords = {"ann": "first"}
    async with AuthLab(None, session_stamp=lambda name: passwords[name]) as lab:
        await lab.login("ann")
        assert await lab.user() == "ann"
        passwords["ann"] = "second"
        assert (await lab.visit(lambda request: lab.auth.current_user())).json() is None
        assert lab.browser.cookies == {}


@pytest.mark.parametrize("bad", [None, "", b"", 7, [], ["a", ""], ["a", None], {"a": 1}])
async def test_stamps_that_are_none(users: Users, bad: Any) -> None:
    """What is no stamp is a mistake of the app: it logs nobody in and lets nobody in."""
    made: list[Any] = [bad]
    async with stamped(users, session_stamp=lambda user: made[0]) as lab:
        with pytest.raises(SessionConfigError):
            await lab.do(lambda request: lab.auth.login_user(request, 1))
        made[0] = "good"
        await lab.login(1)
        made[0] = bad
        assert (await lab.visit(name_in_ctx)).status_code == 500


async def test_the_store_holds_no_stamp(users: Users) -> None:
    """The record has a fingerprint of it only."""
    async with stamped(users) as lab:
        users.rows[1].password = "hunter2hunter2"
        await lab.login(1)
        record = await lab.auth.master_interface.fetch("auth_session", lab.sid())  # type: ignore[union-attr]
        assert record is not None
        assert b"hunter2" not in record.payload


async def test_an_ended_login_is_told(users: Users) -> None:
    """Listeners hear which session ended, of whom and why."""
    lab, heard = stamped(users), asyncio.Queue[dict[str, Any]]()

    @lab.app.signal("session.user.revoked")
    async def revoked(**context: Any) -> None:
        heard.put_nowait(context)

    async with lab:
        await lab.login(1)
        sid = lab.sid()
        users.rows[1].password = "second"
        await lab.do(name_in_ctx)
        assert await asyncio.wait_for(heard.get(), 5) == {
            "session": "auth_session",
            "sid": sid,
            "user_key": "1",
            "reason": "the stamp has changed",
        }


def _named(user: Any) -> str | None:
    return user if isinstance(user, str) else None


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"user_loader": lambda name: Member(7)}, 1),
        ({"user_loader": lambda name: {"id": 7}}, 1),
        ({"user_loader": lambda name: Member(name)}, 0),
        ({"user_loader": lambda name: User(name)}, 0),  # has no key: who asks for one is told
        ({"user_loader": lambda name: Member(7), "user_key": lambda user: "one"}, 0),
        # Is listed by its name only, so who asks for one that was loaded is told.
        ({"user_loader": lambda name: Member(7), "user_key": _named}, 0),
        ({"session_stamp": lambda name: "stamp"}, 0),
    ],
)
async def test_a_loader_of_users_with_other_keys_is_warned_of(
    caplog: pytest.LogCaptureFixture, options: Any, warned: int
) -> None:
    """Once a start the log says that a loaded user would not find the sessions of who logged in."""
    async with AuthLab(None, **options) as lab:
        await lab.login("ann")
        await lab.login("bob")

    told = [each.getMessage() for each in caplog.records if "another key" in each.getMessage()]
    assert len(told) == warned
    assert all("user_key=" in each and "ann" not in each for each in told)


async def test_where_nobody_is_listed_keys_do_not_matter(caplog: pytest.LogCaptureFixture) -> None:
    """Of sessions in cookies there is no list, so nothing is said of its keys."""
    master = InCookieEncrypted(new_key(), revocations=InMemory())
    async with AuthLab(master, user_loader=lambda name: Member(7)) as lab:
        await lab.login("ann")

    assert "another key" not in caplog.text
