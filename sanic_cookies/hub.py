"""Who in this process wants to hear at once that a session has ended or changed its token.

What this process does is told by `Session`, what others do by the store, where it can.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

_LOOKS_A_SECOND = 1000.0


class Hub:
    """Wakes those who wait for news of a session; belongs to one event loop."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        """Return of how many sessions somebody waits for news."""
        return len(self._waiting)

    @contextmanager
    def listening(self, sid: str) -> Iterator[asyncio.Event]:
        """Give an event that is set by news of a session, as long as the block lasts.

        Args:
            sid: Its public id.
        """
        news = asyncio.Event()
        self._waiting.setdefault(sid, set()).add(news)
        try:
            yield news
        finally:
            self._waiting[sid].discard(news)
            if not self._waiting[sid]:
                del self._waiting[sid]

    def tell(self, sid: str | None) -> None:
        """Wake whoever waits for news of this session."""
        for news in self._waiting.get(sid or "", ()):
            news.set()

    def hear(self, sid: str | None) -> None:
        """Take what the store tells of this session; None if news may have been missed.

        Then all look, but not all at once: that store may just have come back.
        """
        if sid is not None:
            self.tell(sid)
            return
        loop, spread = asyncio.get_running_loop(), (len(self) - 1) / _LOOKS_A_SECOND
        for each in self._waiting:
            delay = random.uniform(0, spread)  # noqa: S311 - jitter, no secret
            loop.call_later(delay, self.tell, each)
