"""Going through all sessions of a Redis, for the people who run it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ...record import Census, Record, RecordUnreadable

_AT_ONCE = 50
_SPECIAL, _ESCAPED = re.compile(r"([][?*^\\])"), r"\\\1"

Fetch = Callable[[str, str], Awaitable[Record | None]]


async def records(
    client: Any, prefix: str, name: str | None, fetch: Fetch
) -> AsyncIterator[Record]:
    """Give all live sessions whose keys begin with `prefix`, each once.

    Args:
        client: Any client of redis-py; a Cluster's asks all its primaries.
        prefix: What comes before the session's name.
        name: Of sessions of this name; of all if None.
        fetch: Reads one.
    """
    seen: set[tuple[str, str]] = set()
    page: list[tuple[str, str]] = []
    pattern = f"{_SPECIAL.sub(_ESCAPED, prefix)}{name or '*'}:*"
    async for key in client.scan_iter(match=pattern, count=1000):
        text = key.decode() if isinstance(key, bytes) else str(key)
        found, _, sid = text.removeprefix(prefix).partition(":")
        # The indexes of users have one part more. SCAN may give a key twice.
        if ":" not in sid and (found, sid) not in seen:
            seen.add((found, sid))
            page.append((found, sid))
        if len(page) == _AT_ONCE:
            for record in await _read(page, fetch):
                yield record
            page = []
    for record in await _read(page, fetch):
        yield record


async def count(found: AsyncIterator[Record]) -> Census:
    """Count sessions; Redis itself drops those that expire."""
    users: set[tuple[str, str]] = set()
    sessions = payload_bytes = 0
    oldest: float | None = None
    async for record in found:
        sessions += 1
        payload_bytes += len(record.payload)
        oldest = max(oldest or 0.0, record.now - record.created_at)
        if record.user_key is not None:
            users.add((record.name, record.user_key))
    return Census(sessions, len(users), 0, oldest, payload_bytes)


async def _read(page: list[tuple[str, str]], fetch: Fetch) -> list[Record]:
    found = await asyncio.gather(*(_readable(fetch, *key) for key in page))
    return [record for record in found if record is not None and not record.is_tombstone]


async def _readable(fetch: Fetch, name: str, sid: str) -> Record | None:
    try:
        return await fetch(name, sid)
    except RecordUnreadable:
        return None
