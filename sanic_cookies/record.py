"""What an interface keeps (`Record`), what it is asked to write (`Draft`), what it answers.

A draft carries *durations*, a record carries *times of the store's own clock*. So every store
judges expiry by one clock, its own, and the clocks of the web servers never matter.

Several of these are made for each request, hence structs: a frozen dataclass of 15 fields takes
ten times as long to make. `gc=False` spares the garbage collector what can form no cycle;
`array_like=True` leaves the names of the fields out where a record becomes bytes (`InMemory`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

TOMBSTONE_VERSION = 2**53


class Record(Struct, frozen=True, gc=False, array_like=True):
    """A session as a store keeps it. Metadata stand beside the user's data, never among them.

    Attributes:
        name: Name of the `Session` it belongs to; part of every key.
        sid: Public id.
        version: Grows by one with every write; older writes never replace newer ones.
        secret_hash: SHA-256 of the token's secret.
        payload: The user's data and identity, opaque to stores.
        created_at: Epoch seconds by the store's clock, as are all times here.
        last_seen: Last use that was written down (touches are throttled).
        expires_at: The store forgets the record then.
        deadline: Absolute end, whatever happens; None for none.
        rotated_at: When the secret was last replaced.
        previous_hash: The secret before that one; empty if there was none.
        previous_until: End of the grace in which the previous secret is still recognised.
        previous_reads: Whether it may still read the session (after a periodic renewal only).
        user_key: Whose session it is, for the index; None if nobody's.
        now: The store's clock when the record was read.
    """

    name: str
    sid: str
    version: int
    secret_hash: bytes
    payload: bytes
    created_at: float
    last_seen: float
    expires_at: float
    deadline: float | None = None
    rotated_at: float = 0.0
    previous_hash: bytes = b""
    previous_until: float = 0.0
    previous_reads: bool = False
    user_key: str | None = None
    now: float = 0.0

    @property
    def is_tombstone(self) -> bool:
        """Whether this only remembers that a session has ended (see `Draft.tombstone`)."""
        return self.version >= TOMBSTONE_VERSION

    @classmethod
    def begun(cls, draft: Draft, now: float) -> Record:
        """Return the record that creating from `draft` at `now` gives."""
        return cls(
            name=draft.name,
            sid=draft.sid,
            version=draft.version,
            secret_hash=draft.secret_hash,
            payload=draft.payload or b"",
            created_at=now - draft.age,
            last_seen=now,
            expires_at=now + draft.ttl,
            deadline=None if draft.lifetime is None else now + draft.lifetime,
            rotated_at=now,
            user_key=draft.user_key,
            now=now,
        )

    def updated(self, draft: Draft, now: float) -> Record:
        """Return the record that saving `draft` over this one at `now` gives."""
        record = replace(
            self,
            version=draft.version,
            payload=self.payload if draft.payload is None else draft.payload,
            user_key=draft.user_key,
            now=now,
        )
        if draft.renew:
            record = replace(
                record,
                last_seen=now,
                expires_at=now + draft.ttl,
                deadline=None if draft.lifetime is None else now + draft.lifetime,
            )
        if draft.rotated:
            record = replace(
                record,
                secret_hash=draft.secret_hash,
                rotated_at=now,
                previous_hash=draft.previous_hash,
                previous_until=now + draft.grace,
                previous_reads=draft.previous_reads,
            )
        return record

    def touched(self, now: float, ttl: float) -> Record:
        """Return the record as a use at `now` leaves it."""
        return replace(self, last_seen=now, expires_at=now + ttl, now=now)

    def seen_at(self, now: float) -> Record:
        """Return the record as read at `now`."""
        return replace(self, now=now)


class Draft(Struct, frozen=True, gc=False):
    """One write of a session.

    Attributes:
        name: Name of the `Session`.
        sid: Public id.
        version: The version that the record will have.
        secret_hash: SHA-256 of the current secret; stored on create, and on save if `rotated`.
        payload: New data; None keeps what is stored.
        ttl: Seconds from now until the record expires.
        renew: On save: move `last_seen`, expiry and deadline. Otherwise they stay, which keeps
            the indexed column of a database untouched.
        lifetime: Seconds from now until the absolute end; None for none.
        age: Seconds since the session began; used by create only.
        rotated: On save: replace the secret and remember the previous one.
        previous_hash: SHA-256 of the secret that is being replaced.
        grace: Seconds from now in which the previous secret is still recognised.
        previous_reads: Whether it may still read the session.
        user_key: Whose session it is; None if nobody's.
    """

    name: str
    sid: str
    version: int
    secret_hash: bytes
    payload: bytes | None
    ttl: float
    renew: bool = True
    lifetime: float | None = None
    age: float = 0.0
    rotated: bool = False
    previous_hash: bytes = b""
    grace: float = 0.0
    previous_reads: bool = False
    user_key: str | None = None

    @classmethod
    def tombstone(cls, name: str, sid: str, ttl: float) -> Draft:
        """Return a write that outranks every late write to an ended session for `ttl` seconds."""
        return cls(name, sid, TOMBSTONE_VERSION, b"", b"", ttl, rotated=True)


class Outcome(Enum):
    """What became of a save."""

    SAVED = "saved"
    GONE = "gone"  # no such record (any more): nothing was stored
    STALE = "stale"  # the stored version is not older: nothing was stored
    LOST = "lost"  # the lease given with the save is not the current one: nothing was stored
    FULL = "full"  # the user has as many sessions as are allowed: nothing was stored


# Python 3.11 takes as long to look a member up in its class as to call a function.
SAVED: Final = Outcome.SAVED


class Limit(Struct, frozen=True, gc=False):
    """How many sessions a user may have.

    Attributes:
        most: That many, the one that is being written included.
        evict: End those with the oldest tokens to make room; otherwise refuse the new one.
    """

    most: int
    evict: bool


class Admission(Struct, frozen=True, gc=False):
    """What became of a write under a limit.

    Attributes:
        outcome: As of a save; `STALE` for a new session whose sid is taken.
        ended: Public ids of the sessions that were ended to make room.
    """

    outcome: Outcome
    ended: tuple[str, ...] = ()


class Claim(Struct, frozen=True, gc=False):
    """A request for a session's lease.

    Attributes:
        token: Random, made once before any retry: the same token asked twice is one lease.
        seconds: How long the lease lasts unless renewed.
        secret_hash: Must be the record's current or previous one; a stranger never locks.
        label: Who asks (the route's name), shown to those who wait in vain.
    """

    token: str
    seconds: float
    secret_hash: bytes
    label: str = ""


class Granted(Struct, frozen=True, gc=False):
    """The record was read; `held` says whether the lease came with it (a stranger gets none)."""

    record: Record
    held: bool


class Busy(Struct, frozen=True, gc=False):
    """Another holder has the lease.

    Attributes:
        label: What the holder called itself.
        seconds: How long its lease still lasts.
    """

    label: str
    seconds: float


class Census(Struct, frozen=True, gc=False):
    """What a store holds, for the people who run it.

    Attributes:
        sessions: Live sessions.
        users: Users whom they belong to.
        expired: Records that have expired and not been dropped yet.
        oldest: Seconds since the oldest live session began; None if there is none.
        payload_bytes: Bytes of all payloads of live sessions.
        store_bytes: Bytes that the store takes for all of it; None if it does not say.
    """

    sessions: int
    users: int
    expired: int
    oldest: float | None
    payload_bytes: int
    store_bytes: int | None = None


class RecordUnreadable(Exception):
    """A stored record, or its payload, is not what this library writes."""
