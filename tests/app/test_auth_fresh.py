"""Fresh logins: how long ago the user proved who they are, and in which run of the browser."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sanic import Request, text
from sanic.response import HTTPResponse

import wire
from auth_lab import AuthLab, Clock, login_cookie
from harness import Browser, set_cookies
from lab import Failed
from sanic_cookies import (
    AuthSession,
    FreshLoginRequired,
    InMemory,
    LoginRequired,
    ResponseStarted,
    SessionConfigError,
    SessionUnavailable,
    fresh_login_required,
    login_required,
)

HTML = {"accept": "text/html"}
RUN = "auth_session_run"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def guarded(lab: AuthLab, guard: Any = None) -> AuthLab:
    """Add a page at /x that asks for a fresh login."""

    @lab.app.route("/x", methods=["GET", "POST"])
    @(fresh_login_required(within=60) if guard is None else guard)
    async def page(request: Request) -> HTTPResponse:
        return text("in")

    return lab


def timed(clock: Clock, **options: Any) -> AuthLab:
    """Return a lab whose store and session go by `clock`."""
    return AuthLab(InMemory(clock=clock.monotonic), clock=clock.epoch, **options)


async def ask(lab: AuthLab, browser: Browser | None = None, **headers: str) -> httpx.Response:
    return await (browser or lab.browser).get("/x", headers=headers)


async def confirm(lab: AuthLab) -> httpx.Response:
    return await lab.visit(lab.auth.confirm_login)


@pytest.mark.parametrize(
    ("guard", "within"),
    [
        (lambda auth: fresh_login_required(within=60), 60),
        (lambda auth: fresh_login_required(timedelta(minutes=1)), 60),
        (lambda auth: fresh_login_required, 900),
        (lambda auth: fresh_login_required(), 900),
        (lambda auth: login_required(fresh=60), 60),
        (lambda auth: auth.fresh_login_required(within=60), 60),
        (lambda auth: auth.fresh_login_required, 900),
        (lambda auth: auth.login_required(fresh=timedelta(minutes=1)), 60),
    ],
)
async def test_a_login_is_fresh_for_a_while(clock: Clock, guard: Any, within: int) -> None:
    """Just after the login the page opens; when the time is over it is a 401 of its own."""
    lab = timed(clock)
    guarded(lab, guard(lab.auth))
    async with lab:
        assert "Please log in." in (await ask(lab)).text
        await lab.login()
        clock.now += within - 1
        assert (await ask(lab)).text == "in"
        clock.now += 2
        stale = await ask(lab, accept="application/json")
        assert stale.status_code == 401
        assert stale.json()["message"] == "Please log in again to confirm that it is you."
        assert stale.headers["cache-control"] == "no-store"
        assert await lab.user() == "ann"


async def test_use_does_not_refresh(clock: Clock) -> None:
    """Only a proof makes a login fresh; requests and writes do not."""
    async with guarded(timed(clock)) as lab:
        await lab.login()
        for _ in range(3):
            clock.now += 30
            await lab.write(n=clock.now)
        assert (await ask(lab)).status_code == 401


async def test_confirming_makes_it_fresh_again(clock: Clock) -> None:
    """`confirm_login` opens the page again, keeps user and data, and replaces the token."""
    async with guarded(timed(clock)) as lab:
        await lab.login()
        await lab.write(cart=[1])
        clock.now += 100
        thief, sid = await lab.thief(), lab.sid()
        assert (await confirm(lab)).status_code == 200
        assert (await ask(lab)).text == "in"
        assert await lab.data() == {"cart": [1], "current_user": "ann"}
        assert lab.sid() == sid
        assert await lab.user(thief) is None
        clock.now += 61
        assert (await ask(lab)).status_code == 401


async def test_confirming_prolongs_nothing(clock: Clock) -> None:
    """The absolute end counts from the login, whatever is confirmed."""
    async with timed(clock, expiry=100, absolute_timeout=150) as lab:
        await lab.login()
        clock.now += 80
        await confirm(lab)
        clock.now += 60
        assert await lab.user() == "ann"
        clock.now += 11
        assert await lab.user() is None


async def test_confirming_over_each_store(master: Any) -> None:
    """Inside a block and outside, over each store: one cookie, same user, the former token dead."""
    async with guarded(AuthLab(master)) as lab:
        await lab.login(7)
        for inside in (True, False):
            thief = await lab.thief()

            async def body(request: Request, inside: bool = inside) -> bool:
                if not inside:
                    await lab.auth.confirm_login(request)
                else:
                    async with request.ctx.auth_session as sess:
                        sess["n"] = 1
                        await lab.auth.confirm_login(request)
                return await lab.auth.is_fresh(request, 60)

            response = await lab.visit(body)
            assert (response.status_code, response.json()) == (200, True)
            assert len(set_cookies(response)) == 1
            assert await lab.data() == {"n": 1, "current_user": 7}
            assert lab.browser.cookies != thief.cookies


async def test_a_confirmation_that_is_rolled_back_is_none(clock: Clock) -> None:
    """An exception in the block undoes it with the rest."""
    async with guarded(timed(clock)) as lab:
        await lab.login()
        clock.now += 100

        async def body(request: Request) -> None:
            async with request.ctx.auth_session:
                await lab.auth.confirm_login(request)
                raise ZeroDivisionError

        assert (await lab.visit(body)).status_code == 500
        assert (await ask(lab)).status_code == 401


async def test_nobody_can_confirm(master: Any) -> None:
    """Without a login there is nothing to confirm, and nothing is stored."""
    async with AuthLab(master) as lab:
        with pytest.raises(LoginRequired):
            await lab.do(lab.auth.confirm_login)
        response = await confirm(lab)
        assert (response.status_code, set_cookies(response)) == (401, [])
        assert await lab.do(lab.auth.is_fresh) is False


async def test_confirming_needs_a_cookie(master: Any) -> None:
    """Once the response has begun no token can be replaced, so nothing is confirmed."""
    lab = AuthLab(master)

    @lab.app.get("/late")
    async def late(request: Request) -> None:
        response = await request.respond(content_type="text/plain")
        try:
            await lab.auth.confirm_login(request)
        except ResponseStarted:
            await response.send("refused")
        await response.eof()

    async with lab:
        await lab.login()
        assert (await lab.browser.get("/late")).text == "refused"
        assert await lab.user() == "ann"


# A remembered login.


@pytest.mark.parametrize("by", ["login", "policy"])
async def test_a_remembered_login_is_not_fresh_in_another_run(master: Any, by: str) -> None:
    """A login whose cookie outlives the browser is not fresh in its next run, however young."""
    async with guarded(AuthLab(master, session_cookie=by != "policy")) as lab:
        response = await lab.login(remember_me=True if by == "login" else None)
        assert "Max-Age=" in login_cookie(response)
        [run] = [line for line in set_cookies(response) if line.startswith(f"{RUN}=")]
        assert "Max-Age" not in run
        assert "HttpOnly" in run
        assert (await ask(lab)).text == "in"

        del lab.browser.cookies[RUN]  # the browser is closed
        assert (await ask(lab)).status_code == 401
        assert await lab.user() == "ann"
        assert (await confirm(lab)).status_code == 200
        assert (await ask(lab)).text == "in"


@pytest.mark.parametrize("forged", ["", "x", "a" * 43, "\xe9"])
async def test_the_run_cannot_be_made_up(master: Any, forged: str) -> None:
    """Another value than the one that was given is none, and neither are two."""
    async with guarded(AuthLab(master)) as lab:
        await lab.login(remember_me=True)
        good = lab.browser.cookies[RUN]
        token = f"{lab.cookie}={lab.browser.cookies[lab.cookie]}"
        for cookies, status in (
            (f"{RUN}={good}", 200),
            (f"{RUN}={forged}", 401),
            (f"{RUN}={good}; {RUN}={forged}", 401),
        ):
            line = f"Cookie: {token}; {cookies}".encode("latin-1")
            assert (await wire.ask(lab.url, "/x", line)).status == status


async def test_runs_belong_to_one_session(master: Any) -> None:
    """What one login was given makes no other login fresh, and no later one of the session."""
    async with guarded(AuthLab(master)) as lab:
        await lab.login(remember_me=True)
        former = lab.browser.cookies[RUN]
        await lab.login(remember_me=True)
        lab.browser.cookies[RUN] = former
        assert (await ask(lab)).status_code == 401


async def test_the_store_holds_no_run(clock: Clock) -> None:
    """The record has a hash of it only."""
    lab = timed(clock)
    async with lab:
        await lab.login(remember_me=True)
        record = await lab.auth.master_interface.fetch("auth_session", lab.sid())  # type: ignore[union-attr]
        assert record is not None
        assert b'"run"' in record.payload
        assert lab.browser.cookies[RUN].encode() not in record.payload


@pytest.mark.parametrize("proof", ["login", "confirmation"])
async def test_a_proof_that_is_rolled_back_is_no_news(master: Any, proof: str) -> None:
    """A block that fails leaves the browser its run, and nobody hears of what it has undone."""
    heard = []

    async with AuthLab(master) as lab:

        @lab.app.signal("session.user.<event>")
        async def hear(event: str, **_: Any) -> None:
            heard.append(event)

        async def prove(request: Request) -> None:
            if proof == "login":
                await lab.auth.login_user(request, "ann", remember_me=True)
            else:
                await lab.auth.confirm_login(request)

        async def fail(request: Request) -> Any:
            with suppress(Failed):
                async with request.ctx.auth_session:
                    await prove(request)
                    assert await lab.auth.is_fresh(request)
                    raise Failed
            return await lab.auth.is_fresh(request)

        await lab.login(remember_me=True)
        run = lab.browser.cookies[RUN]
        assert await lab.do(fail)
        assert lab.browser.cookies[RUN] == run
        assert await lab.do(lab.auth.is_fresh)
        await lab.do(prove)
        assert lab.browser.cookies[RUN] != run
        assert await lab.do(lab.auth.is_fresh)
        await lab.auth.drain(5)
        assert heard == ["login", "login" if proof == "login" else "confirmed"]


async def test_logout_takes_the_run_along(master: Any) -> None:
    """After logout, or a login that is not remembered, the browser keeps no companion."""
    async with AuthLab(master) as lab:
        await lab.login(remember_me=True)
        await lab.login(remember_me=False)
        assert list(lab.browser.cookies) == [lab.cookie]
        await lab.login(remember_me=True)
        await lab.logout()
        assert lab.browser.cookies == {}


async def test_a_login_that_is_not_remembered_has_no_companion(master: Any) -> None:
    """Such a cookie ends with the browser anyway, by the policy or by `remember_me=False`."""
    async with guarded(AuthLab(master)) as lab:
        assert len(set_cookies(await lab.login())) == 1
        assert (await ask(lab)).text == "in"
    async with guarded(AuthLab(master, session_cookie=False)) as lab:
        assert len(set_cookies(await lab.login(remember_me=False))) == 1
        assert (await ask(lab)).text == "in"


class Counting(InMemory):
    """Memory that counts its calls."""

    calls = 0

    async def fetch(self, name: str, sid: str) -> Any:
        self.calls += 1
        return await super().fetch(name, sid)

    async def save(self, draft: Any) -> Any:
        self.calls += 1
        return await super().save(draft)

    async def touch(self, *args: Any) -> None:
        self.calls += 1
        await super().touch(*args)


@pytest.mark.parametrize("remember_me", [False, True])
async def test_freshness_costs_no_round_trip(remember_me: bool) -> None:
    """A page that asks for a fresh login reads once, like any other, remembered or not."""
    store = Counting()
    async with guarded(AuthLab(store)) as lab:
        await lab.login(remember_me=remember_me)
        store.calls = 0
        assert (await ask(lab)).text == "in"
        assert store.calls == 1


# Browsers.


async def test_a_browser_is_sent_to_confirm(clock: Clock) -> None:
    """With a login page, browsers go there and are told the way back; others get the 401."""
    async with guarded(timed(clock, login_url="/login")) as lab:
        await lab.login()
        clock.now += 61
        sent = await lab.browser.get("/x?page=2&q=a%20b", headers=HTML)
        assert sent.status_code == 302
        assert sent.headers["location"] == "/login?next=/x%3Fpage%3D2%26q%3Da%2520b"
        assert (await ask(lab, accept="application/json")).status_code == 401


async def test_a_form_is_not_sent_again(clock: Clock) -> None:
    """After a POST the browser is sent by 303, and back to the page that held the form."""
    async with guarded(timed(clock, login_url="/login")) as lab:
        await lab.login()
        clock.now += 61
        for referer, query in (
            (f"{lab.url}/form?a=1", "?next=/form%3Fa%3D1"),
            ("http://evil.example/form", ""),
            (f"{lab.url}//evil.example", ""),
            ("", ""),
        ):
            sent = await lab.browser.post("/x", headers={**HTML, "referer": referer})
            assert (sent.status_code, sent.headers["location"]) == (303, f"/login{query}")


@pytest.mark.parametrize("within", [0, -1, True, timedelta(0), 1e12, float("nan")])
def test_a_time_that_cannot_be(within: Any) -> None:
    """A time that is none is refused where it is written."""
    for make in (
        lambda: fresh_login_required(within=within),
        lambda: login_required(fresh=within),
        lambda: AuthSession().fresh_login_required(within=within),
    ):
        with pytest.raises(SessionConfigError):
            make()


async def test_a_time_that_cannot_be_in_a_request() -> None:
    """Where it is asked for in a request, the client learns nothing of it."""
    async with AuthLab(None) as lab:
        response = await lab.visit(lambda request: lab.auth.is_fresh(request, "60"))
        assert "within must be seconds" in lab.errors[0].detail
        assert (response.status_code, "within" in response.text) == (500, False)


@pytest.mark.parametrize("within", ["60", None, type])
def test_what_is_neither_time_nor_handler(within: Any) -> None:
    """What can be neither a time nor a handler is refused, never taken for no guard."""
    with pytest.raises(SessionConfigError):
        fresh_login_required(within)


def test_it_is_a_login_required() -> None:
    """Who catches `LoginRequired` catches this too."""
    assert issubclass(FreshLoginRequired, LoginRequired)


# With a token that `renew_every` has just replaced.


async def confirm_in_block(auth: AuthSession, request: Request) -> None:
    async with request.ctx.auth_session as sess:
        await auth.confirm_login(request)
        request.app.ctx.reached = True
        sess["n"] = 2


async def rotate(auth: AuthSession, request: Request) -> None:
    async with request.ctx.auth_session as sess:
        sess["n"] = 2
        sess.rotate()


@pytest.mark.parametrize("act", [AuthSession.confirm_login, confirm_in_block, rotate])
async def test_a_proof_with_a_renewed_token_may_be_tried_again(master: Any, act: Any) -> None:
    """It is a 503 that changes nothing, and no 409: the session goes on, with the newer cookie."""
    async with AuthLab(master, renew_every=0.01) as lab:
        await lab.login("ann")
        await asyncio.sleep(0.05)  # the store's own clock
        late = await lab.thief()
        await lab.write(n=1)
        assert late.cookies != lab.browser.cookies

        response = await lab.visit(lambda request: act(lab.auth, request), browser=late)
        assert (response.status_code, set_cookies(response)) == (503, [])
        assert response.headers["retry-after"] == "1"
        assert type(lab.errors[-1]) is SessionUnavailable
        assert not hasattr(lab.app.ctx, "reached")
        assert await lab.data() == {"n": 1, "current_user": "ann"}

        late.cookies = dict(lab.browser.cookies)  # which is what a browser has by now
        await lab.do(lambda request: act(lab.auth, request), browser=late)
        assert late.cookies != lab.browser.cookies
        assert await lab.user(late) == "ann"
