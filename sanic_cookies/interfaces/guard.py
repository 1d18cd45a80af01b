"""One door to a store: a deadline for each call, one error for every failure, and a memory of it.

A store that has just refused or timed out is taken as down for a second. Calls are then answered
at once, and one at a time is let through to look whether it is back. So a hung store costs the
first requests their deadline, and the others nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from msgspec import Struct

from ..errors import SessionError, SessionStoreError
from ..meter import CallOutcome
from ..record import RecordUnreadable
from ..timers import Deadlines
from .base import Interface, LivesInCookie

logger = logging.getLogger("sanic_cookies")
T = TypeVar("T")

DOWN_SECONDS = 1.0
# The server is there and lets nobody in yet: it reads its data, or recovers. By their names, for no
# driver is imported here.
_NOT_YET = ("BusyLoadingError", "CannotConnectNowError")
# To others than these an unreadable record is an error like any.
_READS = ("fetch", "acquire")

OnFailure = Callable[[str, str], None]
OnCall = Callable[[str, float, CallOutcome], None]


class Budget(Struct, gc=False):
    """What one request may spend waiting for stores.

    Attributes:
        left: Seconds that are left of it.
    """

    left: float


class Guard:
    """Calls one interface."""

    def __init__(
        self,
        interface: Interface | LivesInCookie,
        timeout: float,
        on_failure: OnFailure | None = None,
        on_call: OnCall | None = None,
    ) -> None:
        """Guard an interface.

        Args:
            interface: The interface.
            timeout: Seconds that one call may take.
            on_failure: Told of each failure, by operation and class of the error; None to log it.
            on_call: Told of each call, by operation, seconds and outcome; None if nobody measures.
        """
        # Any: whether it can do what it is asked for was settled when the session was made.
        self.interface: Any = interface
        # Of the class itself only: what is derived from it may well wait.
        declared = "never_waits" in vars(type(interface))
        self.never_waits = declared and getattr(interface, "never_waits", False) is True
        self._timeout = timeout
        self._deadlines = Deadlines(timeout)
        self._on_failure = on_failure or self._log
        self._on_call = on_call
        self._down_until: float | None = None
        self._probing = False

    @property
    def label(self) -> str:
        """Name of the interface, for the log."""
        return type(self.interface).__name__

    @property
    def is_down(self) -> bool:
        """Whether calls are answered at once now, without asking the store."""
        if self._down_until is None:
            return False
        return self._probing or time.monotonic() < self._down_until

    @property
    def is_suspect(self) -> bool:
        """Whether the store has failed and no call has succeeded since."""
        return self._down_until is not None

    async def call(self, method: Callable[..., Awaitable[T]], *args: Any, budget: Budget) -> T:
        """Call a method of the interface.

        Args:
            method: The bound method.
            args: Its arguments.
            budget: What the request has left; the call is charged to it.

        Raises:
            SessionStoreError: The store failed, or did not answer in time.
            RecordUnreadable: The store answered with something that is no record.
        """
        probe = self._down_until is not None
        if probe:
            self._require_up(method.__name__)
        # A call cut short because its request had spent its time says nothing of the store.
        hurried = budget.left < self._timeout
        if hurried and budget.left <= 0:
            # Not even begun: what is cut off at once may have been carried out all the same.
            raise self._failed(method.__name__, TimeoutError(), hurried=True)
        if probe:
            self._probing = True
        outcome: CallOutcome = "cancelled"
        began = time.monotonic()
        try:
            if self.never_waits:
                result = await method(*args)
            elif hurried:
                async with asyncio.timeout(budget.left):
                    result = await method(*args)
            else:
                # As `asyncio.timeout`, at a sixth of its cost; one more coroutine would be a
                # third of that again.
                deadlines = self._deadlines
                task = asyncio.current_task(deadlines.loop) or deadlines.begin_anew()
                cancelling = task.cancelling()
                deadlines.running[task] = began
                if not deadlines.is_set:
                    deadlines.set_alarm()
                try:
                    try:
                        result = await method(*args)
                    finally:
                        is_over = deadlines.running.pop(task, None) is None
                        ours_alone = is_over and task.uncancel() <= cancelling
                except asyncio.CancelledError as error:
                    if ours_alone:
                        raise TimeoutError from error
                    raise
        except (SessionError, RecordUnreadable) as error:
            self._down_until, outcome = None, "ok"
            _require_read(method.__name__, error)
            raise
        except Exception as error:
            outcome = "failed"
            raise self._failed(method.__name__, error, hurried) from error
        else:
            self._down_until, outcome = None, "ok"
            return result
        finally:
            if probe:
                self._probing = False
            took = time.monotonic() - began
            budget.left -= took
            if self._on_call is not None:
                self._on_call(method.__name__, took, outcome)

    def _require_up(self, operation: str) -> None:
        if self.is_down:
            if self._on_call is not None:
                self._on_call(operation, 0.0, "down")
            raise SessionStoreError(f"{self.label} is taken as down")

    def _failed(self, operation: str, error: Exception, hurried: bool) -> SessionStoreError:
        if _means_down(error) and not (hurried and isinstance(error, TimeoutError)):
            self._down_until = time.monotonic() + DOWN_SECONDS
        # The class alone: a driver's text may hold an address, a statement or a value.
        cause = type(error).__name__
        self._on_failure(operation, cause)
        return SessionStoreError(f"{self.label}.{operation}: {cause}")

    def _log(self, operation: str, cause: str) -> None:
        logger.error("%s.%s failed: %s", self.label, operation, cause)


class AtOnce(Guard):
    """Calls an interface that never waits, where nobody measures: there is nothing to time."""

    async def call(self, method: Callable[..., Awaitable[T]], *args: Any, budget: Budget) -> T:
        """See `Guard.call`."""
        try:
            return await method(*args)
        except (SessionError, RecordUnreadable) as error:
            _require_read(method.__name__, error)
            raise
        except Exception as error:
            raise self._failed(method.__name__, error, hurried=False) from error


class BoundGuard(Guard):
    """Calls one request's own cookie; what is learned of the store behind it, all requests know."""

    def __init__(self, shared: Guard, interface: Interface) -> None:
        """Call `interface` as `shared` would."""
        self.interface, self._shared = interface, shared
        self.never_waits = shared.never_waits

    @property
    def label(self) -> str:
        """Name of the interface that all requests share."""
        return self._shared.label

    @property
    def is_down(self) -> bool:
        """See `Guard.is_down`."""
        return self._shared.is_down

    @property
    def is_suspect(self) -> bool:
        """See `Guard.is_suspect`."""
        return self._shared.is_suspect

    async def call(self, method: Callable[..., Awaitable[T]], *args: Any, budget: Budget) -> T:
        """See `Guard.call`."""
        return await self._shared.call(method, *args, budget=budget)


def _require_read(operation: str, error: Exception) -> None:
    """Have those only who read be told that a record is unreadable."""
    if isinstance(error, RecordUnreadable) and operation not in _READS:
        raise SessionStoreError("the record is unreadable") from error


def _means_down(error: BaseException | None) -> bool:
    """Whether the store was not there at all; one cut connection says nothing of that."""
    while error is not None:
        if isinstance(error, TimeoutError | ConnectionRefusedError):
            return True
        if type(error).__name__ in _NOT_YET:
            return True
        error = error.__cause__ or error.__context__
    return False
