"""Joins what is asked for different sessions at the same time into one statement.

Few connections, the lanes, carry one statement at a time each. A request that finds a lane free
goes at once; those that come while all lanes are busy make up the next statements. Who shares a
statement only waits for its answer: if that request is cancelled, its answer is dropped and nobody
else notices. A row that somebody has locked, or a failure, must not concern the others of a
statement: whom it may concern is told to ask alone. Where a lane is stuck, at a row or with a
server that hangs, another is opened, so that the others need not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .lane import LANES, Lane
from .pool import Pool
from .queue import ALONE, Arguments, Queue, Step, refuse

# When no lane has got ahead for so long, there may be one more.
STUCK_SECONDS = 0.05


class Joiner:
    """Takes requests, and finds lanes for them."""

    def __init__(self, pool: Pool, steps: Mapping[str, Step]) -> None:
        """Begin with nothing to do.

        Args:
            pool: Where connections come from.
            steps: What can be asked, by name.
        """
        self.steps = steps
        self._pool = pool
        self._queue = Queue(steps)
        self._lanes: list[Lane] = []
        self._watch: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        pool.spare = self._spare

    async def ask(self, step: str, args: Arguments) -> Any:
        """Return the row that answers a request; None if none does.

        Args:
            step: Name of the step.
            args: Arguments of its plain statement, name and id of the session first.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._begin_anew()
        answer: asyncio.Future[Any] = loop.create_future()
        request = args, answer
        self._queue.add(step, request)
        # With another to lead, this one comes along, and the next lane stays free.
        lane = None if self._queue.is_led else self._free_lane()
        try:
            if lane is not None:
                await lane.lead(step, request)
            elif self._watch is None:
                self._look_again_later()
            row = await answer
        except asyncio.CancelledError:
            for lane in self._lanes:
                lane.look_whether_missed()
            raise
        return await self.ask_alone(step, args) if row is ALONE else row

    async def ask_alone(self, step: str, args: Arguments) -> Any:
        """Return what `ask` does, by a statement for this request only."""
        return await self._pool.ask("fetchrow", self.steps[step].plain, args)

    async def close(self) -> None:
        """End the lanes; what still waits for them fails."""
        if self._loop is asyncio.get_running_loop():
            if self._watch is not None:
                self._watch.cancel()
            await asyncio.gather(*(lane.close() for lane in self._lanes))
            refuse(self._queue.answers(), ConnectionError("the interface was closed"))
        self._loop = None

    def _begin_anew(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, and have nothing to do on it, whatever is left on the former.

        Not asked for each request which loop runs: see `Deadlines.loop`.
        """
        loop = self._loop = asyncio.get_running_loop()
        self._queue, self._lanes, self._watch = Queue(self.steps), [], None
        for _ in range(LANES):
            self._add_lane()
        return loop

    async def _spare(self) -> bool:
        """See `Pool.spare`."""
        if self._loop is not asyncio.get_running_loop():
            return False
        connected = [lane for lane in self._lanes if lane.is_connected]
        # The last one is kept for those who come here, unless there is no other connection at all.
        if len(connected) > 1 or self._pool.is_last:
            for lane in connected:
                if lane.is_free:
                    await lane.give_back()
                    return True
        return False

    def _free_lane(self) -> Lane | None:
        """Return a lane that is free, with a connection if there is such a one."""
        free = None
        for lane in self._lanes:
            if lane.is_free:
                if lane.is_connected:
                    return lane
                free = free or lane
        return free

    def _add_lane(self) -> Lane:
        lane = Lane(self._queue, self._pool, self._lanes)
        self._lanes.append(lane)
        return lane

    def _look_again_later(self) -> None:
        carried = sum(lane.carried for lane in self._lanes)
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(STUCK_SECONDS, self._look_whether_stuck, carried)

    def _look_whether_stuck(self, carried: int) -> None:
        """Open another lane if some wait and no statement has ended since `carried` was right."""
        self._watch = None
        self._queue.drop_gone()
        if self._loop is None or not self._queue:
            return
        is_stuck = carried == sum(lane.carried for lane in self._lanes)
        if is_stuck and len(self._lanes) < max(LANES, self._pool.size // 2):
            self._add_lane().go_on()
        self._look_again_later()
