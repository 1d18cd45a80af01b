"""The scripts that Redis runs, what they are given and what they answer."""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path
from typing import Any

from ...record import Admission, Outcome, Record, RecordUnreadable


class Script:
    """A script, made of Lua files in their order, and the digest that Redis knows it by."""

    def __init__(self, *files: str) -> None:
        """Read the files."""
        folder = Path(__file__).parent / "lua"
        self.text = "".join((folder / f"{name}.lua").read_text("utf-8") for name in files)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


FETCH, TOUCH, RENEW = map(Script, ("fetch", "touch", "renew"))
ACQUIRE, RELEASE = (Script("hand_over", name) for name in ("acquire", "release"))
CREATE = Script("news", "user_index", "create")
COMMIT = Script("news", "hand_over", "user_index", "commit")
DELETE = Script("news", "delete")
RECORDS_OF, SIDS_OF, FORGET = map(Script, ("records_of", "sids_of", "forget"))
REMEMBER = Script("news", "user_index", "remember")
SCRIPTS = (
    *(FETCH, CREATE, COMMIT, DELETE, ACQUIRE, RENEW, RELEASE, TOUCH),
    *(RECORDS_OF, SIDS_OF, FORGET, REMEMBER),
)

_ADMISSIONS = {outcome.value.encode(): Admission(outcome) for outcome in Outcome}


def read_record(name: str, sid: str, reply: list[Any]) -> Record:
    """Return the record that a script has read.

    Raises:
        RecordUnreadable: The fields are not ours.
    """
    try:
        now, ttl, version, secret_hash, payload, created, seen, deadline, rotated = reply[:9]
        previous, until, reads, user = reply[9:]
        now = int(now)
        if secret_hash is None or payload is None or previous is None:
            raise RecordUnreadable("fields are missing")
        # By position: this is on the way of every request, and names cost a third more.
        return Record(
            name,
            sid,
            int(version),
            secret_hash,
            payload,
            int(created) / 1000,
            int(seen) / 1000,
            (now + int(ttl)) / 1000,
            int(deadline) / 1000 if deadline else None,
            int(rotated) / 1000,
            previous,
            int(until) / 1000,
            reads == b"1",
            unmark(user),
            now / 1000,
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordUnreadable("the hash has not our fields") from error


def read_admission(reply: Any) -> Admission:
    """Return what became of a write: an outcome, or who was ended to make room for it."""
    if isinstance(reply, list):
        return Admission(Outcome.SAVED, tuple(sid.decode() for sid in reply))
    return _ADMISSIONS[reply]


def ms(seconds: float) -> int:
    """Return whole milliseconds, at least one of what is more than nothing."""
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
