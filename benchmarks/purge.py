"""How long it takes to drop expired rows from Postgres, and what the requests meanwhile feel.

    python benchmarks/purge.py [rows] [batch]

A table gets so many expired rows (1,000,000) and 10,000 live ones. Then `sanic-cookies purge` runs
as a process of its own, while 100 locked read-modify-writes a second go through `AsyncPG` here,
and `pg_locks` is looked at every few milliseconds. Printed are the time and the rate, how long a
session's row was locked by the purge at the longest, and the latencies with and without it.
DATABASE_URL names the server; without it one is started for the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.record import Claim, Draft, Granted, Outcome
from sanic_cookies.token import Token
from servers import PostgresServer

T = TypeVar("T")
TABLE, LIVE, PER_SECOND, PAYLOAD = "purge_benchmark", 10_000, 100, b"x" * 200
FILL = f"""
    INSERT INTO {TABLE} (name, sid, version, secret_hash, val, created_at, expires_at)
    SELECT 'session', md5(n::text), 1, sha256(n::text::bytea), repeat('x', 200)::bytea,
           now() - interval '2 days', now() - n * interval '0.1 second'
    FROM generate_series(1, $1) n
"""  # noqa: S608
# The longest time that a transaction which deletes from the table has been running: for so long,
# at most, its rows have been locked.
HELD = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.relation = $1::regclass AND l.mode = 'RowExclusiveLock' AND a.query LIKE '%DELETE FROM%'
"""


class Load:
    """So many requests a second, each a locked read-modify-write, and how long they took."""

    def __init__(self, interface: AsyncPG, tokens: list[Token]) -> None:
        self.interface, self.tokens = interface, tokens
        self.seconds: list[float] = []
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on until cancelled."""
        due, number = time.perf_counter(), 0
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._request(self.tokens[number % LIVE], due))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            due, number = due + 1 / PER_SECOND, number + 1

    async def drain(self) -> None:
        """Wait for those that are under way."""
        await asyncio.gather(*self._running)

    async def _request(self, token: Token, due: float) -> None:
        claim = Claim(token_hex(8), 10.0, token.secret_hash)
        granted = await self.interface.acquire("session", token.sid, claim)
        assert isinstance(granted, Granted)  # noqa: S101
        version = granted.record.version + 1
        draft = Draft("session", token.sid, version, token.secret_hash, PAYLOAD, 3600, renew=False)
        saved = await self.interface.commit(draft, claim.token, release=True)
        assert saved is Outcome.SAVED  # noqa: S101
        self.seconds.append(time.perf_counter() - due)


async def watch(url: str, held: list[float]) -> None:
    """Note how long rows are locked, until cancelled."""
    connection = await asyncpg.connect(url)
    try:
        while True:
            held.append(await connection.fetchval(HELD, TABLE))
            await asyncio.sleep(0.002)
    finally:
        connection.terminate()


def latencies(seconds: list[float]) -> str:
    """Say what is typical and what is worst."""
    ordered = sorted(seconds)
    p50, p99 = (ordered[len(ordered) * part // 100] * 1e3 for part in (50, 99))
    worst = ordered[-1] * 1e3
    return f"{len(ordered):,} requests, p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms"


async def purge(url: str, batch: int) -> tuple[int, float]:
    """Run the command; return how many rows went, and in how many seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sanic_cookies", "purge", "--json"),
        *("--batch", str(batch), "--url", url, "--table", TABLE),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    found = json.loads(output)
    return found["dropped"], found["seconds"]


async def main(url: str, rows: int, batch: int) -> None:
    """Measure and print."""
    interface = AsyncPG(url, table=TABLE, sweep_every=0)
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
    await interface.create_table()
    tokens = [Token.generate() for _ in range(LIVE)]
    drafts = [Draft("session", t.sid, 1, t.secret_hash, PAYLOAD, 86400.0) for t in tokens]
    for first in range(0, LIVE, 100):
        await asyncio.gather(*map(interface.create, drafts[first : first + 100]))
    await connection.execute(FILL, rows)
    await connection.execute(f"ANALYZE {TABLE}")
    quiet, busy, held = Load(interface, tokens), Load(interface, tokens), [0.0]
    await during(quiet, asyncio.sleep(10))
    watching = asyncio.create_task(watch(url, held))
    dropped, seconds = await during(busy, purge(url, batch))
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    left = await connection.fetchval(f"SELECT count(*) FROM {TABLE}")  # noqa: S608
    print(f"dropped {dropped:,} expired rows in {seconds:.1f} s, {batch:,} a batch;", end=" ")
    print(f"{dropped / seconds:,.0f} a second; {left:,} live rows left")
    print(f"a batch's rows were locked for {max(held) * 1e3:.0f} ms at the longest")
    print(f"before: {latencies(quiet.seconds)}")
    print(f"during: {latencies(busy.seconds)}")
    await connection.execute(f"DROP TABLE {TABLE}")
    await connection.close()
    await interface.close()


async def during(load: Load, work: Awaitable[T]) -> T:
    """Do something under load."""
    running = asyncio.create_task(load.run())
    result = await work
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await load.drain()
    return result


if __name__ == "__main__":
    with ExitStack() as stack:
        url = os.environ.get("DATABASE_URL") or stack.enter_context(PostgresServer()).url
        rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        uvloop.run(main(url, rows, int(sys.argv[2]) if len(sys.argv) > 2 else 1000))
