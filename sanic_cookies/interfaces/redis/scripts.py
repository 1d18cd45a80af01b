"""The scripts that Redis runs, what they are given and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from math import inf, isfinite
from pathlib import Path
from struct import Struct
from typing import Any, TypeAlias

from ...record import Admission, Draft, Outcome, Record, RecordUnreadable


class Script:
    """A script, made of Lua files in their order, and the digest that Redis knows it by."""

    def __init__(self, *files: str) -> None:
        """Read the files."""
        folder = Path(__file__).parent / "lua"
        self.text = "".join((folder / f"{name}.lua").read_text("utf-8") for name in files)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


# Where a script has a usual case it ends in its first file: what those behind it define is made
# anew on each run, and each function costs the server as much as a field that it reads.
TOUCH, FETCH = map(Script, ("touch", "fetch"))
RENEW = Script("line", "renew")
ACQUIRE = Script("acquire", "line", "hand_over", "stand_in_line")
RELEASE = Script("release", "line", "hand_over", "leave_line")
CREATE = Script("units", "create", "news", "user_index", "create_for_user")
COMMIT = Script("commit", "units", "line", "hand_over", "news", "user_index", "commit_more")
DELETE = Script("news", "delete")
RECORDS_OF = Script("records_of")
SIDS_OF, FORGET, EXISTS = map(Script, ("sids_of", "forget", "exists"))
REMEMBER = Script("news", "user_index", "remember")
SCRIPTS = (
    *(FETCH, CREATE, COMMIT, DELETE, ACQUIRE, RENEW, RELEASE, TOUCH),
    *(RECORDS_OF, SIDS_OF, FORGET, EXISTS, REMEMBER),
)

# What a record holds but its payload stands in one field: by itself each number would cost the
# server nearly as much as all of them do here. Doubles are seconds: last seen, expires, deadline or
# 0, created, rotated, end of the grace, and whether the previous secret reads; then the hash, the
# previous one or NULs, the version, and the user behind its length. Scripts take it apart by place.
_RECORD = Struct("<7d32s32sdI")
_END = Struct("<dI")
_SIZE = Struct("<I")  # of the user, at the end of the fixed part
_VERSION = Struct("<d")
_HASHES = Struct("<32s32s")
_LIVES = Struct("<3d")
_MORE = Struct("<5B4d")
_NO_HASH = bytes(32)
# What a write is given, as most are: new data, and the lease goes back. And what any other is.
Usual: TypeAlias = tuple[bytes, bytes, bytes]
More: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
_ADMISSIONS = {outcome.value.encode(): Admission(outcome) for outcome in Outcome}


def read_answer(name: str, sid: str, answer: bytes) -> Record:
    """Return the record that a script has read, as lua/fetch.lua answers it; see `read_record`."""
    *now, stored = answer.split(b" ", 2)
    size = _RECORD.size
    if len(stored) >= size:
        size += _SIZE.unpack_from(stored, size - _SIZE.size)[0]
    return read_record(name, sid, now, stored[:size], stored[size:])


def read_record(
    name: str, sid: str, now: Sequence[bytes], stored: bytes, payload: bytes | None
) -> Record:
    """Return the record that stands in the fields of a hash.

    Args:
        name: Name of the session.
        sid: Public id.
        now: When it was read, as the server's `TIME` tells it.
        stored: The field with all but the payload.
        payload: The payload; None if there is none.

    Raises:
        RecordUnreadable: The fields are not ours.
    """
    if payload is None or len(stored) < _RECORD.size:
        raise RecordUnreadable("the record is cut off")
    seen, expires, deadline, created, rotated, until, reads, current, former, version, size = (
        _RECORD.unpack_from(stored)
    )
    if len(stored) != _RECORD.size + size:
        raise RecordUnreadable("the record has another length")
    if not isfinite(seen + expires + deadline + created + rotated + until + version):
        raise RecordUnreadable("there are no times in the record")
    # By position: this is on the way of every request, and names cost a third more.
    return Record(
        name,
        sid,
        int(version),
        b"" if current == _NO_HASH else current,  # a tombstone's
        payload,
        created,
        seen,
        expires,
        deadline or None,
        rotated,
        b"" if former == _NO_HASH else former,
        until,
        reads == 1,
        _user_in(stored) if size else None,
        int(now[0]) + int(now[1]) / 1e6,
    )


def _user_in(stored: bytes) -> str | None:
    try:
        return unmark(stored[_RECORD.size :])
    except UnicodeDecodeError as error:
        raise RecordUnreadable("the user in the record is no text") from error


def packed_version(version: int) -> bytes:
    """Return a version as records have it."""
    return _VERSION.pack(version)


def begun(draft: Draft) -> tuple[bytes, bytes, bytes]:
    """Return the arguments of lua/create.lua, those that concern the index left out."""
    lifetime = inf if draft.lifetime is None else draft.lifetime
    lives = _LIVES.pack(draft.ttl, lifetime, draft.age)
    end = _HASHES.pack(draft.secret_hash, b"") + _end(draft)
    return lives, end, draft.payload or b""


def written(draft: Draft, token: str, release: bool, seconds: float) -> Usual | More:
    """Return the arguments of lua/commit.lua, those that concern the index left out."""
    usual = _end(draft), token.encode(), draft.payload or b""
    if release and token and draft.payload is not None and not (draft.renew or draft.rotated):
        return usual
    more = _MORE.pack(
        draft.payload is not None,
        draft.renew,
        draft.rotated,
        draft.previous_reads,
        release,
        draft.ttl,
        inf if draft.lifetime is None else draft.lifetime,
        draft.grace,
        seconds,
    )
    # Padded, as the record has them.
    hashes = _HASHES.pack(draft.secret_hash, draft.previous_hash)
    return *usual, more, hashes[:32], hashes[32:]


def _end(draft: Draft) -> bytes:
    user = mark(draft.user_key).encode()
    return _END.pack(draft.version, len(user)) + user


def read_admission(reply: Any) -> Admission:
    """Return what became of a write: an outcome, or who was ended to make room for it.

    Raises:
        RecordUnreadable: The key holds somebody else's hash.
    """
    if isinstance(reply, list):
        return Admission(Outcome.SAVED, tuple(sid.decode() for sid in reply))
    admission = _ADMISSIONS.get(reply)
    if admission is None:
        raise RecordUnreadable("the hash has not our fields")
    return admission


@lru_cache
def ms(seconds: float) -> int:
    """Return whole milliseconds, at least one of what is more than nothing; settings, mostly."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def mark(user_key: str | None) -> str:
    """Return a user key as records have it, so that an empty key differs from none."""
    return "" if user_key is None else "=" + user_key


def unmark(user: bytes | None) -> str | None:
    """Return the user key that `mark` made this of."""
    return user[1:].decode() if user else None
