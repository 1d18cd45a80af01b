"""The store's lease on a session, and how one block leaves it to the next of its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..record import Record


class Lease(NamedTuple):
    """The store's lease that this request holds.

    Attributes:
        sid: Of which session.
        token: Its random token.
        passes: How many blocks of this process have had it before.
    """

    sid: str
    token: str
    passes: int = 0


class Bequest(NamedTuple):
    """What a block hands to the next one of its process, with the lock.

    Attributes:
        lease: The lease, just prolonged.
        record: The record, just written.
        read_at: Monotonic seconds at which `record.now` was right.
        give_back: Gives the lease back to the store.
    """

    lease: Lease
    record: Record
    read_at: float
    give_back: Callable[[Lease], object]

    def drop(self) -> None:
        """Give the lease back: nobody of this process wants it any more."""
        self.give_back(self.lease)
