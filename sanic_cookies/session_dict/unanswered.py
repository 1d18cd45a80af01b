"""What becomes of a write that gave a session a token which no response has carried.

The store never said that it was made, so the client was told that it failed; or it said so when
the answer had gone, because who asked for the write was cancelled. Nobody has that token then. A
session that was made all the same would be listed as one of its user's, and count against their
limit, until it expires; so it ends. One whose token was replaced for something else than a login
gets its former token back, which the browser has: it was told of a failure, and of no logout.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec.structs import replace

from ..errors import SessionStoreError
from ..interfaces.fan_out import FanOut
from ..interfaces.guard import Budget
from ..record import Draft, Outcome, Record, RecordUnreadable
from ..runtime import Runtime
from ..token import same

# A store that hung may make the write when it goes on, and is taken as down for a second before.
_PAUSES = (0.5, 2.0, 5.0)
# While a store is away there is a failed write for each visitor; most of those were never made.
_MOST_UNDER_WAY = 1000


def disown_later(
    runtime: Runtime, store: FanOut, written: Draft | Record, former: Record | None = None
) -> None:
    """End a session in the background, or give it its former token back, if the write was made.

    Args:
        runtime: Of the session.
        store: What was written to.
        written: The write, which has a token of its own.
        former: What the session was before, to be gone back to; None to end it.
    """
    if len(runtime.background) < _MOST_UNDER_WAY:
        runtime.background.spawn(_disown(runtime, store, written, former))


async def _disown(
    runtime: Runtime, store: FanOut, written: Draft | Record, former: Record | None
) -> None:
    settings = runtime.settings
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        with suppress(SessionStoreError, RecordUnreadable):
            budget = Budget(settings.store_timeout)
            record = await store.fetch(settings.name, written.sid, budget)
            if record is None or not same(record.secret_hash, written.secret_hash):
                return
            if former is None or former.expires_at <= record.now:
                await store.delete(settings.name, written.sid, budget)
                return
            draft = _taken_back(written, record, former)
            if await store.commit(draft, None, False, budget) is not Outcome.STALE:
                return  # otherwise somebody has written meanwhile: look again


def _taken_back(written: Draft | Record, record: Record, former: Record) -> Draft:
    """Return the write that gives a session its former token back.

    With the token goes what was written with it, which may have been a right that only the new one
    was to have. Not so after a periodic renewal: the former token could write on.
    """
    draft = Draft(
        name=record.name,
        sid=record.sid,
        version=record.version + 1,
        secret_hash=former.secret_hash,
        payload=None,
        ttl=record.expires_at - record.now,
        renew=False,
        rotated=True,
        previous_hash=former.previous_hash,
        grace=max(0.0, former.previous_until - record.now),
        previous_reads=former.previous_reads,
        user_key=record.user_key,
    )
    if written.previous_reads:
        return draft
    return replace(
        draft,
        payload=former.payload,
        ttl=former.expires_at - record.now,
        renew=True,
        lifetime=None if former.deadline is None else former.deadline - record.now,
        user_key=former.user_key,
    )
