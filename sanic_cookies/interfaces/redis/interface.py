"""Sessions in Redis or Valkey (6.2 or newer): one hash a session, one round trip a step.

A read is two commands in one piece, any other step is a script. The lease stands in the session's
own hash, so a step that takes it also reads, and a step that writes also gives it back: a locked
block costs two round trips. One key a session also means that Redis Cluster needs no hash tags. All
times are the server's own (`TIME`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
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
from . import inspection
from .cluster import READ_AT_ONCE, RedisUsers
from .scripts import (
    ACQUIRE,
    COMMIT,
    CREATE,
    DELETE,
    FETCH,
    RECORDS_OF,
    RELEASE,
    REMEMBER,
    RENEW,
    TOUCH,
    begun,
    mark,
    ms,
    packed_version,
    read_admission,
    read_answer,
    read_record,
    unmark,
    written,
)


class Redis(RedisUsers):
    """Keeps sessions in Redis; locks hold across processes and machines.

    All requests of a process share one connection (see `wire`). A client made here from a
    URL is opened in each worker and closed there. A ready one is never closed: of a plain client
    or Sentinel's only the way to connect is used, and a cluster's carries the commands itself.
    """

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        key = self._key(name, sid).encode()
        asked = self._connected().read(key)
        if asked is not None:
            replies = await asked
            if type(replies) is tuple:
                fields, now = replies
                if type(fields) is type(now) is list and fields[0] is not None:
                    return read_record(name, sid, now, *fields)
        # There is nothing, or something else, or an error: the script tells which.
        reply = await self._connected().run(FETCH, 1, key)
        return read_answer(name, sid, reply) if reply else None

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        return (await self._create(draft, None)).outcome is Outcome.SAVED

    async def _create(self, draft: Draft, limit: Limit | None) -> Admission:
        keys = self._keys_of(draft)
        reply = await self._connected().run(
            CREATE,
            len(keys),
            *keys,
            *begun(draft),
            *(self._place(draft, limit) if len(keys) == 2 else ()),
        )
        if isinstance(reply, int):
            admission = Admission(Outcome.SAVED if reply else Outcome.STALE)
        else:
            admission = read_admission(reply)
        if self._on_cluster and admission.outcome is Outcome.SAVED:
            await self._name_on_cluster(draft)
        return admission

    def save(self, draft: Draft) -> Coroutine[Any, Any, Outcome]:
        """See `Interface.save`."""
        return self._write(draft, "", False, 0.0)

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        reply = await self._connected().run(
            TOUCH, 1, self._key(name, sid), packed_version(version), ms(ttl)
        )
        if isinstance(reply, list):
            user, made = reply
            index = self._index(name, unmark(user) or "")
            await self._connected().run(REMEMBER, 1, index, sid, made, ms(ttl))
        return bool(reply)

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        return bool(
            await self._connected().run(DELETE, 1, self._key(name, sid), sid, self._key(name, ""))
        )

    async def acquire(self, name: str, sid: str, claim: Claim) -> Granted | Busy | None:
        """See `SupportsLease.acquire`."""
        reply = await self._connected().step(
            ACQUIRE,
            self._key(name, sid).encode(),
            self._wakeups.token(claim.token).encode(),
            claim.secret_hash,
            f"{ms(claim.seconds)} {claim.label}".encode(),
        )
        if not reply:
            return None
        if isinstance(reply, bytes):
            return Granted(read_answer(name, sid, reply), True)
        if len(reply) == 1:
            return Granted(read_answer(name, sid, reply[0]), False)
        label, left = reply
        return Busy(label.decode("utf-8", "replace"), left / 1000)

    def commit(
        self, draft: Draft, token: str, release: bool, seconds: float = 0.0
    ) -> Coroutine[Any, Any, Outcome]:
        """See `SupportsLease.commit`."""
        return self._write(draft, self._wakeups.token(token), release, seconds)

    async def _write(self, draft: Draft, token: str, release: bool, seconds: float) -> Outcome:
        # Only a new token, or another expiry, concerns the index; and those who watch, the former.
        if draft.renew or draft.rotated:
            return (await self._write_and_name(draft, token, release, seconds, None)).outcome
        arguments = written(draft, token, release, seconds)
        key, wire = self._key(draft.name, draft.sid).encode(), self._connected()
        if len(arguments) == 3:
            return read_admission(await wire.step(COMMIT, key, *arguments)).outcome
        return read_admission(await wire.run(COMMIT, 1, key, *arguments)).outcome

    async def _write_and_name(
        self, draft: Draft, token: str, release: bool, seconds: float, limit: Limit | None
    ) -> Admission:
        keys = self._keys_of(draft)
        arguments = *written(draft, token, release, seconds), *self._place(draft, limit)
        admission = read_admission(
            await self._connected().run(COMMIT, len(keys), *keys, *arguments)
        )
        if self._on_cluster and admission.outcome is Outcome.SAVED:
            await self._name_on_cluster(draft)
        return admission

    async def records_of(self, name: str, user_key: str) -> list[Record]:
        """See `SupportsIndex.records_of`; what the index names wrongly is taken out of it."""
        if self._on_cluster:
            return await self._records_on_cluster(name, user_key)
        place = self._index(name, user_key), mark(user_key), self._key(name, ""), READ_AT_ONCE
        # The index is read once: page by page, what others take out meanwhile would hide some.
        more, *found = await self._connected().run(RECORDS_OF, 1, *place)
        for start in range(0, len(more), READ_AT_ONCE):
            some = more[start : start + READ_AT_ONCE]
            found += (await self._connected().run(RECORDS_OF, 1, *place, *some))[1:]
        records: list[Record] = []
        for reply in found:
            with suppress(RecordUnreadable):
                records.append(read_answer(name, reply[0].decode(), reply[1]))
        return sorted(records, key=lambda record: record.rotated_at)

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
        return await self._write_and_name(draft, token, False, seconds, limit)

    def _keys_of(self, draft: Draft) -> tuple[str, ...]:
        """Return the keys that a login touches: the session's, and its user's index."""
        key = self._key(draft.name, draft.sid)
        if draft.user_key is None or self._on_cluster:
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
        return bool(await self._connected().run(RENEW, 1, self._key(name, sid), token, ms(seconds)))

    async def release(self, name: str, sid: str, token: str) -> None:
        """See `SupportsLease.release`."""
        await self._connected().run(RELEASE, 1, self._key(name, sid), self._wakeups.token(token))

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
