"""A connection to Redis that many share: commands go out as they come, replies match in order.

redis-py makes the connection, so all that a URL or a client can say about one holds: TLS, user and
password, database, RESP 2 or 3, Sentinel's way to the master. Once it stands, its transport is
given a protocol of our own, with hiredis to read the replies. Both ways that keep redis-py's
streams were tried: at one request at a time they cost a quarter more (a read is 24 us of CPU here,
29 with a task that reads the stream, 30 with one that calls `Connection.read_response`; at 32 the
three are within 15 %), and they need that task, with its own ways to end. The price is one private
name of redis-py, `Connection._writer`, which leads to the transport.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import suppress
from secrets import token_hex
from typing import Any

from hiredis import PushNotification, Reader, pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from ...record import RecordUnreadable
from ...timers import LOOKS, timeout_awake

# For how long a connection may take to be made, greeting included, and for how long the server may
# owe a reply and send nothing at all, unless the connection's `socket_connect_timeout` or
# `socket_timeout` says otherwise. A server that is silent hangs, or is gone without a word, and
# only a new connection will tell.
CONNECT_SECONDS = 1.0
SILENT_SECONDS = 1.0
# How many commands may wait for their replies, those of cancelled requests included.
MOST_WAITING = 4096

_NOTHING_YET = object()
# Before version 7 what stopped a script stands somewhere in the text of another error.
_INNER_CODE = re.compile(r"(?:^| -|: )(READONLY|OOM|MISCONF|NOREPLICAS|NOPERM|WRONGTYPE) ")


class SnapshotFailedError(ResponseError):
    """Redis takes no writes because it cannot write its snapshot: its disk is full, say."""


class ReplicasMissingError(ResponseError):
    """Redis takes no writes because too few replicas are there (`min-replicas-to-write`)."""


class BusyScriptError(ResponseError):
    """Redis answers nobody because a script of somebody has no end."""


class ClusterNodeError(ResponseError):
    """The server is a node of a cluster: what is asked of it stands on another, or on several."""


class WrongTypeError(ResponseError, RecordUnreadable):
    """A key that should be a session's holds something else."""


# Their names are all that an operator's log has of an error.
_ERRORS: dict[str, type[RedisError]] = {
    "ASK": ClusterNodeError,
    "BUSY": BusyScriptError,
    "CLUSTERDOWN": ClusterDownError,
    "CROSSSLOT": ClusterNodeError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "MISCONF": SnapshotFailedError,
    "MOVED": ClusterNodeError,
    "NOAUTH": AuthenticationError,
    "NOPERM": NoPermissionError,
    "NOREPLICAS": ReplicasMissingError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "WRONGTYPE": WrongTypeError,
}


class ConnectionLostError(RedisConnectionError):
    """The connection was lost while a reply was due: the work may be done, or not."""


class Link(asyncio.Protocol):
    """A shared connection, from when redis-py has made it to its end.

    Attributes:
        is_over: No command can be sent any more.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        """Take over a connection of redis-py that has just been made."""
        writer = connection._writer
        if writer is None:
            raise RedisConnectionError("not connected")
        self._connection = connection
        self._transport = writer.transport
        self._former = self._transport.get_protocol()
        self._transport.set_protocol(self)
        self._reader = Reader(
            protocolError=InvalidResponse, replyError=_error, notEnoughData=_NOTHING_YET
        )
        self._loop = asyncio.get_running_loop()
        # None stands for the first of two replies that are one future's.
        self._waiting: deque[asyncio.Future[Any] | None] = deque()
        self._first: Any = _NOTHING_YET
        self._unsent: list[bytes] = []
        self._looks = 0
        self._look_every = (connection.socket_timeout or SILENT_SECONDS) / LOOKS
        self._next_look: asyncio.TimerHandle | None = None
        self._closed = self._loop.create_future()
        self._since = self._loop.time()
        self.is_over = False

    @property
    def age(self) -> float:
        """Seconds since the connection was made."""
        return self._loop.time() - self._since

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a command; the server's reply is the future's result, and so is any error.

        The future may be cancelled at any time: its reply is read and dropped.

        Raises:
            ConnectionError: So many wait already that the server must be ill.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise RedisConnectionError("too many commands wait for their replies")
        future = self._loop.create_future()
        if self.is_over:
            future.set_result(ConnectionLostError("the connection is over"))
            return future
        if not self._waiting:
            # Nothing is under way that it could go together with: a turn of the loop saved.
            self._transport.write(command)
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(command)
        self._waiting.append(future)
        if self._next_look is None:
            self._looks = 0
            self._next_look = self._loop.call_later(self._look_every, self._look)
        return future

    def send_two(self, commands: bytes) -> asyncio.Future[Any]:
        """Send two commands in one piece; see `send`. The result is a pair of replies, or an error.

        One future for both: to make one and to set it costs as much as to read a reply.
        """
        future, waiting = self.send(commands), self._waiting
        if not self.is_over:
            waiting[-1] = None
            waiting.append(future)
        return future

    def _flush(self) -> None:
        """Send what has come in this turn of the loop, in one piece."""
        unsent, self._unsent = self._unsent, []
        if not self.is_over:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def data_received(self, data: bytes) -> None:
        """Give each reply to who has waited longest (part of the protocol)."""
        self._looks = 0
        read, waiting = self._reader.gets, self._waiting
        try:
            self._reader.feed(data)
            while (reply := read()) is not _NOTHING_YET:
                if type(reply) is PushNotification:
                    continue
                future = waiting.popleft()
                if future is None:
                    self._first = reply
                    continue
                if self._first is not _NOTHING_YET:
                    reply, self._first = (self._first, reply), _NOTHING_YET
                if not future.done():
                    future.set_result(reply)
        except (InvalidResponse, IndexError):
            # From here on no reply can be told from another's.
            self.end(ConnectionLostError("the server's replies are out of step"))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is under way (part of the protocol)."""
        self.end(ConnectionLostError("the connection to the server was lost"))
        self._former.connection_lost(error)
        if not self._closed.done():
            self._closed.set_result(None)

    def _look(self) -> None:
        """See whether anything has come since the last time, for as long as something is due.

        A pause of this process is one look, as for `timeout_awake`.
        """
        self._next_look = None
        if not self._waiting:
            return
        self._looks += 1
        if self._looks > LOOKS:
            self.end(ConnectionLostError("the server does not answer"))
        else:
            self._next_look = self._loop.call_later(self._look_every, self._look)

    def end(self, error: RedisError) -> None:
        """End the connection at once and answer what is under way with `error`.

        A second call does nothing.
        """
        if self.is_over:
            return
        self.is_over = True
        self._transport.abort()
        if self._next_look is not None:
            self._next_look.cancel()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if future is not None and not future.done():
                future.set_result(error)

    async def close(self) -> None:
        """End the connection and wait until nothing is left of it."""
        self.end(closed())
        # The loop says so in its next turn; a transport that never does must not keep anybody.
        await asyncio.wait([self._closed], timeout=CONNECT_SECONDS)
        await self._connection.disconnect(nowait=True)


async def connect(connection: AbstractConnection) -> Link:
    """Connect, and see that the first reply is ours and none that a greeting has left behind.

    Args:
        connection: Of redis-py; nobody else may use it.

    Raises:
        RedisError: There is no server, or it refuses us.
        TimeoutError: It does not greet in time.
    """
    ping = token_hex(8).encode()
    # The one limit is ours: redis-py's own takes a pause of this process for the server's.
    limit, connection.socket_connect_timeout = connection.socket_connect_timeout, None
    try:
        async with timeout_awake(limit or CONNECT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]
            link = Link(connection)
            reply = await link.send(pack_command(("PING", ping)))  # type: ignore[arg-type]
        # A user who may not PING is told so, which is as good an answer.
        if reply != ping and not isinstance(reply, ResponseError):
            raise reply if isinstance(reply, RedisError) else RedisConnectionError("out of step")
    except BaseException:
        # Cut off in the middle of its greeting, a connection must not be used by anybody.
        if connection._writer is not None:
            connection._writer.transport.abort()
        with suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        raise
    return link


def closed() -> RedisError:
    """Return the answer to what was under way when the connection was closed on purpose."""
    return RedisConnectionError("the connection was closed")


def _error(text: str) -> RedisError:
    inner = _INNER_CODE.search(text)
    code = inner[1] if inner else text.partition(" ")[0]
    return _ERRORS.get(code, ResponseError)(text)
