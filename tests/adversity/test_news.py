"""Sockets watched in one process, whose session another process ends.

The watcher looks by itself every ten minutes here, so what closes a socket is the store's news.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
import redis.asyncio as redis_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from workers import Worker, new_session

CHANNEL = "sanic_cookies:news:session:auth_session:"
AT_ONCE = 10.0  # seconds, on any machine; it takes milliseconds on a quiet one


def dial(worker: Worker, headers: dict[str, str]) -> connect:
    """Connect to the watched socket of a process."""
    url = worker.url.replace("http", "ws") + "/feed"
    return connect(url, additional_headers=headers, proxy=None)


async def lives(ws: ClientConnection) -> None:
    """Make sure that somebody answers."""
    await ws.send("still there?")
    assert await asyncio.wait_for(ws.recv(), 30) == "still there?"


async def closed(ws: ClientConnection, end: str) -> tuple[int, float]:
    """Wait for the close; give its code and the seconds that it took."""
    began = time.monotonic()
    with pytest.raises(ConnectionClosed) as caught:
        try:
            await asyncio.wait_for(ws.recv(), 30)
        except TimeoutError:
            pytest.fail(f"{end}: the socket was not closed")
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, time.monotonic() - began


def sid_in(headers: dict[str, str]) -> str:
    return headers["cookie"].partition("=")[2].partition(".")[0]


@pytest.fixture
def listeners(store_url: str) -> Callable[[], Any]:
    """Say how many channels of news are open at the store."""

    async def count() -> int:
        if store_url.startswith("redis"):
            async with redis_asyncio.from_url(store_url) as client:
                [(_, number)] = await client.pubsub_numsub(CHANNEL)
                return int(number)
        connection = await asyncpg.connect(store_url)
        try:
            query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    return count


@pytest.fixture
def cut_listeners(store_url: str) -> Callable[[], Any]:
    """Cut the connections by which processes hear from the store."""

    async def cut() -> None:
        if store_url.startswith("redis"):
            async with redis_asyncio.from_url(store_url) as client:
                await client.client_kill_filter(_type="pubsub")
            return
        connection = await asyncpg.connect(store_url)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
        finally:
            await connection.close()

    return cut


async def reach(listeners: Callable[[], Any], number: int) -> None:
    """Wait until so many channels are open."""
    async with asyncio.timeout(30):
        while await listeners() != number:  # noqa: ASYNC110 - another process opens them
            await asyncio.sleep(0.05)


ENDS = {
    "logout": lambda headers: ("/logout", headers),
    "revoke": lambda headers: (f"/revoke/{sid_in(headers)}", {}),
    "everywhere": lambda headers: ("/everywhere/ann", {}),
    "rotate": lambda headers: ("/rotate", headers),
    "login": lambda headers: ("/login/ann", headers),
    "eviction": lambda headers: ("/login/ann", {}),
}


async def test_what_another_process_ends_closes_the_socket_at_once(
    workers: Callable[..., Any], http: httpx.AsyncClient
) -> None:
    """A logout, a revocation, a new token, a login too many: the socket elsewhere is closed."""
    here, there = await workers(2, max_sessions=1)
    bob = await new_session(http, here.url, "/login/bob")
    took = {}
    async with dial(here, bob) as theirs:
        await lives(theirs)
        for end, call in ENDS.items():
            headers = await new_session(http, here.url, "/login/ann")
            async with dial(here, headers) as ws:
                await lives(ws)
                path, sent = call(headers)
                answer = await http.get(there.url + path, headers=sent)
                assert answer.status_code == 200
                code, took[end] = await closed(ws, end)
                assert code == 1008
        await lives(theirs)

    print("seconds from the answer to the close:", {k: round(v, 3) for k, v in took.items()})
    assert max(took.values()) < AT_ONCE


async def test_nobody_listens_where_nobody_watches(
    workers: Callable[..., Any], http: httpx.AsyncClient, listeners: Callable[..., Any]
) -> None:
    """A process opens the channel with its first watched socket, and not for logins and logouts."""
    [worker] = await workers(1)
    before = await listeners()
    headers = await new_session(http, worker.url, "/login/ann")
    await http.get(worker.url + "/logout", headers=headers)
    assert await listeners() == before

    headers = await new_session(http, worker.url, "/login/ann")
    async with dial(worker, headers) as one, dial(worker, headers) as two:
        await lives(one)
        await lives(two)
        await reach(listeners, before + 1)


async def test_news_that_were_missed_are_made_up_for(
    workers: Callable[..., Any],
    http: httpx.AsyncClient,
    interface: Any,
    listeners: Callable[..., Any],
    cut_listeners: Callable[..., Any],
) -> None:
    """What ends while the channel is cut is seen when it is open again."""
    [worker] = await workers(1)
    before = await listeners()
    headers = await new_session(http, worker.url, "/login/ann")
    async with dial(worker, headers) as ws:
        await lives(ws)
        await reach(listeners, before + 1)
        await cut_listeners()
        assert await interface.delete("auth_session", sid_in(headers))
        code, _ = await closed(ws, "cut")
        assert code == 1008
