"""What a process hears from its store: leases that are handed to it, and news of sessions.

One connection a process, opened when a request first has to wait for another process, or when a
session is first watched. Without it waiters and watchers look by themselves now and then.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from .news import News
from .wakeups import Wakeups

logger = logging.getLogger("sanic_cookies")

_AGAIN_SECONDS = 1.0
_CANCELS, _CANCEL_SECONDS = 20, 0.1


class Ear:
    """Listens for one process from when there is something to listen for.

    Attributes:
        away: What its driver raises when the store is not there.
        look_seconds: After so long a silence the store is asked for a sign of life, which has to
            come in as long: nobody says that a connection is gone without a word.
    """

    away: tuple[type[Exception], ...] = (OSError, TimeoutError)
    look_seconds = 20.0

    def __init__(self, wakeups: Wakeups, news: News) -> None:
        """Begin deaf.

        Args:
            wakeups: Told of leases that are handed to this process.
            news: Told of sessions that end or change their token.
        """
        self._wakeups, self._news = wakeups, news
        self._line: Any = None  # a connection that is open and can take more topics
        self._topics: set[str] = set()  # those that it has
        self._task: asyncio.Task[None] | None = None
        self._more: asyncio.Task[None] | None = None

    # What each store does in its own way.

    def _connect(self) -> AbstractAsyncContextManager[Any]:
        """Connect, and subscribe to what wakes the waiters of this process."""
        raise NotImplementedError

    async def _add(self, line: Any, topics: set[str]) -> None:
        """Subscribe to the news of more topics; each of them is doubted once that is done."""
        raise NotImplementedError

    async def _hear_out(self, line: Any) -> None:
        """Take what comes until the connection ends, or does not answer any more."""
        raise NotImplementedError

    # What is the same for all.

    def open(self) -> None:
        """Listen to all that is wanted by now; no I/O happens before this returns."""
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            self._line = self._more = None
            self._task = asyncio.create_task(self._listen(), name="sanic_cookies.ear")
        elif self._line is not None and self._topics != self._news.topics:
            self._extend(self._line)

    async def close(self) -> None:
        """Stop listening."""
        tasks, self._task, self._more = (self._task, self._more), None, None
        here = asyncio.get_running_loop()
        ours = [each for each in tasks if each is not None and each.get_loop() is here]
        for _ in range(_CANCELS):
            # More than once: redis-py loses a cancellation that comes while it connects.
            pending = [each for each in ours if not each.done()]
            if not pending:
                break
            for each in pending:
                each.cancel()
            await asyncio.wait(pending, timeout=_CANCEL_SECONDS)

    async def _listen(self) -> None:
        while self._task is asyncio.current_task():
            try:
                async with self._connect() as line:
                    self._line, self._topics, self._more = line, set(), None
                    self._extend(line)
                    await self._hear_out(line)
            except self.away as error:
                logger.debug("no wake-ups and no news: %s", type(error).__name__)
            except Exception as error:  # noqa: BLE001 - what somebody sends must deafen nobody
                logger.warning("listening failed, it begins again: %s", type(error).__name__)
            finally:
                self._wakeups.listening, self._line = False, None
            await asyncio.sleep(_AGAIN_SECONDS)

    def _extend(self, line: Any) -> None:
        if self._more is None or self._more.done():
            self._more = asyncio.create_task(self._add_all(line))

    async def _add_all(self, line: Any) -> None:
        # If the connection is lost just now, the next one takes all that is wanted.
        with suppress(Exception):
            while self._line is line and (new := self._news.topics - self._topics):
                await self._add(line, new)
                self._topics |= new
