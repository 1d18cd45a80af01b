"""Connections to the servers, for those who look behind an interface's back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import redis.asyncio

from sanic_cookies.interfaces.postgres import pool


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a busy machine to make the connections of a crowd."""
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 20.0)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A Redis client of the test's own."""
    async with redis.asyncio.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A Postgres connection of the test's own."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
