"""Values that the unit tests need again and again."""

from __future__ import annotations

from typing import Any

from sanic_cookies.record import Draft
from sanic_cookies.token import Token


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


def a_draft(token: Token | None = None, **changes: Any) -> Draft:
    """Return the first write of a session; `changes` are fields of it."""
    token = token or Token.generate()
    values: dict[str, Any] = {
        "name": "session",
        "sid": token.sid,
        "version": 1,
        "secret_hash": token.secret_hash,
        "payload": b"payload",
        "ttl": 60.0,
    }
    return Draft(**{**values, **changes})
