"""Sessions in Redis or Valkey (6.2 or newer): one hash a session, one script a step.

The lease stands in the session's own hash, so a step that takes it also reads, and a step that
writes also gives it back: a locked block costs two round trips. One key a session also means that
Redis Cluster needs no hash tags. All times are the server's own (`TIME`, `PTTL`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

from ...record import (
    Admission,
    Busy,
    Census,
    Claim,
    Draft,
    Granted,
    Limit,
    Outcome,
    Record,
    RecordUnreadable,
)
from ..base import Hear
from ..news import News
from ..wakeups import Wakeups
from . import inspection
from .eviction import warn_of_eviction
from .scripts import (
    ACQUIRE,
    COMMIT,
    CREATE,
    DELETE,
    FETCH,
    FORGET,
    RECORDS_OF,
    RELEASE,
    REMEMBER,
    RENEW,
    SCRIPTS,
    SIDS_OF,
    TOUCH,
    Script,
    mark,
    ms,
    optional_ms,
    read_admission,
    read_record,
    unmark,
    written,
)

try:
    import redis.asyncio as redis_asyncio
    from redis.asyncio.cluster import RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import NoScriptError, RedisError, ResponseError

    from .ear import RedisEar
    from .link import CONNECT_SECONDS
    from .wire import Transport, require_client, transport_of
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError("Redis needs its driver: pip install 'sanic-cookies[redis]'") from error

# How many sessions of one user are read at once.
_READ_AT_ONCE = 100


class Redis:
    """Keeps sessions in Redis; locks hold across processes and machines.

    All requests of a process share one connection (see `wire`). A client made here from a
    URL is opened in each worker and closed there. A ready one is never closed: of a plain client
    or Sentinel's only the way to connect is used, and a cluster's carries the commands itself.
    """

    def __init__(self, client: Any = "redis://127.0.0.1:6379", *, prefix: str = "session:") -> None:
        """Remember where to connect; no I/O happens here.

        Args:
            client: `redis://`, `rediss://` or `unix://` URL, or a `redis.asyncio` client. Of its
                settings `socket_connect_timeout` and `socket_timeout` (1 second each in a URL that
                does not say otherwise) bound how long a connection may take to be made, and to be
                silent while it owes a reply.
            prefix: Begins each key; the session's name and sid follow.

        Raises:
            SessionConfigError: `client` is neither.
        """
        require_client(client)
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
        """Connect, and load the scripts if the server is there; if not, the first use will."""
        wire = self._connected()
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                for script in SCRIPTS:
                    await wire.execute("SCRIPT", "LOAD", script.text)
                # Where INFO is forbidden nothing is known, and nothing said.
                warn_of_eviction(await wire.execute("INFO", "memory"))

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

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        reply = await self._run(FETCH, 1, self._key(name, sid))
        return read_record(name, sid, reply) if reply else None

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        return (await self._create(draft, None)).outcome is Outcome.SAVED

    async def _create(self, draft: Draft, limit: Limit | None) -> Admission:
        keys = self._keys_of(draft, named=True)
        reply = await self._run(
            CREATE,
            len(keys),
            *keys,
            draft.version,
            draft.secret_hash,
            draft.payload or b"",
            ms(draft.ttl),
            optional_ms(draft.lifetime),
            ms(draft.age),
            mark(draft.user_key),
            *self._place(draft, limit),
        )
        if isinstance(reply, int):
            admission = Admission(Outcome.SAVED if reply else Outcome.STALE)
        else:
            admission = read_admission(reply)
        if self._on_cluster and admission.outcome is Outcome.SAVED:
            await self._name_on_cluster(draft)
        return admission

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        return (await self._commit(draft, "", False, 0.0, None)).outcome

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        reply = await self._run(TOUCH, 1, self._key(name, sid), version, ms(ttl))
        if isinstance(reply, list):
            user, began = reply
            index = self._index(name, unmark(user) or "")
            await self._run(REMEMBER, 1, index, sid, began, ms(ttl))
        return bool(reply)

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        return bool(await self._run(DELETE, 1, self._key(name, sid), sid, self._key(name, "")))

    async def acquire(self, name: str, sid: str, claim: Claim) -> Granted | Busy | None:
        """See `SupportsLease.acquire`."""
        reply = await self._run(
            ACQUIRE,
            1,
            self._key(name, sid),
            self._wakeups.token(claim.token),
            ms(claim.seconds),
            claim.secret_hash,
            claim.label,
        )
        if not reply:
            return None
        if reply[0] == 2:
            return Busy(reply[1].decode("utf-8", "replace"), int(reply[2]) / 1000)
        return Granted(read_record(name, sid, reply), reply[0] == 1)

    async def commit(
        self, draft: Draft, token: str, release: bool, seconds: float = 0.0
    ) -> Outcome:
        """See `SupportsLease.commit`."""
        token = self._wakeups.token(token)
        return (await self._commit(draft, token, release, seconds, None)).outcome

    async def _commit(
        self, draft: Draft, token: str, release: bool, seconds: float, limit: Limit | None
    ) -> Admission:
        # Only a new token, or another expiry, concerns the index; and those who watch, the former.
        named, more = draft.rotated or draft.renew, ()
        if named:
            more = (draft.secret_hash, draft.previous_hash, *self._place(draft, limit))
        keys = self._keys_of(draft, named=named)
        reply = await self._run(
            COMMIT,
            len(keys),
            *keys,
            written(draft, release, seconds),
            token,
            mark(draft.user_key),
            draft.payload or b"",
            *more,
        )
        admission = read_admission(reply)
        if self._on_cluster and named and admission.outcome is Outcome.SAVED:
            await self._name_on_cluster(draft)
        return admission

    async def records_of(self, name: str, user_key: str) -> list[Record]:
        """See `SupportsIndex.records_of`; what the index names wrongly is taken out of it."""
        if self._on_cluster:
            return await self._records_on_cluster(name, user_key)
        place = self._index(name, user_key), mark(user_key), self._key(name, ""), _READ_AT_ONCE
        # The index is read once: page by page, what others take out meanwhile would hide some.
        more, *found = await self._run(RECORDS_OF, 1, *place)
        for start in range(0, len(more), _READ_AT_ONCE):
            some = more[start : start + _READ_AT_ONCE]
            found += (await self._run(RECORDS_OF, 1, *place, *some))[1:]
        records: list[Record] = []
        for reply in found:
            with suppress(RecordUnreadable):
                records.append(read_record(name, reply[0].decode(), reply))
        return sorted(records, key=lambda record: record.created_at)

    async def _records_on_cluster(self, name: str, user_key: str) -> list[Record]:
        """Read index, then sessions: they stand on different nodes there."""
        index = self._index(name, user_key)
        sids = [sid.decode() for sid in await self._run(SIDS_OF, 1, index)]
        records: list[Record | None] = []
        for start in range(0, len(sids), _READ_AT_ONCE):
            some = sids[start : start + _READ_AT_ONCE]
            records += await asyncio.gather(*(self._fetch_readable(name, sid) for sid in some))
        mine = [each for each in records if each is not None and each.user_key == user_key]
        gone = list(set(sids) - {record.sid for record in mine})
        for start in range(0, len(gone), _READ_AT_ONCE):
            await self._run(FORGET, 1, index, *gone[start : start + _READ_AT_ONCE])
        return sorted(mine, key=lambda record: record.created_at)

    async def _fetch_readable(self, name: str, sid: str) -> Record | None:
        try:
            return await self.fetch(name, sid)
        except RecordUnreadable:
            return None

    async def admit(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float = 0.0
    ) -> Admission:
        """See `SupportsIndex.admit`; on a cluster the surplus is ended right after the write."""
        if self._on_cluster:
            return await self._admit_on_cluster(draft, token, limit, seconds)
        return await self._write_login(draft, token, limit, seconds)

    async def _write_login(
        self, draft: Draft, token: str | None, limit: Limit | None, seconds: float
    ) -> Admission:
        if draft.version == 1:
            return await self._create(draft, limit)
        token = "" if token is None else self._wakeups.token(token)
        return await self._commit(draft, token, False, seconds, limit)

    async def _admit_on_cluster(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float
    ) -> Admission:
        """Write, then end the surplus: index and sessions stand on different nodes there."""
        user = draft.user_key or ""
        others = [each.sid for each in await self.records_of(draft.name, user)]
        others = [sid for sid in others if sid != draft.sid]
        if len(others) >= limit.most and not limit.evict:
            return Admission(Outcome.FULL)
        admission = await self._write_login(draft, token, None, seconds)
        if admission.outcome is not Outcome.SAVED:
            return admission
        records = await self.records_of(draft.name, user)
        surplus = [each.sid for each in records if each.sid != draft.sid]
        ended = surplus[: max(0, len(surplus) - limit.most + 1)]
        for sid in ended:
            await self.delete(draft.name, sid)
        return Admission(admission.outcome, tuple(ended))

    async def _name_on_cluster(self, draft: Draft) -> None:
        if draft.user_key is not None:
            index = self._index(draft.name, draft.user_key)
            began = round((time.time() - draft.age) * 1000)
            life = draft.ttl if draft.lifetime is None else draft.lifetime
            await self._run(REMEMBER, 1, index, draft.sid, began, ms(life))
            if draft.version == 1 or draft.rotated:
                await self._tidy_on_cluster(draft.name, index)

    async def _tidy_on_cluster(self, name: str, index: str) -> None:
        """Do what `tidy` in lua/user_index.lua does, with the sessions on other nodes."""
        execute = self._connected().execute
        with suppress(RedisError, OSError):
            some = await execute("ZRANDMEMBER", index, 2)
            keys = [self._key(name, sid.decode()) for sid in some]
            there = await asyncio.gather(*(execute("EXISTS", key) for key in keys))
            if gone := [sid for sid, exists in zip(some, there, strict=True) if not exists]:
                await self._run(FORGET, 1, index, *gone)

    def _keys_of(self, draft: Draft, *, named: bool) -> tuple[str, ...]:
        """Return the keys that a write touches: the session's, and its user's index if named."""
        key = self._key(draft.name, draft.sid)
        if not named or draft.user_key is None or self._on_cluster:
            return (key,)
        return key, self._index(draft.name, draft.user_key)

    def _place(self, draft: Draft, limit: Limit | None) -> tuple[Any, ...]:
        """Return the arguments that concern the index."""
        most, evict = ("", 0) if limit is None else (limit.most, int(limit.evict))
        return draft.sid, self._key(draft.name, ""), most, evict

    async def records(self, name: str | None = None) -> AsyncIterator[Record]:
        """See `SupportsInspection.records`."""
        self._connected()
        found = inspection.records(self._client, self._prefix, name, self.fetch)
        async for record in found:
            yield record

    async def census(self, name: str | None = None) -> Census:
        """See `SupportsInspection.census`."""
        return await inspection.count(self.records(name))

    async def renew(self, name: str, sid: str, token: str, seconds: float) -> bool:
        """See `SupportsLease.renew`."""
        token = self._wakeups.token(token)
        return bool(await self._run(RENEW, 1, self._key(name, sid), token, ms(seconds)))

    async def release(self, name: str, sid: str, token: str) -> None:
        """See `SupportsLease.release`."""
        await self._run(RELEASE, 1, self._key(name, sid), self._wakeups.token(token))

    async def turn(self, name: str, sid: str, token: str, timeout: float) -> None:
        """See `SupportsLease.turn`."""
        self._listening()
        await self._wakeups.wait(token, timeout)

    def listen(self, name: str, hear: Hear) -> None:
        """See `SupportsNews.listen`."""
        self._news.add(self._key(name, ""), hear)
        self._listening()

    def _listening(self) -> None:
        self._connected()
        self._ear.client = self._client
        self._ear.open()

    def _key(self, name: str, sid: str) -> str:
        return f"{self._prefix}{name}:{sid}"

    def _connected(self) -> Transport:
        """Return the way to the server for the running loop; nothing is sent yet."""
        wire, loop = self._wire, self._loop
        # See `Timers.loop`: the loop is asked for only where the one of before runs no more.
        if wire is None or loop is None or not loop.is_running():
            if self._url is not None:
                self._client = _client(self._url)
            wire = self._wire = transport_of(self._client)
            self._loop = asyncio.get_running_loop()
        return wire

    def _index(self, name: str, user_key: str) -> str:
        """Return the key of a user's index; what the user is called stands in no key."""
        return f"{self._prefix}{name}:user:{sha256(user_key.encode()).hexdigest()}"

    async def _run(self, script: Script, keys: int, *args: Any) -> Any:
        """Run a script by its digest; send the text if the server has lost it.

        Args:
            script: What is to be run.
            keys: How many of `args`, from the first on, are keys: by them a cluster finds its node.
            args: What it is given.
        """
        execute = self._connected().execute
        try:
            try:
                reply = await execute("EVALSHA", script.sha, keys, *args)
            except NoScriptError:
                reply = await execute("EVAL", script.text, keys, *args)
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                raise RecordUnreadable("the key holds something else") from error
            raise
        if reply == b"foreign":
            raise RecordUnreadable("the hash has not our fields")
        return reply


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
