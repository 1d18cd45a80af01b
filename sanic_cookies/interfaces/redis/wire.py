"""The way that commands take to Redis: one connection for a whole process, where that is possible.

Redis answers the commands of a connection in their order, so any number of requests can share one.
A pool makes each request pay for a connection that is taken, checked, read and returned, and a
request cut off in between costs the connection. Here each pays for its own bytes only, and if it is
cancelled its reply is dropped. What blocks (subscriptions) never goes this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeGuard

from hiredis import pack_command
from redis import Redis as BlockingRedis
from redis import RedisCluster as BlockingCluster
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from ...errors import SessionConfigError
from ...mistakes import unreadable_url
from . import commands
from .link import ConnectionLostError, Link, WrongTypeError, closed, connect
from .scripts import Script

_SCHEMES = ("redis://", "rediss://", "unix://")
# Connections whose transport can be taken over. Anybody else's may be no connection at all.
_KNOWN = {
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
}
# A server that has become a replica is left for the new master; if that is one too, not at once.
_STAY_SECONDS = 1.0


class Transport(Protocol):
    """A way to the server."""

    async def execute(self, *args: str | bytes | int) -> Any:
        """Return the server's reply to a command; strings in it are bytes.

        The command must be safe to repeat: if the connection is lost, it is sent once more.

        Raises:
            RedisError: The server refused the command, or there is no connection to it.
            TimeoutError: There was no connection in time.
        """

    async def run(self, script: Script, keys: int, *args: str | bytes | int) -> Any:
        """Run a script by its digest, or by its text if the server has lost it; see `execute`.

        Args:
            script: What is to be run.
            keys: How many of `args`, from the first on, are keys: by them a cluster finds its node.
            args: What it is given.

        Raises:
            RecordUnreadable: A key holds something that is no session of ours.
        """

    async def step(self, script: Script, key: bytes, one: bytes, two: bytes, three: bytes) -> Any:
        """As `run` with one key and three arguments, at less: what a block's usual steps take."""

    def read(self, key: bytes) -> asyncio.Future[Any] | None:
        """Ask for a session's fields and the time, in one piece; the result is a pair of replies.

        None where that would not be one round trip, or there is no connection yet. Then, and where
        a reply is not what was hoped for, a script gets the fields, or says what is wrong; but it
        costs the server several times as much.
        """

    async def close(self) -> None:
        """Leave nothing behind; the next command connects anew."""


def require_client(client: object) -> None:
    """Refuse what would fail, or block the loop, only when the server starts.

    Raises:
        SessionConfigError: It is neither a URL nor a client that can be awaited.
    """
    if isinstance(client, BlockingRedis | BlockingCluster):
        raise SessionConfigError("this client waits for each reply: give one of redis.asyncio")
    if isinstance(client, str):
        what = unreadable_url(client) if client.startswith(_SCHEMES) else "another URL"
        fits, given = what is None, what
    else:
        fits, given = hasattr(client, "execute_command"), type(client).__name__
    if not fits:
        urls = f"{', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]}"
        raise SessionConfigError(f"Redis takes a {urls} URL or a redis.asyncio client, not {given}")


def transport_of(client: Redis | RedisCluster) -> Transport:
    """Return the way over which a client's commands go.

    A client of redis-py's own class, Sentinel's included, says how to connect, and that is all
    we need. A cluster's client routes each command, and somebody's own class may count or change
    them: those are used as they are.
    """
    return Wire(client.connection_pool) if says_how(client) else OwnPool(client)


def says_how(client: object) -> TypeGuard[Redis]:
    """Whether connections can be made beside those of a client, as it makes its own."""
    return type(client) is Redis and client.connection_pool.connection_class in _KNOWN


class OwnPool:
    """A client that is used as it is, with a connection of its pool for each command."""

    def __init__(self, client: Redis | RedisCluster) -> None:
        """Use `client`, which somebody else closes."""
        self._client = client

    async def execute(self, *args: str | bytes | int) -> Any:
        """See `Transport.execute`; how often a command is repeated is the client's to say."""
        name, *rest = args
        # Bytes both ways, whatever encoding the client has: the keys are the same for all clients.
        encoded = [each.encode() if isinstance(each, str) else each for each in rest]
        return await self._client.execute_command(name, *encoded, NEVER_DECODE=True)

    async def run(self, script: Script, keys: int, *args: str | bytes | int) -> Any:
        """See `Transport.run`."""
        try:
            try:
                return await self.execute("EVALSHA", script.sha, keys, *args)
            except NoScriptError:
                return await self.execute("EVAL", script.text, keys, *args)
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                raise WrongTypeError from error
            raise

    async def step(self, script: Script, key: bytes, one: bytes, two: bytes, three: bytes) -> Any:
        """See `Transport.step`."""
        return await self.run(script, 1, key, one, two, three)

    def read(self, key: bytes) -> asyncio.Future[Any] | None:
        """See `Transport.read`; a pool, or a cluster, would make two round trips of it."""
        return None

    async def close(self) -> None:
        """See `Transport.close`; the client stays open."""


class Wire:
    """One connection for all commands, made when it is needed and again when it was lost."""

    def __init__(self, pool: ConnectionPool) -> None:
        """Connect nothing yet.

        Args:
            pool: Knows how to make a connection. Ours stands beside those that it keeps, so nobody
                who uses the same client waits for it.
        """
        self._pool = pool
        self._link: Link | None = None
        self._opening: asyncio.Task[Link] | None = None

    async def execute(self, *args: str | bytes | int) -> Any:
        """See `Transport.execute`."""
        command = pack_command(args)  # type: ignore[arg-type]
        link = await self._linked()
        reply = await link.send(command)
        if isinstance(reply, Exception):
            reply = await self._sent_again(link, command, reply)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def run(self, script: Script, keys: int, *args: str | bytes | int) -> Coroutine[Any, Any, Any]:
        """See `Transport.run`."""
        command = pack_command(("EVALSHA", script.sha, keys, *args))  # type: ignore[arg-type]
        return self._ask(command, script, keys, args)

    def step(
        self, script: Script, key: bytes, one: bytes, two: bytes, three: bytes
    ) -> Coroutine[Any, Any, Any]:
        """See `Transport.step`."""
        command = commands.step(script, key, one, two, three)
        return self._ask(command, script, 1, (key, one, two, three))

    async def _ask(
        self, command: bytes, script: Script, keys: int, args: Sequence[str | bytes | int]
    ) -> Any:
        """Run a script by its packed command; every write goes this way, so not by `execute`."""
        link = self._link
        if link is None or link.is_over:
            link = await self._linked()
        reply = await link.send(command)
        if isinstance(reply, Exception):
            reply = await self._sent_again(link, command, reply)
            if isinstance(reply, NoScriptError):
                return await self.execute("EVAL", script.text, keys, *args)
            if isinstance(reply, Exception):
                raise reply
        return reply

    async def _sent_again(self, link: Link, command: bytes, error: Exception) -> Any:
        """Send a command once more if that may help; return the server's reply or error."""
        if not self._is_worth_another(link, error):
            return error
        return await (await self._linked()).send(command)

    def read(self, key: bytes) -> asyncio.Future[Any] | None:
        """See `Transport.read`; no coroutine, which each read would pay for."""
        link = self._link
        if link is None or link.is_over:
            return None
        return link.send_two(commands.read(key))

    def _is_worth_another(self, link: Link, error: Exception) -> bool:
        if isinstance(error, ReadOnlyError) and link.age >= _STAY_SECONDS:
            # Another connection leads to the new master, by Sentinel or by name.
            link.end(ConnectionLostError("the server has become a replica"))
            return True
        return isinstance(error, ConnectionLostError)

    async def _linked(self) -> Link:
        """Return the connection; who comes while it is being made waits for the same one."""
        if self._link is not None and not self._link.is_over:
            return self._link
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="sanic_cookies.redis")
            # Those who wait see its failure; if all of them have gone, nobody is left to.
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A request that is cancelled meanwhile takes nothing from the others.
        return await asyncio.shield(self._opening)

    async def _open(self) -> Link:
        try:
            former, self._link = self._link, None
            if former is not None:
                await former.close()
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            self._link = await connect(connection)
            return self._link
        except asyncio.CancelledError:
            # Those who wait for the connection have not been cancelled.
            raise closed() from None
        finally:
            self._opening = None

    async def close(self) -> None:
        """See `Transport.close`."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        link, self._link = self._link, None
        if link is not None:
            await link.close()
