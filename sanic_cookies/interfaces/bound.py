"""A fan-out for one request, where an interface lives in the request's own cookie."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import SessionUnavailable
from ..record import Record
from ..token import Credential
from .base import BoundInterface
from .fan_out import FanOut
from .guard import BoundGuard


class BoundFanOut(FanOut):
    """A fan-out for one request, whose cookies are interfaces too."""

    def __init__(self, shared: FanOut, name: str, cookie_name: str) -> None:
        """Share all of `shared`; what lives in a cookie is then to be bound.

        Args:
            shared: The fan-out of all requests.
            name: Name of the session.
            cookie_name: Name of its cookie, over https.
        """
        self._leased, self._indexed = shared._leased, shared._indexed
        self._telling, self.has_others = shared._telling, shared.has_others
        self.is_shared, self.never_waits = shared.is_shared, shared.never_waits
        self.is_repeatable = shared.is_repeatable
        self._master, self._target = shared._master, shared._target
        self._all_others, self._others = shared._all_others, shared._others
        self.lives_in_cookie = self.master_lives_in_cookie = False  # what does is bound below
        self._name, self._cookie_name = name, cookie_name
        self._own: BoundInterface | None = None
        self._cookies: list[tuple[str, BoundInterface]] = []

    def bind(self, place: int, suffix: str, value: str | None, room: Callable[[], int]) -> None:
        """Bind an interface to the request's cookie.

        Args:
            place: As in `FanOut.suffixes`.
            suffix: What the name of its cookie ends with.
            value: The cookie's value; None if none came.
            room: See `LivesInCookie.bind`.
        """
        others, cookie_name = self._all_others, self._cookie_name + suffix
        unbound = self._target if place == 0 else others[place - 1].interface
        bound = unbound.bind(self._name, cookie_name, value, room)
        self._cookies.append((suffix, bound))
        if place == 0:
            self._own = self._target = bound
            self.master_lives_in_cookie = True
        else:
            guard = BoundGuard(others[place - 1], bound)
            self._all_others = [*others[: place - 1], guard, *others[place:]]
            self._others = self._others.but_for(self._all_others)

    def require_newest(self, record: Record | None) -> None:
        """See `FanOut.require_newest`."""
        if self._own is not None and record is not None and _reads_on(record):
            raise SessionUnavailable("the session has a newer cookie than the one that came")

    @property
    def credential(self) -> Credential | None:
        """What the master's cookie proves; None if the master keeps no cookie."""
        return None if self._own is None else self._own.credential

    def take_cookies(self) -> list[tuple[str, str]]:
        """Return name suffix and value of each cookie to send, once."""
        taken = []
        for suffix, bound in self._cookies:
            if bound.value is not None:
                taken.append((suffix, bound.value))
                bound.value = None
        return taken


def _reads_on(record: Record) -> bool:
    """Whether a cookie's record is a former one, that may be looked at for a while."""
    return not record.secret_hash and record.previous_reads and record.now < record.previous_until
