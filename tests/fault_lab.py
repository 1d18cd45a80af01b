"""What the tests of faults do in handlers, and what they want to see afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from typing import Any

import httpx
import pytest

from faults import Site
from harness import set_cookies
from lab import Lab
from sanic_cookies import SessionDict

SECRET = "hunter2"
RECOVERY = 2.0
SLACK = 3.0  # what a busy machine may add to a time that is measured
TELLTALES = (SECRET, "127.0.0.1", "Traceback", "EVALSHA", "asyncpg", "redis")
FAILED = re.compile(r"(Redis|AsyncPG)\.\w+ failed: \w+")
OURS = ("sanic_cookies", "redis", "asyncpg")
STAYING = ("_sweep_for_ever", "_listen", "listen")


async def nothing(sess: SessionDict) -> None:
    """Leave the session alone."""


async def peek(sess: SessionDict) -> dict[str, Any]:
    """Look at it."""
    return dict(await sess.peek())


async def plainly(sess: SessionDict) -> Any:
    """Read without a lock."""
    return sess.get("n")


async def merged(sess: SessionDict) -> None:
    """Write without a lock."""
    sess["m"] = 1


async def count(sess: SessionDict) -> int:
    """Add one under the lock."""
    async with sess:
        sess["n"] = sess.get("n", 0) + 1
        return int(sess["n"])


def check_refusal(response: httpx.Response, cookies: dict[str, str]) -> None:
    """See that a 503 names a time, says nothing, and touches no cookie."""
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert set_cookies(response) == []
    shown = f"{response.text} {response.headers}"
    for telltale in (*TELLTALES, *cookies.values()):
        assert telltale not in shown


async def recovered(lab: Lab) -> float:
    """Ask until a write succeeds again; return how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        while (await lab.visit(count)).status_code != 200:  # noqa: ASYNC110 - asking is the probe
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def is_quiet(lab: Lab, site: Site, *, most: int = 4) -> None:
    """See that nothing is left: no lock, no task, no lease, no connection above `most`."""
    runtime = lab.session.runtime
    async with asyncio.timeout(30):
        while len(runtime.background) or left_tasks():  # noqa: ASYNC110 - they end by themselves
            await asyncio.sleep(0.02)
    gc.collect()  # asyncio tells of a failure that nobody has seen when its task is collected
    assert len(runtime.locks) == 0
    async with asyncio.timeout(10):
        while await site.connections() > most:  # noqa: ASYNC110 - a server sees late that one is cut
            await asyncio.sleep(0.02)
    began = time.monotonic()
    assert (await lab.visit(count)).status_code == 200
    assert time.monotonic() - began < SLACK, "a lease was left"


def left_tasks() -> list[str]:
    """Return the tasks of ours and of the drivers that should not be there when all is quiet."""
    names = []
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is None or code.co_name in STAYING:
            continue
        if any(f"/{package}/" in code.co_filename for package in OURS):
            names.append(code.co_qualname)
    return names


def check_log(caplog: pytest.LogCaptureFixture, *, fails: bool, says: str = "") -> None:
    """See that failures are named, by interface, operation and class, and nothing else is said."""
    ours = [record for record in caplog.records if record.name.startswith("sanic_cookies")]
    errors = [record.getMessage() for record in ours if record.levelno >= logging.ERROR]
    assert bool(errors) == fails
    for line in errors:
        assert FAILED.fullmatch(line), line
    assert not says or any(line.endswith(f": {says}") for line in errors)
    assert not [record for record in caplog.records if record.name == "asyncio"]
    # What the driver's own pool has to say, it says on its own logger.
    others = [record for record in caplog.records if record.name != "asyncpg.pool"]
    assert not [record for record in others if record.exc_info]
