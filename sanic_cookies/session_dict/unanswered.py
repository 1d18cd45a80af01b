"""What becomes of a write that gave a session a token which no response has carried.

The store never said that it was made, so the client was told that it failed; or it said so when
the answer had gone, because who asked for the write was cancelled. Nobody has that token then. A
session that was made all the same would be listed as one of its user's, and count against their
limit, until it expires.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import SessionStoreError
from ..interfaces.fan_out import FanOut
from ..interfaces.guard import Budget
from ..record import Draft, Record, RecordUnreadable
from ..runtime import Runtime
from ..token import same

# A store that hung may make the write when it goes on, and is taken as down for a second before.
_PAUSES = (0.5, 2.0, 5.0)
# While a store is away there is a failed write for each visitor; most of those were never made.
_MOST_UNDER_WAY = 1000


def disown_later(runtime: Runtime, store: FanOut, written: Draft | Record) -> None:
    """End a session in the background, if the write was made.

    Args:
        runtime: Of the session.
        store: What was written to.
        written: The write, which has a token of its own.
    """
    if len(runtime.background) < _MOST_UNDER_WAY:
        runtime.background.spawn(_disown(runtime, store, written))


async def _disown(runtime: Runtime, store: FanOut, written: Draft | Record) -> None:
    settings = runtime.settings
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        with suppress(SessionStoreError, RecordUnreadable):
            budget = Budget(settings.store_timeout)
            record = await store.fetch(settings.name, written.sid, budget)
            if record is not None and same(record.secret_hash, written.secret_hash):
                await store.delete(settings.name, written.sid, budget)
            return
