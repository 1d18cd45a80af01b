"""What becomes of a write that gave a session a token, if the store never said that it was made.

The client is told that it failed, so nobody has that token. A session that was made all the same
would be listed as one of its user's, and count against their limit, until it expires.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import SessionStoreError
from ..interfaces.fan_out import FanOut
from ..interfaces.guard import Budget
from ..record import Draft, RecordUnreadable
from ..runtime import Runtime
from ..token import same

# A store that hung may make the write when it goes on, and is taken as down for a second before.
_PAUSES = (0.5, 2.0, 5.0)
# While a store is away there is a failed write for each visitor; most of those were never made.
_MOST_UNDER_WAY = 1000


def disown_later(runtime: Runtime, store: FanOut, draft: Draft, error: SessionStoreError) -> None:
    """End the session of `draft` in the background, if that write was made.

    Args:
        runtime: Of the session.
        store: What was written to.
        draft: The write, which has a token of its own.
        error: What came of it.
    """
    was_asked = error.__cause__ is not None  # a store that is taken as down is not
    if was_asked and len(runtime.background) < _MOST_UNDER_WAY:
        runtime.background.spawn(_disown(runtime, store, draft))


async def _disown(runtime: Runtime, store: FanOut, draft: Draft) -> None:
    settings = runtime.settings
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        with suppress(SessionStoreError, RecordUnreadable):
            budget = Budget(settings.store_timeout)
            record = await store.fetch(settings.name, draft.sid, budget)
            if record is not None and same(record.secret_hash, draft.secret_hash):
                await store.delete(settings.name, draft.sid, budget)
            return
