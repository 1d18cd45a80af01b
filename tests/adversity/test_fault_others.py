"""Added interfaces that fail: the request succeeds, one line says so, and the next write heals."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from fault_lab import SLACK, check_refusal, count, is_quiet, left_tasks, peek, recovered
from faults import OUTAGES, Outage, RedisSite, Site, refused
from harness import set_cookies
from lab import Lab
from sanic_cookies import Redis, SessionDict, SessionStoreError
from sanic_cookies.interfaces.base import Interface
from sanic_cookies.interfaces.others import OTHER_SECONDS
from stores import opened

MISSES = "the added interface {} misses writes"
# One fault of each kind that keeps a write from it.
KINDS = {
    *("refused", "killed", "killed, back empty", "frozen", "too slow"),
    *("read-only", "read-only replica", "disk full"),
}
CASES = [
    pytest.param(kind, outage, id=f"{kind}: {outage}")
    for kind, outages in OUTAGES.items()
    for outage in outages
    if outage.name in KINDS
]


@pytest.fixture
def master(redis_url: str) -> Redis:
    """A master that is well, on a server of its own."""
    return Redis(redis_url, prefix=f"others-{time.monotonic_ns()}:")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sanic_cookies") and record.levelno >= logging.ERROR
    ]


def sid_of(lab: Lab) -> str:
    """Return the browser's public id."""
    return lab.browser.cookies["session"].partition(".")[0]


async def content(interface: Interface, sid: str) -> tuple[int, bytes, bytes] | None:
    """Return what makes a session's copy the same as another."""
    record = await interface.fetch("session", sid)
    return None if record is None else (record.version, record.secret_hash, record.payload)


@pytest.mark.parametrize(("site", "outage"), CASES, indirect=["site"])
async def test_added_interface(
    site: Site, outage: Outage, master: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it suffers, users notice at most a second of it, and it catches up by itself."""
    lab = Lab(master, warn_lock=False)
    lab.session.add_interface(site.master())
    async with lab:
        async with opened(site.near()) as near:
            await lab.put(n=1)
            await in_step(lab, near, master)
            before = (await lab.stored())["n"]
            async with outage.inject(site):
                began = time.monotonic()
                for _ in range(3):
                    assert (await lab.visit(count)).status_code == 200
                assert time.monotonic() - began < OTHER_SECONDS + SLACK
            # Told once a minute, so not again if a pause of this machine has cost a write before.
            label = type(lab.session.interfaces[1]).__name__
            assert [line.partition(" (")[0] for line in lines(caplog)] == [MISSES.format(label)]
            assert (await lab.visit(peek)).json() == {"n": before + 3}

            await in_step(lab, near, master)
        await is_quiet(lab, site)


async def in_step(lab: Lab, near: Interface, master: Interface) -> None:
    """Write until the added interface has what the master has; it is taken as down for a second."""
    async with asyncio.timeout(30):
        while True:
            assert (await lab.visit(count)).status_code == 200
            if await content(near, sid_of(lab)) == await content(master, sid_of(lab)):
                break
            await asyncio.sleep(0.1)


async def test_logout_reaches_it_later(site: Site, master: Redis) -> None:
    """A session that ended while the added interface was away is ended there by itself."""
    lab = Lab(master)
    lab.session.add_interface(site.master())

    async def end(sess: SessionDict) -> bool:
        return await sess.end()

    async with lab:
        await lab.put(n=1)
        sid = sid_of(lab)
        async with refused(site):
            assert (await lab.visit(end)).json() is True
        near = site.near()
        async with asyncio.timeout(15):
            while True:
                copy = await near.fetch("session", sid)
                assert copy is not None
                if copy.is_tombstone:
                    break
                await asyncio.sleep(0.1)
        await near.close()
        assert len(lab.session.runtime.locks) == 0


async def test_raise_by_choice(site: Site, master: Redis) -> None:
    """With "raise" the client hears of it; what the master has stays, as the documents say."""
    lab = Lab(master, on_interface_error="raise")
    lab.session.add_interface(site.master())
    async with lab:
        await recovered(lab)  # from a pause of this machine
        before = (await lab.stored())["n"]
        async with refused(site):
            response = await lab.visit(count)
        check_refusal(response, lab.browser.cookies)
        assert type(lab.errors[-1]) is SessionStoreError
        assert await lab.stored() == {"n": before + 1}


async def test_master_away_leaves_the_other_alone(site: Site, redis_url: str) -> None:
    """When the master cannot be written nothing is written anywhere: the other has no say."""
    other = Redis(redis_url, prefix=f"other-{time.monotonic_ns()}:")
    lab = Lab(site.master())
    lab.session.add_interface(other)
    async with lab:
        await lab.put(n=1)
        before = await content(other, sid_of(lab))
        async with refused(site):
            response = await lab.visit(count)
            check_refusal(response, lab.browser.cookies)
            assert set_cookies(response) == []
        assert before is not None
        assert await content(other, sid_of(lab)) == before
        await recovered(lab)


async def test_both_away(site: Site, redis_url: str) -> None:
    """Master and other away together are one outage: 503, then as if nothing had been."""
    lab = Lab(site.master())
    lab.session.add_interface(site.master() if isinstance(site, RedisSite) else Redis(redis_url))
    async with lab:
        await lab.put(n=1)
        async with refused(site):
            check_refusal(await lab.visit(count), lab.browser.cookies)
        await recovered(lab)
        assert await lab.stored() == {"n": 2}
    assert left_tasks() == []
