"""The least that a command to Redis takes: one connection for all requests, and hiredis.

Redis answers the commands of a connection in their order, so whoever has waited longest gets the
next reply. A pool has each request take a connection, look at it and give it back, which costs more
than the rest of a locked session: `floor_redis_py` shows how much.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

from hiredis import Reader, ReplyError, pack_command

from benchmarks.peers.floor import WAIT

AGAIN = 0.1  # seconds between two attempts to connect


class Wire(asyncio.Protocol):
    """A connection that is made again when it is lost; what was under way then fails."""

    def __init__(self, url: str) -> None:
        """Remember where; as redis-py writes it, with a user, a password and a database or not."""
        self._url = urlsplit(url)
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._transport: Any = None
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    async def connect(self, *scripts: str) -> None:
        """Connect, and have Redis know the scripts."""
        self._loop, self._scripts = asyncio.get_running_loop(), scripts
        await self._connect()

    async def close(self) -> None:
        """Leave nothing behind."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._watching.cancel()
            self._transport.abort()

    async def _connect(self) -> None:
        await self._loop.create_connection(
            lambda: self,
            self._url.hostname or "localhost",
            self._url.port or 6379,
            ssl=self._url.scheme == "rediss" or None,
        )
        for answer in self._greeting:
            await answer

    def call(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """Send a command at once; return what its reply is awaited by."""
        answer: asyncio.Future[Any] = asyncio.Future(loop=self._loop)
        if self._transport is None:
            answer.set_exception(ConnectionError("there is no connection to Redis"))
            answer.exception()  # looked at, whether it is awaited or not
            return answer
        self._waiting.append((self._loop.time() + WAIT, answer))
        self._transport.write(pack_command(command))
        return answer

    forget = call  # sent all the same, when nobody awaits it

    def connection_made(self, transport: Any) -> None:
        """Say who we are and what scripts there are, before any request is sent."""
        self._transport, self._reader = transport, Reader()
        first: list[tuple[str, ...]] = [("SCRIPT", "LOAD", each) for each in self._scripts]
        if self._url.path.strip("/"):
            first.insert(0, ("SELECT", self._url.path.strip("/")))
        if self._url.password:
            first.insert(0, ("AUTH", self._url.username or "default", unquote(self._url.password)))
        self._greeting = [self.call(*command) for command in first]
        self._watch(transport)

    def data_received(self, data: bytes) -> None:
        """Give replies to those who wait."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            answer = self._waiting.popleft()[1]
            if answer.done():  # its request was cancelled
                continue
            if isinstance(reply, ReplyError):
                self._failed(answer, reply)
            else:
                answer.set_result(reply)

    def _failed(self, answer: asyncio.Future[Any], error: Exception) -> None:
        answer.set_exception(error)
        answer.exception()
        if str(error).startswith("NOSCRIPT"):
            self._transport.abort()  # Redis has forgotten the scripts: it learns them anew

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way, and connect again."""
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            if not answer.done():
                self._failed(answer, ConnectionError("the connection to Redis was lost"))
        if self._connecting is None and not self._closed:
            self._connecting = self._loop.create_task(self._again())

    async def _again(self) -> None:
        while self._transport is None:
            await asyncio.sleep(AGAIN)
            try:
                await self._connect()
            except (OSError, ReplyError):
                continue
        self._connecting = None

    def _watch(self, transport: Any) -> None:
        """Hang up on a server that owes an answer for too long.

        The oldest is due first, so one timer is enough for all.
        """
        if transport is not self._transport:
            return
        if self._waiting and self._waiting[0][0] < self._loop.time():
            transport.abort()
        self._watching = self._loop.call_later(WAIT / 10, self._watch, transport)
