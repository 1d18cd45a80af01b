"""One master and any number of others, seen as one.

Reads come from the master only. Writes go to the master first and, once it has accepted, to all
others at once. The others take only newer versions, so writes that arrive in another order do no
harm; what one of them misses, the next write heals. Deletes leave a tombstone there, which outranks
the late writes of requests that were still under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

from ..background import Background
from ..errors import SessionStoreError
from ..meter import CallOutcome, Meter
from ..mistakes import FORGOTTEN
from ..record import (
    SAVED,
    TOMBSTONE_VERSION,
    Admission,
    Busy,
    Claim,
    Draft,
    Granted,
    Limit,
    Outcome,
    Record,
)
from .base import (
    Hear,
    Interface,
    LivesInCookie,
    SupportsIndex,
    SupportsLease,
    SupportsNews,
)
from .guard import AtOnce, BoundGuard, Budget, Guard, OnCall

logger = logging.getLogger("sanic_cookies")

OTHER_SECONDS = 1.0
TOMBSTONE_SECONDS = 120.0  # longer than any hold, so longer than any late write
FAILURE_WINDOW = 60.0
RETRY_PAUSES = (0.1, 0.5, 2.0, 5.0, 15.0)
MAX_RETRIES_UNDER_WAY = 1000

OnError = Literal["log", "raise"]
OnFailure = Callable[[str, bool], None]
Call = Coroutine[Any, Any, object]


class FanOut:
    """What a session reads from and writes to.

    Attributes:
        lives_in_cookie: Some interface has to be bound to a request: see `BoundFanOut`.
        suffixes: What their cookies' names end with, by place: 0 for the master, then the others.
        master_lives_in_cookie: The session's cookie holds the session itself.
        is_shared: Processes see each other's sessions and locks.
        has_others: There are interfaces beside the master.
        never_waits: No call ever waits for anything, so none is ever cut off.
        is_repeatable: A write that was cut off may be made again, since that changes nothing.
    """

    master_lives_in_cookie = False

    def __init__(
        self,
        master: Interface | LivesInCookie,
        others: Iterable[Interface | LivesInCookie] = (),
        *,
        timeout: float,
        on_error: OnError,
        background: Background,
        on_failure: OnFailure | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Combine interfaces.

        Args:
            master: Read from, and written to first.
            others: Written to afterwards.
            timeout: Seconds that one call of the master may take.
            on_error: What a failure of one of the others does: "log" or "raise".
            background: Where deletes are retried.
            on_failure: Told of each failed call, by interface and whether that is the master.
            meter: Told of each call.
        """
        self._meter = meter
        self._on_failure = on_failure
        self._timeout = timeout
        self._on_error = on_error
        self._background = background
        self._failed_at: dict[str, float] = {}
        self._hinted: set[str] = set()
        self._master = self._guard(master, is_master=True)
        # What the master's guard calls: the interface, or one request's own cookie.
        self._target: Any = master
        self._all_others = [self._guard(each, is_master=False) for each in others]
        # Asked for here, once: to ask a class for a protocol takes longer than to open a cookie.
        self.suffixes = {
            place: _suffix(place)
            for place, each in enumerate(self.interfaces)
            if isinstance(each, LivesInCookie)
        }
        # A copy in a cookie is there for its own request only: see `BoundFanOut`.
        self._others = [
            guard
            for place, guard in enumerate(self._all_others, start=1)
            if place not in self.suffixes
        ]
        # Everything above treats all masters alike.
        self._leased = master if isinstance(master, SupportsLease) else None
        self._indexed = master if isinstance(master, SupportsIndex) else None
        self._telling = master if isinstance(master, SupportsNews) else None
        self.lives_in_cookie = bool(self.suffixes)
        self.is_shared = self._leased is not None
        self.has_others = bool(self._all_others)
        self.never_waits = self._master.never_waits and not self.has_others
        # So it is where one step of one store writes.
        self.is_repeatable = self.never_waits or (self.is_shared and not self.has_others)

    def _guard(self, interface: Interface | LivesInCookie, *, is_master: bool) -> Guard:
        label = type(interface).__name__

        def failed(operation: str, cause: str) -> None:
            self._report(label, operation, cause, is_master)

        timeout = self._timeout if is_master else OTHER_SECONDS
        on_call = self._on_call(label, is_master)
        guard = Guard(interface, timeout, failed, on_call)
        if guard.never_waits and on_call is None:
            return AtOnce(interface, timeout, failed)
        return guard

    def _on_call(self, label: str, is_master: bool) -> OnCall | None:
        """Return what tells the meter of calls to one interface; None if nobody measures."""
        meter, role = self._meter, "master" if is_master else "added"
        if meter is None:
            return None

        def called(operation: str, seconds: float, outcome: CallOutcome) -> None:
            meter.called(label, role, operation, seconds, outcome)

        return called

    def _report(self, label: str, operation: str, cause: str, is_master: bool) -> None:
        """Log a failure: of the master each one, of the others one a minute."""
        now = time.monotonic()
        if is_master:
            logger.error("%s.%s failed: %s", label, operation, cause)
        elif now - self._failed_at.get(label, -FAILURE_WINDOW) >= FAILURE_WINDOW:
            self._failed_at[label] = now
            logger.error(
                "the added interface %s misses writes (%s); the next write heals it", label, cause
            )
        if cause in FORGOTTEN and cause not in self._hinted:
            self._hinted.add(cause)
            logger.warning("%s: %s", label, FORGOTTEN[cause])
        if self._on_failure is not None:
            self._on_failure(label, is_master)

    @property
    def interfaces(self) -> list[Interface | LivesInCookie]:
        """The master, then the others in the order they were added."""
        return [self._master.interface, *(guard.interface for guard in self._all_others)]

    @property
    def has_index(self) -> bool:
        """Whether the sessions of a user can be found."""
        return self._indexed is not None

    @property
    def is_down(self) -> bool:
        """Whether the master is taken as down now."""
        return self._master.is_down

    @property
    def is_suspect(self) -> bool:
        """Whether the master has failed and no call has succeeded since."""
        return self._master.is_suspect

    def listen(self, name: str, hear: Hear) -> None:
        """Have `hear` called when other processes end sessions, if the master can tell."""
        if self._telling is not None:
            self._telling.listen(name, hear)

    async def fetch(self, name: str, sid: str, budget: Budget) -> Record | None:
        """Read from the master."""
        record = await self._master.call(self._target.fetch, name, sid, budget=budget)
        return None if record is None or record.version >= TOMBSTONE_VERSION else record

    async def acquire(
        self, name: str, sid: str, claim: Claim, budget: Budget
    ) -> Granted | Busy | None:
        """Take the master's lease and read; a master without leases only reads."""
        if self._leased is None:
            record = await self.fetch(name, sid, budget)
            return None if record is None else Granted(record, held=True)
        acquire = self._leased.acquire
        granted = await self._master.call(acquire, name, sid, claim, budget=budget)
        if isinstance(granted, Granted) and granted.record.is_tombstone:
            return None
        return granted

    def require_newest(self, record: Record | None) -> None:
        """Let a block be opened by what is the newest: where a store is read, that is always so.

        Raises:
            SessionUnavailable: A cookie was read, and the browser gets a newer one, or has it.
        """

    async def turn(self, name: str, sid: str, token: str, timeout: float) -> None:
        """Wait until the lease may be free, `timeout` seconds at most."""
        if self._leased is not None:
            await self._leased.turn(name, sid, token, timeout)

    async def renew(self, name: str, sid: str, token: str, seconds: float, budget: Budget) -> bool:
        """Prolong the lease."""
        if self._leased is None:
            return True
        return await self._master.call(self._leased.renew, name, sid, token, seconds, budget=budget)

    async def release(self, name: str, sid: str, token: str, budget: Budget) -> None:
        """Give the lease up without writing."""
        if self._leased is not None:
            await self._master.call(self._leased.release, name, sid, token, budget=budget)

    async def create(self, draft: Draft, budget: Budget) -> bool:
        """Store a new session; False if its sid is taken."""
        made: bool = await self._master.call(self._target.create, draft, budget=budget)
        if made:
            await self._spread(draft)
        return made

    def commit(
        self,
        draft: Draft,
        token: str | None,
        release: bool,
        budget: Budget,
        seconds: float = 0.0,
        copy: Draft | None = None,
    ) -> Coroutine[Any, Any, Outcome]:
        """Save under the lease `token`, or without one; the others follow if it was saved.

        Args:
            draft: What to write.
            token: The lease's token; None for a save without a lease.
            release: Give the lease up.
            budget: What the request has left.
            seconds: Without `release`: how long the lease lasts from now.
            copy: The same write with everything in it, for others that may have missed some.
        """
        call = self._master.call
        if self._leased is not None and token is not None:
            saving = call(self._leased.commit, draft, token, release, seconds, budget=budget)
        else:
            saving = call(self._target.save, draft, budget=budget)
        return self._save_then_spread(saving, copy or draft) if self._others else saving

    async def _save_then_spread(
        self, saving: Coroutine[Any, Any, Outcome], draft: Draft
    ) -> Outcome:
        outcome = await saving
        if outcome is SAVED:
            await self._spread(draft)
        return outcome

    async def records_of(self, name: str, user_key: str, budget: Budget) -> list[Record]:
        """Return the live records of a user; none where the master keeps no index."""
        if self._indexed is None:
            return []
        return await self._master.call(self._indexed.records_of, name, user_key, budget=budget)

    async def admit(
        self,
        draft: Draft,
        token: str | None,
        limit: Limit,
        budget: Budget,
        seconds: float,
        copy: Draft | None = None,
    ) -> Admission:
        """Write a login within the user's limit; whoever had to go for it goes everywhere."""
        if self._indexed is None:
            raise SessionStoreError("the master interface has no index of users")
        admit = self._indexed.admit
        admission = await self._master.call(admit, draft, token, limit, seconds, budget=budget)
        if admission.outcome is Outcome.SAVED:
            await self._spread(copy or draft)
            await asyncio.gather(
                *(
                    self._bury_or_retry(guard, draft.name, sid)
                    for guard in self._others
                    for sid in admission.ended
                )
            )
        return admission

    async def touch(self, name: str, sid: str, version: int, ttl: float, budget: Budget) -> bool:
        """Record a use, in all of them."""
        touched: bool = await self._master.call(
            self._target.touch, name, sid, version, ttl, budget=budget
        )
        if not touched:
            return False
        await self._each(
            [
                guard.call(guard.interface.touch, name, sid, version, ttl, budget=_one())
                for guard in self._others
            ]
        )
        return True

    async def delete(self, name: str, sid: str, budget: Budget) -> bool:
        """End a session everywhere, whoever holds its lease.

        The others are retried in the background; the master's failure is the caller's to report,
        since a logout that did not happen must not be claimed.
        """
        existed: bool = await self._master.call(self._target.delete, name, sid, budget=budget)
        if self._others:
            await asyncio.gather(*(self._bury_or_retry(each, name, sid) for each in self._others))
        return existed

    async def _bury_or_retry(self, guard: Guard, name: str, sid: str) -> None:
        try:
            await self._bury(guard, name, sid)
        except SessionStoreError:
            if len(self._background) < MAX_RETRIES_UNDER_WAY:
                self._background.spawn(self._bury_later(guard, name, sid))
            else:
                _tell_left(guard, name, sid)

    async def _spread(self, draft: Draft) -> None:
        if self._others:
            await self._each([_apply(guard, draft) for guard in self._others])

    async def _each(self, calls: Sequence[Call]) -> None:
        """Run calls to the others at once; report failures after all have been tried."""
        if not calls:
            return
        results = await asyncio.gather(*calls, return_exceptions=True)
        failure: BaseException | None = None
        for result in results:
            if isinstance(result, BaseException):
                failure = result
        if failure is not None and self._on_error == "raise":
            raise failure

    async def _bury(self, guard: Guard, name: str, sid: str) -> None:
        if isinstance(guard, BoundGuard):
            await guard.call(guard.interface.delete, name, sid, budget=_one())
        else:
            await _apply(guard, Draft.tombstone(name, sid, TOMBSTONE_SECONDS))

    async def _bury_later(self, guard: Guard, name: str, sid: str) -> None:
        try:
            for pause in RETRY_PAUSES:
                await asyncio.sleep(pause)
                with suppress(SessionStoreError):
                    await self._bury(guard, name, sid)
                    return
        except asyncio.CancelledError:
            _tell_left(guard, name, sid)  # the server stops
            raise
        _tell_left(guard, name, sid)


def _tell_left(guard: Guard, name: str, sid: str) -> None:
    """Tell the operator, who may have to end it by hand if that interface is ever the master."""
    logger.error("%s: %s still holds a session that has ended: sid=%s", name, guard.label, sid)


def _suffix(place: int) -> str:
    """Return what a cookie's name ends with: the master's is the session's own, copies have theirs.

    Args:
        place: 0 for the master, then the others in their order.
    """
    return "" if place == 0 else "_data" if place == 1 else f"_data{place}"


async def _apply(guard: Guard, draft: Draft) -> None:
    """Bring one of the others up to `draft`, unless it has something newer already.

    Two writers may meet here; whoever finds the record missing and then taken looks again.
    """
    interface, budget = guard.interface, _one()
    if await guard.call(interface.save, draft, budget=budget) is not Outcome.GONE:
        return
    if draft.payload is None:
        return  # nothing to make it from; the next real write brings it
    if not await guard.call(interface.create, draft, budget=budget):
        await guard.call(interface.save, draft, budget=budget)


def _one() -> Budget:
    """Return the budget of one call to one of the others; they do not spend the request's."""
    return Budget(OTHER_SECONDS)
