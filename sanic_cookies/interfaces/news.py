"""News of sessions: what a store tells each process at once that watches some.

News say that it is time to look, never what there is to see: news that are late, doubled or made up
by somebody else cost a look and do no harm.
"""

from __future__ import annotations

from .base import Hear


class News:
    """Who in this process wants to hear of which sessions."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self._heard: dict[str, list[Hear]] = {}

    @property
    def topics(self) -> set[str]:
        """What somebody listens for; how stores call the sessions of one name."""
        return set(self._heard)

    def add(self, topic: str, hear: Hear) -> None:
        """Have `hear` called with the news of a topic; twice is as once."""
        heard = self._heard.setdefault(topic, [])
        if hear not in heard:
            heard.append(hear)

    def tell(self, topic: str, sid: str | None) -> None:
        """Pass on that a session has news; None if some may have been missed."""
        for hear in self._heard.get(topic, ()):
            hear(sid)

    def clear(self) -> None:
        """Have nobody listen any more."""
        self._heard.clear()
