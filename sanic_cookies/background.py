"""Tasks that outlive the request which began them, and are waited for when the server stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

logger = logging.getLogger("sanic_cookies")
T = TypeVar("T")


class Background:
    """Keeps a reference to each task, so that none is lost half done."""

    def __init__(self) -> None:
        """Begin with no task."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Return how many tasks are under way."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` on its own; its failure is logged unless somebody awaits it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def settle(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` to its end, even if the caller is cancelled meanwhile.

        The caller is cancelled at once, as it must be; the work goes on by itself.
        """
        return await asyncio.shield(self.spawn(work))

    async def drain(self, timeout: float) -> None:
        """Wait until all is done, `timeout` seconds at most, then cancel what is left.

        What is begun meanwhile is waited for, too: a lease that goes back after a failed commit.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while tasks := [task for task in self._tasks if task.get_loop() is loop]:
            _, late = await asyncio.wait(tasks, timeout=max(0.0, end - loop.time()))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Reading the exception marks it as seen: whoever awaits the task still gets it.
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("background work ended with %s", type(error).__name__)
