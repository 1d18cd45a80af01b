"""Clocks that are wrong or jump, loops that are busy, sockets that hold on: nobody profits."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import pytest
from sanic import Websocket
from websockets.asyncio.client import connect

from fault_lab import SLACK, count, peek
from faults import Site
from lab import Lab
from samples import a_draft
from sanic_cookies import InCookieEncrypted, InMemory, SessionDict
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.token import Token

HOUR = 3600.0
real_time = time.time


def wall_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """Have this process believe that it is so many seconds later, as after a jump of its clock."""
    monkeypatch.setattr(time, "time", lambda: real_time() + ahead)


@pytest.mark.parametrize("ahead", [-HOUR, HOUR, -20 * 365 * 24 * HOUR])
async def test_a_server_with_a_wrong_clock(
    site: Site, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expiry goes by the store's clock: a server whose own is wrong ends and prolongs nothing."""
    async with Lab(site.master(), expiry=600) as right:
        await right.put(n=1)
        wall_clock(monkeypatch, ahead)
        clock = time.time
        async with Lab(site.near(), expiry=600, clock=clock) as wrong:
            wrong.browser.cookies = right.browser.cookies
            assert (await wrong.visit(count)).json() == 2
            sid = right.browser.cookies["session"].partition(".")[0]
            record = await site_record(wrong, sid)
            assert 500 < record.expires_at - record.now <= 600
            fresh = await wrong.open_browser()
            assert (await wrong.visit(count, browser=fresh)).json() == 1
            record = await site_record(wrong, fresh.cookies["session"].partition(".")[0])
            assert 500 < record.expires_at - record.now <= 600
            assert abs(record.created_at - real_time()) < 60
        monkeypatch.undo()
        assert (await right.visit(count)).json() == 3


async def site_record(lab: Lab, sid: str) -> Any:
    """Return the record of a session as its store has it."""
    master: Any = lab.session.master_interface
    record = await master.fetch("session", sid)
    assert record is not None
    return record


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
async def test_a_jump_of_the_wall_clock(ahead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory time is monotonic: a jump ends no session and revives none."""

    async def live_longer(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            sess.set_expiry(600)

    async with Lab(InMemory(sweep_every=0.02), expiry=0.6) as lab:
        alive = await lab.open_browser()
        await lab.do(live_longer, browser=alive)
        await lab.put(n=1)
        wall_clock(monkeypatch, ahead)
        assert (await lab.visit(peek, browser=alive)).json() == {"n": 2}
        await asyncio.sleep(0.8)
        assert (await lab.visit(peek)).json() == {}
        assert (await lab.visit(peek, browser=alive)).json() == {"n": 2}


@pytest.mark.parametrize(("ahead", "opens"), [(30, True), (90, False), (HOUR, False)])
async def test_a_cookie_from_the_future(ahead: float, opens: bool) -> None:
    """In a cookie clocks meet: one that is a minute ahead is borne, more is no session."""
    now = real_time() + ahead
    async with Lab(InCookieEncrypted(new_key(), clock=lambda: now)) as lab:
        await lab.put(n=1)
        now = real_time()
        response = await lab.visit(peek)

        assert response.status_code == 200
        assert response.json() == ({"n": 1} if opens else {})


async def test_a_socket_that_holds_on() -> None:
    """A websocket that stays in its block loses it after max_hold, and requests go on."""
    inside, go = asyncio.Event(), asyncio.Event()
    lab = Lab(InMemory(), max_hold=1.5, lease=1.5)
    ended: list[str] = []

    @lab.app.websocket("/socket")
    async def socket(request: Any, ws: Websocket) -> None:
        try:
            async with request.ctx.session as sess:
                sess["n"] = 100
                inside.set()
                await go.wait()
        except Exception as error:
            ended.append(type(error).__name__)
            raise

    async with lab:
        await lab.put(n=1)
        cookie = "; ".join(f"{k}={v}" for k, v in lab.browser.cookies.items())
        url = lab.url.replace("http", "ws") + "/socket"
        async with connect(url, additional_headers={"Cookie": cookie}) as ws:
            await inside.wait()
            began = time.monotonic()
            assert (await lab.visit(count)).json() == 2
            assert time.monotonic() - began < 1.5 + SLACK
            go.set()
            await ws.wait_closed()
        assert ended == ["SessionLockLost"]
        assert await lab.stored() == {"n": 2}
        assert len(lab.session.runtime.locks) == 0


async def test_a_clean_up_of_many(caplog: pytest.LogCaptureFixture) -> None:
    """While a hundred thousand expired sessions are forgotten, requests hardly wait.

    Counted in the processor's time of this thread: a machine may stand still for other reasons.
    """
    store = InMemory(sweep_every=0.05)
    for _ in range(100_000):
        token = Token.generate()
        await store.create(a_draft(token, ttl=0.01))
    async with Lab(store) as lab:
        took = []
        while len(store) > 0:
            began = time.thread_time()
            assert (await lab.visit(peek)).status_code == 200
            took.append(time.thread_time() - began)
        print(
            f"{len(took)} visits during the clean-up, median {statistics.median(took) * 1000:.1f} "
            f"ms, worst {max(took) * 1000:.1f} ms"
        )
        assert max(took) < 0.25, "the clean-up kept the loop to itself"
