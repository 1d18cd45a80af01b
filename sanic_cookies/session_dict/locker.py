"""How a request gets into its session and out of it: the lock here, the lease in the store.

Within the process the lock table decides who is next. Across processes the lease does, which
comes with the record in one step and goes back with the write in one step. Up to `LOCAL_PASS`
blocks of one process may hand the lease and the record they have just written straight to each
other; then the other processes have their turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress

from ..errors import SessionLockTimeout, SessionStoreError
from ..interfaces.guard import Budget
from ..locks import Hold
from ..record import Busy, Claim, Granted, RecordUnreadable
from ..token import Credential
from .lease import Bequest, Lease
from .reader import SessionReader
from .state import DEAD, LIVE

logger = logging.getLogger("sanic_cookies")

LOCAL_PASS = 8
HELD_TOO_LONG = 0.25
# A lease that was asked for by a call that was cut off may be granted after it has been returned.
_RETURN_AGAIN = 0.5
# While a store is away there is a lease for each request that it has failed.
_MOST_UNDER_WAY = 1000
_OWN_TASK = (
    "another task of this request holds the session: a block must not wait for tasks that want "
    "one of their own"
)


class SessionLocker(SessionReader):
    """The half of `SessionDict` that locks."""

    __slots__ = ()

    def is_locked(self) -> bool:
        """Say whether the session is locked in this process, by this request or another."""
        if self._owner is not None:
            return True
        credential = self._located_credential()
        if credential is None:
            return False
        return self._runtime.locks.holder(credential.sid) is not None

    async def _wait_at_gate(self) -> None:
        """Let one task of this request in at a time; whoever leaves lets the longest waiter in."""
        if self._gate is None:
            self._gate = deque()
        turn = asyncio.get_running_loop().create_future()
        self._gate.append(turn)
        try:
            async with asyncio.timeout(self._runtime.settings.lock_timeout):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave_gate()  # cancelled in the very tick in which the turn came
            if isinstance(error, TimeoutError):
                late = SessionLockTimeout(_OWN_TASK)
                self._report_timeout(late, self.presented)
                raise late from error
            raise

    def _leave_gate(self) -> None:
        while self._gate:
            turn = self._gate.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._inside = False

    async def _lock_and_read(self, credential: Credential) -> None:
        """Take lock and lease, and read; a session that is not (or no more) ours stays unlocked."""
        if self._failure is not None:
            await self._hear()
        if self._exchange.begun:
            self._count_anew()
        runtime, label, began = self._runtime, self._exchange.label, time.monotonic()
        meter = runtime.meter
        if meter is not None:
            meter.entering(1)
        try:
            hold = runtime.locks.acquire_free(credential.sid, credential.secret_hash, label)
            contended = hold is None
            if hold is None:
                hold = await self._queue(credential, label)
                if hold is None:
                    return
            try:
                if not self._store.is_shared:
                    await self._read(credential, to_write=True)
                elif not self._take_over(hold):
                    contended |= await self._obtain(credential, began)
            except BaseException:
                hold.release()
                raise
        except SessionLockTimeout as error:
            self._report_timeout(error, credential.sid)
            raise
        finally:
            if meter is not None:
                meter.entering(-1)
        self._entered(hold, contended, began)

    async def _queue(self, credential: Credential, label: str) -> Hold | None:
        """Wait for the lock; return None if the session is not ours, and so no lock either."""
        settings, locks = self._runtime.settings, self._runtime.locks
        is_another = locks.holder(credential.sid) != credential.secret_hash
        if is_another or (self._status is not LIVE and not locks.is_proven(credential.sid)):
            # Not the secret that has opened the session to its holder: prove it before you queue.
            await self._read(credential)
            if self._status is not LIVE:
                return None
        return await locks.acquire(
            credential.sid,
            credential.secret_hash,
            timeout=settings.lock_timeout,
            max_waiters=settings.max_waiters,
            label=label,
        )

    def _take_over(self, hold: Hold) -> bool:
        """Have lease and record from the block before, of this process; False if it left none."""
        gift = hold.take_gift()
        if not isinstance(gift, Bequest):
            return False
        self._judge(gift.record)
        self._read_at, self._lease = gift.read_at, gift.lease
        self._runtime.stats.passed_on += 1
        return True

    def _entered(self, hold: Hold, contended: bool, began: float) -> None:
        runtime, now = self._runtime, time.monotonic()
        runtime.stats.blocks += 1
        if self._status is LIVE:
            self._hold = hold
            hold.keep(now, self._prolong, self._outstay)
        else:
            self._give_lease_back()  # left to us, whose token is not the session's any more
            hold.release()
        if runtime.meter is not None:
            runtime.meter.entered(now - began if contended else 0.0)
        if contended:
            self._report_wait(now - began)

    def _report_wait(self, waited: float) -> None:
        stats, label = self._runtime.stats, self._exchange.label
        stats.lock_waits += 1
        stats.lock_wait_seconds += waited
        if waited >= HELD_TOO_LONG:
            logger.info(
                "%s: the route %r waited %.0f ms for its session",
                self._runtime.settings.name,
                label,
                waited * 1000,
            )
        self._runtime.emit("waited", sid=self.sid, seconds=waited, route=label)

    def _outstay(self) -> None:
        """Lose lock and lease after `max_hold`.

        The lease goes back and is kept in mind: the store refuses what is to be written under it.
        """
        if self._lease is not None:
            self._runtime.background.spawn(self._return(self._lease))
        if self._hold is not None:
            self._hold.lose()

    async def _obtain(self, who: Credential, began: float) -> bool:
        """Take the lease and read; say whether it had to be waited for, since `began`."""
        settings, store = self._runtime.settings, self._store
        # One token, taken before the first try: whatever is retried, it is one lease.
        lease = Lease(who.sid, next(self._runtime.lease_tokens))
        claim = Claim(lease.token, settings.lease, who.secret_hash, self._exchange.label)
        budget, waited = self._budget, False
        budget.left -= settings.reserve
        try:
            try:
                granted = await store.acquire(settings.name, who.sid, claim, budget)
            finally:
                budget.left += settings.reserve
            while isinstance(granted, Busy):
                waited, left = True, began + settings.lock_timeout - time.monotonic()
                if left <= 0:
                    raise SessionLockTimeout(f"held by the route {granted.label!r}")
                await store.turn(settings.name, who.sid, lease.token, left)
                # Looking again is part of the wait, whose end is fixed.
                again = Budget(settings.store_timeout)
                granted = await store.acquire(settings.name, who.sid, claim, again)
        except RecordUnreadable:
            self._unreadable(who.sid)
            granted = None
        except BaseException:
            # The lease may be ours although nobody told us: give it back in any case.
            self._runtime.background.spawn(self._return_for_sure(lease))
            raise
        self._take(granted, lease, waited)
        return waited

    def _take(self, granted: Granted | None, lease: Lease, waited: bool) -> None:
        """Settle what the session is by what the store has granted; None for no session."""
        if granted is None:
            self._judge(None)
            return
        if granted.held:
            self._lease = lease
        elif waited:
            # Its secret was replaced while it waited, and the lease had been handed to it.
            self._runtime.background.spawn(self._return(lease))
        self._judge(granted.record)
        if not granted.held and self._status is LIVE:
            self._forget(DEAD)  # read, but not locked: its secret is not ours

    async def _prolong(self) -> bool:
        """Prolong the lease; say whether nobody else can have it yet."""
        lease = self._lease
        if lease is None:
            return True  # none is needed, or it has just been given back
        settings = self._runtime.settings
        budget = Budget(settings.store_timeout)
        try:
            if await self._store.renew(
                settings.name, lease.sid, lease.token, settings.lease, budget
            ):
                return True
            # The lease of a session that has ended is nobody else's.
            return await self._store.fetch(settings.name, lease.sid, budget) is None
        except (SessionStoreError, RecordUnreadable):
            return True  # unknown; the commit will find out

    def _give_lease_back(self) -> None:
        """Give the lease back without waiting for it; nothing happens if there is none."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._runtime.background.spawn(self._return(lease))

    async def _return(self, lease: Lease) -> None:
        """Give a lease back; if the store does not listen, in the background, once it does."""
        background = self._runtime.background
        if not await self._is_returned(lease) and len(background) < _MOST_UNDER_WAY:
            background.spawn(self._return_later(lease))

    async def _return_later(self, lease: Lease) -> None:
        """Give a lease back when the store is there again, or let it end by itself.

        Who failed with the store comes back with it, and is not to wait for their own lease.
        """
        end = time.monotonic() + self._runtime.settings.lease
        while time.monotonic() < end:
            await asyncio.sleep(_RETURN_AGAIN)
            if await self._is_returned(lease):
                return

    async def _return_for_sure(self, lease: Lease) -> None:
        """Give a lease back that was perhaps granted; once more for a grant that came late."""
        await self._is_returned(lease)
        await asyncio.sleep(_RETURN_AGAIN)
        await self._return(lease)

    async def _is_returned(self, lease: Lease) -> bool:
        """Give a lease back; say whether the store has taken it."""
        settings = self._runtime.settings
        budget = Budget(settings.store_timeout)
        try:
            await self._store.release(settings.name, lease.sid, lease.token, budget)
        except SessionStoreError:
            return False
        return True

    # Out again.

    def _may_pass_on(self) -> bool:
        """Say whether the next block of this process may have the lease without asking for it."""
        lease, credential, hold = self._lease, self._credential, self._hold
        if hold is None or not hold.queue:
            return False  # nobody is there to have it
        if lease is None or credential is None or lease.passes + 1 >= LOCAL_PASS:
            return False
        return self._runtime.locks.next_in_line(credential.sid) == credential.secret_hash

    def _bequeath_nothing(self) -> None:
        """Have the next block ask the store: of a write without answer nobody knows what became."""
        if self._lease is not None:
            self._lease = self._lease._replace(passes=LOCAL_PASS)

    def _prepare_gift(self) -> None:
        """Leave lease and record to the next block; both have just been confirmed by the store."""
        lease, record = self._lease, self._record
        if lease is not None and record is not None:
            spawn = self._runtime.background.spawn
            self._gift = Bequest(
                lease._replace(passes=lease.passes + 1),
                record,
                self._read_at,
                lambda lease: spawn(self._return(lease)),
            )

    async def _end_lease(self) -> None:
        """Give the lease back without writing, or prolong it for the next block of this process."""
        lease, settings = self._lease, self._runtime.settings
        if lease is None:
            return
        if self._may_pass_on():
            with suppress(SessionStoreError):
                budget = Budget(settings.store_timeout)
                if await self._store.renew(
                    settings.name, lease.sid, lease.token, settings.lease, budget
                ):
                    self._prepare_gift()
                    return
        await self._return(lease)

    def _let_go(self) -> None:
        """Give the lock of this process back; the lease is settled by now."""
        hold, gift = self._hold, self._gift
        self._hold = self._lease = self._gift = None
        if hold is None:
            return
        held, meter = time.monotonic() - hold.since, self._runtime.meter
        if meter is not None:
            meter.left(held)
        if held >= HELD_TOO_LONG:
            self._report_hold(held)
        hold.release(gift)

    def _report_hold(self, held: float) -> None:
        self._runtime.stats.held_too_long += 1
        label = self._exchange.label
        logger.warning(
            "%s: the route %r held its session for %.0f ms; others of the same browser waited",
            self._runtime.settings.name,
            label,
            held * 1000,
        )
        self._runtime.emit("held_too_long", sid=self.sid, seconds=held, route=label)

    def _report_timeout(self, error: SessionLockTimeout, sid: str | None) -> None:
        self._runtime.stats.lock_timeouts += 1
        label = self._exchange.label
        logger.warning(
            "%s: the route %r did not get its session: %s",
            self._runtime.settings.name,
            label,
            error.detail,
        )
        self._runtime.emit("timed_out", sid=sid, route=label, reason=error.detail)
