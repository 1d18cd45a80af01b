"""Drafts, claims and comparisons for the tests of interfaces."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from msgspec.structs import replace

from ..record import Claim, Draft, Record
from ..token import Token

NAME = "contract"
TTL = 3600.0
# How far two times may be apart that should be the same: a slow machine's pause, no more. The
# durations that the tests tell apart differ by minutes.
NEAR = 10.0
# Two readings of one expiry, where a store computes it from "now" and what is left.
ROUNDING = 0.05


def new_draft(**changes: Any) -> Draft:
    """Return a draft of a session that no other test has; `changes` are fields of it."""
    token = Token.generate()
    fields: dict[str, Any] = {
        "name": NAME,
        "sid": token.sid,
        "version": 1,
        "secret_hash": token.secret_hash,
        "payload": b'{"data":{}}',
        "ttl": TTL,
    }
    return Draft(**{**fields, **changes})


def following(draft: Draft, **changes: Any) -> Draft:
    """Return the next write of the same session: one version on, with `changes`."""
    return replace(draft, **{"version": draft.version + 1, **changes})


def new_hash() -> bytes:
    """Return the hash of a secret that nobody has."""
    return Token.generate().secret_hash


def new_claim(draft: Draft, **changes: Any) -> Claim:
    """Return a claim for the session of `draft` by one who knows its secret."""
    fields: dict[str, Any] = {
        "token": token_hex(16),
        "seconds": 60.0,
        "secret_hash": draft.secret_hash,
        "label": "holder",
    }
    return Claim(**{**fields, **changes})


def near(a: float, b: float) -> bool:
    """Say whether two times, or two durations, are the same but for a pause of the machine."""
    return abs(a - b) < NEAR


def same(a: Record | None, b: Record | None) -> bool:
    """Say whether nothing changed between two readings of a record."""
    if a is None or b is None:
        return a is b
    return (
        replace(a, now=0, expires_at=0) == replace(b, now=0, expires_at=0)
        and abs(a.expires_at - b.expires_at) < ROUNDING
    )
