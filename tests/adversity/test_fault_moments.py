"""A store that fails at each moment of a request: nothing half done, nothing claimed, nothing lost.

The handler itself strikes, at the point of its work that the table names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from fault_lab import (
    RECOVERY,
    SLACK,
    check_log,
    check_refusal,
    count,
    is_quiet,
    nothing,
    peek,
    recovered,
)
from faults import PREFIX, TABLE, PostgresSite, RedisSite, Site, black_hole, cut, refused
from harness import set_cookies
from lab import Failed, Lab
from sanic_cookies import SessionDict, SessionLockLost, SessionStoreError
from sanic_cookies.interfaces import guard

Strike = Callable[[], Awaitable[object]]
TIMEOUT = 2.0  # long enough not to be a pause of this machine, like the lease
LEASE = 2.0


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is taken as down for 50 ms here; that it is a second shows `test_fault_outages`."""
    monkeypatch.setattr(guard, "DOWN_SECONDS", 0.05)


@asynccontextmanager
async def lab_on(site: Site, *, hangs: bool = False, **options: Any) -> AsyncIterator[Lab]:
    """Serve an app whose browser has a session with {"n": 1}; where its store `hangs`, in time."""
    options = {"lease": LEASE, "warn_lock": False, **options}
    if hangs:
        options["store_timeout"] = TIMEOUT
    async with Lab(site.master(), **options) as lab:
        await lab.put(n=1)
        yield lab


# What a handler does; `strike` breaks the store.


async def at_the_save(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        sess["n"] = 2
        await strike()


async def after_a_save(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        sess["n"] = 2
        await sess.save()
        sess["n"] = 3
        await strike()


async def at_the_second_block(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        sess["n"] = 2
    await strike()
    async with sess:
        sess["n"] = 3


async def at_the_roll_back(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        sess["n"] = 2
        await strike()
        raise Failed


async def at_the_end_of_a_look(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        assert sess["n"] == 1
        await strike()


async def at_the_merge(sess: SessionDict, strike: Strike) -> None:
    sess["n"] = 2
    await strike()


async def at_the_rotation(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        sess["n"] = 2
        sess.rotate()
        await strike()


async def at_the_end(sess: SessionDict, strike: Strike) -> None:
    await strike()
    await sess.end()


async def at_the_destruction(sess: SessionDict, strike: Strike) -> None:
    async with sess:
        sess.destroy()
        await strike()


async def after_a_look(sess: SessionDict, strike: Strike) -> None:
    await sess.peek()
    await strike()


# Each with the status of its answer, and what the session holds afterwards.
MOMENTS = [
    (at_the_save, 503, 1),
    (after_a_save, 503, 2),
    (at_the_second_block, 503, 2),
    (at_the_roll_back, 500, 1),
    (at_the_end_of_a_look, 200, 1),
    (at_the_merge, 503, 1),
    (at_the_rotation, 503, 1),
    (at_the_end, 503, 1),
    (at_the_destruction, 503, 1),
    (after_a_look, 200, 1),
]


# A store that hangs takes other ways than one that refuses, but not at each moment another one.
CASES = [
    pytest.param(*moment, fault, id=f"{moment[0].__name__}: {fault.__name__}")
    for moment in MOMENTS
    for fault in (refused, black_hole)
    if fault is refused or moment[0] in (at_the_save, at_the_roll_back, at_the_merge, at_the_end)
]


@pytest.mark.parametrize(("work", "status", "kept", "fault"), CASES)
async def test_moment(site: Site, work: Any, status: int, kept: int, fault: Any) -> None:
    """What the client is told is what the store holds, and the same cookie opens it afterwards."""
    async with lab_on(site, hangs=fault is black_hole) as lab:
        cookies = dict(lab.browser.cookies)
        response = await struck(lab, site, work, fault)

        assert response.status_code == status
        assert set_cookies(response) == []
        if status == 503:
            check_refusal(response, cookies)
        if status == 500:
            assert isinstance(lab.errors[-1], Failed)
        assert lab.browser.cookies == cookies
        await recovered(lab)
        assert await lab.stored() == {"n": kept + 1}
        await is_quiet(lab, site)


async def test_a_use_that_cannot_be_noted(site: Site) -> None:
    """A touch that is due and fails is no error: the request had what it wanted."""
    async with lab_on(site, expiry=10) as lab:
        await asyncio.sleep(1.1)  # a tenth of the idle time: then a touch is due
        response = await struck(lab, site, after_a_look, refused)

        assert response.status_code == 200
        assert set_cookies(response) == []
        await recovered(lab)


async def struck(lab: Lab, site: Site, work: Any, fault: Any) -> httpx.Response:
    """Let a handler work until the fault strikes; mend it when the answer is there."""
    async with AsyncExitStack() as broken:

        async def body(sess: SessionDict) -> None:
            await work(sess, lambda: broken.enter_async_context(fault(site)))

        return await lab.visit(body)


@pytest.mark.parametrize("fault", [refused, black_hole])
async def test_a_first_write(site: Site, fault: Any) -> None:
    """A session that was not stored is not handed out, and the next try makes one."""
    async with lab_on(site, hangs=fault is black_hole) as lab:
        browser = await lab.open_browser()
        async with fault(site):
            check_refusal(await lab.visit(count, browser=browser), {})
        async with asyncio.timeout(10):
            while (await lab.visit(count, browser=browser)).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

        assert await lab.stored(browser) == {"n": 1}
        await is_quiet(lab, site)


async def test_a_first_write_in_the_dark(site: Site) -> None:
    """A store that dies just before the first write of a browser: no cookie, no half session."""
    async with lab_on(site) as lab:
        lab.browser.cookies.clear()
        response = await struck(lab, site, at_the_save, refused)

        check_refusal(response, {})
        assert lab.browser.cookies == {}


@pytest.mark.parametrize("fault", [refused, black_hole])
@pytest.mark.parametrize("work", [at_the_save, at_the_roll_back])
async def test_a_lease_goes_back_when_the_store_does(site: Site, work: Any, fault: Any) -> None:
    """Whose block failed with the store does not wait for its own lease when the store is back."""
    lives_long: dict[str, Any] = {"lease": 60.0, "lock_timeout": 60.0}
    async with lab_on(site, hangs=fault is black_hole, **lives_long) as lab:
        await struck(lab, site, work, fault)

        assert await recovered(lab) < RECOVERY + SLACK
        await is_quiet(lab, site)


async def test_away_during_a_hold(site: Site) -> None:
    """A store that is away for a moment, and back before the block ends, has cost nothing."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] += 1
            site.proxy.blackhole()
            await asyncio.sleep(0.05)
            site.proxy.pass_through()
            site.proxy.cut()

    async with lab_on(site) as lab:
        assert (await lab.visit(body)).status_code == 200
        assert await lab.stored() == {"n": 2}
        await is_quiet(lab, site)


async def test_away_for_longer_than_the_lease(site: Site) -> None:
    """Who was cut off while others wrote is refused at its end, and theirs is what stays."""
    gone, other_has_written = asyncio.Event(), asyncio.Event()

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 100
            site.proxy.blackhole()
            gone.set()
            await other_has_written.wait()
            site.proxy.pass_through()
            site.proxy.cut()

    async with lab_on(site, hangs=True) as lab, Lab(site.near(), lease=LEASE) as near:
        near.browser.cookies = lab.browser.cookies
        cut_off = asyncio.create_task(lab.visit(body))
        await gone.wait()
        assert (await near.visit(count)).status_code == 200
        other_has_written.set()
        response = await cut_off

        check_refusal(response, lab.browser.cookies)
        assert type(lab.errors[-1]) in (SessionLockLost, SessionStoreError)
        assert await near.stored() == {"n": 2}
        await recovered(lab)
        await is_quiet(lab, site, most=8)  # of two apps


async def empty(site: Site) -> None:
    """Take all sessions away."""
    if isinstance(site, RedisSite):
        await site.admin.flushall()
    else:
        await site.admin.execute(f"TRUNCATE {TABLE}")


async def is_empty(site: Site) -> bool:
    """Say whether there is no session."""
    if isinstance(site, RedisSite):
        return not [key async for key in site.admin.scan_iter(f"{PREFIX}*")]
    return not await site.admin.fetchval(f"SELECT count(*) FROM {TABLE}")


@pytest.mark.parametrize("work", [at_the_save, at_the_rotation, after_a_save])
async def test_emptied_during_a_hold(site: Site, work: Any) -> None:
    """Whose session went with the store's contents is told so, and brings nothing back."""

    async def body(sess: SessionDict) -> None:
        await work(sess, lambda: empty(site))

    async with lab_on(site) as lab:
        response = await lab.visit(body)

        assert response.status_code == 409
        assert set_cookies(response) == []
        assert await is_empty(site)
        assert (await lab.visit(peek)).json() == {}
        await recovered(lab)
        await is_quiet(lab, site)


async def end_connections(site: Site) -> None:
    """Have the server itself close all its connections, and forget its scripts."""
    if isinstance(site, PostgresSite):
        await site.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
        )
    else:
        await site.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await site.admin.script_flush()


@pytest.mark.parametrize("work", [at_the_save, after_a_save, at_the_rotation, at_the_merge])
async def test_connections_ended_during_a_hold(
    site: Site, work: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The lease belongs to no connection: a block whose connection is gone is saved by another."""

    async def body(sess: SessionDict) -> None:
        await work(sess, lambda: end_connections(site))

    async with lab_on(site) as lab:
        caplog.clear()
        assert (await lab.visit(body)).status_code == 200
        assert (await lab.stored())["n"] >= 2
        await is_quiet(lab, site)
    check_log(caplog, fails=False)


async def test_many_idle_connections_are_cut(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """After a crowd each of the idle connections may be dead: the next crowd notices nothing."""
    async with lab_on(site, max_waiters=100) as lab:
        browsers = [await lab.open_browser() for _ in range(12)]

        async def crowd() -> list[int]:
            answers = await asyncio.gather(*(lab.visit(count, browser=each) for each in browsers))
            return [answer.status_code for answer in answers]

        assert await crowd() == [200] * 12
        caplog.clear()
        await end_connections(site)
        assert await crowd() == [200] * 12
        async with cut(site):
            assert await crowd() == [200] * 12
        assert [(await lab.stored(each))["n"] for each in browsers] == [3] * 12
    check_log(caplog, fails=False)


async def test_half_open_connections(site: Site) -> None:
    """Connections that a firewall has forgotten cost a deadline, and are not used again."""
    async with lab_on(site, hangs=True) as lab:
        site.proxy.mute()
        first = await lab.visit(count)
        assert first.status_code in (200, 503)
        async with asyncio.timeout(TIMEOUT * 4 + SLACK):
            await recovered(lab)
        for _ in range(20):
            assert (await lab.visit(count)).status_code == 200
        await is_quiet(lab, site)


async def test_untouched_routes_never_ask(site: Site) -> None:
    """A route that leaves the session alone answers while the store is away, cookie or not."""
    async with lab_on(site) as lab, refused(site):
        stranger = await lab.open_browser()
        for browser in (lab.browser, stranger):
            for folder in ("/", "/lazy/"):
                answer = await lab.visit(nothing, browser=browser, folder=folder)
                assert answer.status_code == 200
                assert set_cookies(answer) == []
