"""The table of an `AsyncPG` as a whole: made, upgraded, swept, and gone through by its owners.

No request waits for any of this.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from zlib import crc32

from ...record import TOMBSTONE_VERSION, Census, Record, RecordUnreadable
from .pool import RELEASE_SECONDS, Pool
from .rows import record
from .statements import sql, steps

logger = logging.getLogger("sanic_cookies")

_BATCH = 1000
_BATCH_SECONDS = 30.0  # who waits longer waits for a table that is locked, or a server that hangs
_BATCH_PAUSE = 0.01
_PAGE = 500


class PostgresTable:
    """The half of `AsyncPG` that looks after the table."""

    def __init__(self, pool: Pool, table: str, sweep_every: float) -> None:
        """Remember which table; no I/O happens here.

        Args:
            pool: Its connections.
            table: Its name.
            sweep_every: Seconds between two clean-ups of expired rows; 0 for none.

        Raises:
            SessionConfigError: No table can be called so.
        """
        self._pool, self._table = pool, table
        self._sql = steps(table)
        self._sweep_every = sweep_every
        self._sweeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def create_table(self) -> None:
        """Make the table and its indexes unless they are there; workers may all do so at once.

        Where they are there, that takes no right but to look, and nobody waits.

        Raises:
            asyncpg.PostgresError: The server refuses it; OSError if there is none.
        """
        if not (await self._row("is_made"))[0]:
            await self._change_table("create_table")

    async def upgrade_table(self) -> None:
        """Turn a table of the older library, made by hand, into ours; its rows are kept.

        The table is locked meanwhile.

        Raises:
            asyncpg.PostgresError: The server refuses it; OSError if there is none.
        """
        await self._change_table("upgrade_table")

    async def _change_table(self, statement: str) -> None:
        pool = await self._pool.connected()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(sql("lock_table", self._table))
            await connection.execute(sql(statement, self._table))

    async def sweep(self) -> int:
        """See `SupportsSweep.sweep`: batches of 1,000 rows, by one worker at a time."""
        dropped, begin = 0, None
        while True:
            async with asyncio.timeout(_BATCH_SECONDS):
                gone, begin = await self.sweep_batch(_BATCH, begin)
            dropped += gone
            if gone < _BATCH:
                return dropped
            await asyncio.sleep(_BATCH_PAUSE)

    async def sweep_batch(self, most: int, begin: str | None = None) -> tuple[int, str | None]:
        """Drop up to so many expired rows in one statement, those that expired first.

        Args:
            most: Rows; they stay locked until the statement is done.
            begin: Where to begin: what the batch before has returned; None for the first one.

        Returns:
            How many went, fewer than `most` if no others were left, or while another process sweeps
            the table; and where the next batch begins.
        """
        # The key keeps the sweepers of two tables apart.
        key = crc32(self._table.encode())
        gone, begun = await self._row("sweep", most, key, begin)
        return gone, begun

    async def expired(self) -> int:
        """Return how many expired rows wait to be dropped."""
        return int((await self._row("expired"))[0])

    async def records(self, name: str | None = None) -> AsyncIterator[Record]:
        """See `SupportsInspection.records`."""
        last = (name or "", "")
        while True:
            arguments = (*last, name, _PAGE, TOMBSTONE_VERSION)
            rows = await self._pool.ask("fetch", self._sql["page"], arguments)
            for row in rows:
                with suppress(RecordUnreadable):
                    yield record(row["name"], row["sid"], row)
            if len(rows) < _PAGE:
                return
            last = rows[-1]["name"], rows[-1]["sid"]

    async def census(self, name: str | None = None) -> Census:
        """See `SupportsInspection.census`."""
        return Census(**await self._row("census", name, TOMBSTONE_VERSION))

    async def _row(self, step: str, *args: Any) -> Any:
        return await self._pool.ask("fetchrow", self._sql[step], args)

    def _begin_sweeping(self) -> None:
        """Start the clean-up in this loop; the task of another one is forgotten."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._sweeper = loop, None
        if self._sweep_every and self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="sanic_cookies.sweep")

    async def _end_sweeping(self) -> None:
        here = self._loop is asyncio.get_running_loop()
        sweeper, self._sweeper, self._loop = self._sweeper, None, None
        if sweeper is not None and here:
            sweeper.cancel()
            await asyncio.wait([sweeper], timeout=RELEASE_SECONDS)

    async def _sweep_for_ever(self) -> None:
        while True:
            # Jitter, so that workers started together do not knock at the same moment.
            pause = self._sweep_every * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
            await asyncio.sleep(pause)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.error("clean-up of AsyncPG failed, it goes on: %s", type(error).__name__)
