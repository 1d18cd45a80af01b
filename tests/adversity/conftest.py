"""Stores with their table, and server processes that share them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from sanic_cookies import AsyncPG, Redis
from sanic_cookies.interfaces.base import Interface
from workers import Worker


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
        new = [Worker(store_url, options) for _ in range(number)]
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
        yield client
