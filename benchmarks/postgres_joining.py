"""What it costs to use a session in Postgres, and to begin, renew and end one, joined and not.

    python -m benchmarks.postgres_joining [operations]

To lock, read, change and write one goes three ways, taken in turns so that a busy machine troubles
all alike, at 1 and at 32 tasks:

- by hand: SELECT, then an upsert, through asyncpg's pool; no lock, so simultaneous writes are lost;
- alone: `AsyncPG`, each step a statement of its own through the pool;
- joined: `AsyncPG` as it is.

To begin a session, give it a new token and end it goes the last two. Each of the three is a commit,
and those that notify are made one after the other, so here Postgres waits for its disk.

Printed are the medians of all rounds, per operation: time by the clock, processor time of this
process, and both as parts of the first way's. DATABASE_URL names the server; without it one is
started for the run.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

import asyncpg
import uvloop
from msgspec.structs import replace

from benchmarks.servers import stores
from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.record import Claim, Draft, Granted, Outcome
from sanic_cookies.token import Token

SESSIONS, ROUNDS, PAYLOAD = 1024, 7, b"x" * 200
TABLE = "joining_benchmark"
UPSERT = (
    f"INSERT INTO {TABLE} (name, sid, val, expires_at) VALUES ($1, $2, $3, now() + '1 day')"  # noqa: S608
    " ON CONFLICT (name, sid) DO UPDATE SET val = excluded.val"
)
SELECT = f"SELECT val FROM {TABLE} WHERE name = $1 AND sid = $2 AND expires_at > now()"  # noqa: S608

Operation = Callable[[int], Awaitable[None]]


class Alone(AsyncPG):
    """Joins nothing."""

    async def open(self) -> None:
        """Have every request ask alone."""
        await super().open()
        self._joiner.ask = self._joiner.ask_alone  # type: ignore[method-assign]


def locked(interface: AsyncPG, tokens: list[Token]) -> Operation:
    """Return the operation that locks a session, reads it, and writes and unlocks it."""

    async def operation(number: int) -> None:
        token = tokens[number]
        claim = Claim(str(number), 10.0, token.secret_hash, "benchmark")
        granted = await interface.acquire("session", token.sid, claim)
        assert isinstance(granted, Granted)  # noqa: S101
        assert granted.held  # noqa: S101
        version = granted.record.version + 1
        draft = Draft("session", token.sid, version, token.secret_hash, PAYLOAD, 3600, renew=False)
        assert await interface.commit(draft, claim.token, release=True) is Outcome.SAVED  # noqa: S101

    return operation


def by_hand(pool: Any, tokens: list[Token]) -> Operation:
    """Return the operation that reads and writes without any lock."""

    async def operation(number: int) -> None:
        sid = tokens[number].sid
        await pool.fetchval(SELECT, "session", sid)
        await pool.execute(UPSERT, "session", sid, PAYLOAD)

    return operation


def lived(interface: AsyncPG) -> Operation:
    """Return the operation that begins a session, gives it a new token, and ends it."""

    async def operation(_: int) -> None:
        token, newer = Token.generate(), Token.generate()
        draft = Draft("session", token.sid, 1, token.secret_hash, PAYLOAD, 3600, user_key="ann")
        assert await interface.create(draft)  # noqa: S101
        login = replace(draft, version=2, secret_hash=newer.secret_hash, rotated=True)
        assert await interface.save(login) is Outcome.SAVED  # noqa: S101
        assert await interface.delete(draft.name, draft.sid)  # noqa: S101

    return operation


async def measure(operation: Operation, tasks: int, count: int) -> tuple[float, float]:
    """Return the microseconds of time and of processor time that an operation takes."""
    # No two tasks at the same session: what waiting costs is another question.
    turns = iter(number % SESSIONS for number in range(count))

    async def task() -> None:
        for number in turns:
            await operation(number)

    began, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*(task() for _ in range(tasks)))
    elapsed = time.perf_counter() - began
    return elapsed / count * 1e6, (time.process_time() - spent) / count * 1e6


async def main(url: str, count: int) -> None:
    """Measure and print."""
    alone, joined = Alone(url, table=TABLE, sweep_every=0), AsyncPG(url, table=TABLE, sweep_every=0)
    pool = await asyncpg.create_pool(url)
    await alone.open()
    await joined.open()
    await pool.execute(f"DROP TABLE IF EXISTS {TABLE}")
    await joined.create_table()
    tokens = [Token.generate() for _ in range(SESSIONS)]
    for token in tokens:
        await joined.create(Draft("session", token.sid, 1, token.secret_hash, PAYLOAD, 3600))
    await compare(
        {
            "by hand, unlocked": by_hand(pool, tokens),
            "alone, locked": locked(alone, tokens),
            "joined, locked": locked(joined, tokens),
        },
        count,
    )
    await compare({"alone, a life": lived(alone), "joined, a life": lived(joined)}, count // 3)
    await pool.execute(f"DROP TABLE {TABLE}")
    await joined.close()
    await alone.close()
    await pool.close()


async def compare(ways: Mapping[str, Operation], count: int) -> None:
    """Measure ways of doing the same, and print them."""
    for tasks in (1, 32):
        figures: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, operation in ways.items():
                figures[way].append(await measure(operation, tasks, count))
        report(tasks, {way: list(zip(*rounds, strict=True)) for way, rounds in figures.items()})


def report(tasks: int, figures: dict[str, list[Any]]) -> None:
    """Print the medians, and what part they are of the first way's."""
    base = [median(column) for column in next(iter(figures.values()))]
    for way, columns in figures.items():
        wall, cpu = (median(column) for column in columns)
        print(
            f"{tasks:2} tasks, {way:18} {wall:7.0f} us {wall / base[0]:5.2f}x,"
            f" processor {cpu:7.0f} us {cpu / base[1]:5.2f}x"
        )


if __name__ == "__main__":
    with ExitStack() as stack:
        url = (
            os.environ.get("DATABASE_URL") or stack.enter_context(stores({"postgres"}))["postgres"]
        )
        uvloop.run(main(url, int(sys.argv[1]) if len(sys.argv) > 1 else 3000))
