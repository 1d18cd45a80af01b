"""Servers that start before their store, and stop while it hangs."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bare import bare_session, begin
from fault_lab import RECOVERY, SLACK, check_refusal, count, left_tasks, nothing, recovered
from faults import Site, black_hole, frozen, refused
from lab import Lab
from sanic_cookies import AsyncPG, InMemory, Redis, SessionStoreError
from sanic_cookies.testing import Faulty
from servers import HOST

ASKS_FOR_TLS = struct.pack("!i", 80877103)
START = 3.0
STOP = 9.0


@pytest.mark.parametrize("fault", [refused, black_hole, frozen])
async def test_started_before_its_store(site: Site, fault: Any) -> None:
    """It starts in time, serves what needs no session, and uses the store when it is there."""
    async with fault(site):
        began = time.monotonic()
        lab = Lab(site.master(), store_timeout=2.0)
        await lab.__aenter__()
        assert time.monotonic() - began < START + SLACK
        assert (await lab.visit(nothing)).status_code == 200
        check_refusal(await lab.visit(count), {})
        assert lab.browser.cookies == {}
    try:
        assert await recovered(lab) < RECOVERY + SLACK
        assert await lab.stored() == {"n": 1}
    finally:
        await lab.__aexit__()
    assert left_tasks() == []


@pytest.mark.parametrize("fault", [refused, black_hole, frozen])
async def test_stopped_while_its_store_hangs(site: Site, fault: Any) -> None:
    """A store that does not answer keeps no server from stopping, and no task stays."""
    lab = Lab(site.master(), lease=1.0)
    await lab.__aenter__()
    await lab.put(n=1)
    async with fault(site):
        visit = asyncio.create_task(lab.visit(count))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await lab.__aexit__()
        took = time.monotonic() - began
        await asyncio.gather(visit, return_exceptions=True)
        print(f"{site.kind}: stopped in {took:.1f} s")
        assert took < STOP + SLACK
    async with asyncio.timeout(10):
        while left_tasks():  # noqa: ASYNC110 - they end by themselves
            await asyncio.sleep(0.05)


async def test_stopped_though_a_store_cannot_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Where closing one store fails the others are closed all the same, and the log says which."""
    master, other = Faulty(InMemory()), Faulty(InMemory())
    master.fail("close", ValueError("secret"))
    lab = Lab(master)
    lab.session.add_interface(other)
    async with lab:
        await lab.put(n=1)

    assert (master.calls["close"], other.calls["close"]) == (1, 1)
    assert [each.message for each in caplog.records if each.name == "sanic_cookies"] == [
        "closing Faulty failed: ValueError"
    ]


async def loading_redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each command as a Redis that reads its data."""
    while data := await reader.read(65_536):
        commands = data.count(b"\r\n*") + data.startswith(b"*")
        writer.write(b"-LOADING Redis is loading the dataset in memory\r\n" * commands)


async def packet(reader: asyncio.StreamReader) -> bytes:
    """Return the next of the packets by which Postgres is greeted."""
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    return await reader.readexactly(size - 4)


async def starting_postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer who connects as a Postgres that recovers."""
    if await packet(reader) == ASKS_FOR_TLS:
        writer.write(b"N")
        await packet(reader)
    text = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    writer.write(b"E" + struct.pack("!i", len(text) + 4) + text)


Answers = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("answers", [loading_redis, starting_postgres])
async def test_a_store_that_is_itself_still_starting(answers: Answers) -> None:
    """Requests do not all knock at a server that lets nobody in yet: one now and then does."""
    knocks = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal knocks
        knocks += 1
        try:
            await answers(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        if answers is loading_redis:
            store: Redis | AsyncPG = Redis(f"redis://{HOST}:{port}")
        else:
            store = AsyncPG(f"postgresql://app@{HOST}:{port}/app", sweep_every=0)
        session = bare_session(store)
        for _ in range(100):
            with pytest.raises(SessionStoreError):
                await begin(session, n=1)
        assert knocks < 20
        await store.close()
