"""Sessions in Postgres (12 or newer) through asyncpg: one row a session, one statement a step.

The lease stands in columns of the session's own row. No connection is held while a handler runs,
and nothing belongs to a connection (no advisory session locks, no LISTEN), so a transaction pooler
may stand between. All times are the server's own. The indexed expiry moves only when a session is
renewed, so most writes are HOT updates.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..record import (
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
from .statements import sql
from .wakeups import Wakeups

try:
    import asyncpg
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError("AsyncPG needs its driver: pip install 'sanic-cookies[postgres]'") from error

if TYPE_CHECKING:
    from asyncpg import Connection

logger = logging.getLogger("sanic_cookies")

_CLAIM = timedelta(seconds=1)
_LISTEN_AGAIN_SECONDS = 1.0
_CONNECT_SECONDS = 2.0
_RELEASE_SECONDS = 1.0
_CUT = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    ConnectionError,
)
_BATCH = 1000
_BATCH_PAUSE = 0.01


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
        """
        self._url = pool if isinstance(pool, str) else None
        self._given = None if isinstance(pool, str) else getattr(pool, "raw_pool", pool)
        self._pool: Any = self._given
        self._options = pool_options
        # Who gives this stands behind a transaction pooler, where LISTEN is heard by nobody.
        self._listens = pool_options.get("statement_cache_size") != 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep_every = sweep_every
        self._sweeper: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._wakeups = Wakeups()
        self._releases: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Lock | None = None
        self._table = table
        names = "fetch create commit acquire renew release touch delete sweep records_of lock_user"
        self._sql = {name: sql(name, table) for name in names.split()}

    def __repr__(self) -> str:
        """Show nothing of the URL, which may hold a password."""
        return f"<AsyncPG table={self._table!r}>"

    async def open(self) -> None:
        """Start the clean-up and, if the server is there, the pool; if not, the first use will."""
        self._on_this_loop()
        with suppress(OSError, TimeoutError, asyncpg.PostgresError):
            await self._connected()
        if self._sweep_every and self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="sanic_cookies.sweep")

    async def close(self) -> None:
        """End the tasks and close the pool that `open` made; a given one stays open."""
        here = self._loop is asyncio.get_running_loop()
        tasks = [task for task in (self._sweeper, self._listener) if task is not None and here]
        self._sweeper = self._listener = self._loop = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_RELEASE_SECONDS)
        if here:
            await asyncio.gather(*self._releases)
        pool = self._pool
        if self._given is None and pool is not None:
            self._pool = None
            if here:
                await _close(pool)

    async def create_table(self) -> None:
        """Make the table and its indexes unless they are there."""
        await (await self._connected()).execute(sql("create_table", self._table))

    async def upgrade_table(self) -> None:
        """Turn a table of the older library, made by hand, into ours; its rows are kept."""
        pool = await self._connected()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(sql("upgrade_table", self._table))

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        row = await self._row("fetch", name, sid)
        return None if row is None else _record(name, sid, row)

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        row = await self._row("create", *_creation(draft))
        if row is not None:
            return True
        # Taken; perhaps by this very draft, when the reply to the first try was lost.
        present = await self.fetch(draft.name, draft.sid)
        return present is not None and present.secret_hash == draft.secret_hash

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        return await self._commit(draft, None, release=False, seconds=0.0)

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        row = await self._row("touch", name, sid, version, timedelta(seconds=ttl))
        return row is not None

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        row = await self._row("delete", name, sid)
        return row is not None and bool(row[0])

    async def acquire(self, name: str, sid: str, claim: Claim) -> Granted | Busy | None:
        """See `SupportsLease.acquire`."""
        row = await self._row(
            "acquire",
            name,
            sid,
            self._wakeups.token(claim.token),
            timedelta(seconds=claim.seconds),
            claim.label,
            claim.secret_hash,
            _CLAIM,
        )
        if row is None:
            return None
        if row["state"] == 2:
            return Busy(row["label"], row["seconds"])
        return Granted(_record(name, sid, row), held=row["state"] == 1)

    async def commit(
        self, draft: Draft, token: str, release: bool, seconds: float = 0.0
    ) -> Outcome:
        """See `SupportsLease.commit`."""
        return await self._commit(draft, self._wakeups.token(token), release, seconds)

    async def renew(self, name: str, sid: str, token: str, seconds: float) -> bool:
        """See `SupportsLease.renew`."""
        token, interval = self._wakeups.token(token), timedelta(seconds=seconds)
        return await self._row("renew", name, sid, token, interval) is not None

    async def release(self, name: str, sid: str, token: str) -> None:
        """See `SupportsLease.release`."""
        await self._row("release", name, sid, self._wakeups.token(token), _CLAIM)

    async def turn(self, name: str, sid: str, token: str, timeout: float) -> None:
        """See `SupportsLease.turn`."""
        if self._listener is None and self._url is not None and self._listens:
            self._listener = asyncio.create_task(self._listen(), name="sanic_cookies.wakeups")
        await self._wakeups.wait(token, timeout)

    async def records_of(self, name: str, user_key: str) -> list[Record]:
        """See `SupportsIndex.records_of`."""
        rows = await self._ask("fetch", "records_of", (name, user_key))
        return [_record(name, row["sid"], row) for row in rows]

    async def admit(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float = 0.0
    ) -> Admission:
        """See `SupportsIndex.admit`; logins of one user take turns for one transaction."""
        token = None if token is None else self._wakeups.token(token)
        pool = await self._connected()
        connection = await pool.acquire()
        try:
            await connection.execute("BEGIN")
            admission = await self._admit_in(connection, draft, token, limit, seconds)
            await connection.execute("COMMIT")
        except BaseException:
            # Not rolled back but cut off: a server that hangs would keep the request waiting.
            connection.terminate()
            raise
        finally:
            await pool.release(connection)
        return admission

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
        outcome = await self._write_login(connection, draft, token, seconds)
        if outcome is not Outcome.SAVED:
            return Admission(outcome)
        for sid in others[:surplus]:
            await connection.execute(self._sql["delete"], draft.name, sid)
        return Admission(outcome, tuple(others[:surplus]))

    async def _write_login(
        self, connection: Any, draft: Draft, token: str | None, seconds: float
    ) -> Outcome:
        if draft.version == 1:
            made = await connection.fetchrow(self._sql["create"], *_creation(draft))
            return Outcome.STALE if made is None else Outcome.SAVED
        arguments = _commitment(draft, token, False, seconds)
        row = await connection.fetchrow(self._sql["commit"], *arguments)
        return Outcome.GONE if row[0] is None else Outcome(row[0])

    async def sweep(self) -> int:
        """See `SupportsSweep.sweep`: batches of 1,000 rows, by one worker at a time."""
        dropped = 0
        while True:
            # The key keeps the sweepers of two tables apart.
            key = crc32(self._table.encode())
            status = await self._ask("execute", "sweep", (_BATCH, key))
            gone = int(status.rpartition(" ")[2])
            dropped += gone
            if gone < _BATCH:
                return dropped
            await asyncio.sleep(_BATCH_PAUSE)

    async def _commit(
        self, draft: Draft, token: str | None, release: bool, seconds: float
    ) -> Outcome:
        row = await self._row("commit", *_commitment(draft, token, release, seconds))
        return Outcome.GONE if row[0] is None else Outcome(row[0])

    async def _row(self, statement: str, *args: Any) -> Any:
        return await self._ask("fetchrow", statement, args)

    async def _ask(self, method: str, statement: str, args: tuple[Any, ...]) -> Any:
        """Run a statement by `fetchrow`, `fetch` or `execute`."""
        pool = self._pool
        if pool is None or (self._url is not None and not self._on_this_loop()):
            pool = await self._connected()
        try:
            return await self._ask_once(pool, method, statement, args)
        except _CUT:
            # The server closed the connection, perhaps while it lay idle. Once more, on another:
            # each statement may be repeated, a lost reply included.
            return await self._ask_once(pool, method, statement, args)

    async def _ask_once(self, pool: Any, method: str, statement: str, args: tuple[Any, ...]) -> Any:
        connection = await pool.acquire()
        try:
            answer = await getattr(connection, method)(self._sql[statement], *args)
        except asyncio.CancelledError:
            # Released as usual, the connection would first wait until the server has confirmed
            # that it stopped; a server that hangs never does. That is not for this request to see.
            task = asyncio.create_task(_release_soon(pool, connection))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)
            raise
        except BaseException:
            await pool.release(connection)
            raise
        await pool.release(connection)
        return answer

    def _on_this_loop(self) -> bool:
        """Forget the pool of another loop; say whether there was nothing to forget."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return True
        self._loop, self._opening = loop, asyncio.Lock()
        self._sweeper = self._listener = None
        if self._given is None:
            self._pool = None
        return False

    async def _connected(self) -> Any:
        """Return the pool; made once, however many ask at the same time."""
        self._on_this_loop()
        if self._pool is None:
            assert self._opening is not None  # noqa: S101 - made with the loop
            async with self._opening:
                if self._pool is None:
                    self._pool = await self._make_pool()
        return self._pool

    async def _make_pool(self) -> Any:
        options: dict[str, Any] = {
            "min_size": 1,
            "max_size": 10,
            "timeout": _CONNECT_SECONDS,
            # Our statements leave nothing behind on a connection, so the usual reset, which is a
            # round trip of its own, has nothing to do.
            "reset": _keep,
        }
        return await asyncpg.create_pool(self._url, **{**options, **self._options})

    async def _listen(self) -> None:
        """Hear of leases that are handed to this process; without it waiters look by themselves.

        A connection of its own, opened when a request first has to wait for another process. Only
        with a URL: a pool that was given may lie behind a transaction pooler, which loses LISTEN.
        """
        while True:
            try:
                await self._listen_once()
            except (OSError, TimeoutError, asyncpg.PostgresError) as error:
                logger.debug("no wake-ups from Postgres: %s", type(error).__name__)
            finally:
                self._wakeups.listening = False
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=_CONNECT_SECONDS)
        try:
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(f"sanic_cookies_{self._wakeups.process}", self._heard)
            self._wakeups.listening = True
            await ended.wait()
        finally:
            connection.terminate()

    def _heard(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._wakeups.wake(str(payload))

    async def _sweep_for_ever(self) -> None:
        while True:
            # Jitter, so that workers started together do not knock at the same moment.
            await asyncio.sleep(self._sweep_every * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.error("clean-up of AsyncPG failed, it goes on: %s", type(error).__name__)


def _creation(draft: Draft) -> tuple[Any, ...]:
    """Return the arguments of `create.sql`."""
    return (
        draft.name,
        draft.sid,
        draft.version,
        draft.secret_hash,
        draft.payload or b"",
        timedelta(seconds=draft.ttl),
        _interval(draft.lifetime),
        timedelta(seconds=draft.age),
        draft.user_key,
    )


def _commitment(draft: Draft, token: str | None, release: bool, seconds: float) -> tuple[Any, ...]:
    """Return the arguments of `commit.sql`."""
    return (
        draft.name,
        draft.sid,
        draft.version,
        draft.secret_hash,
        draft.payload,
        timedelta(seconds=draft.ttl),
        draft.renew,
        _interval(draft.lifetime),
        draft.user_key,
        draft.rotated,
        draft.previous_hash,
        timedelta(seconds=draft.grace),
        token,
        release,
        draft.previous_reads,
        _CLAIM,
        timedelta(seconds=seconds),
    )


async def _keep(connection: Connection[Any]) -> None:
    """Reset nothing."""


async def _release_soon(pool: Any, connection: Any) -> None:
    """Release a connection whose query was cancelled; cut it if that takes a second."""
    with suppress(Exception):
        await pool.release(connection, timeout=_RELEASE_SECONDS)


async def _close(pool: Any) -> None:
    """Close a pool; cut what does not end within a second."""
    try:
        async with asyncio.timeout(_RELEASE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _record(name: str, sid: str, row: Any) -> Record:
    if not row["secret_hash"] and row["version"] == 0:
        raise RecordUnreadable("a row of the older library")
    try:
        return Record(
            name=name,
            sid=sid,
            version=row["version"],
            secret_hash=row["secret_hash"],
            payload=row["val"],
            created_at=row["created_at"].timestamp(),
            last_seen=row["last_seen"].timestamp(),
            expires_at=row["expires_at"].timestamp(),
            deadline=None if row["deadline"] is None else row["deadline"].timestamp(),
            rotated_at=row["rotated_at"].timestamp(),
            previous_hash=row["previous_hash"],
            previous_until=row["previous_until"].timestamp(),
            previous_reads=row["previous_reads"],
            user_key=row["user_key"],
            now=row["now"].timestamp(),
        )
    except (ValueError, OverflowError) as error:  # infinite times have no epoch seconds
        raise RecordUnreadable("a time that cannot be") from error


def _interval(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
