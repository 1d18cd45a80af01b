"""Sessions in Postgres (12 or newer) through asyncpg: one row a session, one statement a step.

The lease stands in columns of the session's own row. No connection is held while a handler runs,
and no step depends on what belongs to a connection (no advisory locks of a session; `ear` listens
where it can, and nobody waits for that alone), so a transaction pooler may stand between. All times
are the server's own. The indexed expiry moves only when a session is renewed, so most writes are
HOT updates.

The steps that every request takes (fetch, acquire, commit, release) are joined: see `joining`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from zlib import crc32

from ...record import (
    TOMBSTONE_VERSION,
    Admission,
    Busy,
    Census,
    Claim,
    Draft,
    Granted,
    Limit,
    Outcome,
    Record,
    RecordUnreadable,
)
from ..base import Hear
from ..news import News
from ..wakeups import Wakeups
from .ear import PostgresEar
from .joining import Joiner
from .pool import AWAY, CONNECT_SECONDS, RELEASE_SECONDS, Pool
from .queue import Step
from .rows import FIELDS, PACKED, commitment, creation, record
from .statements import sql

logger = logging.getLogger("sanic_cookies")

_BATCH = 1000
_BATCH_SECONDS = 30.0  # who waits longer waits for a table that is locked, or a server that hangs
_BATCH_PAUSE = 0.01
_PAGE = 500
# A dict: to make a member of an enum of its value takes ten times as long.
_OUTCOMES: dict[str | None, Outcome] = {None: Outcome.GONE} | {each.value: each for each in Outcome}
_STATEMENTS = (
    *("fetch", "acquire", "commit", "release"),
    *("create", "renew", "touch", "delete", "sweep", "records_of", "lock_user", "lock_sessions"),
    *("page", "census", "expired"),
)


class AsyncPG:
    """Keeps sessions in a Postgres table; locks hold across processes and machines.

    A pool made here from a URL is opened in each worker and closed there; a ready pool (or a Gino
    engine, which has one) is used as it is and never closed. Make the table once, with
    `create_table()` or with what `sanic-cookies sql` prints.
    """

    def __init__(
        self,
        pool: Any = "postgresql://127.0.0.1/",
        *,
        table: str = "sessions",
        sweep_every: float = 60.0,
        **pool_options: Any,
    ) -> None:
        """Remember where to connect; no I/O happens here.

        Args:
            pool: `postgresql://` URL, an `asyncpg.Pool`, or a Gino engine.
            table: The table's name.
            sweep_every: Seconds between two clean-ups of expired rows; 0 for none.
            pool_options: For `asyncpg.create_pool`, with a URL only; behind a transaction pooler
                give `statement_cache_size=0`.

        Raises:
            SessionConfigError: `pool` or `table` cannot be.
        """
        self._pool = Pool(pool, pool_options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep_every = sweep_every
        self._sweeper: asyncio.Task[None] | None = None
        self._wakeups, self._news = Wakeups(), News()
        self._table = table
        self._ear: PostgresEar | None = None
        # A pool that was given may lie behind a transaction pooler, and who gives this option does:
        # there LISTEN is heard by nobody.
        if self._pool.url is not None and pool_options.get("statement_cache_size") != 0:
            self._ear = PostgresEar(self._pool.url, self._wakeups, self._news, table)
        self._sql = {name: sql(name, table) for name in _STATEMENTS}
        self._joiner = Joiner(
            self._pool,
            {
                name: Step(self._sql[name], sql(f"{name}_joined", table), pack, name != "fetch")
                for name, pack in PACKED.items()
            },
        )

    def __repr__(self) -> str:
        """Show nothing of the URL, which may hold a password."""
        return f"<AsyncPG table={self._table!r}>"

    async def open(self) -> None:
        """Start the clean-up and, if the server is there, the pool; if not, the first use will."""
        self._on_this_loop()
        with suppress(*AWAY):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._pool.connected()
        if self._sweep_every and self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="sanic_cookies.sweep")

    async def close(self) -> None:
        """End the tasks and close the pool that `open` made; a given one stays open."""
        here = self._loop is asyncio.get_running_loop()
        sweeper, self._sweeper, self._loop = self._sweeper, None, None
        if sweeper is not None and here:
            sweeper.cancel()
            await asyncio.wait([sweeper], timeout=RELEASE_SECONDS)
        self._news.clear()
        if self._ear is not None:
            await self._ear.close()
        await self._joiner.close()
        await self._pool.close()

    async def create_table(self) -> None:
        """Make the table and its indexes unless they are there; workers may all do so at once.

        Raises:
            asyncpg.PostgresError: The server refuses it; OSError if there is none.
        """
        await self._change_table("create_table")

    async def upgrade_table(self) -> None:
        """Turn a table of the older library, made by hand, into ours; its rows are kept.

        The table is locked meanwhile.

        Raises:
            asyncpg.PostgresError: The server refuses it; OSError if there is none.
        """
        await self._change_table("upgrade_table")

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        row = await self._joiner.ask("fetch", (name, sid))
        return None if row is None else record(name, sid, row)

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        row = await self._row("create", *creation(draft))
        if row is not None:
            return True
        # Taken; perhaps by this very draft, when the reply to the first try was lost.
        present = await self.fetch(draft.name, draft.sid)
        return present is not None and present.secret_hash == draft.secret_hash

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        asked = commitment(draft, None, release=False, seconds=0.0)
        row = await self._asker(draft)("commit", asked)
        return _OUTCOMES[row[0]]

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        row = await self._row("touch", name, sid, version, ttl)
        return row is not None

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        row = await self._row("delete", name, sid)
        return row is not None and bool(row[0])

    async def acquire(self, name: str, sid: str, claim: Claim) -> Granted | Busy | None:
        """See `SupportsLease.acquire`."""
        token = self._wakeups.token(claim.token)
        asked = name, sid, token, claim.seconds, claim.label, claim.secret_hash
        row = await self._joiner.ask("acquire", asked)
        if row is None:
            return None
        state, label, left = row[FIELDS : FIELDS + 3]
        if state == 2:
            return Busy(label, left)
        return Granted(record(name, sid, row), held=state == 1)

    async def commit(
        self, draft: Draft, token: str, release: bool, seconds: float = 0.0
    ) -> Outcome:
        """See `SupportsLease.commit`."""
        asked = commitment(draft, self._wakeups.token(token), release, seconds)
        row = await self._asker(draft)("commit", asked)
        return _OUTCOMES[row[0]]

    async def renew(self, name: str, sid: str, token: str, seconds: float) -> bool:
        """See `SupportsLease.renew`."""
        token = self._wakeups.token(token)
        return await self._row("renew", name, sid, token, seconds) is not None

    async def release(self, name: str, sid: str, token: str) -> None:
        """See `SupportsLease.release`."""
        await self._joiner.ask("release", (name, sid, self._wakeups.token(token)))

    async def turn(self, name: str, sid: str, token: str, timeout: float) -> None:
        """See `SupportsLease.turn`."""
        if self._ear is not None:
            self._ear.open()
        await self._wakeups.wait(token, timeout)

    def listen(self, name: str, hear: Hear) -> None:
        """See `SupportsNews.listen`; behind a transaction pooler nothing is heard."""
        if self._ear is not None:
            self._news.add(name, hear)
            self._ear.open()

    async def records_of(self, name: str, user_key: str) -> list[Record]:
        """See `SupportsIndex.records_of`."""
        rows = await self._pool.ask("fetch", self._sql["records_of"], (name, user_key))
        return [record(name, row["sid"], row) for row in rows]

    async def admit(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float = 0.0
    ) -> Admission:
        """See `SupportsIndex.admit`; logins of one user take turns for one transaction."""
        token = None if token is None else self._wakeups.token(token)
        async with self._pool.transaction() as connection:
            return await self._admit_in(connection, draft, token, limit, seconds)

    async def _admit_in(
        self, connection: Any, draft: Draft, token: str | None, limit: Limit, seconds: float
    ) -> Admission:
        user = draft.name, draft.user_key or ""
        await connection.execute(self._sql["lock_user"], *user)
        rows = await connection.fetch(self._sql["records_of"], *user)
        others = [row["sid"] for row in rows if row["sid"] != draft.sid]
        surplus = max(0, len(others) - limit.most + 1)
        if surplus and not limit.evict:
            return Admission(Outcome.FULL)
        oldest = others[:surplus]
        if oldest:
            rows = await connection.fetch(self._sql["lock_sessions"], *user, [*oldest, draft.sid])
            theirs = {row["sid"] for row in rows}  # one may have become another user's meanwhile
            oldest = [sid for sid in oldest if sid in theirs]
        outcome = await self._write_login(connection, draft, token, seconds)
        if outcome is not Outcome.SAVED:
            return Admission(outcome)
        for sid in oldest:
            await connection.execute(self._sql["delete"], draft.name, sid)
        return Admission(outcome, tuple(oldest))

    async def _write_login(
        self, connection: Any, draft: Draft, token: str | None, seconds: float
    ) -> Outcome:
        if draft.version == 1:
            made = await connection.fetchrow(self._sql["create"], *creation(draft))
            return Outcome.STALE if made is None else Outcome.SAVED
        arguments = commitment(draft, token, False, seconds)
        row = await connection.fetchrow(self._sql["commit"], *arguments)
        return _OUTCOMES[row[0]]

    async def sweep(self) -> int:
        """See `SupportsSweep.sweep`: batches of 1,000 rows, by one worker at a time."""
        dropped = 0
        while True:
            async with asyncio.timeout(_BATCH_SECONDS):
                gone = await self.sweep_batch(_BATCH)
            dropped += gone
            if gone < _BATCH:
                return dropped
            await asyncio.sleep(_BATCH_PAUSE)

    async def sweep_batch(self, most: int) -> int:
        """Drop up to so many expired rows in one statement; return how many went.

        Args:
            most: Rows; they stay locked until the statement is done.

        Returns:
            Fewer than `most` if no others were left, or while another process sweeps the table.
        """
        # The key keeps the sweepers of two tables apart.
        key = crc32(self._table.encode())
        status = await self._pool.ask("execute", self._sql["sweep"], (most, key))
        return int(status.rpartition(" ")[2])

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

    async def _change_table(self, statement: str) -> None:
        pool = await self._pool.connected()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(sql("lock_table", self._table))
            await connection.execute(sql(statement, self._table))

    def _asker(self, draft: Draft) -> Callable[[str, tuple[Any, ...]], Awaitable[Any]]:
        """Return how to commit; the joined statement has no place for a new secret."""
        return self._joiner.ask_alone if draft.rotated else self._joiner.ask

    async def _row(self, step: str, *args: Any) -> Any:
        return await self._pool.ask("fetchrow", self._sql[step], args)

    def _on_this_loop(self) -> None:
        """Forget the task of another loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._sweeper = loop, None

    async def _sweep_for_ever(self) -> None:
        while True:
            # Jitter, so that workers started together do not knock at the same moment.
            pause = self._sweep_every * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
            await asyncio.sleep(pause)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.error("clean-up of AsyncPG failed, it goes on: %s", type(error).__name__)
