"""Who in this process wants to hear at once that a session has ended or changed its token."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


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
