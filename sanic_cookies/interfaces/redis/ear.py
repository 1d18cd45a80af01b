"""What a process hears from Redis, by publish and subscribe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

from ..ear import Ear
from ..news import News
from ..wakeups import Wakeups
from .wire import says_how

NEWS = "sanic_cookies:news:"  # as in lua/news.lua


class _Beside:
    """A client's pool, but that a connection is none of those that it counts and lends."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        connection = self._pool.make_connection()
        await connection.connect()
        return connection

    async def release(self, connection: Any) -> None:
        await connection.disconnect()


class RedisEar(Ear):
    """Listens to Redis; topics are prefixes of keys."""

    # A cluster's client may not know how to subscribe, and not where while the cluster is away.
    away = (RedisError, RedisClusterException, OSError, TimeoutError, AttributeError, KeyError)

    def __init__(self, wakeups: Wakeups, news: News) -> None:
        """See `Ear`; `client` is to be set before `open`."""
        super().__init__(wakeups, news)
        self.client: Any = None
        self._wake_channel = f"sanic_cookies:wake:{wakeups.process}"

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Any]:
        async with self.client.pubsub() as line:
            if says_how(self.client):
                line.connection_pool = _Beside(line.connection_pool)
            await line.subscribe(self._wake_channel)
            yield line

    async def _add(self, line: Any, topics: set[str]) -> None:
        await line.subscribe(*(NEWS + topic for topic in topics))

    async def _hear_out(self, line: Any) -> None:
        is_asked = False
        while True:
            # Not `listen()`: before redis-py 8 that ends by the client's `socket_timeout`.
            message = await line.get_message(timeout=self.look_seconds)
            self._wakeups.listening = True
            if message is not None:
                is_asked = False
                self._take(message["type"], _text(message["channel"]), message["data"])
            elif is_asked:
                raise TimeoutError("the server does not answer")
            else:
                is_asked = True
                await line.subscribe(self._wake_channel)  # as before: a user may have no PING

    def _take(self, kind: str, channel: str, data: Any) -> None:
        if channel == self._wake_channel:
            if kind == "message":
                self._wakeups.wake(_text(data))
        elif kind == "message":
            self._news.tell(channel.removeprefix(NEWS), _text(data))
        elif kind == "subscribe":
            # After redis-py has connected anew by itself, too.
            self._news.tell(channel.removeprefix(NEWS), None)


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")
