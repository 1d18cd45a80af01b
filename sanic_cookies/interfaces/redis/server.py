"""How scripts get to Redis: the connection of a process, its life, and the names of keys."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import Any

from ...errors import SessionConfigError
from ...timers import timeout_awake
from ..news import News
from ..wakeups import Wakeups
from .eviction import warn_of_eviction
from .scripts import SCRIPTS

try:
    import redis.asyncio as redis_asyncio
    from redis.asyncio.cluster import RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisClusterException, RedisError, ResponseError

    from .ear import RedisEar
    from .link import CONNECT_SECONDS
    from .wire import Transport, require_client, transport_of
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "Redis needs its driver: pip install 'sanic-cookies[redis]'", name=error.name
    ) from error

# No answer, or one that refuses; that a cluster is away is no `RedisError`.
FAILURES = (RedisError, RedisClusterException, OSError)


class RedisServer:
    """The half of `Redis` that knows the server."""

    def __init__(self, client: Any = "redis://127.0.0.1:6379", *, prefix: str = "session:") -> None:
        """Remember where to connect; no I/O happens here.

        Args:
            client: `redis://`, `rediss://` or `unix://` URL, or a `redis.asyncio` client. Of its
                settings `socket_connect_timeout` and `socket_timeout` (1 second each in a URL that
                does not say otherwise) bound how long a connection may take to be made, and to be
                silent while it owes a reply.
            prefix: Begins each key; the session's name and sid follow.

        Raises:
            SessionConfigError: `client` is neither, or `prefix` is no str.
        """
        require_client(client)
        if not isinstance(prefix, str):
            raise SessionConfigError(f"prefix must be a str, not {type(prefix).__name__}")
        self._url = client if isinstance(client, str) else None
        self._given = None if isinstance(client, str) else client
        self._client: Any = self._given
        self._wire: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prefix = prefix
        self._wakeups = Wakeups()
        self._on_cluster = isinstance(client, RedisCluster)
        self._news = News()
        self._ear = RedisEar(self._wakeups, self._news)

    def __repr__(self) -> str:
        """Show nothing of the URL, which may hold a password."""
        return f"<Redis prefix={self._prefix!r}>"

    async def open(self) -> None:
        """Connect, and load the scripts if the server is there; if not, the first use will.

        They come last: one by one they take longer than there is with a server that is far away.
        """
        wire = self._connected()
        with suppress(*FAILURES):
            async with timeout_awake(CONNECT_SECONDS):
                with suppress(ResponseError):  # where INFO is forbidden nothing is known, nor said
                    warn_of_eviction(await wire.execute("INFO", "memory"))
                for script in SCRIPTS:
                    await wire.execute("SCRIPT", "LOAD", script.text)

    async def close(self) -> None:
        """Stop listening and close the client that `open` made; a given one stays open."""
        self._news.clear()
        await self._ear.close()
        client, wire, self._wire, self._loop = self._client, self._wire, None, None
        if wire is not None:
            await wire.close()
        if self._given is None and client is not None:
            self._client = None
            await client.aclose()

    def _key(self, name: str, sid: str) -> str:
        return f"{self._prefix}{name}:{sid}"

    def _connected(self) -> Transport:
        """Return the way to the server for the running loop; nothing is sent yet."""
        wire, loop = self._wire, self._loop
        # See `Deadlines.loop`: the loop is asked for only where the one of before runs no more.
        if wire is None or loop is None or not loop.is_running():
            if self._url is not None:
                self._client = _client(self._url)
            wire = self._wire = transport_of(self._client)
            self._loop = asyncio.get_running_loop()
        return wire

    def _index(self, name: str, user_key: str) -> str:
        """Return the key of a user's index; what the user is called stands in no key."""
        return f"{self._prefix}{name}:user:{sha256(user_key.encode()).hexdigest()}"


def _client(url: str) -> redis_asyncio.Redis:
    # One retry, at once, for a connection that the server closed while it lay idle. Every script
    # is safe to repeat. Deadlines are the caller's.
    settings: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 1),
        "retry_on_error": [RedisConnectionError],
    }
    return redis_asyncio.Redis.from_url(url, **settings)
