"""The stores behind the floors of the benchmark, as somebody else gets at them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from redis.asyncio import Redis

from stores import connected


class Kept(NamedTuple):
    """What a store has of a session: its JSON, who has the lease, and how many seconds are left."""

    data: str | None
    holder: str | None
    left: float


class Beside(Protocol):
    """Somebody who does as another process would."""

    async def look(self, sid: str) -> Kept:
        """Return what is there of a session."""

    async def age(self, sid: str, left: int) -> None:
        """Have a session so many seconds left."""

    async def end(self, sid: str) -> None:
        """Have a session end."""

    async def hold(self, sid: str, holder: str = "another") -> None:
        """Take the lease, whoever has it, for a minute."""

    async def free(self, sid: str) -> None:
        """Give the lease up."""


class InRedis:
    """Two keys a session."""

    def __init__(self, client: Redis) -> None:
        self.client = client

    async def look(self, sid: str) -> Kept:
        data, holder = await self.client.mget(f"floor:{sid}", f"floor:lease:{sid}")
        left = await self.client.ttl(f"floor:{sid}")
        return Kept(data and data[32:].decode(), holder and holder.decode(), left)

    async def age(self, sid: str, left: int) -> None:
        await self.client.expire(f"floor:{sid}", left)

    async def end(self, sid: str) -> None:
        await self.client.delete(f"floor:{sid}")

    async def hold(self, sid: str, holder: str = "another") -> None:
        await self.client.set(f"floor:lease:{sid}", holder, ex=60)

    async def free(self, sid: str) -> None:
        await self.client.delete(f"floor:lease:{sid}")


class InPostgres:
    """A row a session."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def look(self, sid: str) -> Kept:
        row = await self.connection.fetchrow(
            "SELECT val, lease, date_part('epoch', expires_at - now()) FROM floor WHERE sid = $1",
            sid,
        )
        return Kept(*row) if row else Kept(None, None, -2)

    async def age(self, sid: str, left: int) -> None:
        await self._change("expires_at = now() + make_interval(secs => $2)", sid, left)

    async def end(self, sid: str) -> None:
        await self.connection.execute("DELETE FROM floor WHERE sid = $1", sid)

    async def hold(self, sid: str, holder: str = "another") -> None:
        await self._change("lease = $2, lease_until = now() + interval '1 minute'", sid, holder)

    async def free(self, sid: str) -> None:
        await self._change("lease = NULL, lease_until = '-infinity'", sid)

    async def _change(self, what: str, *args: Any) -> None:
        await self.connection.execute(f"UPDATE floor SET {what} WHERE sid = $1", *args)


@asynccontextmanager
async def beside(url: str) -> AsyncIterator[Beside]:
    """Give somebody with a connection of their own to a store."""
    if url.startswith("redis"):
        async with Redis.from_url(url) as client:
            yield InRedis(client)
    else:
        async with connected(url) as connection:
            yield InPostgres(connection)
