"""What happens to Redis alone: eviction, fail-over, and what its operator should be told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from fault_lab import check_refusal, count, is_quiet, peek, recovered
from faults import PREFIX, RedisSite
from harness import set_cookies
from lab import Lab, until
from sanic_cookies import Redis, SessionDict
from sanic_cookies.interfaces.redis.scripts import packed_version
from sanic_cookies.token import Token
from servers import HOST, RedisServer

POLICIES = {
    "noeviction": False,
    "volatile-ttl": False,
    "volatile-lru": False,
    "allkeys-lru": True,
    "allkeys-lfu": True,
    "allkeys-random": True,
}


@pytest.fixture
async def site(broken_redis: RedisServer) -> AsyncIterator[RedisSite]:
    async with RedisSite(broken_redis) as opened:
        yield opened
        await opened.configure(maxmemory_policy="noeviction", maxmemory=0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return our own warnings."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "sanic_cookies" and record.levelno == logging.WARNING
    ]


@pytest.mark.parametrize(("policy", "warns"), POLICIES.items())
async def test_eviction_policy(
    site: RedisSite, policy: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy by which a full Redis ends living sessions is named in one line at the start."""
    await site.configure(maxmemory_policy=policy)
    async with Lab(site.master()) as lab:
        await lab.put(n=1)

    said = warnings(caplog)
    assert len(said) == warns
    assert all(policy in line and "noeviction" in line for line in said)


@pytest.mark.parametrize("kind", ["decoding client", "client"])
async def test_eviction_policy_through_a_given_client(
    site: RedisSite, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning comes whoever has made the client."""
    await site.configure(maxmemory_policy="allkeys-lru")
    client = redis.asyncio.from_url(site.url, decode_responses=kind == "decoding client")
    async with client, Lab(Redis(client, prefix=PREFIX)) as lab:
        await lab.put(n=1)

    assert len(warnings(caplog)) == 1


async def test_eviction_policy_of_a_server_far_away(
    site: RedisSite, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning comes also where all there is to do at the start takes longer than it may."""
    await site.configure(maxmemory_policy="allkeys-lru")
    site.proxy.latency(0.1)
    async with Lab(site.master()):
        pass

    assert len(warnings(caplog)) == 1


async def test_a_server_that_tells_nothing(
    site: RedisSite, caplog: pytest.LogCaptureFixture
) -> None:
    """Where INFO is forbidden the server starts, serves, and guesses nothing."""
    await site.configure(maxmemory_policy="allkeys-lru")
    await site.admin.execute_command(
        *("ACL", "SETUSER", "modest", "on", "nopass", "~*", "&*", "+@all", "-info", "-config")
    )
    url = site.url.replace("://", "://modest:x@")
    async with Lab(Redis(url, prefix=PREFIX)) as lab:
        await lab.put(n=1)
        assert await lab.stored() == {"n": 1}

    assert warnings(caplog) == []


async def fill(site: RedisSite, sid: str) -> None:
    """Store rubbish until Redis has evicted the session."""
    used = (await site.admin.info("memory"))["used_memory"]
    await site.configure(maxmemory_policy="allkeys-random", maxmemory=used + 2_000_000)
    number = 0
    while await site.admin.exists(f"{PREFIX}session:{sid}"):
        pipe = site.admin.pipeline(transaction=False)
        for _ in range(500):
            number += 1
            pipe.set(f"rubbish:{number}", "x" * 2000)
        await pipe.execute()


async def test_evicted(site: RedisSite) -> None:
    """Who is evicted is anonymous, whoever held the lock is told, and nothing comes back."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            assert sess.sid is not None
            await fill(site, sess.sid)

    async with Lab(site.master()) as lab:
        await lab.put(n=1)
        response = await lab.visit(body)

        assert response.status_code == 409
        assert set_cookies(response) == []
        assert (await lab.visit(peek)).json() == {}
        await site.configure(maxmemory_policy="noeviction", maxmemory=0)
        await recovered(lab)
        await is_quiet(lab, site)


# Fail-over. The proxy is the name that leads to the master.


async def replicate(replica: RedisServer, master: RedisServer) -> redis.asyncio.Redis:
    """Make one server the replica of the other, and wait until it has everything."""
    client = redis.asyncio.from_url(replica.url)
    await client.execute_command("REPLICAOF", HOST, master.port)
    async with asyncio.timeout(20):
        while (await client.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return client


async def is_there(client: redis.asyncio.Redis) -> None:
    """Wait until a replica has the first version of the session."""
    async with asyncio.timeout(10):
        while True:
            for key in await client.keys(f"{PREFIX}*"):
                if (await client.hget(key, "r") or b"")[120:128] == packed_version(1):
                    return
            await asyncio.sleep(0.01)


async def promote(site: RedisSite, client: redis.asyncio.Redis, server: RedisServer) -> None:
    """Make a replica the master, and have the name lead to it."""
    await client.execute_command("REPLICAOF", "NO", "ONE")
    site.proxy.upstream = (HOST, server.port)


async def test_fail_over_by_hand() -> None:
    """When the former master becomes a replica and keeps our connection, we leave by ourselves."""
    with RedisServer() as first, RedisServer() as second:
        async with RedisSite(first) as site:
            client = await replicate(second, site.server)
            async with Lab(site.master()) as lab:
                await lab.put(n=1)
                await is_there(client)
                await promote(site, client, second)
                await site.admin.execute_command("REPLICAOF", HOST, second.port)
                took = await recovered(lab)
                print(f"writes go to the new master after {took:.2f} s")
                assert took < 10
                assert await lab.stored() == {"n": 2}
            await client.aclose()


async def test_fail_over_that_loses_the_last_write() -> None:
    """A holder whose lease the new master never heard of writes nothing over what is there."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 100
            inside.set()
            await go.wait()

    with RedisServer() as first, RedisServer() as second:
        async with RedisSite(first) as site:
            client = await replicate(second, site.server)
            async with Lab(site.master(), lease=1.0) as lab:
                await lab.put(n=1)
                await is_there(client)
                # From here on nothing reaches the replica, as when its link has been slow.
                await client.execute_command("REPLICAOF", "NO", "ONE")
                holder = asyncio.create_task(lab.visit(body))
                await inside.wait()
                first.kill()
                await promote(site, client, second)
                site.proxy.cut()
                other = await recovered_at(lab, second)
                go.set()
                response = await holder

                check_refusal(response, lab.browser.cookies)
                assert await lab.stored() == {"n": other}
            await client.aclose()


async def recovered_at(lab: Lab, server: RedisServer) -> Any:
    """Write through another process on the new master, where nobody holds the session."""
    async with Lab(Redis(server.url, prefix=PREFIX)) as near:
        near.browser.cookies = lab.browser.cookies
        await recovered(near)
        return (await near.stored())["n"]


async def test_a_lock_table_that_does_not_grow(site: RedisSite) -> None:
    """Thousands of unknown ids leave neither lock nor key nor task."""
    async with Lab(site.master()) as lab:
        for _ in range(2000):
            lab.browser.cookies = {"session": Token.generate().value}
            assert (await lab.visit(peek)).status_code == 200
        runtime = lab.session.runtime
        await until(lambda: len(runtime.background) == 0)
        assert len(runtime.locks) == 0
        assert await site.admin.dbsize() == 0
        lab.browser.cookies = {"session": Token.generate().value}
        assert (await lab.visit(count)).json() == 1
