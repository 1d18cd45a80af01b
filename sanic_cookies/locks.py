"""Locks: who may be inside a session now.

Theory of operation. Within a process a session has one holder and a queue; a release hands the
session to the longest waiter directly, so nobody can slip in between and nobody starves. The table
knows each session's holder, and the holder its queue, which it leaves to the next: the table is
empty when all is quiet, and a queue is made only where somebody waits.

Strangers. Somebody who knows a public sid but not its secret must not keep its owner waiting. So
waiters are counted by the hash of what they presented, and one is verified by the caller before it
may queue, unless its hash is that of a holder who has been (`holder`, `is_proven`).

Across processes the lease in the store's record decides, which runs out unless it is prolonged. So
the table looks after its holds: of one that lasts it has the lease prolonged, and ends it after
`max_hold` seconds, whatever its owner does. One timer does that for all: most blocks are over long
before it rings, and have cost nothing by it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from math import inf
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from .errors import SessionLockTimeout
from .timers import EARLY


class Gift(Protocol):
    """What a holder leaves for the next one."""

    def drop(self) -> None:
        """Called if there is no next one to have it."""


class Hold(Struct, eq=False):
    """The right to be inside one session.

    Attributes:
        sid: Which session.
        who: Hash of the secret that its owner presented.
        label: What its owner called itself.
        lost: The hold ended before its owner gave it up: nothing may be written any more.
        queue: Who waits for the session, the longest first.
        gift: What the holder before left for this one.
        since: Monotonic seconds at which its owner came in.
        queued: Whether its owner has waited for it: only who has been verified may.
    """

    _table: LockTable  # which alone makes holds
    sid: str
    who: bytes
    label: str
    lost: bool = False
    queue: deque[Waiter] | None = None
    gift: Gift | None = None
    since: float = 0.0
    queued: bool = False
    _due: float = inf
    _prolong: Callable[[], Awaitable[bool]] | None = None
    _outstay: Callable[[], object] | None = None

    def take_gift(self) -> Gift | None:
        """Return what the holder before left for this one, or None."""
        gift, self.gift = self.gift, None
        return gift

    def __str__(self) -> str:
        """Say who keeps others waiting."""
        return f"held by the route {self.label!r}"

    def keep(
        self, since: float, prolong: Callable[[], Awaitable[bool]], outstay: Callable[[], object]
    ) -> None:
        """Have the table look after the hold from now on, until it ends.

        Args:
            since: Monotonic seconds at which the owner came in: now.
            prolong: Awaited every `renew_every` seconds; False from it ends the hold.
            outstay: Called if it has lasted for `max_hold` seconds, to end it.
        """
        table = self._table
        self.since, self._due = since, since + table.renew_every
        self._prolong, self._outstay = prolong, outstay
        if not table.is_watching:
            table.watch(table.renew_every)

    def look(self, now: float) -> float:
        """Do what is due; return the monotonic seconds at which more will be."""
        if self._prolong is None or self._outstay is None:
            return inf  # still on its way in
        end = self.since + self._table.max_hold
        if now >= end:
            self._outstay()
            return inf
        if now >= self._due:
            self._due = inf  # one call at a time
            self._table.spawn(self._renew(self._prolong))
        return min(self._due, end)

    async def _renew(self, prolong: Callable[[], Awaitable[bool]]) -> None:
        if await prolong():
            self._due = time.monotonic() + self._table.renew_every
        else:
            self.lose()

    def lose(self) -> None:
        """End the hold against its owner's will."""
        self.lost = True
        self.release()

    def release(self, gift: Gift | None = None) -> None:
        """Let the longest waiter in; a second call does nothing.

        Args:
            gift: Left for the next holder, if it presented the same secret as this one; otherwise
                dropped.
        """
        if not self._table.hand_over(self, gift) and gift is not None:
            gift.drop()


Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]


class Waiter:
    """One who waits for a session."""

    __slots__ = ("future", "label", "who")

    def __init__(self, future: asyncio.Future[Hold], who: bytes, label: str) -> None:
        """Made by the table only."""
        self.future, self.who, self.label = future, who, label


class LockTable:
    """The locks of one `Session` object in one event loop: first in, first out, never leaking.

    Attributes:
        spawn: Runs what prolongs a lease.
        max_hold: Seconds that a hold may last.
        renew_every: Seconds after which a lease is prolonged; not more than `max_hold`.
        is_watching: The loop is going to have us look after the holds.
    """

    def __init__(self, spawn: Spawn, *, max_hold: float, renew_every: float) -> None:
        """Make an empty table; for the arguments see the attributes."""
        self._holds: dict[str, Hold] = {}
        self.spawn, self.max_hold, self.renew_every = spawn, max_hold, renew_every
        self.is_watching = False

    def watch(self, seconds: float) -> None:
        """Look after the holds in so many seconds."""
        self.is_watching = True
        # In a context of its own, or what the caller's holds (its request) would live as long.
        asyncio.get_running_loop().call_later(seconds, self._look, context=Context())

    def _look(self) -> None:
        """Do what is due for each hold; look again when more will be, if any is left.

        After `renew_every` at the latest: nothing is due sooner of one that begins meanwhile.
        """
        self.is_watching = False
        now = time.monotonic()
        # A copy: one that ends is handed over.
        due = [hold.look(now + EARLY) for hold in tuple(self._holds.values())]
        if self._holds:
            self.watch(max(0.0, min(*due, now + self.renew_every) - now))

    def __len__(self) -> int:
        """Return how many sessions are locked now; 0 when all is quiet."""
        return len(self._holds)

    @property
    def waiting(self) -> int:
        """How many requests wait for a lock now."""
        return sum(len(hold.queue or ()) for hold in self._holds.values())

    def holder(self, sid: str) -> bytes | None:
        """Return what the holder of `sid` presented; None if it is free."""
        hold = self._holds.get(sid)
        return None if hold is None else hold.who

    def is_proven(self, sid: str) -> bool:
        """Say whether what the holder of `sid` presented is known to open the session."""
        hold = self._holds.get(sid)
        return hold is not None and (hold.queued or hold.since > 0.0)

    def next_in_line(self, sid: str) -> bytes | None:
        """Return what the longest waiter for `sid` presented; None if nobody waits."""
        hold = self._holds.get(sid)
        if hold is not None and hold.queue:
            for waiter in hold.queue:
                if not waiter.future.done():
                    return waiter.who
        return None

    def acquire_free(self, sid: str, who: bytes, label: str = "") -> Hold | None:
        """Take the lock if nobody has it; None if somebody has."""
        if sid in self._holds:
            return None
        hold = self._holds[sid] = Hold(self, sid, who, label)
        return hold

    async def acquire(
        self, sid: str, who: bytes, *, timeout: float, max_waiters: int, label: str = ""
    ) -> Hold:
        """Wait for the turn, `timeout` seconds at most.

        Args:
            sid: Its public id.
            who: Hash of the secret that is presented.
            timeout: Seconds to wait.
            max_waiters: How many may wait with the same `who`; one more is refused at once.
            label: What to call the owner before others.

        Raises:
            SessionLockTimeout: The turn did not come, or too many wait already.
        """
        hold = self.acquire_free(sid, who, label)
        if hold is not None:
            return hold
        holder = self._holds[sid]
        if holder.queue is None:
            holder.queue = deque()
        if sum(each.who == who for each in holder.queue) >= max_waiters:
            raise SessionLockTimeout(f"{max_waiters} wait already, {holder}")
        waiter = Waiter(asyncio.get_running_loop().create_future(), who, label)
        return await self._wait(sid, holder.queue, waiter, timeout)

    async def _wait(self, sid: str, queue: deque[Waiter], waiter: Waiter, timeout: float) -> Hold:
        loop = asyncio.get_running_loop()
        queue.append(waiter)
        timer = loop.call_later(timeout, self._give_up, sid, waiter.future)
        try:
            return await waiter.future
        except BaseException:
            # Cancelled in the very tick in which the turn came: it goes on to the next in line.
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:
                hold = future.result()
                hold.release(hold.take_gift())
            with suppress(ValueError):  # a release has already dropped it from the queue
                queue.remove(waiter)
            raise
        finally:
            timer.cancel()

    def _give_up(self, sid: str, future: asyncio.Future[Hold]) -> None:
        if not future.done():
            future.set_exception(SessionLockTimeout(str(self._holds[sid])))

    def hand_over(self, hold: Hold, gift: Gift | None) -> bool:
        """Pass what `hold` held to the next in line; nothing happens if it holds no more.

        Returns:
            Whether the next in line got the gift.
        """
        sid, queue = hold.sid, hold.queue
        if self._holds.get(sid) is not hold:
            return False
        while queue:
            waiter = queue.popleft()
            if not waiter.future.done():
                fits = waiter.who == hold.who
                heir = self._holds[sid] = Hold(self, sid, waiter.who, waiter.label)
                heir.queue, heir.queued, heir.gift = queue, True, gift if fits else None
                waiter.future.set_result(heir)
                return fits
        del self._holds[sid]
        return False
