"""What a process hears from Redis by publish and subscribe: leases handed to it, and news.

One connection a process, opened when a request first has to wait for another process, or when a
session is first watched. Without it waiters and watchers look by themselves now and then.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from .news import News
from .wakeups import Wakeups

logger = logging.getLogger("sanic_cookies")

NEWS = "sanic_cookies:news:"  # as in lua/news.lua
_AGAIN_SECONDS = 1.0


class Ear:
    """Listens for one process, as long as there is something to listen for."""

    def __init__(self, wakeups: Wakeups, news: News) -> None:
        """Begin deaf.

        Args:
            wakeups: Told of leases that are handed to this process.
            news: Told of sessions that end or change their token, by prefixes of their keys.
        """
        self._wakeups, self._news = wakeups, news
        self._wake_channel = f"sanic_cookies:wake:{wakeups.process}"
        self._channel: Any = None
        self._wanted: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._more: asyncio.Task[None] | None = None

    def open(self, client: Any) -> None:
        """Listen from now on, by the client; no I/O happens before this returns."""
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            self._channel, self._more = None, None
            self._task = asyncio.create_task(self._listen(client), name="sanic_cookies.ear")
        elif self._channel is not None and self._wanted != self._wished():
            self._wanted = self._wished()
            self._more = asyncio.create_task(self._subscribe(self._channel))

    async def close(self) -> None:
        """Stop listening."""
        tasks, self._task, self._more = (self._task, self._more), None, None
        for task in tasks:
            if task is not None and task.get_loop() is asyncio.get_running_loop():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def _wished(self) -> set[str]:
        return {self._wake_channel, *(NEWS + topic for topic in self._news.topics)}

    async def _listen(self, client: Any) -> None:
        while True:
            try:
                async with client.pubsub() as channel:
                    self._wanted = self._wished()
                    await channel.subscribe(*self._wanted)
                    self._channel = channel
                    self.open(client)  # somebody may have wished for more meanwhile
                    async for message in channel.listen():
                        self._wakeups.listening = True
                        self._hear(message["type"], _text(message["channel"]), message["data"])
            except (RedisError, OSError, AttributeError) as error:
                logger.debug("Redis tells nothing: %s", type(error).__name__)
            finally:
                self._wakeups.listening, self._channel = False, None
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _subscribe(self, channel: Any) -> None:
        # If the connection is lost just now, the next one subscribes to all that is wanted.
        with suppress(RedisError, OSError):
            await channel.subscribe(*self._wanted)

    def _hear(self, kind: str, channel: str, data: Any) -> None:
        if kind == "message" and channel == self._wake_channel:
            self._wakeups.wake(_text(data))
        elif kind == "message":
            self._news.tell(channel.removeprefix(NEWS), _text(data))
        elif kind == "subscribe" and channel != self._wake_channel:
            self._news.tell(channel.removeprefix(NEWS), None)  # some may have come before


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")
