"""What a server remembers of sessions that live in cookies: which ended, and the newest version.

Beside the cookie there is a record without data in an interface of its own, under the same id. The
first write after the one that began the session makes it; before that there is but one version. A
write moves it from the version that the request came with to the next, in one atomic step, so of
two requests that came with the same cookie one is refused, and not silently undone by the other.

An older cookie is refused. For the grace of a replaced token (`rotation_grace`) the last one before
the newest is still recognised, since requests are under way with it while the newer one is sent: it
is looked at, unless the user changed, but opens no block and is never written.

If this record is lost, cookies are taken for what they say. If the answer that brings the newer
cookie is lost on its way, the browser is left with the older one, and the session is over.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import Final

from msgspec.structs import replace

from ...record import Draft, Outcome, Record
from ..base import Interface

_MARK_BYTES: Final = 16


class Revocations:
    """The interface that remembers."""

    def __init__(self, interface: Interface) -> None:
        """Remember in `interface`; one object serves one request."""
        self._interface = interface
        self._left = 0.0  # seconds for which it is remembered anyway

    async def judged(self, record: Record) -> Record | None:
        """Return a cookie's record as it counts now: as it is, as a former one, or None.

        A former one is shown as a store shows a record to a replaced token.
        """
        newest = await self._newest(record)
        if newest is None:
            return record
        if newest.version < record.version:
            return record
        if newest.is_tombstone and not record.is_tombstone:
            return None
        if newest.version == record.version:
            return record if newest.secret_hash == record.secret_hash else _former(record)
        if newest.version > record.version + 1 or newest.previous_hash != record.secret_hash:
            return _former(record)
        return _former(record, newest.previous_until - newest.now, reads=newest.previous_reads)

    async def advance(self, record: Record, draft: Draft, ttl: float) -> Outcome:
        """Make `draft` the newest version, if `record` is it now.

        Args:
            record: What the cookie that came holds.
            draft: What is to be written.
            ttl: Seconds that copies of `record`, and of what is written, may live.

        Returns:
            `SAVED`; `STALE` if another version is the newest; `GONE` if the session has ended.
        """
        # Not for a shorter time than before: copies of earlier versions may live longer.
        following = _next(record, draft, max(ttl, self._left))
        outcome = await self._interface.save(following)
        if outcome is Outcome.GONE:
            # Who begins it at the same time begins it with the same version; then one of us moves.
            await self._interface.create(_first(record, ttl))
            outcome = await self._interface.save(following)
        if outcome is Outcome.STALE:
            newest = await self._interface.fetch(record.name, record.sid)
            if newest is not None and newest.is_tombstone:
                return Outcome.GONE
            if newest is not None and newest.payload == following.payload:
                return Outcome.SAVED  # asked again after a lost reply: what is the newest is ours
        return outcome

    async def end(self, record: Record, ttl: float) -> None:
        """Remember for `ttl` seconds that the session has ended; longer for longer-lived copies."""
        await self._newest(record)  # not the one that is ended, perhaps: it may live longer
        tombstone = Draft.tombstone(record.name, record.sid, max(ttl, self._left))
        if await self._interface.save(tombstone) is not Outcome.GONE:
            return
        if not await self._interface.create(tombstone):
            await self._interface.save(tombstone)  # somebody else has made it meanwhile

    async def _newest(self, record: Record) -> Record | None:
        """Return what is remembered of a session, and know for how long."""
        newest = await self._interface.fetch(record.name, record.sid)
        if newest is not None:
            self._left = newest.expires_at - newest.now
        return newest


def _former(record: Record, grace: float = 0.0, *, reads: bool = False) -> Record:
    """Return `record` as a former one, recognised for so many more seconds."""
    return replace(
        record,
        secret_hash=b"",
        previous_hash=record.secret_hash,
        previous_until=record.now + grace,
        previous_reads=reads,
    )


def _first(record: Record, ttl: float) -> Draft:
    """Return what is remembered of the version that came, until the next one is."""
    return Draft(record.name, record.sid, record.version, record.secret_hash, b"", ttl)


def _next(record: Record, draft: Draft, ttl: float) -> Draft:
    """Return what is remembered of `draft`: its version, and who may look on until when.

    The payload says nothing, and tells this write from another of the same version.
    """
    rotated = draft.rotated and draft.secret_hash != record.secret_hash
    return Draft(
        name=record.name,
        sid=record.sid,
        version=draft.version,
        secret_hash=draft.secret_hash if rotated else record.secret_hash,
        payload=token_bytes(_MARK_BYTES),
        ttl=ttl,
        rotated=True,
        previous_hash=record.secret_hash,
        grace=draft.grace,
        previous_reads=draft.previous_reads or not rotated,
    )
