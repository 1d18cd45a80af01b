"""The records of one session name in memory: found by their sid, by their user, and when due.

The clean-up goes in slices of time, so that a million sessions which expire at once stall nobody.
"""

from __future__ import annotations

import time
from heapq import heappop, heappush

from msgspec import msgpack
from msgspec.structs import force_setattr

from ...record import Record

# How long one step of the clean-up may keep the event loop to itself.
_SLICE_SECONDS = 0.00025
_SLICE_CHECK = 64
# How many sids are planned in one dict; to give back one of a million takes milliseconds.
_MOST_IN_ONE = 20_000

_encode = msgpack.Encoder().encode
_unpack = msgpack.Decoder(Record).decode


def _pack(record: Record) -> bytes:
    """Return a record as it is kept: one piece of bytes, which lies in memory in one place.

    Kept as an object, the record of a logged-in user is ten objects that lie in ten places: half as
    much memory again, and among a million each read waits for the memory ten times. The copy gives
    back the encoder's spare room, 60 bytes a session.
    """
    return b"".join((_encode(record), b""))  # to join one alone would copy nothing


class Shelf:
    """The records of one session name, and for each second those that may expire in it.

    A record whose expiry moves on is not moved: the clean-up finds it alive and puts it where it
    belongs then. So a write costs nothing here, and a clean-up looks at what is due, not at all.
    """

    __slots__ = ("_due", "_seconds", "_users", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        # No lists: one that was planned for two seconds is planned once after the first of them.
        # No sets either: the garbage collector looks at what is in a set, but not at what is in a
        # dict of strings.
        self._due: dict[int, list[dict[str, None]]] = {}
        self._seconds: list[int] = []  # heap of the keys of _due
        # A set only where there is more than one: most users have one session, and a set of one
        # would be a third of what the session takes.
        self._users: dict[str, str | set[str]] = {}

    def live(self, sid: str, now: float) -> Record | None:
        """Return a record as it is read `now`; None if there is none, or it has expired."""
        row = self.rows.get(sid)
        if row is None:
            return None
        record = _unpack(row)
        if record.expires_at <= now:
            return None
        force_setattr(record, "now", now)  # nobody else has seen it yet
        return record

    def put(self, record: Record, former: Record | None) -> None:
        """Store `record` in place of a former one, if there is one that has not expired.

        And remember when to look at it, unless an earlier look is planned.
        """
        sid, user_key = record.sid, record.user_key
        if former is None:
            self.drop(sid)  # an expired one that the clean-up has not come by yet
        self.rows[sid] = _pack(record)
        if former is None or record.expires_at < former.expires_at:
            self._plan(sid, record.expires_at)
        before = None if former is None else former.user_key
        if before != user_key:
            self._unlink(before, sid)
            self._link(user_key, sid)

    def drop(self, sid: str) -> None:
        """Forget a record; nothing happens if there is none."""
        row = self.rows.pop(sid, None)
        if row is not None:
            self._unlink(_unpack(row).user_key, sid)

    def sids_of(self, user_key: str) -> list[str]:
        """Return the sids of a user's records, expired ones included."""
        sids = self._users.get(user_key, ())
        return [sids] if isinstance(sids, str) else list(sids)

    def _link(self, user_key: str | None, sid: str) -> None:
        if user_key is None:
            return
        sids = self._users.setdefault(user_key, sid)
        if isinstance(sids, set):
            sids.add(sid)
        elif sids != sid:
            self._users[user_key] = {sids, sid}

    def _unlink(self, user_key: str | None, sid: str) -> None:
        if user_key is None:
            return
        sids = self._users[user_key]
        if isinstance(sids, set):
            sids.discard(sid)
            if len(sids) == 1:
                self._users[user_key] = sids.pop()
        else:
            del self._users[user_key]

    def _plan(self, sid: str, expires_at: float) -> None:
        second = int(expires_at) + 1
        planned = self._due.get(second)
        if planned is None:
            planned = self._due[second] = [{}]
            heappush(self._seconds, second)
        elif len(planned[-1]) >= _MOST_IN_ONE:
            planned.append({})
        planned[-1][sid] = None

    def sweep_slice(self, now: float) -> tuple[int, bool]:
        """Look at due records for one slice of time; return how many went, and if more are due."""
        dropped = looked = 0
        end = time.perf_counter() + _SLICE_SECONDS
        while self._seconds and self._seconds[0] <= now:
            planned = self._due[self._seconds[0]]
            while planned:
                sids = planned[-1]
                while sids:
                    dropped += self._look_at(sids.popitem()[0], now)
                    looked += 1
                    if looked % _SLICE_CHECK == 0 and time.perf_counter() > end:
                        return dropped, True
                planned.pop()
            del self._due[heappop(self._seconds)]
        return dropped, False

    def _look_at(self, sid: str, now: float) -> bool:
        row = self.rows.get(sid)
        if row is None:
            return False
        record = _unpack(row)
        if record.expires_at > now:
            self._plan(sid, record.expires_at)
            return False
        del self.rows[sid]
        self._unlink(record.user_key, sid)
        return True
