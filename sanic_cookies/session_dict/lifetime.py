"""How long a session lives, as handlers see and set it; with the meanings Django's users know."""

from __future__ import annotations

from datetime import datetime, timedelta

from .. import expiry
from ..errors import SessionNotLoaded
from .mapping import SessionMapping


class SessionLifetime(SessionMapping):
    """The half of `SessionDict` that knows of time."""

    __slots__ = ()

    @property
    def created_at(self) -> float | None:
        """Epoch seconds of its creation; None before it is stored."""
        return self._record.created_at if self._live() and self._record else None

    @property
    def last_seen(self) -> float | None:
        """Epoch seconds of the last use that was written down (touches are throttled)."""
        return self._record.last_seen if self._live() and self._record else None

    @property
    def expires_at(self) -> float | None:
        """Epoch seconds at which the store forgets it; None before it is stored."""
        return self._record.expires_at if self._live() and self._record else None

    def set_expiry(self, value: float | timedelta | datetime | None) -> None:
        """Give this session a lifetime of its own, until somebody logs in.

        Args:
            value: Seconds of idle time; 0 for a cookie that ends with the browser; a `timedelta`
                from now or an aware `datetime` for an absolute end; None for the policy again.

        Raises:
            SessionError: A naive `datetime`, more than 10^10 seconds, or something else.
        """
        life = expiry.parse_expiry(value, self._age(), self._runtime.settings.clock())
        content = self._writing()
        if self._owner is not None and content is not None:
            content.life, self._renew = life, True
            return
        if content is not None:
            content.life = life
        marks = self._marks()
        marks.life, marks.life_set = life, True

    def get_expiry_age(self) -> int:
        """Return the seconds until it expires if nobody uses it any more."""
        return int(self._span().ttl)

    def get_expiry_date(self) -> datetime:
        """Return when it expires if nobody uses it any more; aware, UTC."""
        return expiry.as_date(self._runtime.settings.clock() + self._span().ttl)

    def get_expire_at_browser_close(self) -> bool:
        """Say whether its cookie ends with the browser."""
        return not self._span().persistent

    def _span(self) -> expiry.Span:
        content = self._known()
        if content is None:
            raise self._failure or SessionNotLoaded()
        return expiry.span(self._runtime.settings.policy, content, self._age())
