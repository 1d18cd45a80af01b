"""Between records and rows: the arguments of the statements in `sql/`, and what they return.

Times and durations are seconds as floats on the way in and out; asyncpg's datetimes and timedeltas
cost ten times as much, and there are many.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from ...record import Draft, Record, RecordUnreadable

_TIMES = ("created_at", "last_seen", "expires_at", "deadline", "rotated_at", "previous_until")


def creation(draft: Draft) -> tuple[Any, ...]:
    """Return the arguments of `create.sql`."""
    return (
        draft.name,
        draft.sid,
        draft.version,
        draft.secret_hash,
        draft.payload or b"",
        draft.ttl,
        draft.lifetime,
        draft.age,
        draft.user_key,
    )


def commitment(draft: Draft, token: str | None, release: bool, seconds: float) -> tuple[Any, ...]:
    """Return the arguments of `commit.sql`, with those of `commit_joined.sql` at the front."""
    return (
        draft.name,
        draft.sid,
        draft.version,
        draft.payload,
        draft.ttl,
        draft.renew,
        draft.lifetime,
        draft.user_key,
        token,
        release,
        seconds,
        draft.secret_hash,
        draft.rotated,
        draft.previous_hash,
        draft.grace,
        draft.previous_reads,
    )


def record(name: str, sid: str, row: Any) -> Record:
    """Return the record of a row.

    Raises:
        RecordUnreadable: The row was not written by this library.
    """
    if not row["secret_hash"] and row["version"] == 0:
        raise RecordUnreadable("a row of the older library")
    times = (row[column] or 0.0 for column in _TIMES)
    if not isfinite(sum(times)):
        raise RecordUnreadable("a time that cannot be")
    return Record(
        name,
        sid,
        row["version"],
        row["secret_hash"],
        row["val"],
        row["created_at"],
        row["last_seen"],
        row["expires_at"],
        row["deadline"],
        row["rotated_at"],
        row["previous_hash"],
        row["previous_until"],
        row["previous_reads"],
        row["user_key"],
        row["now"],
    )
