"""Many waits of one length, with one timer of the event loop for all of them.

Nearly every deadline here is cancelled long before it is due: a timer of its own for each would
cost more than the work it bounds. Waits of one length end in the order in which they began, so it
is enough to have the loop wake us for the oldest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Protocol


class Bell(Protocol):
    """What a wait ends with."""

    def ring(self) -> object:
        """Called when the time is over."""


class Timer:
    """One wait."""

    __slots__ = ("_timers", "ring")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        """Made by `Timers.start` only."""
        self._timers, self.ring = timers, callback

    def cancel(self) -> None:
        """Wait no more; nothing happens if it is over already."""
        self._timers.waiting.pop(self, None)


class Timers:
    """Calls back after a fixed time; belongs to one event loop at a time.

    Attributes:
        waiting: Each bell that has not rung, with the loop's time at which it does; taken out of
            here, it never will.
    """

    __slots__ = ("_alarm", "_loop", "_seconds", "waiting")

    def __init__(self, seconds: float) -> None:
        """Begin with nothing to wait for.

        Args:
            seconds: How long each wait lasts.
        """
        self._seconds = seconds
        self.waiting: dict[Bell, float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def _begin_anew(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, and forget the former, which runs no more and calls nobody back.

        Up to Python 3.11 `get_running_loop` asks the system who we are, which takes longer than all
        else here: so it is not asked for each wait.
        """
        loop = self._loop = asyncio.get_running_loop()
        self._alarm = None
        self.waiting.clear()
        return loop

    def start(self, callback: Callable[[], object]) -> Timer:
        """Call `callback` after this time unless the timer is cancelled."""
        timer = Timer(self, callback)
        self.add(timer)
        return timer

    def add(self, bell: Bell) -> asyncio.AbstractEventLoop:
        """Ring `bell` after this time unless it is taken out of `waiting`; return the loop."""
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._begin_anew()
        due = self.waiting[bell] = loop.time() + self._seconds
        if self._alarm is None:
            self._set_alarm(loop, due)
        return loop

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        # In a context of its own, or what the caller's holds (its request) would live as long.
        self._alarm = loop.call_at(due, self._ring, context=Context())

    def _ring(self) -> None:
        """End what is due, oldest first, and wait for the next."""
        loop = self._loop
        assert loop is not None  # noqa: S101 - whoever rings was started
        self._alarm = None
        # Loops ring a little early, by the resolution of their clock.
        now = loop.time() + 0.001
        for bell, due in self.waiting.items():
            if due > now:
                self._set_alarm(loop, due)
                break
            loop.call_soon(self._end, bell)

    def _end(self, bell: Bell) -> None:
        """Ring, unless it was taken out in the very tick in which it was due."""
        if self.waiting.pop(bell, None) is not None:
            bell.ring()


class TimersByLength(dict[float, Timers]):
    """For each number of seconds what counts them, made when it is first asked for."""

    def __missing__(self, seconds: float) -> Timers:
        """Make what counts `seconds`."""
        timers = self[seconds] = Timers(seconds)
        return timers
