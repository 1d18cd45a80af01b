"""The sessions of a user on a Redis Cluster.

A user's index and the sessions that it names stand on different nodes there, and no script reaches
both. What is one step on a single server takes several here: first the session, then the index.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from ...record import Admission, Draft, Limit, Outcome, Record, RecordUnreadable
from .scripts import EXISTS, FORGET, REMEMBER, SIDS_OF, ms
from .server import FAILURES, RedisServer

# How many sessions of one user are read at once.
READ_AT_ONCE = 100


class RedisUsers(RedisServer):
    """The half of `Redis` that keeps the index of users on a cluster."""

    # What the other half provides.

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        raise NotImplementedError

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        raise NotImplementedError

    async def _write_login(
        self, draft: Draft, token: str | None, limit: Limit | None, seconds: float
    ) -> Admission:
        raise NotImplementedError

    # The index.

    async def _records_on_cluster(self, name: str, user_key: str) -> list[Record]:
        """Read index, then sessions: they stand on different nodes there."""
        index = self._index(name, user_key)
        sids = [sid.decode() for sid in await self._connected().run(SIDS_OF, 1, index)]
        records: list[Record | None] = []
        for start in range(0, len(sids), READ_AT_ONCE):
            some = sids[start : start + READ_AT_ONCE]
            records += await asyncio.gather(*(self._fetch_readable(name, sid) for sid in some))
        mine = [each for each in records if each is not None and each.user_key == user_key]
        # Not those of other users: by now one may be this user's again. They go when they end.
        gone = [sid for sid, record in zip(sids, records, strict=True) if record is None]
        for start in range(0, len(gone), READ_AT_ONCE):
            await self._connected().run(FORGET, 1, index, *gone[start : start + READ_AT_ONCE])
        return sorted(mine, key=lambda record: record.rotated_at)

    async def _fetch_readable(self, name: str, sid: str) -> Record | None:
        try:
            return await self.fetch(name, sid)
        except RecordUnreadable:
            return None

    async def _admit_on_cluster(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float
    ) -> Admission:
        """Write, then end the surplus: index and sessions stand on different nodes there."""
        user = draft.user_key or ""
        others = [each.sid for each in await self._records_on_cluster(draft.name, user)]
        others = [sid for sid in others if sid != draft.sid]
        if len(others) >= limit.most and not limit.evict:
            return Admission(Outcome.FULL)
        admission = await self._write_login(draft, token, None, seconds)
        if admission.outcome is not Outcome.SAVED:
            return admission
        records = await self._records_on_cluster(draft.name, user)
        surplus = [each.sid for each in records if each.sid != draft.sid]
        ended = surplus[: max(0, len(surplus) - limit.most + 1)]
        for sid in ended:
            await self.delete(draft.name, sid)
        return Admission(admission.outcome, tuple(ended))

    async def _name_on_cluster(self, draft: Draft) -> None:
        if draft.user_key is not None:
            index = self._index(draft.name, draft.user_key)
            made = round(time.time() * 1000)  # roughly: here the records themselves give the order
            life = draft.ttl if draft.lifetime is None else draft.lifetime
            await self._connected().run(REMEMBER, 1, index, draft.sid, made, ms(life))
            if draft.version == 1 or draft.rotated:
                await self._tidy_on_cluster(draft.name, index)

    async def _tidy_on_cluster(self, name: str, index: str) -> None:
        """Do what `tidy` in lua/user_index.lua does, with the sessions on other nodes."""
        wire = self._connected()
        with suppress(*FAILURES):
            some = await wire.execute("ZRANDMEMBER", index, 2)
            keys = [self._key(name, sid.decode()) for sid in some]
            there = await asyncio.gather(*(wire.run(EXISTS, 1, key) for key in keys))
            if gone := [sid for sid, exists in zip(some, there, strict=True) if not exists]:
                await wire.run(FORGET, 1, index, *gone)
