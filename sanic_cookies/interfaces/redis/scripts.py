"""The scripts that Redis runs, what they are given and what they answer."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from math import inf
from pathlib import Path
from struct import Struct
from typing import Any

from ...record import Admission, Draft, Outcome, Record, RecordUnreadable


class Script:
    """A script, made of Lua files in their order, and the digest that Redis knows it by."""

    def __init__(self, *files: str) -> None:
        """Read the files."""
        folder = Path(__file__).parent / "lua"
        self.text = "".join((folder / f"{name}.lua").read_text("utf-8") for name in files)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


TOUCH, RENEW = map(Script, ("touch", "renew"))
FETCH = Script("record", "fetch")
ACQUIRE = Script("record", "hand_over", "acquire")
RELEASE = Script("hand_over", "release")
CREATE = Script("news", "user_index", "create")
COMMIT = Script("news", "hand_over", "user_index", "commit")
DELETE = Script("news", "delete")
RECORDS_OF = Script("record", "records_of")
SIDS_OF, FORGET = map(Script, ("sids_of", "forget"))
REMEMBER = Script("news", "user_index", "remember")
SCRIPTS = (
    *(FETCH, CREATE, COMMIT, DELETE, ACQUIRE, RENEW, RELEASE, TOUCH),
    *(RECORDS_OF, SIDS_OF, FORGET, REMEMBER),
)

# Numbers go in one string: by itself each would cost nearly as much as all of them do here.
_READ = Struct("<9d")
_WRITTEN = Struct("<5B5d")
_ADMISSIONS = {outcome.value.encode(): Admission(outcome) for outcome in Outcome}


def read_record(name: str, sid: str, reply: list[Any]) -> Record:
    """Return the record that a script has read, as lua/record.lua answers it.

    Raises:
        RecordUnreadable: The fields are not ours.
    """
    _, numbers, secret_hash, payload, previous, user = reply
    if secret_hash is None or payload is None or previous is None:
        raise RecordUnreadable("fields are missing")
    version, now, expires, created, seen, deadline, rotated, until, reads = _READ.unpack(numbers)
    try:
        user_key = unmark(user)
    except UnicodeDecodeError as error:
        raise RecordUnreadable("the hash has not our fields") from error
    # By position: this is on the way of every request, and names cost a third more.
    return Record(
        name,
        sid,
        int(version),
        secret_hash,
        payload,
        created,
        seen,
        expires,
        deadline or None,
        rotated,
        previous,
        until,
        reads == 1,
        user_key,
        now,
    )


def written(draft: Draft, release: bool, seconds: float) -> bytes:
    """Return the numbers of a write, packed as lua/commit.lua takes them."""
    return _WRITTEN.pack(
        draft.payload is not None,
        draft.renew,
        draft.rotated,
        draft.previous_reads,
        release,
        draft.version,
        draft.ttl,
        inf if draft.lifetime is None else draft.lifetime,
        draft.grace,
        seconds,
    )


def read_admission(reply: Any) -> Admission:
    """Return what became of a write: an outcome, or who was ended to make room for it."""
    if isinstance(reply, list):
        return Admission(Outcome.SAVED, tuple(sid.decode() for sid in reply))
    return _ADMISSIONS[reply]


@lru_cache
def ms(seconds: float) -> int:
    """Return whole milliseconds, at least one of what is more than nothing; settings, mostly."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def optional_ms(seconds: float | None) -> int | str:
    """Return milliseconds, or what stands for "none" in a script's arguments."""
    return "" if seconds is None else ms(seconds)


def mark(user_key: str | None) -> str:
    """Return a user key as records have it, so that an empty key differs from none."""
    return "" if user_key is None else "=" + user_key


def unmark(user: bytes | None) -> str | None:
    """Return the user key that `mark` made this of."""
    return user[1:].decode() if user else None
