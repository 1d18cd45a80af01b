"""Deadlines for many calls, with one timer of the event loop for all of them.

Nearly every deadline here is lifted long before it is due: a timer of its own for each would cost
more than the work it bounds. Deadlines of one length are due in the order in which they began, so
it is enough to have the loop wake us for the oldest.

`timeout_awake` is for the few waits in which a pause of our own must not be taken for somebody
else's silence, as when a connection is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

# How often to look, in the time that somebody else has. See `timeout_awake`.
LOOKS = 4
# Loops ring a little early, by the resolution of their clock.
EARLY = 0.001


class Deadlines:
    """Cancels each task whose call takes too long; belongs to one event loop at a time.

    On the way of every call, so who calls does the usual part in place of a method: it asks
    `asyncio.current_task(loop)`, `begin_anew()` if there is none, puts the task into `running`,
    and calls `set_alarm()` if none `is_set`.

    Attributes:
        running: Each task that is in a call, with the monotonic seconds at which that began; taken
            out of here it is never cancelled. What is cancelled has been taken out.
        is_set: The loop is going to wake us.
        loop: The event loop of the last alarm. Up to Python 3.11 `get_running_loop` asks the system
            who we are, which takes longer than all else here: so it is not asked for each call.
    """

    __slots__ = ("_seconds", "is_set", "loop", "running")

    def __init__(self, seconds: float) -> None:
        """Begin with no call.

        Args:
            seconds: How long each call may take.
        """
        self._seconds = seconds
        self.running: dict[asyncio.Task[Any], float] = {}
        self.is_set = False
        self.loop: asyncio.AbstractEventLoop | None = None

    def begin_anew(self) -> asyncio.Task[Any]:
        """Return the current task, in another loop; the former one wakes nobody any more."""
        self.running.clear()
        self.is_set, self.loop = False, asyncio.get_running_loop()
        task = asyncio.current_task(self.loop)
        assert task is not None  # noqa: S101 - a coroutine awaits the call
        return task

    def set_alarm(self, seconds: float | None = None) -> None:
        """Have the loop wake us when the next is due: after the whole time if none was before."""
        loop = self.loop = self.loop or asyncio.get_running_loop()
        self.is_set = True
        # In a context of its own, or what the caller's holds (its request) would live as long.
        after = self._seconds if seconds is None else seconds
        loop.call_later(after, self._look, context=Context())

    def _look(self) -> None:
        """Cancel what is due, oldest first, and wait for the next."""
        loop = self.loop
        assert loop is not None  # noqa: S101 - it has rung
        self.is_set = False
        now = time.monotonic()
        for task, began in self.running.items():
            left = began + self._seconds - now
            if left > EARLY:
                self.set_alarm(left)
                break
            loop.call_soon(self._cancel, task, began)

    def _cancel(self, task: asyncio.Task[Any], began: float) -> None:
        """Cancel a task, unless the call has ended in the very tick in which it was due."""
        if self.running.get(task) == began:
            del self.running[task]
            task.cancel()


@asynccontextmanager
async def timeout_awake(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but a pause of this process does not count as one of the other side.

    A process that stood still finds in one turn that the answer is there and that its time is over.
    So the time is over after four looks: however long a pause was, it is the time of one.

    Args:
        seconds: How long the block may take.

    Raises:
        TimeoutError: It took longer.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        alarm = _Alarm(loop, seconds / LOOKS, limit)
        try:
            yield
        finally:
            alarm.cancel()


class _Alarm:
    """Looks `LOOKS` times, and ends the time with the last."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, every: float, limit: asyncio.Timeout
    ) -> None:
        self._loop, self._every, self._limit = loop, every, limit
        self._looks = 0
        self._next = loop.call_later(every, self._look)

    def cancel(self) -> None:
        self._next.cancel()

    def _look(self) -> None:
        self._looks += 1
        if self._looks < LOOKS:
            self._next = self._loop.call_later(self._every, self._look)
        else:
            self._limit.reschedule(self._loop.time())
