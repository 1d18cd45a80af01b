"""Sessions in this process's memory: for development, tests, and one worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ...record import SAVED, Admission, Draft, Limit, Outcome, Record
from .shelf import Shelf

logger = logging.getLogger("sanic_cookies")


class InMemory:
    """Keeps sessions in a dict, forgets the expired ones by itself.

    Each worker process has its own, so with several workers a browser would see another session
    at each request: use Redis or Postgres there. Nothing survives a restart.
    """

    never_waits: Final = True

    def __init__(
        self, *, sweep_every: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make an empty store; no task is started before `open`.

        Args:
            sweep_every: Seconds between two clean-ups; 0 for none.
            clock: Seconds that never go back; injected by tests.
        """
        self._sweep_every = sweep_every
        self._clock = clock
        # Monotonic time, shown as epoch seconds: a jump of the wall clock moves no expiry.
        self._epoch = time.time() - clock()
        self._shelves: dict[str, Shelf] = {}
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        """Show how many sessions there are, never what is in them."""
        return f"<InMemory sessions={len(self)}>"

    def __len__(self) -> int:
        """Return how many records are kept, expired ones that wait for clean-up included."""
        return sum(len(shelf.rows) for shelf in self._shelves.values())

    def __bool__(self) -> bool:
        """Be true also when empty: `store or InMemory()` must not take another one."""
        return True

    async def open(self) -> None:
        """Start the scheduled clean-up in the running loop."""
        if not self._sweep_every:
            return
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.create_task(self._sweep_for_ever(), name="sanic_cookies.sweep")

    async def close(self) -> None:
        """Stop the clean-up; the sessions stay."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    # The names of the older library, which had to be called by hand.
    init = open
    kill = close

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        shelf = self._shelves.get(name)
        return None if shelf is None else shelf.live(sid, self._now())

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        now, shelf = self._now(), self._shelf(draft.name)
        taken = shelf.live(draft.sid, now)
        if taken is not None:
            return taken.secret_hash == draft.secret_hash
        shelf.put(Record.begun(draft, now), None)
        return True

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        now, shelf = self._now(), self._shelf(draft.name)
        record = shelf.live(draft.sid, now)
        if record is None:
            return Outcome.GONE
        if record.version >= draft.version:
            return Outcome.STALE
        shelf.put(record.updated(draft, now), record)
        return SAVED

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        now, shelf = self._now(), self._shelf(name)
        record = shelf.live(sid, now)
        if record is None or record.version != version:
            return False
        shelf.put(record.touched(now, ttl), record)
        return True

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`."""
        shelf = self._shelf(name)
        alive = shelf.live(sid, self._now()) is not None
        shelf.drop(sid)
        return alive

    async def records_of(self, name: str, user_key: str) -> list[Record]:
        """See `SupportsIndex.records_of`."""
        now, shelf = self._now(), self._shelf(name)
        found = (shelf.live(sid, now) for sid in shelf.sids_of(user_key))
        mine = [each for each in found if each is not None and each.user_key == user_key]
        return sorted(mine, key=lambda record: record.rotated_at)

    async def admit(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float = 0.0
    ) -> Admission:
        """See `SupportsIndex.admit`; atomic, since nothing here waits."""
        others = [
            record.sid
            for record in await self.records_of(draft.name, draft.user_key or "")
            if record.sid != draft.sid
        ]
        surplus = max(0, len(others) - limit.most + 1)
        if surplus and not limit.evict:
            return Admission(Outcome.FULL)
        if draft.version > 1:
            outcome = await self.save(draft)
        else:
            outcome = Outcome.SAVED if await self.create(draft) else Outcome.STALE
        if outcome is not Outcome.SAVED:
            return Admission(outcome)
        for sid in others[:surplus]:
            await self.delete(draft.name, sid)
        return Admission(outcome, tuple(others[:surplus]))

    async def sweep(self) -> int:
        """See `SupportsSweep.sweep`; holds the loop for a quarter of a millisecond at a time."""
        dropped = 0
        for shelf in list(self._shelves.values()):
            while True:
                gone, more = shelf.sweep_slice(self._now())
                dropped += gone
                if not more:
                    break
                await asyncio.sleep(0)
        return dropped

    def _now(self) -> float:
        return self._epoch + self._clock()

    def _shelf(self, name: str) -> Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            shelf = self._shelves[name] = Shelf()
        return shelf

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            try:
                await self.sweep()
            except Exception:
                logger.exception("clean-up of InMemory failed, it goes on")
