"""What a session costs in Postgres as sessions grow in number: a part of `benchmarks.growth`.

Postgres keeps the pages that it used last in its shared_buffers, and has the system fetch the
others. By default these are 128 MB, of which a million sessions take five times as much. So it is
measured twice: as it comes, and with room for all pages, as a server has that was given a quarter
of its machine's memory (the start that PostgreSQL's documentation advises, section "Resource
Consumption"). The first has what misses cost, the second what the number of sessions does.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from benchmarks.operations import (
    ALONE,
    NAME,
    BySize,
    compare,
    draft,
    locked_write,
    sid_of,
    store_alone,
)
from benchmarks.rig import cpu_seconds
from benchmarks.servers import Postgres
from sanic_cookies import AsyncPG
from sanic_cookies.interfaces.postgres.statements import sql

TIMES = 200  # operations in a round
ROOM = 1024  # bytes of shared_buffers for a session: more than it takes with its indexes
LEAST_ROOM = 128 << 20
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
FILL_POSTGRES = """
INSERT INTO {table} (sid, name, version, secret_hash, val, expires_at, user_key)
SELECT left(encode(sha256(number::text::bytea), 'hex'), 22), name, version, secret_hash, val,
       expires_at + make_interval(secs => number % 3600), 'user-' || number
FROM {table}, generate_series(0, $2::int - 1) AS number WHERE sid = $1
"""


async def in_postgres(sizes: Sequence[int]) -> dict[str, Any]:
    """Measure `AsyncPG`: the server as it comes, and one with room for all pages."""
    found = await _in_one(Postgres(), sizes)
    server = Postgres()
    room = max(LEAST_ROOM, sum(sizes) * ROOM) >> 20
    server.settings = (*server.settings, f"shared_buffers={room}MB")
    held = await _in_one(server, sizes)
    kept = ("read", "write", "shared_buffers", "pages")
    return {**found, "with_room": {name: held[name] for name in kept}}


async def _in_one(server: Postgres, sizes: Sequence[int]) -> dict[str, Any]:
    """Measure in one server, a table for each size."""
    with server:
        connection = await asyncpg.connect(server.url)
        places = {size: await _filled(server, connection, size) for size in sizes}
        most = max(sizes)
        table = f"sessions_{most}"
        sizes_of = await postgres_sizes(connection, table, most)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
        for interface in places.values():
            await locked_write(interface, sid_of(0))  # so that it has its connections
        backends = [row["pid"] for row in await connection.fetch(BACKENDS)]

        def server_cpu() -> float:
            return sum(map(cpu_seconds, backends))

        by_operation: dict[str, BySize] = await compare(
            places, sid_of, TIMES, lambda: time.process_time() + server_cpu()
        )
        alone = await store_alone(places[most], sid_of, most, server_cpu)
        found: dict[str, Any] = {
            **by_operation,
            "store_us": alone,
            "wal_bytes": await wal_of_a_write(connection, places[most], most),
            "bytes": sizes_of,
            "shared_buffers": await connection.fetchval("SHOW shared_buffers"),
            "pages": await pages_of_a_read(connection, table, most),
        }
        await connection.close()
        for interface in places.values():
            await interface.close()
    return found


async def _filled(server: Postgres, connection: Any, size: int) -> AsyncPG:
    """Return an interface with a table of its own that has so many sessions."""
    table = f"sessions_{size}"
    # The same connection, so the same process of the server, to the end: its CPU is what counts.
    interface = AsyncPG(server.url, table=table, sweep_every=0, max_size=2, max_queries=1 << 30)
    await interface.open()
    await interface.create_table()
    await interface.create(draft("template"))
    await connection.execute(FILL_POSTGRES.format(table=table), "template", size)
    return interface


async def wal_of_a_write(connection: Any, interface: AsyncPG, size: int) -> float:
    """Return the bytes that a locked write adds to the write-ahead log, at most.

    The first change of a page after a checkpoint logs all of it, so that is when it is measured.
    """
    await connection.execute("CHECKPOINT")
    before = await connection.fetchval(WAL)
    for _ in range(ALONE):
        await locked_write(interface, sid_of(random.randrange(size)))
    return float(await connection.fetchval(WAL) - before) / ALONE


async def pages_of_a_read(connection: Any, table: str, size: int) -> dict[str, float]:
    """Return how many pages a read takes, and how many of them shared_buffers did not have."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql('fetch', table)}"
    hit = fetched = 0
    for _ in range(ALONE):
        sid = sid_of(random.randrange(size))
        [explained] = json.loads(await connection.fetchval(explain, NAME, sid))
        hit += explained["Plan"]["Shared Hit Blocks"]
        fetched += explained["Plan"]["Shared Read Blocks"]
    return {"all": (hit + fetched) / ALONE, "fetched": fetched / ALONE}


async def postgres_sizes(connection: Any, table: str, rows: int) -> dict[str, float]:
    """Return the bytes of a row, in the table and in each of its indexes."""
    found = {"table": await connection.fetchval("SELECT pg_table_size($1::regclass)", table)}
    for index in await connection.fetch(
        "SELECT indexrelid::regclass::text AS name, pg_relation_size(indexrelid) AS size "
        "FROM pg_index WHERE indrelid = $1::regclass ORDER BY 1",
        table,
    ):
        found[index["name"].removeprefix(f"{table}_")] = index["size"]
    each = {name: size / rows for name, size in found.items()}
    everything = sum(each.values())
    return {**each, "anonymous": everything - each["user_key"], "logged in": everything}
