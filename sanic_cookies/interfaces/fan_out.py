"""One master and any number of others, seen as one.

Reads come from the master only. Writes go to the master first and, once it has accepted, to all
others at once (see `others`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from ..background import Background
from ..errors import SessionStoreError
from ..meter import Meter
from ..record import (
    SAVED,
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
from .guard import Budget
from .others import OTHER_SECONDS, OnError, Others
from .reports import OnFailure, Reports


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
        reports = Reports(on_failure, meter)
        self._master = reports.guard(master, timeout, is_master=True)
        # What the master's guard calls: the interface, or one request's own cookie.
        self._target: Any = master
        self._all_others = [reports.guard(each, OTHER_SECONDS, is_master=False) for each in others]
        # Asked for here, once: to ask a class for a protocol takes longer than to open a cookie.
        self.suffixes = {
            place: _suffix(place)
            for place, each in enumerate(self.interfaces)
            if isinstance(each, LivesInCookie)
        }
        # A copy in a cookie is there for its own request only: see `BoundFanOut`.
        elsewhere = [
            guard
            for place, guard in enumerate(self._all_others, start=1)
            if place not in self.suffixes
        ]
        self._others = Others(elsewhere, on_error, background)
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

    def read(self, name: str, sid: str, budget: Budget) -> Coroutine[Any, Any, Record | None]:
        """Read from the master, which may answer with a tombstone: no secret opens that."""
        return self._master.call(self._target.fetch, name, sid, budget=budget)

    async def fetch(self, name: str, sid: str, budget: Budget) -> Record | None:
        """Read from the master what has not ended."""
        record = await self.read(name, sid, budget)
        return None if record is None or record.is_tombstone else record

    def acquire(
        self, name: str, sid: str, claim: Claim, budget: Budget
    ) -> Coroutine[Any, Any, Granted | Busy | None]:
        """Take the master's lease and read, see `read`; a master without leases only reads."""
        if self._leased is None:
            return self._read_unleased(name, sid, budget)
        return self._master.call(self._leased.acquire, name, sid, claim, budget=budget)

    async def _read_unleased(self, name: str, sid: str, budget: Budget) -> Granted | None:
        record = await self.fetch(name, sid, budget)
        return None if record is None else Granted(record, held=True)

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
        if made and self._others.guards:
            await self._others.write(draft)
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
        return self._save_in_all(saving, copy or draft) if self._others.guards else saving

    async def _save_in_all(self, saving: Coroutine[Any, Any, Outcome], draft: Draft) -> Outcome:
        outcome = await saving
        if outcome is SAVED:
            await self._others.write(draft)
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
        if admission.outcome is SAVED and self._others.guards:
            await self._others.write(copy or draft)
            await self._others.end(draft.name, admission.ended)
        return admission

    async def touch(self, name: str, sid: str, version: int, ttl: float, budget: Budget) -> bool:
        """Record a use, in all of them."""
        touched: bool = await self._master.call(
            self._target.touch, name, sid, version, ttl, budget=budget
        )
        if touched and self._others.guards:
            await self._others.touch(name, sid, version, ttl)
        return touched

    async def delete(self, name: str, sid: str, budget: Budget) -> bool:
        """End a session everywhere, whoever holds its lease.

        The others are retried in the background; the master's failure is the caller's to report,
        since a logout that did not happen must not be claimed.
        """
        existed: bool = await self._master.call(self._target.delete, name, sid, budget=budget)
        if self._others.guards:
            await self._others.end(name, [sid])
        return existed


def _suffix(place: int) -> str:
    """Return what a cookie's name ends with: the master's is the session's own, copies have theirs.

    Args:
        place: 0 for the master, then the others in their order.
    """
    return "" if place == 0 else "_data" if place == 1 else f"_data{place}"
