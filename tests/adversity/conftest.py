"""Stores with their table, and server processes that share them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
import pytest

from faults import PostgresSite, RedisSite, Site
from masters import KINDS, SHARED, make_master
from sanic_cookies import AsyncPG, Redis
from sanic_cookies.interfaces.base import Interface
from servers import PostgresServer, RedisServer
from target import Target
from workers import Worker


@pytest.fixture(params=KINDS)
async def master(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each kind of interface in turn."""
    async with make_master(request.param, request) as interface:
        yield interface


@pytest.fixture(params=SHARED)
async def shared_master(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each kind of interface that keeps sessions on the server."""
    async with make_master(request.param, request) as interface:
        yield interface


@pytest.fixture
async def target(master: Any) -> AsyncIterator[Target]:
    """What attackers go for, over each kind of interface."""
    async with Target(master) as target:
        yield target


@pytest.fixture(params=["redis", "postgres"])
async def store_url(request: pytest.FixtureRequest) -> str:
    """URL of a store whose table is there."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    url = str(request.getfixturevalue("database_url"))
    interface = AsyncPG(url)
    await interface.create_table()
    await interface.close()
    return url


@pytest.fixture
async def interface(store_url: str) -> AsyncIterator[Interface]:
    """An interface of this process on the store."""
    opened = Redis(store_url) if store_url.startswith("redis") else AsyncPG(store_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def workers(store_url: str) -> AsyncIterator[Callable[..., object]]:
    """Start so many server processes on the store: `await workers(4, lease=2)`."""
    started: list[Worker] = []

    async def start(number: int, **options: float) -> list[Worker]:
        new = [Worker(store_url, {"patience": 30.0, **options}) for _ in range(number)]
        started.extend(new)
        await asyncio.gather(*(worker.start() for worker in new))
        return new

    yield start
    await asyncio.gather(*(worker.stop(signal.SIGKILL) for worker in started))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps no cookies."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        # A shared jar would lend one user's cookie to another's login.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


@pytest.fixture(scope="session")
def broken_redis() -> Iterator[RedisServer]:
    """A Redis for tests of faults: each breaks it, and mends it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def broken_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for tests of faults; see `broken_redis`."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["redis", "postgres"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A store behind a proxy, empty, whose server may be broken."""
    server = request.getfixturevalue(f"broken_{request.param}")
    made = RedisSite(server) if request.param == "redis" else PostgresSite(server)
    async with made as opened:
        yield opened
