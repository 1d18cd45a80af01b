"""A table that is spread over partitions by the hash of the sid keeps the whole contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.interfaces.postgres.interface import sql
from sanic_cookies.interfaces.postgres.queue import Queue
from sanic_cookies.testing import (
    InterfaceContract,
    LeaseContract,
    NewsContract,
    SweepContract,
    new_draft,
)
from stores import opened, postgres, table

PARTITIONS = 4


@pytest.fixture
async def name(database: asyncpg.Connection) -> AsyncIterator[str]:
    async with table(database) as name:
        await database.execute(partitioned(name))
        yield name


@pytest.fixture
async def interface(database_url: str, name: str) -> AsyncIterator[AsyncPG]:
    async with postgres(database_url, name) as interface:
        yield interface


@pytest.fixture
async def twin(interface: AsyncPG, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
    async with opened(AsyncPG(database_url, table=name, sweep_every=0)) as twin:
        yield twin


def partitioned(name: str) -> str:
    """Return what makes the table, from the statement that makes the plain one.

    Storage parameters are a partition's, so they move from the one to the others.
    """
    plain, _, rest = sql("create_table", name).partition(") WITH (")
    storage, _, indexes = rest.partition(");")
    parts = "".join(
        f"CREATE TABLE {name}_{number} PARTITION OF {name} "
        f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number}) WITH ({storage});\n"
        for number in range(PARTITIONS)
    )
    return f"{plain}) PARTITION BY HASH (sid);\n{parts}{indexes}"


class TestPartitions(InterfaceContract, LeaseContract, NewsContract, SweepContract):
    """All that `AsyncPG` promises of one table."""


class TestJoinedOnPartitions(InterfaceContract, LeaseContract, NewsContract, SweepContract):
    """The same by the joined statements, also where a request is the only one."""

    @pytest.fixture(autouse=True)
    def joined_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Queue, "take_only", lambda *_: False)


async def test_the_sessions_are_spread(
    interface: AsyncPG, database: asyncpg.Connection, name: str
) -> None:
    """It is partitions that the contract is kept on: all of them have sessions."""
    for _ in range(100):
        assert await interface.create(new_draft())
    rows = await database.fetch(f"SELECT tableoid FROM {name} GROUP BY tableoid")
    assert len(rows) == PARTITIONS


async def test_the_parts_are_counted(interface: AsyncPG) -> None:
    """The size that the census gives is that of all partitions; their parent has none."""
    for _ in range(100):
        assert await interface.create(new_draft())
    census = await interface.census()

    assert census.sessions == 100
    assert census.store_bytes is not None
    assert census.store_bytes >= PARTITIONS * 3 * 8192  # a page of rows, and of either index
    assert len([record async for record in interface.records()]) == 100
