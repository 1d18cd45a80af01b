"""Counters of what locks and stores did to requests; cheap enough to be always on."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Stats:
    """Counters since the start of this worker.

    Attributes:
        blocks: Locked blocks that were entered.
        lock_waits: Blocks that had to wait for another.
        lock_wait_seconds: Seconds they waited, all together.
        lock_timeouts: Blocks that gave up, or were refused because too many waited.
        locks_lost: Blocks whose lock was over before they ended.
        held_too_long: Blocks that lasted longer than a quarter of a second.
        passed_on: Blocks that took lease and record over from the block before, in this process.
        interrupted: Writes refused because the session had ended.
        store_failures: Calls of the master that failed or came too late.
        interface_failures: Calls of added interfaces that failed or came too late.
    """

    blocks: int = 0
    lock_waits: int = 0
    lock_wait_seconds: float = 0.0
    lock_timeouts: int = 0
    locks_lost: int = 0
    held_too_long: int = 0
    passed_on: int = 0
    interrupted: int = 0
    store_failures: int = 0
    interface_failures: int = 0

    def snapshot(self) -> dict[str, float]:
        """Return the counters by name."""
        return asdict(self)
