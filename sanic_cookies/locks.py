"""Locks: who may be inside a session now.

Theory of operation. Within a process a session has one holder and a queue; a release hands the
session to the longest waiter directly, so nobody can slip in between and nobody starves. The table
knows each session's holder, and the holder its queue, which it leaves to the next: the table is
empty when all is quiet, and a queue is made only where somebody waits.

Strangers. Somebody who knows a public sid but not its secret must not keep its owner waiting. So
waiters are counted by the hash of what they presented, and one whose hash differs from the
holder's is verified by the caller before it may queue (`holder`).

Across processes the lease in the store's record decides; `Hold` carries its token and keeps it
renewed. A hold ends after `max_hold` seconds at the latest, whatever its owner does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from .errors import SessionLockTimeout
from .timers import Bell, Timer, Timers, TimersByLength


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
    """

    _table: LockTable  # which alone makes holds
    sid: str
    who: bytes
    label: str
    lost: bool = False
    queue: deque[Waiter] | None = None
    gift: Gift | None = None
    _limits: dict[Bell, float] | None = None
    _end: Callable[[], object] | None = None
    _renewal: Timer | None = None
    _renewing: tuple[Timers, Callable[[], Awaitable[bool]], Spawn] | None = None

    def take_gift(self) -> Gift | None:
        """Return what the holder before left for this one, or None."""
        gift, self.gift = self.gift, None
        return gift

    def __str__(self) -> str:
        """Say who keeps others waiting."""
        return f"held by the route {self.label!r}"

    def limit(self, seconds: float, end: Callable[[], object] | None = None) -> None:
        """End the hold after `seconds`, so that one stuck handler cannot keep all others out.

        Args:
            seconds: How long it may last.
            end: Called in place of `lose`, by one who has more to give back.
        """
        timers = self._table.timers[seconds]
        self._end, self._limits = end, timers.waiting
        timers.add(self)

    def ring(self) -> None:
        """End the hold: it has lasted as long as it may."""
        (self._end or self.lose)()

    def keep_renewed(
        self, every: float, renew: Callable[[], Awaitable[bool]], spawn: Spawn
    ) -> None:
        """Call `renew` every so many seconds until the hold ends; False from it ends the hold.

        A timer, not a task: most blocks are over before the first renewal is due.
        """
        self._renewing = self._table.timers[every], renew, spawn
        self._renewal = self._renewing[0].start(self._renew_now)

    # Methods: two functions that know each other would be left to the garbage collector.

    def _renew_now(self) -> None:
        if self._renewing is not None:
            spawn = self._renewing[2]
            spawn(self._renew())

    async def _renew(self) -> None:
        if self._renewing is None:
            return
        timers, renew, _ = self._renewing
        if not await renew():
            self.lose()
        elif self._renewal is not None:
            self._renewal = timers.start(self._renew_now)

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
        if self._limits is not None:
            self._limits.pop(self, None)
            self._limits = None
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
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
        timers: What counts for all holds of this table.
    """

    def __init__(self) -> None:
        """Make an empty table."""
        self._holds: dict[str, Hold] = {}
        self.timers = TimersByLength()

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
                heir.queue, heir.gift = queue, gift if fits else None
                waiter.future.set_result(heir)
                return fits
        del self._holds[sid]
        return False
