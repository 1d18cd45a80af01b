"""Redis that hangs, dies, restarts or changes its role: errors in time, and back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError

from bare import bare_session, begin
from lab import until
from proxy import ToxicProxy
from sanic_cookies import Redis, Session, SessionError, SessionStoreError
from sanic_cookies.testing import new_draft
from servers import HOST, RedisServer

# How soon sessions must work again once the store does, for a machine that is busy.
SOON = 2.0 + 3.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with RedisServer() as server:
        yield server


@pytest.fixture
async def interface(server: RedisServer) -> AsyncIterator[Redis]:
    """An interface on the server."""
    interface = Redis(server.url)
    await interface.open()
    yield interface
    await interface.close()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[ToxicProxy]:
    """A proxy before the server."""
    async with ToxicProxy(HOST, server.port) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: ToxicProxy) -> AsyncIterator[Redis]:
    """An interface that reaches the server through the proxy."""
    interface = Redis(f"redis://{HOST}:{proxy.port}/0")
    await interface.open()
    yield interface
    await interface.close()


async def seconds_until_served(session: Session) -> float:
    """Begin sessions until one is stored; return how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        while True:
            try:
                await begin(session, count=1)
            except SessionError:
                await asyncio.sleep(0.02)
            else:
                return time.monotonic() - began


async def test_half_open_connection_costs_nobody_an_error(far: Redis, proxy: ToxicProxy) -> None:
    """A connection that is gone without a word is left, and what waits for it is sent anew."""
    draft = new_draft()
    await far.create(draft)
    proxy.blackhole()
    waiting = [asyncio.create_task(far.fetch(draft.name, draft.sid)) for _ in range(5)]
    await until(lambda: any(link.silent for link in proxy._links))
    proxy.pass_through()  # for the next connection; this one stays as it is

    async with asyncio.timeout(SOON):
        records = await asyncio.gather(*waiting)

    assert [each and each.sid for each in records] == [draft.sid] * 5
    assert proxy.accepted == 2


async def test_slow_answers_keep_the_connection(far: Redis, proxy: ToxicProxy) -> None:
    """A server that answers, however slowly and one by one, is not taken for a silent one."""
    draft = new_draft()
    await far.create(draft)
    proxy.latency(0.4)
    for _ in range(4):
        assert await far.fetch(draft.name, draft.sid) is not None

    assert proxy.accepted == 1


async def test_own_pause_is_not_the_servers(far: Redis, proxy: ToxicProxy) -> None:
    """A process that stood still finds its answers and does not take the server for silent."""
    draft = new_draft()
    await far.create(draft)
    proxy.latency(0.05)
    waiting = asyncio.create_task(far.fetch(draft.name, draft.sid))
    await asyncio.sleep(0.01)
    time.sleep(2)  # noqa: ASYNC251 - the loop is to stand still

    assert await waiting is not None
    assert proxy.accepted == 1


@pytest.mark.parametrize("way", ["hang", "crash", "restart"])
async def test_sessions_come_back_by_themselves(
    server: RedisServer, interface: Redis, way: str
) -> None:
    """While the server hangs or is down requests fail in time; soon after, sessions work again."""
    session = bare_session(interface, store_timeout=2.0)
    await begin(session, count=0)
    stop, go_on = {
        "hang": (server.pause, server.resume),
        "crash": (server.kill, server.start),
        "restart": (lambda: None, server.restart),
    }[way]
    await asyncio.to_thread(stop)
    if way != "restart":
        began = time.monotonic()
        failed = await asyncio.gather(
            *(begin(session, count=1) for _ in range(50)), return_exceptions=True
        )
        assert {type(each) for each in failed} == {SessionStoreError}
        assert time.monotonic() - began < 2.0 + SOON
    await asyncio.to_thread(go_on)

    assert await seconds_until_served(session) < SOON
    await session.drain(2)


async def test_outage_makes_no_storm_of_connections(far: Redis, proxy: ToxicProxy) -> None:
    """Hundreds of requests at a server that throws everybody out try it a few times, together."""
    proxy.refuse()
    before = proxy.accepted
    for _ in range(3):
        failed = await asyncio.gather(
            *(far.fetch("session", "x" * 22) for _ in range(200)), return_exceptions=True
        )
        assert all(isinstance(each, RedisConnectionError) for each in failed)

    # Each time one connection for all, and redis-py's second try.
    assert proxy.accepted - before <= 6


async def test_replica_is_read_and_refuses_writes(server: RedisServer, interface: Redis) -> None:
    """A master that becomes a replica refuses writes, serves reads, and is written once it may."""
    async with redis.asyncio.from_url(server.url) as client:
        draft = new_draft()
        await interface.create(draft)
        await client.replicaof(HOST, "1")  # of nobody: it keeps what it has
        connected = await accepted(client)
        for _ in range(20):
            with pytest.raises(ReadOnlyError):
                await interface.create(new_draft())
            assert await interface.fetch(draft.name, draft.sid) is not None
        # It was left in the hope of a master, but not for each refusal.
        assert await accepted(client) - connected < 10
        await client.replicaof("NO", "ONE")

        assert await interface.create(new_draft()) is True


async def accepted(client: redis.asyncio.Redis) -> int:
    """Return how many connections the server has had."""
    return int((await client.info("stats"))["total_connections_received"])
