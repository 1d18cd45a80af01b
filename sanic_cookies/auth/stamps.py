"""Stamps: what of a user ends its sessions when it changes, as a hash of the password does.

A session keeps a fingerprint of the stamp that was the newest at login. Stamps that are made with
a key come in a list while the key is changed: the newest, and those still good.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from inspect import isawaitable
from typing import Any, NamedTuple

from ..errors import SessionConfigError

SessionStamp = Callable[[Any], Any]


class Judgement(NamedTuple):
    """What is to be said of a session's fingerprint.

    Attributes:
        is_good: Whether one of the user's stamps has it.
        newest: What a session keeps from now on.
    """

    is_good: bool
    newest: str


async def judge(session_stamp: SessionStamp, user: Any, fingerprint: str) -> Judgement:
    """Compare what a session keeps with the stamps of its user, in constant time.

    Args:
        session_stamp: The application's; sync or async.
        user: The user, as loaded.
        fingerprint: What the session keeps.

    Raises:
        SessionConfigError: `session_stamp` returned something else than stamps.
    """
    good = [_fingerprint(each) for each in await _stamps_of(session_stamp, user)]
    found = [compare_digest(fingerprint, each) for each in good]
    return Judgement(any(found), good[0])


async def newest(session_stamp: SessionStamp, user: Any) -> str:
    """Return what a session of `user` is to keep.

    Raises:
        SessionConfigError: `session_stamp` returned something else than stamps.
    """
    return _fingerprint((await _stamps_of(session_stamp, user))[0])


async def _stamps_of(session_stamp: SessionStamp, user: Any) -> list[str | bytes]:
    stamps = session_stamp(user)
    if isawaitable(stamps):
        stamps = await stamps
    if isinstance(stamps, str | bytes):
        stamps = [stamps]
    if not isinstance(stamps, list | tuple):
        stamps = []
    if not stamps or not all(isinstance(each, str | bytes) and each for each in stamps):
        raise SessionConfigError(
            "session_stamp must return a str or bytes, or a list of them, never empty",
            served=True,
        )
    return list(stamps)


def _fingerprint(stamp: str | bytes) -> str:
    """Return what is kept of a stamp: nobody reads a password's hash out of a session."""
    raw = stamp.encode("utf-8", "surrogatepass") if isinstance(stamp, str) else stamp
    return sha256(b"sanic_cookies stamp\0" + raw).hexdigest()
