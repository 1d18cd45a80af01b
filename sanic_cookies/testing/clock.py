"""A clock that goes when it is told to."""

from __future__ import annotations

import time
from datetime import timedelta


class FakeClock:
    """Time for tests: it stands still until it is moved.

    Give `clock.monotonic` to `InMemory(clock=)`, whose expiry it then rules, and `clock.epoch` to
    `Session(clock=)` and `InCookieEncrypted(clock=)`. Redis and Postgres have clocks of their own.
    """

    def __init__(self) -> None:
        """Begin at the present moment."""
        self._start, self._passed = time.time(), 0.0

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._passed

    def epoch(self) -> float:
        """Return epoch seconds."""
        return self._start + self._passed

    def forward(self, by: float | timedelta) -> None:
        """Let time pass.

        Args:
            by: Seconds, or a `timedelta`; time never goes back.

        Raises:
            ValueError: It is negative.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError("time does not go back")
        self._passed += seconds
