"""Between records and rows: the arguments of the statements in `sql/`, and what they return.

Times and durations are seconds as floats on the way in and out; asyncpg's datetimes and timedeltas
cost ten times as much, and there are many. What a joined statement is asked goes as JSON, and as
plain bytes: an array takes asyncpg several times as long to write, because it looks at each element
whether it is an array too, and for types that it does not know it first asks the server, with
statements of its own, which a transaction pooler may tear apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from msgspec import json

from ...record import Draft, Record, RecordUnreadable

# The columns of a record, in the order of its fields, lead all rows that hold one.
FIELDS = 13

_encode = json.Encoder().encode


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
    """Return the arguments of `commit.sql`."""
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


def _packed(asked: Sequence[tuple[Any, ...]]) -> tuple[bytes]:
    return (_encode(asked),)


def _packed_claims(asked: Sequence[tuple[Any, ...]]) -> tuple[bytes]:
    _require_finite(sum([seconds for _, _, _, seconds, _, _ in asked]))
    return (_encode(asked),)


def _packed_touches(asked: Sequence[tuple[Any, ...]]) -> tuple[bytes]:
    _require_finite(sum([ttl for _, _, _, ttl in asked]))
    return (_encode(asked),)


def _packed_creations(asked: Sequence[tuple[Any, ...]]) -> tuple[bytes, bytes]:
    rows: list[tuple[Any, ...]] = []
    payloads, seconds = [args[4] for args in asked], 0.0
    for args, place in zip(asked, _places(payloads), strict=True):
        ttl, lifetime, age, _ = args[5:]
        seconds += ttl + age + (lifetime or 0.0)
        rows.append((*args[:4], *place, *args[5:]))
    _require_finite(seconds)
    return _encode(rows), b"".join(payloads)


def _packed_commitments(asked: Sequence[tuple[Any, ...]]) -> tuple[bytes, bytes]:
    rows: list[tuple[Any, ...]] = []
    payloads, seconds = [args[3] for args in asked], 0.0
    for args, place in zip(asked, _places(payloads), strict=True):
        name, sid, version, _, *rest = args[:11]
        ttl, _, lifetime, _, _, _, lease = rest
        seconds += ttl + lease + (lifetime or 0.0)
        secret, rotated, former, grace, reads = args[11:]
        if rotated:
            seconds += grace
            rest += secret, former, grace, reads
        rows.append((name, sid, version, *place, *rest))
    _require_finite(seconds)
    return _encode(rows), b"".join(filter(None, payloads))


def _places(payloads: Sequence[bytes | None]) -> list[tuple[int, int | None]]:
    """Return where each payload begins when they stand in a row, counted from 1, and its length."""
    places: list[tuple[int, int | None]] = []
    start = 1
    for payload in payloads:
        places.append((start, None if payload is None else len(payload)))
        start += len(payload or b"")
    return places


def _require_finite(seconds: float) -> None:
    """Refuse a time that cannot be; JSON has none such, and would say null."""
    if not isfinite(seconds):
        raise ValueError("a time that cannot be")


# What makes the arguments of each joined statement from those of the plain one.
PACKED = {
    "fetch": _packed,
    "acquire": _packed_claims,
    "touch": _packed_touches,
    "create": _packed_creations,
    "commit": _packed_commitments,
    "release": _packed,
    "delete": _packed,
}


def record(name: str, sid: str, row: Any) -> Record:
    """Return the record of a row.

    Raises:
        RecordUnreadable: The row was not written by this library.
    """
    found = Record(name, sid, *row[:FIELDS])
    if not found.secret_hash and found.version == 0:
        raise RecordUnreadable("a row of the older library")
    if not isfinite(
        found.created_at
        + found.last_seen
        + found.expires_at
        + found.rotated_at
        + found.previous_until
        + (found.deadline or 0.0)
    ):
        raise RecordUnreadable("a time that cannot be")
    return found
