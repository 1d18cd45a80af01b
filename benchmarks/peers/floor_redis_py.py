"""The floor in Redis once more, but by redis-py's pool: what one takes who writes no protocol."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import arguments
from benchmarks.peers.floor import WAIT
from benchmarks.peers.floor_redis import make_app


class Pool:
    """redis-py's client with hiredis; each call has a deadline, and none is repeated."""

    def __init__(self, url: str) -> None:
        """Connect nothing yet."""
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self._forgotten: set[asyncio.Task[Any]] = set()

    async def connect(self, *scripts: str) -> None:
        """Have Redis know the scripts."""
        for script in scripts:
            await self._redis.script_load(script)

    async def close(self) -> None:
        """Leave nothing behind."""
        await asyncio.gather(*self._forgotten, return_exceptions=True)
        await self._redis.aclose()

    async def call(self, *command: str | bytes | int) -> Any:
        """Send a command and return its reply."""
        try:
            async with asyncio.timeout(WAIT):
                return await self._redis.execute_command(*command)
        except RedisError as error:
            raise ConnectionError("Redis has failed") from error

    def forget(self, *command: str | bytes | int) -> None:
        """Send a command of which nobody needs the reply."""
        task = asyncio.create_task(self.call(*command))
        self._forgotten.add(task)
        task.add_done_callback(self._forgotten.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


if __name__ == "__main__":
    given = arguments()
    serve(make_app(Pool(given.url)), given.port)
