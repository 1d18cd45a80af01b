"""Sanic with what one writes by hand: no library, and no lock but where the store's name says so.

As lean as it gets: a random id in a cookie that is set once, msgspec's JSON, one command to read
and one more to write, the clients' default pools, nothing checked. `redis-lock` and
`postgres-lock` are what one reaches for when updates get lost: redis-py's `Lock`, and Postgres's
advisory locks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

import asyncpg
import redis.asyncio
from cryptography.fernet import Fernet
from msgspec import json
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import DATA, IDLE, KEY, arguments

TABLE = """CREATE TABLE IF NOT EXISTS by_hand (
    sid text PRIMARY KEY, val bytea NOT NULL, expires_at timestamptz NOT NULL)"""
SELECT = "SELECT val FROM by_hand WHERE sid = $1 AND expires_at > now()"
UPSERT = """INSERT INTO by_hand (sid, val, expires_at)
    VALUES ($1, $2, now() + make_interval(secs => $3))
    ON CONFLICT (sid) DO UPDATE SET val = excluded.val, expires_at = excluded.expires_at"""
LOCK = "SELECT pg_advisory_lock(hashtextextended($1, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


class Store(Protocol):
    """Where values are."""

    async def open(self) -> None:
        """Connect."""

    async def get(self, sid: str) -> Any:
        """Read."""

    async def put(self, sid: str, data: Any) -> None:
        """Write."""

    async def add(self, sid: str) -> int:
        """Add one to the number, and return it."""


class InRedis:
    """GET and SETEX; the latter as redis-py writes it now, whose `setex` is deprecated."""

    def __init__(self, url: str) -> None:
        """Remember where."""
        self.client = redis.asyncio.from_url(url)

    async def open(self) -> None:
        """Nothing to do: the client connects by itself."""

    async def get(self, sid: str) -> Any:
        """Read."""
        return json.decode(await self.client.get(f"by-hand:{sid}"))

    async def put(self, sid: str, data: Any) -> None:
        """Write."""
        await self.client.set(f"by-hand:{sid}", json.encode(data), ex=IDLE)

    async def add(self, sid: str) -> int:
        """Read and write, while others may do the same."""
        data = await self.get(sid)
        data["n"] += 1
        await self.put(sid, data)
        return int(data["n"])


class InRedisLocked(InRedis):
    """The same inside of redis-py's own lock."""

    async def add(self, sid: str) -> int:
        """Read and write while nobody else does."""
        async with self.client.lock(f"by-hand:lock:{sid}", timeout=10):
            return await super().add(sid)


class InPostgres:
    """SELECT and UPSERT."""

    def __init__(self, url: str) -> None:
        """Remember where."""
        self.url = url
        self.pool: Any = None

    async def open(self) -> None:
        """Connect, and make the table."""
        self.pool = await asyncpg.create_pool(self.url)
        await self.pool.execute(TABLE)

    async def get(self, sid: str) -> Any:
        """Read."""
        return json.decode(await self.pool.fetchval(SELECT, sid))

    async def put(self, sid: str, data: Any) -> None:
        """Write."""
        await self.pool.execute(UPSERT, sid, json.encode(data), IDLE)

    async def add(self, sid: str) -> int:
        """Read and write, while others may do the same."""
        data = await self.get(sid)
        data["n"] += 1
        await self.put(sid, data)
        return int(data["n"])


class InPostgresLocked(InPostgres):
    """The same under an advisory lock, which takes a connection for as long as it is held."""

    async def add(self, sid: str) -> int:
        """Read and write while nobody else does."""
        async with self.pool.acquire() as connection:
            await connection.execute(LOCK, sid)
            try:
                data = json.decode(await connection.fetchval(SELECT, sid))
                data["n"] += 1
                await connection.execute(UPSERT, sid, json.encode(data), IDLE)
                return int(data["n"])
            finally:
                await connection.execute(UNLOCK, sid)


STORES: dict[str, Callable[[str], Store]] = {
    "redis": InRedis,
    "redis-lock": InRedisLocked,
    "postgres": InPostgres,
    "postgres-lock": InPostgresLocked,
}


def make_app(store: str, url: str) -> Sanic[Any, Any]:
    """Return the app."""
    app = Sanic("by-hand", configure_logging=False)

    @app.get("/untouched")
    async def untouched(request: Request) -> HTTPResponse:
        return text("1")

    if store == "fernet":
        _in_cookie(app, Fernet(KEY))
    else:
        _in_store(app, STORES[store](url))
    return app


def _in_store(app: Sanic[Any, Any], store: Store) -> None:
    @app.before_server_start
    async def connect(app: Sanic[Any, Any]) -> None:
        await store.open()

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        sid = uuid.uuid4().hex
        await store.put(sid, DATA)
        response = text("0")
        response.add_cookie("sid", sid, secure=False, httponly=True, samesite="Lax", max_age=IDLE)
        return response

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        data = await store.get(request.cookies.get("sid"))
        return text(str(data["n"]))

    @app.get("/write")
    async def write(request: Request) -> HTTPResponse:
        return text(str(await store.add(request.cookies.get("sid"))))


def _in_cookie(app: Sanic[Any, Any], fernet: Fernet) -> None:
    def answer(data: dict[str, Any]) -> HTTPResponse:
        response = text(str(data["n"]))
        value = fernet.encrypt(json.encode(data)).decode()
        response.add_cookie("sid", value, secure=False, httponly=True, samesite="Lax", max_age=IDLE)
        return response

    def data_of(request: Request) -> dict[str, Any]:
        data: dict[str, Any] = json.decode(fernet.decrypt(request.cookies.get("sid"), IDLE))
        return data

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        return answer(DATA)

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        return text(str(data_of(request)["n"]))

    @app.get("/write")
    async def write(request: Request) -> HTTPResponse:
        data = data_of(request)
        data["n"] += 1
        return answer(data)


if __name__ == "__main__":
    given = arguments()
    serve(make_app(given.store, given.url), given.port)
