"""Interfaces over the servers of the tests, opened and closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import asyncpg

from sanic_cookies.interfaces import AsyncPG, InCookieEncrypted
from sanic_cookies.record import Draft, Outcome, Record

KEY = "JnvN9GZf9gYItwZGJcNke2-EGwIrRjEn5-IqjSPeZKI="
T = TypeVar("T")
_numbers = count()


@asynccontextmanager
async def opened(interface: T) -> AsyncIterator[T]:
    """Open an interface for the length of a test."""
    await interface.open()
    try:
        yield interface
    finally:
        await interface.close()


@asynccontextmanager
async def table(connection: Any) -> AsyncIterator[str]:
    """Give the name of a table that nobody else uses, and drop it afterwards."""
    name = f"sessions_{next(_numbers)}"
    await connection.execute(f"DROP TABLE IF EXISTS {name}")
    try:
        yield name
    finally:
        await connection.execute(f"DROP TABLE IF EXISTS {name}")


@asynccontextmanager
async def postgres(url: str, name: str, **options: Any) -> AsyncIterator[AsyncPG]:
    """Open an AsyncPG with its table; expired rows stay until somebody sweeps."""
    async with opened(AsyncPG(url, table=name, sweep_every=0, **options)) as interface:
        await interface.create_table()
        yield interface


class CookieJar:
    """In-cookie sessions as a browser has them: each step is a request of its own.

    So whatever is read back has been sealed, sent, kept and opened again.
    """

    def __init__(self, interface: InCookieEncrypted) -> None:
        self.interface = interface
        self.cookies: dict[str, str | None] = {}

    async def open(self) -> None:
        await self.interface.open()

    async def close(self) -> None:
        await self.interface.close()

    async def fetch(self, name: str, sid: str) -> Record | None:
        return await self._request(name, "fetch", name, sid)

    async def create(self, draft: Draft) -> bool:
        return await self._request(draft.name, "create", draft)

    async def save(self, draft: Draft) -> Outcome:
        return await self._request(draft.name, "save", draft)

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> None:
        await self._request(name, "touch", name, sid, version, ttl)

    async def delete(self, name: str, sid: str) -> bool:
        return await self._request(name, "delete", name, sid)

    async def _request(self, name: str, method: str, *args: Any) -> Any:
        bound = self.interface.bind(name, "session", self.cookies.get(name))
        answer = await getattr(bound, method)(*args)
        if bound.value is not None:
            self.cookies[name] = bound.value
        return answer


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """Give a connection to Postgres that is not ours."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
