"""What a meter is: told how long locks and stores take, if somebody wants to know."""

from __future__ import annotations

from typing import Literal, Protocol

# "ok": the store answered, whatever it said. "down": not asked, since it has just failed.
CallOutcome = Literal["ok", "failed", "cancelled", "down"]


class Meter(Protocol):
    """Something that counts and times, for one `Session`.

    Called on the way of requests, so it must be quick and must not raise.
    """

    def entering(self, change: int) -> None:
        """Take note of one request more (1) or less (-1) that is on its way into a block."""

    def entered(self, waited: float) -> None:
        """Take note of a block that was entered, and of the seconds it waited for another."""

    def left(self, held: float) -> None:
        """Take note of the seconds that a block held its lock."""

    def called(
        self, interface: str, role: str, operation: str, seconds: float, outcome: CallOutcome
    ) -> None:
        """Take note of a call to a store.

        Args:
            interface: Name of the interface's class.
            role: "master" or "added".
            operation: Such as "fetch".
            seconds: How long it took.
            outcome: What became of it.
        """

    def happened(self, event: str) -> None:
        """Take note of an event; these are the keys of `signals.SIGNALS`."""
