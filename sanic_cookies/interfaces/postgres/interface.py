"""Sessions in Postgres (12 or newer) through asyncpg: one row a session, one statement a step.

The lease stands in columns of the session's own row. No connection is held while a handler runs,
and no step depends on what belongs to a connection (no advisory locks of a session; `ear` listens
where it can, and nobody waits for that alone), so a transaction pooler may stand between. All times
are the server's own. The indexed expiry moves only when a session is renewed, so most writes are
HOT updates.

What requests do in crowds (begin, read, note the use of, lock, write and end sessions) is joined:
see `joining`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from ...record import (
    Admission,
    Busy,
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
from .pool import AWAY, CONNECT_SECONDS, Pool
from .queue import Step
from .rows import FIELDS, PACKED, commitment, creation, record
from .statements import sql
from .table import PostgresTable

# A dict: to make a member of an enum of its value takes ten times as long.
_OUTCOMES: dict[str | None, Outcome] = {None: Outcome.GONE} | {each.value: each for each in Outcome}


class AsyncPG(PostgresTable):
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
            pool_options: For `asyncpg.create_pool`, with a URL only; what is said of connections
                (`ssl`, `password`) holds for the one that listens, too. Behind a transaction pooler
                give `statement_cache_size=0`.

        Raises:
            SessionConfigError: `pool` or `table` cannot be.
        """
        super().__init__(Pool(pool, pool_options), table, sweep_every)
        self._wakeups, self._news = Wakeups(), News()
        self._ear: PostgresEar | None = None
        # A pool that was given may lie behind a transaction pooler, and who gives this option does:
        # there LISTEN is heard by nobody.
        if self._pool.url is not None and pool_options.get("statement_cache_size") != 0:
            self._ear = PostgresEar(self._pool, self._wakeups, self._news, table)
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
        with suppress(*AWAY):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._pool.connected()
        self._begin_sweeping()

    async def close(self) -> None:
        """End the tasks and close the pool that `open` made; a given one stays open."""
        await self._end_sweeping()
        self._news.clear()
        if self._ear is not None:
            await self._ear.close()
        await self._joiner.close()
        await self._pool.close()

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        row = await self._joiner.ask("fetch", (name, sid))
        return None if row is None else record(name, sid, row)

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        if await self._joiner.ask("create", creation(draft)) is not None:
            return True
        return _is_there(draft, await self._joiner.ask("fetch", (draft.name, draft.sid)))

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        asked = commitment(draft, None, release=False, seconds=0.0)
        row = await self._joiner.ask("commit", asked)
        return _OUTCOMES[row[0]]

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        return await self._joiner.ask("touch", (name, sid, version, ttl)) is not None

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        row = await self._joiner.ask("delete", (name, sid))
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
        row = await self._joiner.ask("commit", asked)
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
        records: list[Record] = []
        for row in await self._pool.ask("fetch", self._sql["records_of"], (name, user_key)):
            with suppress(RecordUnreadable):
                records.append(record(name, row["sid"], row))
        return records

    async def admit(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float = 0.0
    ) -> Admission:
        """See `SupportsIndex.admit`; logins of one user take turns for one transaction."""
        token = None if token is None else self._wakeups.token(token)
        return await self._pool.transact(
            lambda connection: self._admit_in(connection, draft, token, limit, seconds)
        )

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
            made = await connection.fetchrow(self._sql["create"], *creation(draft)) is not None
            if not made:
                row = await connection.fetchrow(self._sql["fetch"], draft.name, draft.sid)
                made = _is_there(draft, row)
            return Outcome.SAVED if made else Outcome.STALE
        arguments = commitment(draft, token, False, seconds)
        row = await connection.fetchrow(self._sql["commit"], *arguments)
        return _OUTCOMES[row[0]]


def _is_there(draft: Draft, row: Any) -> bool:
    """Say whether a sid is taken by this very draft: the reply to the first try was lost."""
    return row is not None and bool(row["secret_hash"] == draft.secret_hash)
