"""The stores of the property tests: one kind at a time, on real servers, empty for each example."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import redis.asyncio

from auth_lab import Clock
from sanic_cookies import AsyncPG, InCookieEncrypted, InMemory, Redis
from stores import KEY

KINDS = ["memory", "redis", "postgres", "in-cookie", "revocable", "fan-out"]
TABLE = "property_sessions"


class Stage:
    """The stores of one kind, and how to look behind them."""

    def __init__(self, kind: str, redis_url: str, database_url: str) -> None:
        self.kind, self.redis_url, self.database_url = kind, redis_url, database_url
        self.in_cookie = kind in ("in-cookie", "revocable")
        self.has_clock = self.in_cookie or kind == "memory"
        self.database: Any = None

    async def begin(self) -> None:
        """Make empty stores."""
        self.clock = Clock()
        self.prefix = f"{uuid4().hex}:"
        self._memory = InMemory(clock=self.clock.monotonic)
        self.redis = redis.asyncio.from_url(self.redis_url)
        if self.kind in ("postgres", "fan-out"):
            creator = AsyncPG(self.database_url, table=TABLE)
            await creator.create_table()
            await creator.close()
            self.database = await asyncpg.connect(self.database_url)
            await self.database.execute(f"DELETE FROM {TABLE}")

    async def end(self) -> None:
        """Disconnect."""
        if self.database is not None:
            await self.database.close()
        await self.redis.aclose()

    def interfaces(self, *, forget: bool = False) -> list[Any]:
        """Return the interfaces as a start of the server makes them; memory may be lost by it."""
        if forget and not self.in_cookie:
            self._memory = InMemory(clock=self.clock.monotonic)
        if self.kind == "memory":
            return [self._memory]
        if self.in_cookie:
            remembering = self._memory if self.kind == "revocable" else None
            epoch = self.clock.epoch
            return [InCookieEncrypted(KEY, revocations=remembering, clock=epoch)]
        made: list[Any] = []
        if self.kind != "postgres":
            made.append(Redis(self.redis_url, prefix=self.prefix))
        if self.kind != "redis":
            made.append(AsyncPG(self.database_url, table=TABLE, sweep_every=0))
        return made

    async def count(self) -> int | None:
        """Return how many sessions the master holds; None if that cannot be known."""
        if self.kind == "memory":
            await self._memory.sweep()  # no session ends within a second of now
            return len(self._memory)
        if self.kind in ("redis", "fan-out"):
            kinds = [await self.redis.type(key) for key in await self.redis.keys(self.prefix + "*")]
            return kinds.count(b"hash")
        if self.kind == "postgres":
            live = f"SELECT count(*) FROM {TABLE} WHERE expires_at > now()"
            return int(await self.database.fetchval(live))
        return None
