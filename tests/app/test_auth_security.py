"""What an attacker may try before a login, and what listeners and logs learn of logins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sanic import Request, text
from sanic.exceptions import SanicException
from sanic.response import HTTPResponse

from auth_lab import AuthLab
from harness import set_cookies
from sanic_cookies import SessionLimitReached, login_required
from sanic_cookies.token import Token


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


# Fixation.


async def test_a_made_up_token_is_never_adopted(lab: AuthLab) -> None:
    """A login with a well-formed token of the client's own gets another id, another secret."""
    planted = Token.generate()
    lab.browser.cookies[lab.cookie] = planted.value
    assert await lab.user() is None
    await lab.login("ann")
    assert planted.sid not in lab.browser.cookies[lab.cookie]
    assert planted.secret not in lab.browser.cookies[lab.cookie]
    thief = await lab.open_browser()
    thief.cookies[lab.cookie] = planted.value
    assert await lab.user(thief) is None
    assert not await lab.auth.exists(planted.sid)


async def test_a_planted_session_is_left_behind(lab: AuthLab) -> None:
    """Who plants a real anonymous session in a victim's browser is not logged in with the victim.

    Nor does the planted session's data reach the victim's login.
    """
    await lab.write(planted=1)
    victim = await lab.thief()
    await lab.login("victim", browser=victim)
    assert await lab.user() is None
    assert await lab.data(victim) == {"current_user": "victim"}


async def test_a_known_sid_with_a_wrong_secret(
    shared_lab: AuthLab, caplog: pytest.LogCaptureFixture
) -> None:
    """Who knows only the public id neither sees, nor locks, nor replaces the session."""
    lab = shared_lab
    await lab.login("ann")
    stranger = await lab.open_browser()
    stranger.cookies[lab.cookie] = f"{lab.sid()}.{Token.generate().secret}"
    assert await lab.user(stranger) is None
    assert any("wrong secret" in line for line in caplog.messages)
    await lab.login("mallory", browser=stranger)
    assert lab.sid() not in stranger.cookies[lab.cookie]
    assert (await lab.user(), await lab.user(stranger)) == ("ann", "mallory")


@pytest.mark.parametrize("place", ["query", "authorization", "x-header", "wrong cookie"])
async def test_a_token_elsewhere_is_ignored(lab: AuthLab, place: str) -> None:
    """A token counts in its own cookie only: not in a query, a header or another cookie."""
    await lab.login("ann")
    token = lab.browser.cookies[lab.cookie]
    other = await lab.open_browser()
    options: dict[str, Any] = {
        "query": {"params": {lab.cookie: token, "sid": token}},
        "authorization": {"headers": {"authorization": f"Bearer {token}"}},
        "x-header": {"headers": {lab.cookie: token, "x-session": token}},
        "wrong cookie": {"headers": {"cookie": f"session={token}; x{lab.cookie}={token}"}},
    }[place]

    async def ask(request: Request) -> HTTPResponse:
        return text(str(await lab.auth.current_user()))

    assert (await lab.visit(ask, browser=other, **options)).text == "None"


async def test_cookies_of_a_public_host(master: Any) -> None:
    """On a public host a login's cookie is `__Host-`, Secure, HttpOnly and SameSite=Lax."""
    async with AuthLab(master, host="shop.example") as lab:
        response = await lab.login()
        (line,) = set_cookies(response)
        assert line.startswith("__Host-auth_session=")
        attributes = line.split("; ")[1:]
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]
        assert response.headers["cache-control"] == "no-store"
        assert await lab.user() == "ann"


# Events.


class Events:
    """What the listeners of one app have been told."""

    def __init__(self, lab: AuthLab, *names: str) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._came = asyncio.Event()
        for name in names:
            self._listen(lab, name)

    def _listen(self, lab: AuthLab, name: str) -> None:
        @lab.app.signal(name)
        async def heard(**context: Any) -> None:
            self.seen.append((name.rpartition(".")[2], context))
            self._came.set()

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the next event that nobody has taken yet."""
        while not self.seen:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), 5)
        return self.seen.pop(0)


USER_EVENTS = ["session.user.login", "session.user.logout", "session.user.denied"]


async def test_events(master: Any) -> None:
    """Login, logout and denial reach listeners, with sid and user key, and never with a token."""
    lab = AuthLab(master)
    events = Events(lab, *USER_EVENTS)

    @lab.app.get("/x", name="page")
    @login_required()
    async def page(request: Request) -> HTTPResponse:
        return text("in")

    async with lab:
        await lab.login({"id": 7})
        secret = lab.browser.cookies[lab.cookie].rpartition(".")[2]
        sid = await lab.do(_sid)
        told = [await events.next()]
        await lab.logout()
        told.append(await events.next())
        await lab.browser.get("/x")
        told.append(await events.next())
        assert told == [
            ("login", {"session": "auth_session", "sid": sid, "user_key": "7"}),
            ("logout", {"session": "auth_session", "sid": sid, "user_key": "7"}),
            (
                "denied",
                {
                    "session": "auth_session",
                    "sid": None,
                    "user_key": None,
                    "route": f"{lab.app.name}.page",
                    "reason": "nobody is logged in",
                },
            ),
        ]
        assert sid is not None
        assert secret not in repr(told)
        assert events.seen == []


async def test_denied_names_the_anonymous_session(master: Any) -> None:
    """A denial of a request that has an anonymous session says which one."""
    lab = AuthLab(master)
    events = Events(lab, "session.user.denied")

    @lab.app.get("/x")
    @login_required()
    async def page(request: Request) -> HTTPResponse:
        return text("in")

    async with lab:
        await lab.write(cart=1)
        sid = await lab.do(_sid)
        await lab.browser.get("/x")
        assert (await events.next())[1]["sid"] == sid


async def test_a_login_is_announced_when_it_is_stored(lab: AuthLab) -> None:
    """A login in a block is announced once, after the block, with the id that was stored."""
    events = Events(lab, "session.user.login")

    async def body(request: Request) -> str | None:
        async with request.ctx.auth_session as sess:
            await lab.auth.login_user(request, "ann")
            await asyncio.sleep(0)
            assert events.seen == []
        sid: str | None = sess.sid
        return sid

    sid = await lab.do(body)
    assert (await events.next())[1]["sid"] == sid
    await lab.write(cart=1)
    await lab.data()
    assert events.seen == []


@pytest.mark.parametrize("how", ["exception", "logout", "reset", "reset and go on", "inner"])
async def test_a_login_that_did_not_last_is_not_announced(lab: AuthLab, how: str) -> None:
    """A login that its own block undid has not happened, so no listener hears of it."""
    events = Events(lab, "session.user.login")

    async def undone(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            await lab.auth.login_user(request, "ann")
            if how == "logout":
                await lab.auth.logout_user(request)
            elif how.startswith("reset"):
                sess.reset()
                if how != "reset":
                    sess["cart"] = 1
            else:
                raise SanicException("no", status_code=400)

    async def body(request: Request) -> None:
        if how != "inner":
            await undone(request)
            return
        async with request.ctx.auth_session as sess:
            with pytest.raises(SanicException):
                await undone(request)
            assert await lab.auth.current_user(request) is None
            sess["cart"] = 1

    await lab.do(body) if how != "exception" else await lab.visit(body)
    assert await lab.user() is None
    await lab.login("bob")
    assert (await events.next())[1]["user_key"] == "bob"
    assert events.seen == []


async def test_listeners_may_take_all_events_at_once(lab: AuthLab) -> None:
    """A listener of `session.user.<event>` hears each of them."""
    seen: list[str] = []
    done = asyncio.Event()

    @lab.app.signal("session.user.<event>")
    async def heard(event: str, **context: Any) -> None:
        seen.append(event)
        if event == "logout":
            done.set()

    await lab.login()
    await lab.logout()
    await asyncio.wait_for(done.wait(), 5)
    assert seen == ["login", "logout"]


async def test_nothing_that_logs_in_is_logged(
    shared_master: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No line of the server's logs holds a secret, not at debug level, not in a security line."""
    caplog.set_level(logging.DEBUG)
    secrets = []
    async with AuthLab(shared_master, rotation_grace=0) as lab:
        for user in ("ann", "ann", "bob"):
            thief = await lab.thief()
            await lab.login(user)
            secrets.append(lab.browser.cookies[lab.cookie].rpartition(".")[2])
        assert await lab.user(thief) is None
        await lab.logout()
    assert len(set(secrets)) == 3
    # The test's own client is another process's affair.
    ours = [each.getMessage() for each in caplog.records if not each.name.startswith("http")]
    assert any("superseded token" in line for line in ours)
    assert not [line for line in ours for secret in secrets if secret in line]


async def _sid(request: Request) -> str | None:
    sess = request.ctx.auth_session
    await sess.peek()
    sid: str | None = sess.sid
    return sid


async def test_what_becomes_of_a_login_is_told(shared_master: Any) -> None:
    """A new token, a reused one, a limit and a revocation are told with sid and user."""
    names = ["record.rotated", "user.revoked", "security.suspicious", "user.limit_reached"]
    lab = AuthLab(
        shared_master, max_sessions=1, on_max_sessions="refuse", rotation_grace=0, preload=False
    )
    events = Events(lab, *(f"session.{name}" for name in names))

    async with lab:
        await lab.login({"id": 7})
        former, sid = await lab.thief(), lab.sid()
        await lab.login({"id": 7})
        told = [await events.next()]
        assert await lab.user(former) is None
        told.append(await events.next())
        refused = await lab.visit(
            lambda request: lab.auth.login_user(request, {"id": 7}),
            browser=await lab.open_browser(),
        )
        assert refused.status_code == SessionLimitReached.status_code
        told.append(await events.next())
        assert await lab.auth.revoke(sid)
        told.append(await events.next())

    assert [event for event, _ in told] == ["rotated", "suspicious", "limit_reached", "revoked"]
    assert all(context["user_key"] == "7" for _, context in told)
    assert [context.get("sid") for _, context in told] == [sid, sid, None, sid]
    assert former.cookies[lab.cookie].rpartition(".")[2] not in repr(told)


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_who_goes_for_a_login_is_told(shared_master: Any, known: bool) -> None:
    """The session that ends to make room is named, with its user and the reason."""
    lab = AuthLab(shared_master, max_sessions=1)
    events = Events(lab, "session.record.ended")

    async with lab:
        await lab.login({"id": 7})
        sid, other = lab.sid(), await lab.open_browser()
        if known:
            await lab.write(cart=1, browser=other)
        await lab.login({"id": 7}, browser=other)

        context = {"session": "auth_session", "sid": sid, "user_key": "7", "reason": "limit"}
        assert await events.next() == ("ended", context)


async def test_a_visitor_who_may_not_log_in_stays_one(shared_master: Any) -> None:
    """Where a limit refuses the login, it is a 403, and what the visitor had is still there."""
    async with AuthLab(shared_master, max_sessions=1, on_max_sessions="refuse") as lab:
        await lab.login("ann")
        other = await lab.open_browser()
        await lab.write(cart=1, browser=other)
        cookies = dict(other.cookies)
        response = await lab.visit(
            lambda request: lab.auth.login_user(request, "ann"), browser=other
        )

        assert (response.status_code, other.cookies) == (403, cookies)
        assert type(lab.errors[-1]) is SessionLimitReached
        assert await lab.data(other) == {"cart": 1}
        assert await lab.user() == "ann"
