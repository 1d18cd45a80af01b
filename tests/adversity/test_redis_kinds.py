"""Redis Cluster and fail-over: the same promises, on the servers that a wheel brings."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis.asyncio as redis_asyncio
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisClusterException, RedisError

from bare import bare_session, begin, request_with
from sanic_cookies import Redis, Session, SessionError, SessionInterrupted
from sanic_cookies.interfaces.redis.link import ClusterNodeError
from sanic_cookies.record import Claim, Granted, Outcome, Record
from sanic_cookies.testing import following, new_draft
from sanic_cookies.token import Credential
from servers import HOST, RedisServer, bind_free_port, free_port
from stores import opened

SLOTS = 16384


BUS = 10_000


class ClusterNode(RedisServer):
    """A Redis that is part of a cluster; its nodes talk on a second port, `BUS` above the first."""

    def __init__(self) -> None:
        super().__init__()
        while not self._port:
            with bind_free_port() as bound, suppress(OSError):
                port = bound.getsockname()[1]
                bind_free_port(port + BUS).close()
                self._port = port

    def _command(self) -> list[str | Path]:
        folder = self.directory
        return [*super()._command(), "--cluster-enabled", "yes", "--dir", folder]


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ClusterNode]]:
    """Three cluster nodes that do not know each other yet."""
    with ExitStack() as stack:
        yield [stack.enter_context(ClusterNode()) for _ in range(3)]


@pytest.fixture
async def cluster(nodes: list[ClusterNode]) -> AsyncIterator[redis_asyncio.RedisCluster]:
    """A client of a cluster of three masters."""
    clients = [redis_asyncio.Redis.from_url(node.url) for node in nodes]
    if not await knows_all(clients[0]):
        for number, client in enumerate(clients):
            mine = range(number * SLOTS // 3, (number + 1) * SLOTS // 3)
            await client.execute_command("CLUSTER ADDSLOTS", *mine)
            await client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port)
    for client in clients:
        async with asyncio.timeout(30):
            while not await knows_all(client):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.05)
        await client.aclose()
    yield (client := redis_asyncio.RedisCluster.from_url(nodes[0].url))
    await client.aclose()


async def knows_all(client: redis_asyncio.Redis) -> bool:
    """Say whether a node sees the whole cluster."""
    info = await client.execute_command("CLUSTER INFO")
    return (info["cluster_state"], info["cluster_size"]) == ("ok", "3")


async def test_sessions_on_a_cluster(cluster: redis_asyncio.RedisCluster) -> None:
    """Sessions spread over a cluster are locked, written, rotated and ended like anywhere."""
    interface = Redis(cluster)
    session = bare_session(interface, max_waiters=100)
    cookies = [await begin(session, count=0) for _ in range(30)]

    async def increment(cookie: str) -> None:
        async with request_with(session, cookie) as sess:
            sess["count"] += 1

    await asyncio.gather(*(increment(cookie) for cookie in cookies for _ in range(5)))

    for cookie in cookies:
        assert (await request_with(session, cookie).peek())["count"] == 5
    sess = request_with(session, cookies[0])
    async with sess:
        sess.rotate()
    assert not await request_with(session, cookies[0]).peek()
    assert await request_with(session, cookies[1]).end()
    assert not await request_with(session, cookies[1]).peek()
    await session.drain(2)
    await interface.close()


async def test_lease_on_a_cluster(cluster: redis_asyncio.RedisCluster) -> None:
    """A lease on a cluster excludes another client and is handed to the one who waits."""
    first, second = Redis(cluster), Redis(cluster)
    session = bare_session(first)
    token = Credential.parse(await begin(session, count=0))
    assert token is not None
    claims = [Claim(name, 10, token.secret_hash) for name in ("a", "b")]
    granted = await first.acquire("session", token.sid, claims[0])
    assert isinstance(granted, Granted)
    assert not isinstance(await second.acquire("session", token.sid, claims[1]), Granted)

    await first.release("session", token.sid, "a")

    taken = await second.acquire("session", token.sid, claims[1])
    assert isinstance(taken, Granted)
    assert taken.held
    await second.release("session", token.sid, "b")
    for interface in (first, second):
        await interface.close()


async def test_failover_to_an_empty_replica_refuses_the_writer() -> None:
    """A holder whose master was replaced by an empty one writes nothing and revives nothing."""
    with RedisServer() as master, RedisServer() as replica:
        held = Redis(master.url)
        session = bare_session(held)
        cookie = await begin(session, count=1)
        sess = request_with(session, cookie)
        await sess.__aenter__()
        sess["count"] = 2

        master.kill()
        held._url = replica.url  # what Sentinel does for its clients
        await held.close()
        with pytest.raises(SessionInterrupted):
            await sess.__aexit__(None, None, None)

        client = redis_asyncio.Redis.from_url(replica.url)
        assert await client.dbsize() == 0
        await client.aclose()
        await session.drain(2)
        await held.close()


class SentinelServer(RedisServer):
    """A Sentinel that watches one master."""

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self.master = master

    def _command(self) -> list[str | Path]:
        config = self.directory / "sentinel.conf"
        config.write_text(
            f"port {self._port}\nbind 127.0.0.1\n"
            f"sentinel monitor mymaster 127.0.0.1 {self.master.port} 1\n"
        )
        self.account.own(config)
        return [super()._command()[0], config, "--sentinel"]


async def test_sessions_through_sentinel() -> None:
    """A client that Sentinel leads to the master is a client like any other."""
    with RedisServer() as master, SentinelServer(master) as guide:
        sentinel = Sentinel([("127.0.0.1", guide.port)])
        client = sentinel.master_for("mymaster")
        interface = Redis(client)
        session = bare_session(interface, max_waiters=100)
        cookie = await begin(session, count=0)

        async def increment() -> None:
            async with request_with(session, cookie) as sess:
                sess["count"] += 1

        await asyncio.gather(*(increment() for _ in range(20)))

        assert (await request_with(session, cookie).peek())["count"] == 20
        await session.drain(2)
        await interface.close()
        await client.aclose()
        for each in sentinel.sentinels:
            await each.aclose()


class Replica(RedisServer):
    """A server that copies another."""

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self.master = master

    def _command(self) -> list[str | Path]:
        return [*super()._command(), "--replicaof", HOST, str(self.master.port)]


async def test_sentinel_leads_to_the_new_master() -> None:
    """After a fail-over by Sentinel sessions are written on the new master, without a restart."""
    with RedisServer() as master, Replica(master) as replica, SentinelServer(master) as guide:
        sentinel = Sentinel([(HOST, guide.port)])
        client = sentinel.master_for("mymaster")
        interface = Redis(client)
        session = bare_session(interface)
        cookie = await begin(session, count=1)
        async with redis_asyncio.from_url(replica.url) as copy, sentinel.sentinels[0] as watcher:
            await eventually(lambda: copy.dbsize())
            await eventually(lambda: knows_replica(watcher))
            await watcher.execute_command("SENTINEL FAILOVER mymaster")
            await eventually(lambda: is_master(copy))

            await eventually(lambda: increments(session, cookie))

            assert await copy.info("replication") is not None
            assert (await request_with(session, cookie).peek())["count"] >= 2
        await session.drain(2)
        await interface.close()
        await client.aclose()
        for each in sentinel.sentinels:
            await each.aclose()


async def knows_replica(watcher: redis_asyncio.Redis) -> bool:
    """Say whether Sentinel has found the replica and thinks well of it."""
    replicas = await watcher.sentinel_slaves("mymaster")
    return any(each["flags"] == "slave" for each in replicas)


async def is_master(client: redis_asyncio.Redis) -> bool:
    """Say whether a server is the master."""
    return (await client.info("replication"))["role"] == "master"


async def increments(session: Session, cookie: str) -> bool:
    """Increment the session's counter; say whether it was stored."""
    try:
        async with request_with(session, cookie) as sess:
            sess["count"] += 1
    except SessionError:
        return False
    return True


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until other processes have done something."""
    async with asyncio.timeout(60):
        while True:
            try:
                if await condition():
                    return
            except RedisError:
                pass
            await asyncio.sleep(0.05)


async def test_a_cluster_shows_all_its_sessions(cluster: redis_asyncio.RedisCluster) -> None:
    """Sessions on every node of a cluster are listed, each once, and counted."""
    interface = Redis(cluster, prefix="shown:")
    drafts = [new_draft(user_key=f"user {number % 7}") for number in range(200)]
    for draft in drafts:
        assert await interface.create(draft)

    shown = [record.sid async for record in interface.records("contract")]
    census = await interface.census()

    assert sorted(shown) == sorted(draft.sid for draft in drafts)
    assert (census.sessions, census.users) == (200, 7)


@pytest.mark.parametrize("use", ["touch", "save"])
async def test_an_index_on_a_cluster_lives_on_with_use(
    cluster: redis_asyncio.RedisCluster, use: str
) -> None:
    """On a cluster, too, a use that prolongs a session prolongs its user's index."""
    interface, user = Redis(cluster, prefix=f"{use}:"), f"user of {use}"
    draft = new_draft(user_key=user, ttl=300)
    await interface.create(draft)
    index = interface._index("contract", user)
    assert 0 < await cluster.ttl(index) <= 300

    if use == "touch":
        assert await interface.touch(draft.name, draft.sid, 1, 5000)
    else:
        assert await interface.save(following(draft, ttl=5000)) is Outcome.SAVED

    assert 4900 < await cluster.ttl(index) <= 5000


async def test_an_index_on_a_cluster_stays_short(cluster: redis_asyncio.RedisCluster) -> None:
    """On a cluster, too, the index of one who logs in and out does not name all that ever were."""
    interface = Redis(cluster, prefix="short:")
    for _ in range(300):
        draft = new_draft(user_key="ann")
        await interface.create(draft)
        await interface.delete(draft.name, draft.sid)

    assert await cluster.zcard(interface._index("contract", "ann")) < 50


async def test_a_cluster_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """A server starts while its cluster is away, and waits for news of it without a word."""
    caplog.set_level(logging.DEBUG, "sanic_cookies")
    client = redis_asyncio.RedisCluster.from_url(f"redis://{HOST}:{free_port()}")
    async with opened(Redis(client)) as interface:
        interface.listen("session", [].append)
        async with asyncio.timeout(10):
            while not caplog.records:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        with pytest.raises(RedisClusterException):
            await interface.fetch("session", "x")
    await client.aclose()

    assert {each.levelno for each in caplog.records} == {logging.DEBUG}


@asynccontextmanager
async def lagging_replica(nodes: list[ClusterNode]) -> AsyncIterator[None]:
    """Have a replica of the first node that has heard of nothing since it was there."""
    with ClusterNode() as node:
        primary = redis_asyncio.Redis.from_url(nodes[0].url)
        replica = redis_asyncio.Redis.from_url(node.url)
        await primary.execute_command("ACL SETUSER copier on >secret +psync +replconf +ping")
        await replica.config_set("masteruser", "copier")
        await replica.config_set("masterauth", "secret")
        await replica.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port)
        name = await primary.execute_command("CLUSTER MYID")
        async with asyncio.timeout(30):
            while not await knows_all(replica):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.05)
            await replica.execute_command("CLUSTER REPLICATE", name)
            while (await replica.info("replication")).get("master_link_status") != "up":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await primary.execute_command("ACL SETUSER copier off")
            await primary.execute_command("CLIENT KILL TYPE replica")
            while not await is_replica(primary, node):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        try:
            yield
        finally:
            name = await replica.execute_command("CLUSTER MYID")
            for each in nodes:
                async with redis_asyncio.Redis.from_url(each.url) as client:
                    with suppress(RedisError):  # not all have heard of it
                        await client.execute_command("CLUSTER FORGET", name)
            await primary.aclose()
            await replica.aclose()


async def is_replica(client: redis_asyncio.Redis, node: ClusterNode) -> bool:
    """Say whether a node knows another one as a replica."""
    found = await client.execute_command("CLUSTER NODES")
    return any("slave" in str(each) for place, each in found.items() if str(node.port) in place)


@pytest.mark.filterwarnings("ignore:.*read_from_replicas:DeprecationWarning")
async def test_an_index_on_a_cluster_believes_no_replica(
    cluster: redis_asyncio.RedisCluster, nodes: list[ClusterNode]
) -> None:
    """A session that a replica does not know yet stays in its user's index."""
    async with lagging_replica(nodes):
        reading = redis_asyncio.RedisCluster.from_url(nodes[0].url, read_from_replicas=True)
        interface, lost = Redis(reading, prefix="lag:"), []
        for number in range(60):
            draft = new_draft(user_key=f"user {number}")
            await interface.create(draft)
            if not await interface.records_of(draft.name, f"user {number}"):
                lost.append(number)
        await reading.aclose()

    assert lost == []


async def test_who_comes_back_while_an_index_on_a_cluster_is_read(
    cluster: redis_asyncio.RedisCluster,
) -> None:
    """A session that was another user's when it was read, and is this one's again, stays listed."""

    class Reader(Redis):
        async def fetch(self, name: str, sid: str) -> Record | None:
            record = await super().fetch(name, sid)
            await log_in(self, 3, "ann")
            return record

    async def log_in(interface: Redis, version: int, user: str) -> None:
        write = following(draft, version=version, rotated=True, user_key=user)
        assert await interface.save(write) is Outcome.SAVED

    interface, draft = Redis(cluster, prefix="back:"), new_draft(user_key="ann")
    await interface.create(draft)
    await log_in(interface, 2, "bob")
    assert await Reader(cluster, prefix="back:").records_of(draft.name, "ann") == []
    assert [each.sid for each in await interface.records_of(draft.name, "ann")] == [draft.sid]


async def test_no_record_goes_astray_on_a_cluster(cluster: redis_asyncio.RedisCluster) -> None:
    """There each command has a connection of its own, and cancelled requests mix up nobody's."""
    interface, rng = Redis(cluster, prefix="astray:"), random.Random(11)
    drafts = [new_draft(payload=b"%d" % number) for number in range(100)]
    for draft in drafts:
        await interface.create(draft)
    numbers, right, cancelled = iter(range(5000)), 0, 0

    async def read(number: int) -> None:
        nonlocal right
        draft = drafts[number % len(drafts)]
        record = await interface.fetch(draft.name, draft.sid)
        assert record is not None
        assert record.payload == draft.payload
        right += 1

    async def visitor() -> None:
        nonlocal cancelled
        for number in numbers:
            task = asyncio.create_task(read(number))
            if number % 3 == 0:
                for _ in range(rng.randrange(8)):
                    await asyncio.sleep(0)
                cancelled += task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None

    await asyncio.gather(*(visitor() for _ in range(20)))

    assert right + cancelled >= 5000
    assert cancelled > 500


async def test_an_index_on_a_cluster_that_is_mostly_wrong(
    cluster: redis_asyncio.RedisCluster,
) -> None:
    """However many that have ended an index on a cluster names, the living are listed."""
    interface, living = Redis(cluster, prefix="wrong:"), new_draft(user_key="ann")
    await interface.create(living)
    index = interface._index("contract", "ann")
    # More than a script of Redis can take at once.
    await cluster.zadd(index, {f"ended-{number}": number for number in range(9000)})

    assert [each.sid for each in await interface.records_of("contract", "ann")] == [living.sid]
    assert await cluster.zcard(index) == 1


@pytest.mark.usefixtures("cluster")
async def test_who_gives_one_node_of_a_cluster_is_told(
    nodes: list[ClusterNode], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once which client a cluster takes; requests for other nodes' sessions fail."""
    refused = 0
    async with opened(Redis(nodes[0].url)) as interface:
        session = bare_session(interface)
        while refused < 2:  # a third of the sessions belongs to this node
            try:
                await begin(session, n=1)
            except SessionError:
                refused += 1
        # The index of users stands in a slot of its own, on whichever node.
        with pytest.raises(ClusterNodeError):
            await interface.create(new_draft(user_key="ann"))

    [hint] = [text for text in caplog.messages if "node of a cluster" in text]
    assert "RedisCluster" in hint
