"""Where the sessions of older libraries are: read and forgotten, never written."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ..cookies import CookieSpec
from ..errors import SessionConfigError

# Both libraries took uuid4().hex for an id, unless they were told otherwise.
UUID_HEX = r"[0-9a-f]{32}"


@dataclass(frozen=True, slots=True)
class OldSession:
    """A session as an older library kept it.

    Attributes:
        payload: JSON, as it was stored.
        ttl: Seconds that it had left.
    """

    payload: bytes
    ttl: float


class OldStore(Protocol):
    """Where one cookie of an older library leads to.

    Attributes:
        cookie: The cookie, as it was set: name, domain and path.
        shape: What its value looks like; nothing else is ever looked up.
        remembers: Whether a session can be deleted here; what cannot be is remembered elsewhere.
    """

    cookie: CookieSpec
    shape: re.Pattern[str]
    remembers: bool

    async def read(self, value: str) -> OldSession | None:
        """Return the session that a cookie's value names, None if there is none."""

    async def forget(self, value: str) -> None:
        """Delete it; nothing happens if there is none."""

    async def close(self) -> None:
        """Disconnect."""


def _cookie(name: str, domain: str | None, path: str) -> CookieSpec:
    return CookieSpec(name, "", path, domain, secure=False)


class OldRedis:
    """What `Aioredis` of sanic-cookies 0.4.3 and sanic_session 0.8 kept in Redis."""

    remembers = True

    def __init__(
        self,
        client: Any,
        cookie_name: str,
        *,
        prefix: str = "session:",
        domain: str | None = None,
        path: str = "/",
        shape: str = UUID_HEX,
    ) -> None:
        """Remember where it is; no I/O happens here.

        Args:
            client: A URL, or a `redis.asyncio` client, which is not closed.
            cookie_name: The old cookie's name: "SESSION", "SECURE_SESSION" or "session", unless it
                was chosen.
            prefix: Begins each key.
            domain: The old cookie's domain.
            path: The old cookie's path.
            shape: Regular expression for the ids, if you made your own.
        """
        self.cookie, self.shape = _cookie(cookie_name, domain, path), re.compile(shape, re.ASCII)
        self._url = client if isinstance(client, str) else None
        self._client: Any = None if isinstance(client, str) else client
        self._prefix = prefix

    async def read(self, value: str) -> OldSession | None:
        """See `OldStore.read`."""
        client, key = self._connected(), self._prefix + value
        async with client.pipeline(transaction=True) as steps:
            payload, left = await steps.get(key).pttl(key).execute()
        if payload is None or left <= 0:
            return None
        raw = payload.encode() if isinstance(payload, str) else payload
        return OldSession(raw, left / 1000)

    async def forget(self, value: str) -> None:
        """See `OldStore.forget`."""
        await self._connected().delete(self._prefix + value)

    async def close(self) -> None:
        """Close the client that was made here."""
        if self._url is not None and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _connected(self) -> Any:
        if self._client is None:
            from redis.asyncio import from_url

            self._client = from_url(self._url or "")
        return self._client


class OldPostgres:
    """What `GinoAsyncPG` of sanic-cookies 0.4.3 kept, in its table as it was or as upgraded."""

    remembers = True

    def __init__(
        self,
        pool: Any,
        cookie_name: str,
        *,
        table: str = "sessions",
        domain: str | None = None,
        path: str = "/",
        shape: str = UUID_HEX,
    ) -> None:
        """Remember where it is; no I/O happens here.

        Args:
            pool: A URL, or an asyncpg pool, which is not closed.
            cookie_name: The old cookie's name, "SESSION" or "SECURE_SESSION" unless it was chosen.
            table: The old table.
            domain: The old cookie's domain.
            path: The old cookie's path.
            shape: Regular expression for the ids, if you made your own.

        Raises:
            SessionConfigError: The table's name is not a plain one.
        """
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", table):
            raise SessionConfigError("table must be a plain name: letters, digits, underscores")
        self.cookie, self.shape = _cookie(cookie_name, domain, path), re.compile(shape, re.ASCII)
        self._url = pool if isinstance(pool, str) else None
        self._pool: Any = None if isinstance(pool, str) else pool
        self._connecting = asyncio.Lock()
        one = f"FROM {table} WHERE sid = $1"  # a plain name, see above
        self._reading = f"SELECT val, expires_at, now() AS now {one}"
        self._forgetting = f"DELETE {one}"

    async def read(self, value: str) -> OldSession | None:
        """See `OldStore.read`."""
        pool = await self._connected()
        row = await pool.fetchrow(self._reading, value)
        if row is None or row["val"] is None or row["expires_at"] is None:
            return None
        end: datetime = row["expires_at"]
        # The old column had no zone, and what was written to it was UTC.
        left = (end if end.tzinfo else end.replace(tzinfo=UTC)) - row["now"]
        raw = row["val"].encode() if isinstance(row["val"], str) else bytes(row["val"])
        return OldSession(raw, left.total_seconds()) if left.total_seconds() > 0 else None

    async def forget(self, value: str) -> None:
        """See `OldStore.forget`."""
        pool = await self._connected()
        await pool.execute(self._forgetting, value)

    async def close(self) -> None:
        """Close the pool that was made here."""
        if self._url is not None and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def _connected(self) -> Any:
        if self._pool is None:
            import asyncpg

            async with self._connecting:
                if self._pool is None:  # or somebody else has been faster
                    self._pool = await asyncpg.create_pool(self._url, min_size=0, max_size=2)
        return self._pool


class OldCookie:
    """What `InCookieEncrypted` of sanic-cookies 0.4.3 sealed into its cookie (Fernet).

    Such a cookie cannot be deleted on the server. That it was taken over is remembered in the new
    store, so it is taken over once; but every older copy of it counts as a session of its own, as
    it did before.
    """

    remembers = False

    def __init__(
        self,
        key: str | bytes,
        cookie_name: str,
        *,
        expiry: float = 30 * 24 * 3600,
        domain: str | None = None,
        path: str = "/",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the key.

        Args:
            key: The old interface's.
            cookie_name: The old cookie's name, "SESSION" or "SECURE_SESSION" unless it was chosen.
            expiry: Seconds for which a cookie is good, counted from its sealing; the old session's.
            domain: The old cookie's domain.
            path: The old cookie's path.
            clock: Epoch seconds; injected by tests.
        """
        from cryptography.fernet import Fernet, InvalidToken

        self.cookie = _cookie(cookie_name, domain, path)
        self.shape = re.compile(r"\"?[A-Za-z0-9_-]{100,4096}={0,2}\"?", re.ASCII)
        self._fernet, self._refused = Fernet(key), InvalidToken
        self._expiry, self._clock = expiry, clock

    async def read(self, value: str) -> OldSession | None:
        """See `OldStore.read`."""
        token, now = value.strip('"').encode(), int(self._clock())
        try:
            payload = self._fernet.decrypt_at_time(token, int(self._expiry), now)
        except self._refused:
            return None
        sealed_at = self._fernet.extract_timestamp(token)
        return OldSession(payload, sealed_at + self._expiry - now)

    async def forget(self, value: str) -> None:
        """Nothing can be: see `remembers`."""

    async def close(self) -> None:
        """Nothing to close."""
