"""The connections of an `AsyncPG`: a pool of its own, or one that was given.

A pool belongs to one event loop. What is asked on another loop gets another pool, so nothing that
one loop began is ever touched from another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import signature
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import SessionConfigError
from ...mistakes import unreadable_url

try:
    import asyncpg
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "AsyncPG needs its driver: pip install 'sanic-cookies[postgres]'",
        name=error.name,  # `sanic` asks every ImportError of an app for it, and fails without
    ) from error

if TYPE_CHECKING:
    from asyncpg import Connection

logger = logging.getLogger("sanic_cookies")
T = TypeVar("T")

_SCHEMES = ("postgresql://", "postgres://")
CONNECT_SECONDS = 2.0
RELEASE_SECONDS = 1.0
# The server is not there, or wants nobody; or none of several is what the URL asks for, now.
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.TargetServerAttributeNotMatched)
# The server closed the connection, perhaps while it lay idle.
CUT = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    ConnectionError,
)

# The server takes no writes, or none any more: another connection may lead to the one that does, by
# a name or a list of hosts. If none does, not every statement has to find that out.
_READ_ONLY = asyncpg.ReadOnlySQLTransactionError
_STAY_SECONDS = 1.0

# What may go well when it is asked once more. The last two are said where transactions are stricter
# by default than a statement needs, and somebody else has written to its row; and where somebody
# else locks rows in another order than we do.
PASSING = (*CUT, _READ_ONLY, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

# What says how a pool is kept, and not how its connections are made.
_OF_POOLS = set(signature(asyncpg.create_pool).parameters) - {"connection_class", "record_class"}


class Pool:
    """Gives connections, and runs statements and transactions.

    Attributes:
        spare: Has those who keep a connection hand back what they do not use just now, for the
            server gives no more; says whether they did.
    """

    def __init__(self, pool: Any, options: dict[str, Any]) -> None:
        """Remember where to connect; no I/O happens here.

        Args:
            pool: `postgresql://` URL, an `asyncpg.Pool`, or a Gino engine.
            options: For `asyncpg.create_pool`.

        Raises:
            SessionConfigError: `pool` is none of them.
        """
        self.url = pool if isinstance(pool, str) else None
        self._given = None if isinstance(pool, str) else getattr(pool, "raw_pool", pool)
        _require_pool(self.url, self._given)
        self._pool: Any = self._given
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self._left_at = -inf
        self.spare: Callable[[], Awaitable[bool]] = _nothing_kept

    @property
    def size(self) -> int:
        """How many connections there may be; 0 before the first."""
        return 0 if self._pool is None else int(self._pool.get_max_size())

    @property
    def is_last(self) -> bool:
        """Whether there is but one connection now."""
        return self._pool is not None and self._pool.get_size() == 1

    @property
    def is_own(self) -> bool:
        """Whether nobody else takes connections from it."""
        return self._given is None

    async def connected(self) -> Any:
        """Return the `asyncpg.Pool` of this loop; made once, however many ask at the same time."""
        if self._pool is not None and (self._given is not None or self._is_of_this_loop()):
            return self._pool
        if not self._is_of_this_loop():
            self._loop, self._opening = asyncio.get_running_loop(), asyncio.Lock()
            self._pool = self._given
        assert self._opening is not None  # noqa: S101 - made with the loop
        async with self._opening:
            if self._pool is None:
                self._pool = await self._make()
        return self._pool

    async def close(self) -> None:
        """Close a pool that was made here; a given one stays open."""
        here, loop = self._is_of_this_loop(), asyncio.get_running_loop()
        await asyncio.gather(*(task for task in self._releases if task.get_loop() is loop))
        self._loop = None
        pool = self._pool
        if self._given is None and pool is not None:
            self._pool = None
            if here:
                await _close(pool)

    async def ask(self, method: str, statement: str, args: tuple[Any, ...]) -> Any:
        """Run a statement by `fetchrow` or `fetch`, on any connection.

        It must be one that may be repeated: it is, once, if it fails by what may pass, as a cut.
        """
        return await self._again_if_passing(self._ask_once, method, statement, args)

    async def transact(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do `work` with a connection, in a transaction; see `ask`.

        Args:
            work: Called with the connection; what it has done is committed when it returns.
        """
        return await self._again_if_passing(self._transact_once, work)

    async def connect_alone(self) -> Any:
        """Return a connection beside those of the pool, made as they are: TLS, password and all."""
        connect = self._options.get("connect") or asyncpg.connect
        chosen = {name: self._options[name] for name in self._options if name not in _OF_POOLS}
        return await connect(self.url, **{"timeout": CONNECT_SECONDS} | chosen)

    async def take(self) -> Any:
        """Return a connection, to be handed back with `give_back`.

        Raises:
            TimeoutError: None was free, or could be made, within two seconds.
        """
        pool = await self.connected()
        try:
            return await pool.acquire(timeout=CONNECT_SECONDS)
        except CUT:
            return await pool.acquire(timeout=CONNECT_SECONDS)

    async def give_back(self, connection: Any) -> None:
        """Take a connection back; cut it if the server does not let go of it within a second."""
        with suppress(Exception):
            await self._pool.release(connection, timeout=RELEASE_SECONDS)

    def give_back_soon(self, connection: Any) -> None:
        """Take a connection back whose statement was cancelled.

        That takes until the server has confirmed that it stopped; a server that hangs never does.
        It is not for the request to wait for.
        """
        task = asyncio.create_task(self.give_back(connection))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _again_if_passing(self, step: Callable[..., Awaitable[T]], *args: Any) -> T:
        pool = await self.connected()
        try:
            return await step(pool, *args)
        except PASSING as error:
            if isinstance(error, _READ_ONLY):
                await self._leave(pool)
        except asyncpg.TooManyConnectionsError:
            if not await self.spare():
                raise
        return await step(pool, *args)

    async def _transact_once(self, pool: Any, work: Callable[[Any], Awaitable[T]]) -> T:
        connection = await pool.acquire()
        try:
            # Whatever is the default: what others have committed meanwhile is to be seen.
            await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            answer = await work(connection)
            await connection.execute("COMMIT")
        except BaseException:
            # Not rolled back but cut off: a server that hangs would keep the request waiting. What
            # the server has cut the pool has taken back by itself.
            with suppress(asyncpg.InterfaceError):
                connection.terminate()
            raise
        finally:
            await pool.release(connection)
        return answer

    async def _ask_once(self, pool: Any, method: str, statement: str, args: tuple[Any, ...]) -> Any:
        connection = await pool.acquire()
        try:
            answer = await getattr(connection, method)(statement, *args)
        except asyncio.CancelledError:
            self.give_back_soon(connection)
            raise
        except BaseException:
            await pool.release(connection)
            raise
        await pool.release(connection)
        return answer

    async def _leave(self, pool: Any) -> None:
        """Have each connection of a pool of our own replaced before it is used again."""
        now = time.monotonic()
        if self.is_own and now - self._left_at >= _STAY_SECONDS:
            self._left_at = now
            await pool.expire_connections()

    def _is_of_this_loop(self) -> bool:
        return self._loop is asyncio.get_running_loop()

    async def _make(self) -> Any:
        options: dict[str, Any] = {
            "min_size": 1,
            "max_size": 10,
            "timeout": CONNECT_SECONDS,
            # Our statements leave nothing behind on a connection, so the usual reset, which is a
            # round trip of its own, has nothing to do.
            "reset": _keep,
        }
        options |= self._options
        pool = await asyncpg.create_pool(self.url, **options)
        if options.get("statement_cache_size") != 0:
            try:
                await _warn_of_pooler(pool)
            except BaseException:
                pool.terminate()
                raise
        return pool


async def _warn_of_pooler(pool: Any) -> None:
    """Log one line if something between here and the server shares its connections.

    There what one process has prepared may be carried out for another: a delete in place of a read,
    at worst.
    """
    async with pool.acquire() as connection:
        # Poolers greet with a number of their own, the server with that of its process.
        try:
            answer = await connection.fetchval("SELECT pg_backend_pid()")
        except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
            answer = None  # this very statement has met that of another process
        except asyncio.CancelledError:
            # Cut off: to hand it back is to wait for an answer, which a paused pooler never gives.
            connection.terminate()
            raise
        if answer != connection.get_server_pid():
            logger.warning(
                "a pooler stands before Postgres: give AsyncPG statement_cache_size=0, unless it "
                "pools whole sessions"
            )


async def _nothing_kept() -> bool:
    """Hand nothing back."""
    return False


async def _keep(connection: Connection[Any]) -> None:
    """Reset nothing."""


async def _close(pool: Any) -> None:
    """Close a pool; cut what does not end within a second."""
    try:
        async with asyncio.timeout(RELEASE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _require_pool(url: str | None, given: object) -> None:
    """Refuse here what would fail when the server starts, or at the first request."""
    if url is not None:
        what = unreadable_url(url) if url.startswith(_SCHEMES) else "another URL"
        if "+" in (scheme := url.partition(":")[0]) and scheme.startswith("postgres"):
            what = "one of SQLAlchemy's: leave the driver's name out"
        fits = what is None
    else:
        fits, what = hasattr(given, "acquire"), type(given).__name__
    if not fits:
        raise SessionConfigError(
            f"AsyncPG takes a postgresql:// URL, an asyncpg pool or a Gino engine, not {what}"
        )
