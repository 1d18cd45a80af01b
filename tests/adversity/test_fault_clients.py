"""Clients that hang up, at any moment, and networks that lose replies: nothing lost, or twice."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest
from sanic import json

from fault_lab import SLACK, check_log, count, is_quiet, recovered
from faults import Site
from lab import Lab, until
from sanic_cookies import InMemory, SessionDict

HANG_UPS = 120


async def hang_up(lab: Lab, path: str, seconds: float) -> None:
    """Send a request, wait for a moment, and cut the connection with RST."""
    address = urlsplit(lab.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    cookies = "; ".join(f"{name}={value}" for name, value in lab.browser.cookies.items())
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nCookie: {cookies}\r\n\r\n".encode()
    )
    await writer.drain()
    await asyncio.sleep(seconds)
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()


def counting(lab: Lab) -> None:
    """Add a route that adds one to two keys, with a wait between them."""

    @lab.app.get("/both")
    async def both(request: Any) -> Any:
        async with request.ctx.session as sess:
            sess["a"] = sess.get("a", 0) + 1
            await asyncio.sleep(0.002)
            sess["b"] = sess.get("b", 0) + 1
        return json(None)


async def test_hang_ups(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the moment: all of a block is stored or nothing, and its lock is free at once."""
    lab, rng = Lab(site.master(), max_waiters=1000), random.Random(5)
    counting(lab)
    async with lab:
        await lab.put(a=0, b=0)
        site.proxy.latency(0.003)
        caplog.clear()
        await asyncio.gather(*(hang_up(lab, "/both", rng.random() * 0.03) for _ in range(HANG_UPS)))
        began = time.monotonic()
        assert (await lab.browser.get("/both")).status_code == 200
        took = time.monotonic() - began
        site.proxy.pass_through()

        assert took < 8, "a lock was left"  # until the end of its lease
        stored = await lab.stored()
        assert stored["a"] == stored["b"]
        assert 1 <= stored["a"] <= HANG_UPS + 1
        await is_quiet(lab, site)
    check_log(caplog, fails=False)


@pytest.mark.parametrize("store", ["memory"])
async def test_hang_up_inside_a_block(store: str) -> None:
    """A client that goes while its block waits: rolled back, and the lock is free at once."""
    inside, outside = asyncio.Event(), asyncio.Event()
    lab = Lab(InMemory())

    @lab.app.get("/hold")
    async def hold(request: Any) -> None:
        try:
            async with request.ctx.session as sess:
                sess["n"] = 100
                inside.set()
                await asyncio.Event().wait()
        finally:
            outside.set()

    async with lab:
        await lab.put(n=1)
        task = asyncio.create_task(hang_up(lab, "/hold", 0))
        await inside.wait()
        await task
        await outside.wait()
        began = time.monotonic()
        assert (await lab.visit(count)).json() == 2
        print(f"the next block after {(time.monotonic() - began) * 1000:.1f} ms")
        assert time.monotonic() - began < 0.1 + SLACK
        await until(lambda: len(lab.session.runtime.background) == 0)
        assert len(lab.session.runtime.locks) == 0


async def test_lost_replies(site: Site) -> None:
    """With one reply in twenty lost, what was acknowledged is there, and nothing counts twice."""
    async with Lab(site.master(), max_waiters=1000, lease=1.0) as lab:
        await lab.put(n=0)
        site.proxy.drop_replies(0.05, random.Random(11))

        async def client() -> Counter[int]:
            return Counter([(await lab.visit(count)).status_code for _ in range(15)])

        codes = sum(await asyncio.gather(*(client() for _ in range(8))), Counter[int]())
        site.proxy.pass_through()
        await recovered(lab)

        number = (await lab.stored())["n"] - 1
        print(f"{site.kind}: {dict(codes)}, {number} counted")
        assert codes.keys() <= {200, 503}
        assert codes[200] <= number <= codes[200] + codes[503]
        assert codes[200] > 60
        await is_quiet(lab, site)


async def test_more_requests_than_connections(site: Site) -> None:
    """Holders need no connection while they hold: a pool of two serves fifty at once."""
    options = {"max_size": 2} if site.kind == "postgres" else {}
    everybody = asyncio.Barrier(50)

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 1
            await everybody.wait()  # all of them hold at the same time

    async with Lab(site.master(**options)) as lab:
        browsers = [await lab.open_browser() for _ in range(50)]
        for _ in range(2):
            answers = await asyncio.gather(*(lab.visit(body, browser=each) for each in browsers))
            assert [answer.status_code for answer in answers] == [200] * 50
        if site.kind == "postgres":
            assert await site.connections() <= 2
