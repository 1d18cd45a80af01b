"""How long a login lives: idle, absolute, remembered, shortened."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sanic import Request

from auth_lab import AuthLab, Clock, login_cookie
from sanic_cookies import InCookieEncrypted, InMemory, SessionConfigError
from sanic_cookies.cli.maintenance import new_key

HOUR, DAY = 3600.0, 24 * 3600.0


@pytest.fixture
def clock() -> Clock:
    """Time that the test moves on."""
    return Clock()


@pytest.fixture(params=["memory", "in-cookie"])
def timed_master(request: pytest.FixtureRequest, clock: Clock) -> Any:
    """The interfaces whose clock can be injected."""
    if request.param == "memory":
        return InMemory(clock=clock.monotonic)
    return InCookieEncrypted(new_key(), clock=clock.epoch)


@pytest.fixture
async def lab(timed_master: Any, clock: Clock) -> AsyncIterator[AuthLab]:
    """A lab in which time is the test's."""
    async with AuthLab(timed_master, clock=clock.epoch) as lab:
        yield lab


def _max_age(line: str) -> int | None:
    found = re.search(r"Max-Age=(\d+)", line)
    return None if found is None else int(found[1])


@pytest.mark.parametrize(
    ("remember_me", "days"), [(None, None), (False, None), (True, 30)], ids=repr
)
async def test_the_cookie(master: Any, remember_me: bool | None, days: int | None) -> None:
    """A login ends with the browser, unless it is remembered: then its cookie lives 30 days."""
    async with AuthLab(master) as lab:
        line = login_cookie(await lab.login(remember_me=remember_me))
        age = _max_age(line)
        assert age == (None if days is None else pytest.approx(days * DAY, abs=2))


@pytest.mark.parametrize("remember_me", [None, False, True], ids=repr)
async def test_remember_me_over_a_persistent_policy(master: Any, remember_me: bool | None) -> None:
    """`remember_me=False` ends with the browser also where the session's policy does not."""
    async with AuthLab(master, session_cookie=False) as lab:
        line = login_cookie(await lab.login(remember_me=remember_me))
        assert (_max_age(line) is None) == (remember_me is False)


async def test_remember_expiry(master: Any) -> None:
    """`remember_expiry` is how long a remembered login lives."""
    async with AuthLab(master, remember_expiry=timedelta(days=7)) as lab:
        line = login_cookie(await lab.login(remember_me=True))
        assert _max_age(line) == pytest.approx(7 * DAY, abs=2)


async def test_idle_time_is_an_hour(lab: AuthLab, clock: Clock) -> None:
    """A login that nobody uses for an hour is over, one in use is not."""
    await lab.login()
    for _ in range(3):
        clock.now += HOUR - 1
        assert await lab.user() == "ann"
    clock.now += HOUR + 1
    assert await lab.user() is None


async def test_absolute_time_is_a_day(lab: AuthLab, clock: Clock) -> None:
    """After 24 hours a login is over, however much it is used."""
    await lab.login()
    for _ in range(47):
        clock.now += HOUR / 2
        assert await lab.user() == "ann"
    clock.now += HOUR / 2 + 1
    assert await lab.user() is None


async def test_absolute_time_counts_from_the_login(lab: AuthLab, clock: Clock) -> None:
    """The 24 hours begin with the login, not with the session, and anew with each login."""
    await lab.write(cart=1)
    for login in range(2):
        for _ in range(46):
            clock.now += HOUR / 2
            await lab.data()
        assert login == 0 or await lab.user() == "ann"
        await lab.login(reset_session=False)
        assert await lab.data() == {"cart": 1, "current_user": "ann"}
    for _ in range(47):
        clock.now += HOUR / 2
        assert await lab.user() == "ann"
    clock.now += HOUR / 2 + 1
    assert await lab.user() is None


async def test_a_remembered_login_needs_no_use(lab: AuthLab, clock: Clock) -> None:
    """A remembered login survives without use, and is over after 30 days with it."""
    await lab.login(remember_me=True)
    for _ in range(2):
        clock.now += 14 * DAY
        assert await lab.user() == "ann"
    clock.now += 2 * DAY + 1
    assert await lab.user() is None


async def test_a_later_login_forgets_to_remember(lab: AuthLab, clock: Clock) -> None:
    """Each login decides for itself: one that is not to be remembered is not."""
    await lab.login(remember_me=True)
    line = login_cookie(await lab.login())
    assert _max_age(line) is None
    clock.now += HOUR + 1
    assert await lab.user() is None


@pytest.mark.parametrize("duration", [600, 600.0, timedelta(minutes=10)], ids=repr)
@pytest.mark.parametrize("remember_me", [None, True], ids=repr)
async def test_duration_shortens(
    lab: AuthLab, clock: Clock, remember_me: bool | None, duration: Any
) -> None:
    """`duration` is the absolute end of this login; use does not move it."""
    await lab.login(duration=duration, remember_me=remember_me)
    clock.now += 599
    assert await lab.user() == "ann"
    clock.now += 2
    assert await lab.user() is None


async def test_duration_is_the_cookies_age(lab: AuthLab) -> None:
    """The cookie of a remembered login does not outlive its `duration`."""
    line = login_cookie(await lab.login(duration=600, remember_me=True))
    assert _max_age(line) == 600


@pytest.mark.parametrize(("remember_me", "steps"), [(None, 48), (True, 30 * 48)], ids=repr)
async def test_duration_never_prolongs(clock: Clock, remember_me: bool | None, steps: int) -> None:
    """A `duration` longer than the policy's absolute time changes nothing."""
    master = InMemory(clock=clock.monotonic)
    async with AuthLab(master, clock=clock.epoch) as lab:
        await lab.login(duration=400 * DAY, remember_me=remember_me)
        record = await master.fetch(lab.auth.name, lab.sid())
        assert record is not None
        assert record.deadline is not None
        assert record.deadline - record.now == pytest.approx(steps * HOUR / 2, abs=1)


@pytest.mark.parametrize("duration", [0, -1, "1h", True])
async def test_an_impossible_duration_logs_nobody_in(duration: Any) -> None:
    """A `duration` that is no time is an error, of which the client learns nothing more."""
    async with AuthLab() as lab:
        response = await lab.visit(
            lambda request: lab.auth.login_user(request, "ann", duration=duration)
        )
        [error] = lab.errors
        assert isinstance(error, SessionConfigError)
        assert "duration must be" in error.detail
        assert (response.status_code, "duration" in response.text) == (500, False)
        assert await lab.user() is None


@pytest.mark.parametrize("flag", ["remember_me", "reset_session"])
@pytest.mark.parametrize("value", ["yes", "no", "", 1, 0, []])
async def test_a_flag_as_a_form_has_it_logs_nobody_in(flag: str, value: Any) -> None:
    """A flag is True or False: every text would be true, and none is read back as a flag."""
    async with AuthLab() as lab:
        response = await lab.visit(
            lambda request: lab.auth.login_user(request, "ann", **{flag: value})
        )
        [error] = lab.errors
        assert isinstance(error, SessionConfigError)
        assert f"{flag} must be" in error.detail
        assert (response.status_code, flag in response.text) == (500, False)
        assert lab.browser.cookies == {}


async def test_the_store_ends_a_login_by_its_own_clock(master: Any) -> None:
    """The end of a login is in the record, whatever store keeps it."""
    async with AuthLab(master) as lab:
        longer = await lab.open_browser()
        await lab.login("bob", duration=600, remember_me=True, browser=longer)
        await lab.login(duration=1.0, remember_me=True)
        tab = await lab.thief()
        await asyncio.sleep(1.1)
        assert await lab.user() is None
        assert await lab.user(longer) == "bob"
        assert (await lab.write(browser=tab, own=1)).status_code == 200
        assert await lab.data(tab) == {"own": 1}


async def test_a_lifetime_of_its_own_is_dropped_with_the_data(lab: AuthLab, clock: Clock) -> None:
    """What `set_expiry` gave the anonymous session does not prolong the login that follows."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["cart"] = 1
            sess.set_expiry(20 * DAY)

    await lab.do(body)
    await lab.login()
    clock.now += HOUR + 1
    assert await lab.user() is None


@pytest.mark.parametrize("remember_me", [None, False, True], ids=repr)
@pytest.mark.parametrize("life", [20 * DAY, 60, timedelta(minutes=1)], ids=str)
async def test_a_lifetime_of_the_visitors_ends_with_the_login(
    master: Any, life: Any, remember_me: bool | None
) -> None:
    """A login that keeps the data lives as `remember_me` says, not as the visitor's session did."""

    async def visit(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["cart"] = 1
            sess.set_expiry(life)

    async def age(request: Request) -> int:
        async with request.ctx.auth_session as sess:
            return sess.get_expiry_age()

    async with AuthLab(master) as lab:
        await lab.do(visit)
        line = login_cookie(await lab.login(remember_me=remember_me, reset_session=False))
        left = 30 * DAY if remember_me else HOUR
        assert _max_age(line) == (pytest.approx(left, abs=60) if remember_me else None)
        assert await lab.do(age) == pytest.approx(left, abs=60)
        assert await lab.data() == {"cart": 1, "current_user": "ann"}


async def test_a_lifetime_that_is_set_after_the_login(lab: AuthLab, clock: Clock) -> None:
    """What `set_expiry` says after the login, in its block too, is the login's."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            await lab.auth.login_user(request, "ann", reset_session=False)
            sess.set_expiry(60)

    await lab.do(body)
    clock.now += 59
    assert await lab.user() == "ann"
    clock.now += 61
    assert await lab.user() is None
