"""An interface that fails when it is told to, around any other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..interfaces.base import (
    Interface,
    LivesInCookie,
    SupportsIndex,
    SupportsLease,
    SupportsNews,
    SupportsSweep,
)

_PROTOCOLS = (Interface, SupportsLease, SupportsIndex, SupportsNews, SupportsSweep)


@dataclass
class _Fault:
    """What happens to calls number `first` to `last` (None: to all that follow)."""

    first: int
    last: int | None
    before: Callable[[], Awaitable[None]] | None = None
    after: Callable[[], Awaitable[None]] | None = None

    def strikes(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)


class Faulty:
    """Passes each call on to another interface, or lets it fail, wait or hang.

    It has exactly the abilities of the interface inside, and passes its contract. Calls are counted
    from the moment a fault is set: `nth=1` is the next call of that operation.

    Attributes:
        calls: How often each operation was called, faults included.
    """

    if TYPE_CHECKING:
        # What each interface has, and `__init__` gives the object: so it is one to type checkers.
        open: Any
        close: Any
        fetch: Any
        create: Any
        save: Any
        touch: Any
        delete: Any

    def __init__(self, interface: Interface) -> None:
        """Wrap an interface.

        Args:
            interface: Any but one that lives in a cookie, which has no store that could fail: wrap
                its `revocations`.

        Raises:
            TypeError: It lives in a cookie.
        """
        if isinstance(interface, LivesInCookie):
            raise TypeError("sessions in cookies have no store that could fail: wrap revocations=")
        self.calls: Counter[str] = Counter()
        self._inside: Any = interface
        self._operations: list[str] = []
        self._faults: dict[str, list[_Fault]] = {}
        self._released = asyncio.Event()
        for protocol in _PROTOCOLS:
            if isinstance(interface, protocol):
                for name, declared in vars(protocol).items():
                    if not name.startswith("_"):
                        # On the object, since protocols look for attributes there.
                        setattr(self, name, self._passing(name, declared))

    def __repr__(self) -> str:
        """Show what is inside."""
        return f"<Faulty {self._inside!r}>"

    def fail(
        self,
        operation: str,
        error: Exception | None = None,
        *,
        nth: int = 1,
        times: int | None = 1,
    ) -> None:
        """Let calls fail before they reach the interface.

        Args:
            operation: Name of a method, such as "save".
            error: What is raised; a `ConnectionError` by default.
            nth: The first call to fail, counted from now.
            times: How many fail; None for all that follow.
        """

        async def before() -> None:
            raise error or ConnectionError("the store is away")

        self._add(operation, nth, times, before=before)

    def lose_reply(self, operation: str, *, nth: int = 1, times: int | None = 1) -> None:
        """Let calls be carried out and fail all the same, as when a connection breaks.

        Args:
            operation: Name of a method.
            nth: The first call concerned, counted from now.
            times: How many are; None for all that follow.
        """

        async def after() -> None:
            raise ConnectionError("the reply was lost")

        self._add(operation, nth, times, after=after)

    def delay(self, operation: str, seconds: float, *, nth: int = 1, times: int | None = 1) -> None:
        """Let calls wait before they reach the interface.

        Args:
            operation: Name of a method.
            seconds: How long.
            nth: The first call concerned, counted from now.
            times: How many are; None for all that follow.
        """

        async def before() -> None:
            await asyncio.sleep(seconds)

        self._add(operation, nth, times, before=before)

    def hang(self, operation: str, *, nth: int = 1, times: int | None = 1) -> None:
        """Let calls wait until `heal`, or for ever.

        Args:
            operation: Name of a method.
            nth: The first call concerned, counted from now.
            times: How many are; None for all that follow.
        """
        released = self._released

        async def before() -> None:
            await released.wait()

        self._add(operation, nth, times, before=before)

    def heal(self) -> None:
        """Take all faults back; what hangs goes on."""
        self._faults.clear()
        self._released.set()
        self._released = asyncio.Event()

    def _add(self, operation: str, nth: int, times: int | None, **what: Any) -> None:
        if operation not in self._operations:
            # Also one that exists, but is not passed on: a fault there would never strike.
            kind, known = type(self._inside).__name__, ", ".join(self._operations)
            raise AttributeError(f"{kind} has no {operation!r} that could fail: it has {known}")
        first = self.calls[operation] + nth
        last = None if times is None else first + times - 1
        self._faults.setdefault(operation, []).append(_Fault(first, last, **what))

    def _passing(self, name: str, declared: Any) -> Any:
        method = getattr(self._inside, name)
        # Not the interface's own: that may be a plain function which returns something to await.
        if not asyncio.iscoroutinefunction(declared):
            return method
        self._operations.append(name)

        async def passing(*args: Any, **options: Any) -> Any:
            self.calls[name] += 1
            number = self.calls[name]
            faults = [each for each in self._faults.get(name, ()) if each.strikes(number)]
            for fault in faults:
                if fault.before is not None:
                    await fault.before()
            result = await method(*args, **options)
            for fault in faults:
                if fault.after is not None:
                    await fault.after()
            return result

        passing.__name__ = name
        return passing
