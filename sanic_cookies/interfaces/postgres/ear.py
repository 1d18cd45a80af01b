"""What a process hears from Postgres, by LISTEN, which a transaction pooler would lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..ear import Ear
from ..news import News
from ..wakeups import Wakeups
from .pool import AWAY, CUT, Pool


class PostgresEar(Ear):
    """Listens to Postgres on a connection of its own; topics are names of sessions."""

    away = (*AWAY, *CUT)

    def __init__(self, pool: Pool, wakeups: Wakeups, news: News, table: str) -> None:
        """See `Ear`.

        Args:
            pool: Makes the connection.
            wakeups: Told of leases that are handed to this process.
            news: Told of sessions that end or change their token.
            table: The table whose news are wanted.
        """
        super().__init__(wakeups, news)
        self._pool = pool
        self._wake_channel = f"sanic_cookies_{wakeups.process}"
        self._news_channel = f"cookies_news_{table}"  # as in the statements that tell

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Any]:
        line = await self._pool.connect_alone()
        try:
            await line.add_listener(self._wake_channel, self._woken)
            yield line
        finally:
            line.terminate()

    async def _add(self, line: Any, topics: set[str]) -> None:
        # One channel for all topics; the driver sends LISTEN for the first of them only.
        await line.add_listener(self._news_channel, self._told)
        for topic in topics:
            self._news.tell(topic, None)

    async def _hear_out(self, line: Any) -> None:
        ended = asyncio.Event()
        line.add_termination_listener(lambda _: ended.set())
        self._wakeups.listening = not line.is_closed()
        while not line.is_closed():
            with suppress(TimeoutError):
                async with asyncio.timeout(self.look_seconds):
                    await ended.wait()
                    return
            # Cut, not cancelled: for that asyncpg would connect to the server once more.
            cut = asyncio.get_running_loop().call_later(self.look_seconds, line.terminate)
            try:
                await line.execute(f"LISTEN {self._wake_channel}")  # as before, which does nothing
            finally:
                cut.cancel()

    def _woken(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._wakeups.wake(str(payload))

    def _told(self, connection: object, pid: int, channel: str, payload: object) -> None:
        topic, _, sid = str(payload).partition(" ")
        self._news.tell(topic, sid)
