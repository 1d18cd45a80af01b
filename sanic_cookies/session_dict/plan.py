"""What can become of a record at a block's end, and the table that says when."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from msgspec import Struct

from ..expiry import Span


class Act(Enum):
    """What happens to the record."""

    NOTHING = "nothing"
    CREATE = "create"
    SAVE = "save"
    DELETE = "delete"


# Python 3.11 takes as long to look a member up in its class as to call a function.
NOTHING: Final = Act.NOTHING
CREATE: Final = Act.CREATE
SAVE: Final = Act.SAVE
DELETE: Final = Act.DELETE


def decide(
    exists: bool,
    ended: bool,
    empty: bool,
    expired: bool,
    changed: bool,
    rotate: bool,
    renew: bool,
) -> Act | None:
    """Return what to do; None if the session has ended and must not be written.

    | ended | empty or expired | exists | changed, rotate or renew | act     |
    |-------|------------------|--------|--------------------------|---------|
    | yes   | empty            |        |                          | NOTHING |
    | yes   | no               |        |                          | None    |
    | no    | yes              | yes    |                          | DELETE  |
    | no    | yes              | no     |                          | NOTHING |
    | no    | no               | no     |                          | CREATE  |
    | no    | no               | yes    | yes                      | SAVE    |
    | no    | no               | yes    | no                       | NOTHING |

    Args:
        exists: There is a record, and it is this session's.
        ended: It was this session's and has ended meanwhile, or its token was superseded.
        empty: There is nothing in the session now.
        expired: Its own lifetime is over (`set_expiry` with the past).
        changed: The encoded content differs from what was loaded.
        rotate: A new secret is due.
        renew: Its expiry is to move.
    """
    if ended:
        return NOTHING if empty else None
    if empty or expired:
        return DELETE if exists else NOTHING
    if not exists:
        return CREATE
    return SAVE if changed or rotate or renew else NOTHING


class Plan(Struct, frozen=True, gc=False):
    """A decision with what carrying it out needs.

    Attributes:
        act: What happens to the record.
        span: The session's lifetime from now on.
        payload: The encoded content; None where none is written.
        changed: The payload is new.
        rotate: Replace the secret.
        periodic: The rotation is the periodic one: the former secret may still read.
        renew: Move the expiry.
        own_life: The session was given a lifetime, which its cookie has to follow.
        release: Give the lease up.
        age: Seconds since the session began.
        user_key: Whose session it is, for the index.
        login: Somebody has logged in since the last write.
        tell: Called when it is stored.
    """

    act: Act
    span: Span
    payload: bytes | None = None
    changed: bool = False
    rotate: bool = False
    periodic: bool = False
    renew: bool = False
    own_life: bool = False
    release: bool = True
    age: float = 0.0
    user_key: str | None = None
    login: bool = False
    tell: Callable[[], object] | None = None
