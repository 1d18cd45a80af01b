"""What locked blocks leave behind in Postgres."""

from __future__ import annotations

import asyncpg

from bare import bare_session, begin, request_with
from sanic_cookies import AsyncPG

BLOCKS = 300


async def test_locked_writes_are_hot_updates(database_url: str) -> None:
    """Nearly all updates of locked blocks are HOT: they touch no index and leave no bloat."""
    table = "hot_sessions"
    interface = AsyncPG(database_url, table=table)
    await interface.create_table()
    session = bare_session(interface)
    cookies = [await begin(session, count=0, filler="x" * 200) for _ in range(20)]

    for number in range(BLOCKS):
        async with request_with(session, cookies[number % len(cookies)]) as sess:
            sess["count"] += 1

    await interface.close()  # a backend hands its counts over when it ends
    connection = await asyncpg.connect(database_url)
    updated, hot = await updates(connection, table)
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()
    print(f"{hot} of {updated} updates were HOT ({hot / updated:.1%})")
    assert updated >= 2 * BLOCKS
    assert hot / updated > 0.95


async def updates(connection: asyncpg.Connection, table: str) -> tuple[int, int]:
    """Return how many rows were updated, and how many of them without touching an index."""
    row = await connection.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1", table
    )
    return int(row["n_tup_upd"]), int(row["n_tup_hot_upd"])
