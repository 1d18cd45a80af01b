"""Figures that the documentation states: no lost update, and the round trips of each way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio as redis_asyncio

from lab import Lab
from sanic_cookies import AsyncPG, Redis, SessionDict

INCREMENTS = 200


async def test_200_concurrent_increments(shared_master: Any) -> None:
    """200 requests that increment one session at once give exactly 200."""

    async def increment(sess: SessionDict) -> None:
        async with sess:
            n = sess["n"]
            await asyncio.sleep(0)
            sess["n"] = n + 1

    async with Lab(shared_master, max_waiters=256, lock_timeout=60) as lab:
        await lab.put(n=0)
        replies = await asyncio.gather(*(lab.visit(increment) for _ in range(INCREMENTS)))

        assert [reply.status_code for reply in replies] == [200] * INCREMENTS
        assert await lab.stored() == {"n": INCREMENTS}
        assert len(lab.session.runtime.locks) == 0


class CountingRedis(redis_asyncio.Redis):
    """A client that counts the commands which it sends."""

    commands = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.commands += 1
        return await super().execute_command(*args, **options)


@asynccontextmanager
async def counted(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Any]]:
    """Give an interface and a function that returns the number of its round trips so far."""
    if kind == "redis":
        client = CountingRedis.from_url(request.getfixturevalue("redis_url"))
        yield Redis(client, prefix=f"{uuid4().hex}:"), lambda: client.commands
        await client.aclose()
        return
    queries: list[str] = []

    async def watch(connection: Any) -> None:
        connection.add_query_logger(lambda record: queries.append(record.query))

    url = request.getfixturevalue("database_url")
    master = AsyncPG(url, table="figures", sweep_every=0, max_size=1, init=watch)
    await master.create_table()
    yield master, lambda: len(queries)


async def untouched(sess: SessionDict) -> None:
    pass


async def peek(sess: SessionDict) -> None:
    for _ in range(3):
        await sess.peek()


async def locked(sess: SessionDict) -> None:
    async with sess:
        sess["n"] = sess.get("n", 0) + 1


async def locked_read(sess: SessionDict) -> None:
    async with sess:
        sess.get("n")


async def unlocked_write(sess: SessionDict) -> None:
    sess["n"] = sess["n"] + 1


async def unlocked_read(sess: SessionDict) -> None:
    assert sess["n"]


@pytest.mark.parametrize("kind", ["redis", "postgres"])
@pytest.mark.parametrize(
    ("use", "preload", "expected"),
    [
        (untouched, False, 0),
        (peek, False, 1),
        (peek, True, 1),
        (locked, False, 2),
        (locked, True, 3),
        (locked_read, False, 2),
        (unlocked_read, True, 1),
        (unlocked_write, True, 3),
    ],
)
async def test_round_trips(
    use: Any, preload: bool, expected: int, kind: str, request: pytest.FixtureRequest
) -> None:
    """Each way to use a session costs exactly the round trips that are promised."""
    async with (
        counted(kind, request) as (master, trips),
        Lab(master, preload=preload, warn_lock=False) as lab,
    ):
        await lab.do(locked)
        await lab.do(use)
        before = trips()
        await lab.do(use)

        assert trips() - before == expected


@pytest.mark.parametrize("kind", ["redis", "postgres"])
@pytest.mark.parametrize("use", [untouched, peek, locked_read])
async def test_an_anonymous_request_asks_nothing(
    use: Any, kind: str, request: pytest.FixtureRequest
) -> None:
    """Without a cookie, or with one of another shape, the store is not asked at all."""
    async with counted(kind, request) as (master, trips), Lab(master) as lab:
        before = trips()
        await lab.do(use)
        lab.browser.cookies = {"session": "malformed"}
        await lab.do(use)

        assert trips() == before
