"""Each kind of interface as a master, on a real server, empty for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from sanic_cookies import AsyncPG, InCookieEncrypted, InMemory, Redis
from sanic_cookies.cli.maintenance import new_key

SHARED = ["memory", "redis", "postgres"]
KINDS = [*SHARED, "in-cookie"]


@asynccontextmanager
async def make_master(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Give an interface of a kind that holds no session yet; for tests that need several."""
    if kind == "memory":
        yield InMemory()
    elif kind == "redis":
        yield Redis(request.getfixturevalue("redis_url"), prefix=f"{uuid4().hex}:")
    elif kind == "postgres":
        url, table = request.getfixturevalue("database_url"), f"t_{uuid4().hex}"
        master = AsyncPG(url, table=table)
        await master.create_table()
        try:
            yield master
        finally:
            await master.close()
            connection = await asyncpg.connect(url)
            await connection.execute(f"DROP TABLE {table}")
            await connection.close()
    else:
        yield InCookieEncrypted(new_key(), revocations=InMemory())
