"""Many waits of one length, with one timer of the event loop for all of them.

Nearly every deadline here is cancelled long before it is due: a timer of its own for each would
cost more than the work it bounds. Waits of one length end in the order in which they began, so it
is enough to have the loop wake us for the oldest.

`timeout_awake` is for the few waits in which a pause of our own must not be taken for somebody
else's silence, as when a connection is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

# How often to look, in the time that somebody else has. See `timeout_awake`.
LOOKS = 4


class Waits(Generic[T]):
    """What waits for a fixed time, each once; belongs to one event loop at a time.

    Attributes:
        waiting: What waits, with the loop's time at which it is over; taken out of here, it never
            will be. What is over has been taken out.
        loop: The event loop of the last wait.
    """

    __slots__ = ("_alarm", "_seconds", "loop", "waiting")

    def __init__(self, seconds: float) -> None:
        """Begin with nothing to wait for.

        Args:
            seconds: How long each wait lasts.
        """
        self._seconds = seconds
        self.waiting: dict[T, float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def _begin_anew(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, and forget the former, which runs no more and calls nobody back.

        Up to Python 3.11 `get_running_loop` asks the system who we are, which takes longer than all
        else here: so it is not asked for each wait.
        """
        loop = self.loop = asyncio.get_running_loop()
        self._alarm = None
        self.waiting.clear()
        return loop

    def add(self, one: T) -> None:
        """Have `one` wait from now on."""
        loop = self.loop
        if loop is None or not loop.is_running():
            loop = self._begin_anew()
        due = self.waiting[one] = loop.time() + self._seconds
        if self._alarm is None:
            self._set_alarm(loop, due)

    def end(self, one: T) -> None:
        """Called when the time of `one` is over."""
        raise NotImplementedError

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        # In a context of its own, or what the caller's holds (its request) would live as long.
        self._alarm = loop.call_at(due, self._look, context=Context())

    def _look(self) -> None:
        """End what is due, oldest first, and wait for the next."""
        loop = self.loop
        assert loop is not None  # noqa: S101 - whoever rings was started
        self._alarm = None
        # Loops ring a little early, by the resolution of their clock.
        now = loop.time() + 0.001
        for one, due in self.waiting.items():
            if due > now:
                self._set_alarm(loop, due)
                break
            loop.call_soon(self._end_now, one)

    def _end_now(self, one: T) -> None:
        """End a wait, unless it was taken out in the very tick in which it was due."""
        if self.waiting.pop(one, None) is not None:
            self.end(one)


class Deadlines(Waits[asyncio.Task[Any]]):
    """Cancels each task whose time is over; a task waits for one thing at a time."""

    __slots__ = ()

    def end(self, one: asyncio.Task[Any]) -> None:
        """See `Waits.end`."""
        one.cancel()


class Bell(Protocol):
    """What a wait ends with."""

    def ring(self) -> object:
        """Called when the time is over."""


class Timer:
    """One wait that ends with a call."""

    __slots__ = ("_timers", "ring")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        """Made by `Timers.start` only."""
        self._timers, self.ring = timers, callback

    def cancel(self) -> None:
        """Wait no more; nothing happens if it is over already."""
        self._timers.waiting.pop(self, None)


class Timers(Waits[Bell]):
    """Rings each bell whose time is over."""

    __slots__ = ()

    def start(self, callback: Callable[[], object]) -> Timer:
        """Call `callback` after this time unless the timer is cancelled."""
        timer = Timer(self, callback)
        self.add(timer)
        return timer

    def end(self, one: Bell) -> None:
        """See `Waits.end`."""
        one.ring()


class TimersByLength(dict[float, Timers]):
    """For each number of seconds what counts them, made when it is first asked for."""

    def __missing__(self, seconds: float) -> Timers:
        """Make what counts `seconds`."""
        timers = self[seconds] = Timers(seconds)
        return timers


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
