"""Waiting for a lease that another process holds.

A store that hands a lease over tells the waiter's process, by whatever means it has; here the news
finds the request that waits. The news may come before the request has begun to wait, or not at
all, so early news is kept for a while and every wait has an end.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from contextlib import suppress
from secrets import token_hex

# How long to wait before looking again: with a live channel this only finds waiters that died,
# without one it is how a free lease is found.
LISTENING_POLL = (0.2, 0.4)
DEAF_POLL = (0.004, 0.02)
_KEPT = 1024


class Wakeups:
    """The waiters of one process.

    Attributes:
        process: Random name of this process; begins each of its lease tokens, so that a store can
            tell whom to wake.
        listening: Whether a channel from the store is open.
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self.process = token_hex(8)
        self.listening = False
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._early: OrderedDict[str, None] = OrderedDict()

    def token(self, token: str) -> str:
        """Return a lease token as the store keeps it."""
        return f"{self.process}.{token}"

    def wake(self, token: str) -> None:
        """Let the request go on that waits with this token, as the store keeps it."""
        future = self._waiting.get(token)
        if future is None:
            self._early[token] = None
            if len(self._early) > _KEPT:
                self._early.popitem(last=False)
        elif not future.done():
            future.set_result(None)

    async def wait(self, token: str, timeout: float) -> None:
        """Return when woken, when it is time to look again, or after `timeout` seconds."""
        token = self.token(token)
        if token in self._early:
            del self._early[token]
            return
        least, most = LISTENING_POLL if self.listening else DEAF_POLL
        pause = random.uniform(least, most)  # noqa: S311 - jitter, no secret
        future = self._waiting[token] = asyncio.get_running_loop().create_future()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(timeout, pause)):
                    await future
        finally:
            del self._waiting[token]
