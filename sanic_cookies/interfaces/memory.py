"""Sessions in this process's memory: for development, tests, and one worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from typing import Final

from msgspec import msgpack
from msgspec.structs import force_setattr

from ..record import SAVED, Admission, Draft, Limit, Outcome, Record

logger = logging.getLogger("sanic_cookies")

# How long one step of the clean-up may keep the event loop to itself.
_SLICE_SECONDS = 0.00025
_SLICE_CHECK = 64
# How many sids are planned in one dict; to give back one of a million takes milliseconds.
_MOST_IN_ONE = 20_000


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
        self._shelves: dict[str, _Shelf] = {}
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
        return sorted(mine, key=lambda record: record.created_at)

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

    def _shelf(self, name: str) -> _Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            shelf = self._shelves[name] = _Shelf()
        return shelf

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            try:
                await self.sweep()
            except Exception:
                logger.exception("clean-up of InMemory failed, it goes on")


_encode = msgpack.Encoder().encode
_unpack = msgpack.Decoder(Record).decode


def _pack(record: Record) -> bytes:
    """Return a record as it is kept: one piece of bytes, which lies in memory in one place.

    Kept as an object, the record of a logged-in user is ten objects that lie in ten places: half as
    much memory again, and among a million each read waits for the memory ten times. The copy gives
    back the encoder's spare room, 60 bytes a session.
    """
    return b"".join((_encode(record), b""))  # to join one alone would copy nothing


class _Shelf:
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
