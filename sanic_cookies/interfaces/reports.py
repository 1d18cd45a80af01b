"""What is told of the calls to interfaces: their failures to the log, all of them to a meter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..meter import CallOutcome, Meter
from ..mistakes import FORGOTTEN
from .base import Interface, LivesInCookie
from .guard import AtOnce, Guard, OnCall

logger = logging.getLogger("sanic_cookies")

FAILURE_WINDOW = 60.0

OnFailure = Callable[[str, bool], None]


class Reports:
    """Guards the interfaces of one `FanOut`, and tells what becomes of their calls."""

    def __init__(self, on_failure: OnFailure | None, meter: Meter | None) -> None:
        """Remember whom to tell.

        Args:
            on_failure: Told of each failed call, by interface and whether that is the master.
            meter: Told of each call.
        """
        self._on_failure = on_failure
        self._meter = meter
        self._failed_at: dict[int, float] = {}  # by the interface: two may be of one class
        self._hinted: set[str] = set()

    def guard(
        self, interface: Interface | LivesInCookie, timeout: float, *, is_master: bool
    ) -> Guard:
        """Return the guard of an interface.

        Args:
            interface: The interface.
            timeout: Seconds that one call may take.
            is_master: Whether it is the one that is read from.
        """

        def failed(operation: str, cause: str) -> None:
            self._failed(interface, operation, cause, is_master)

        on_call = self._on_call(type(interface).__name__, is_master)
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

    def _failed(self, interface: object, operation: str, cause: str, is_master: bool) -> None:
        """Log a failure: of the master each one, of each of the others one a minute."""
        label, now = type(interface).__name__, time.monotonic()
        if is_master:
            logger.error("%s.%s failed: %s", label, operation, cause)
        elif now - self._failed_at.get(id(interface), -FAILURE_WINDOW) >= FAILURE_WINDOW:
            self._failed_at[id(interface)] = now
            logger.error(
                "the added interface %s misses writes (%s); the next write heals it", label, cause
            )
        if cause in FORGOTTEN and cause not in self._hinted:
            self._hinted.add(cause)
            logger.warning("%s: %s", label, FORGOTTEN[cause])
        if self._on_failure is not None:
            self._on_failure(label, is_master)
