"""All that the session of one request remembers, in one place; what is done with it stands above.

In slots, not in a dict: there Python 3.11 finds each at once. Of a class with more than thirty
attributes each instance gets a dict of its own in the end, and what stands on the class alone is
searched for at each use: both together were a tenth of what a locked write took. And an attribute
that a handler makes up, which would be lost with the request, is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from ..content import Content
from ..errors import SessionError
from ..exchange import Exchange
from ..interfaces.fan_out import FanOut
from ..interfaces.guard import Budget
from ..locks import Hold
from ..record import Record
from ..runtime import Runtime
from ..token import Credential
from .changes import Changes
from .lease import Bequest, Lease


class Status(Enum):
    """What a request knows of its session."""

    UNREAD = "unread"  # the store has not been asked yet
    NEW = "new"  # nothing in the store; the first write will create it
    LIVE = "live"  # read from the store, and ours
    DEAD = "dead"  # it was ours and has ended meanwhile: never written again, under any id


# Python 3.11 takes as long to look a member up in its class as to call a function.
UNREAD: Final = Status.UNREAD
NEW: Final = Status.NEW
LIVE: Final = Status.LIVE
DEAD: Final = Status.DEAD


class SessionState:
    """What `SessionDict` stands on."""

    __slots__ = (
        "_accessed",
        "_blind",
        "_budget",
        "_closing",
        "_content",
        "_credential",
        "_doomed",
        "_doubt",
        "_exchange",
        "_failure",
        "_gate",
        "_gift",
        "_hold",
        "_inside",
        "_lease",
        "_located",
        "_logged_in",
        "_looking",
        "_merged",
        "_muted",
        "_once_stored",
        "_once_undone",
        "_ousted",
        "_owner",
        "_payload",
        "_peeked",
        "_read_at",
        "_record",
        "_renew",
        "_repeats",
        "_rotate",
        "_runtime",
        "_savepoints",
        "_status",
        "_store",
        "_under_way",
        "_undestroyed",
        "_unlocked",
        "_written",
    )

    def __init__(self, runtime: Runtime, exchange: Exchange) -> None:
        """Begin knowing nothing; nothing is parsed before it is asked for."""
        self._runtime, self._exchange = runtime, exchange
        self._store: FanOut = runtime.store
        if exchange.budget is None:
            exchange.budget = Budget(runtime.settings.request_timeout)
        self._budget: Budget = exchange.budget

        # What the request presents, and what the store said to that.
        self._accessed = self._located = self._muted = False
        self._credential: Credential | None = None
        self._status = UNREAD
        self._failure: SessionError | None = None
        self._looking: asyncio.Task[None] | None = None  # asks whether a store is back
        self._record: Record | None = None
        self._read_at = 0.0  # monotonic seconds at which the record's `now` was right
        self._payload = b""
        self._peeked: tuple[bytes, Content] | None = None
        self._doubt: Exception | None = None  # why nobody knows whether its login still holds

        # What the handler works on, and what it has done without the lock.
        self._content: Content | None = None
        self._blind: Changes | None = None  # written before anything was read
        self._unlocked: Changes | None = None  # marks set without the lock: lifetime, rotation
        self._renew = self._rotate = False
        self._logged_in = False  # by this block, and not yet stored
        self._once_stored: Callable[[], object] | None = None
        self._once_undone: Callable[[], object] | None = None
        self._written = False
        self._repeats = False  # a write of which nobody knows whether it has been made
        self._closing = False
        self._under_way: tuple[asyncio.Task[None], ...] = ()  # writes with tasks of their own

        # Who is inside.
        self._owner: object = None
        self._ousted = False  # another task has ended what the open block began with
        self._inside = False  # some task of this request is in a block, or on its way in or out
        self._gate: deque[asyncio.Future[None]] | None = None  # other tasks of this request
        self._hold: Hold | None = None
        self._lease: Lease | None = None
        self._gift: Bequest | None = None

        # What a block that fails goes back to.
        self._merged: Changes | None = None  # changed without the lock, and part of this block
        self._doomed: tuple[str, ...] = ()  # ended by this request, and not yet told to the store
        self._undestroyed: dict[str, Any] | None = None  # the session that it has ended or left
        self._savepoints: tuple[dict[str, Any], ...] = ()  # of each inner block, outermost first
