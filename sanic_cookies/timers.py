"""Many waits of one length, with one timer of the event loop for all of them.

Nearly every deadline here is cancelled long before it is due: a timer of its own for each would
cost more than the work it bounds. Waits of one length end in the order in which they began, so it
is enough to have the loop wake us for the oldest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context


class Timer:
    """One wait."""

    __slots__ = ("_callback", "_timers")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        """Made by `Timers.start` only."""
        self._timers = timers
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Wait no more; nothing happens if it is over already."""
        self._callback = None
        self._timers.waiting.pop(self, None)

    def ring(self) -> None:
        """Call back, unless it was cancelled in the very tick in which it was due."""
        if self._callback is not None:
            self._callback()


class Timers:
    """Calls back after a fixed time; belongs to one event loop at a time.

    Attributes:
        waiting: Each timer that has not ended, with the loop's time at which it does.
    """

    __slots__ = ("_alarm", "_loop", "_seconds", "waiting")

    def __init__(self, seconds: float) -> None:
        """Begin with nothing to wait for.

        Args:
            seconds: How long each wait lasts.
        """
        self._seconds = seconds
        self.waiting: dict[Timer, float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop.

        Up to Python 3.11 `get_running_loop` asks the system who we are, which takes longer than all
        else here: so only where the loop of before runs no more, and calls nobody back.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._loop = asyncio.get_running_loop()
            self._alarm = None
            self.waiting.clear()
        return loop

    def start(self, callback: Callable[[], object]) -> Timer:
        """Call `callback` after this time unless the timer is cancelled."""
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self.loop()
        timer = Timer(self, callback)
        due = self.waiting[timer] = loop.time() + self._seconds
        if self._alarm is None:
            self._set_alarm(loop, due)
        return timer

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
        over = []
        for timer, due in self.waiting.items():
            if due > now:
                self._set_alarm(loop, due)
                break
            over.append(timer)
        for timer in over:
            del self.waiting[timer]
            loop.call_soon(timer.ring)
