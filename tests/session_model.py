"""What sessions should do, said again and as simply as can be: the model of the property tests.

It has one clock, no I/O and no concurrency. Whether sessions are kept on the server or in their
cookies is the one thing that it distinguishes, since that is the one thing that users can notice.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

IDLE, ABSOLUTE, REMEMBERED, GRACE = 1050.0, 5050.0, 20050.0, 350.0


class Standing(Enum):
    """What a cookie is worth."""

    NEW = "new"  # nothing: the first write begins a session
    LIVE = "live"
    READING = "reading"  # in a cookie: a newer one is on its way, so it is looked at and no more
    DEAD = "dead"  # it was good a moment ago: nothing is written any more


@dataclass
class State:
    """A session as it is kept.

    Attributes:
        sid: Number of the session.
        version: Grows with each write.
        secret: Number of its secret.
        former: Number of the secret before that one, recognised until `former_until`.
        life: Its own lifetime: ("idle", seconds), ("end", when), ("browser", 0) or None.
        since: When the user logged in.
    """

    sid: int = 0
    version: int = 0
    secret: int = 0
    former: int = 0
    former_until: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)
    user: str | None = None
    remembered: bool = False
    since: float = 0.0
    life: tuple[str, float] | None = None
    created: float = 0.0
    seen: float = 0.0
    expires: float = 0.0

    @property
    def content(self) -> tuple[Any, ...]:
        """What would have to be written again if it changed."""
        who = None if self.user is None else (self.user, self.remembered, self.since)
        return copy.deepcopy((self.data, who, self.life))

    @property
    def is_empty(self) -> bool:
        return not (self.data or self.user is not None or self.life)

    @property
    def shown(self) -> dict[str, Any]:
        """What a handler sees of it."""
        user = {} if self.user is None else {"current_user": self.user}
        return copy.deepcopy({**self.data, **user})

    @property
    def idle(self) -> float | None:
        if self.life is not None and self.life[0] == "end":
            return None
        if self.life is not None and self.life[0] == "idle":
            return self.life[1]
        return REMEMBERED if self.remembered else IDLE

    def left(self, now: float) -> float:
        """Seconds that it lives if nobody uses it."""
        end = self.created + ABSOLUTE
        if self.user is not None:
            end = self.since + (REMEMBERED if self.remembered else ABSOLUTE)
        ends = [end - now]
        if self.life is not None and self.life[0] == "end":
            ends.append(self.life[1] - now)
        if self.idle is not None:
            ends.append(self.idle)
        return min(ends)

    def touch_due(self, now: float) -> bool:
        return self.idle is not None and now - self.seen >= self.idle / 10

    def renewed(self, now: float) -> None:
        self.seen, self.expires = now, now + self.left(now)


class Cookie(Enum):
    """What a response does to the cookie."""

    KEPT = "kept"
    NEW = "new"
    USED = "used"  # new, as the session was used; unless another request has written it meanwhile
    GONE = "gone"


class Model:
    """All sessions, and what each cookie that ever was is worth.

    Attributes:
        now: The clock, in seconds.
        grace: How long a replaced secret is recognised.
        in_cookie: The sessions live in their cookies.
        revocable: Ended sessions and replaced secrets are remembered.
    """

    def __init__(self, *, in_cookie: bool, revocable: bool, grace: float) -> None:
        self.in_cookie, self.revocable, self.grace = in_cookie, revocable, grace
        self.now = 0.0
        self._last_number = 0  # not itertools.count(), which Python 3.14 does not copy
        self.sessions: dict[int, State] = {}
        # By value: the session's number and secret; and, if it lives there, the session itself.
        self.cookies: dict[str, State] = {}
        self.real_sids: dict[int, str] = {}
        self._ended: set[int] = set()
        # What is remembered of sessions in cookies, by their numbers; and whether it was a
        # rotation that made it.
        self._newest: dict[int, tuple[State, bool]] = {}

    def look(self, cookie: str | None) -> tuple[Standing, bool, State]:
        """Return what a cookie is worth, whether it was superseded just now, and its session."""
        known = self.cookies.get(cookie or "")
        if known is None:
            return Standing.NEW, False, State()
        return self._look_inside(known) if self.in_cookie else self._look_up(known)

    def _look_up(self, known: State) -> tuple[Standing, bool, State]:
        state = self.sessions.get(known.sid)
        if state is None or self.now >= state.expires:
            return Standing.NEW, False, State()
        if state.secret == known.secret:
            return Standing.LIVE, False, copy.deepcopy(state)
        if state.former == known.secret and self.now < state.former_until:
            return Standing.DEAD, True, State()
        return Standing.NEW, False, State()

    def _look_inside(self, known: State) -> tuple[Standing, bool, State]:
        if self.now >= known.expires or known.sid in self._ended:
            return Standing.NEW, False, State()
        newest, rotated = self._newest.get(known.sid, (known, False))
        if (newest.version, newest.secret) == (known.version, known.secret):
            return Standing.LIVE, False, copy.deepcopy(known)
        is_last = newest.version == known.version + 1 and newest.former == known.secret
        if not is_last or self.now >= newest.former_until:
            return Standing.NEW, False, State()
        if rotated:
            return Standing.DEAD, True, State()
        return Standing.READING, True, copy.deepcopy(known)

    def is_current(self, known: State) -> bool:
        """Whether what a request has read of a session is still all that there is of it."""
        if not self.in_cookie:
            return known.sid in self.sessions
        return self._look_inside(known)[0] is Standing.LIVE

    @property
    def live(self) -> list[State]:
        """The sessions that a store must hold, and no others."""
        return [each for each in self.sessions.values() if self.now < each.expires]

    def sessions_of(self, user: str | None) -> list[State]:
        return [each for each in self.live if each.user == user and user is not None]

    # What requests do to it.

    def number(self) -> int:
        """Return a number that nothing has yet."""
        self._last_number += 1
        return self._last_number

    def replace(self, state: State, *, rotated: bool) -> bool:
        """Write a session that was read; False if it has ended meanwhile."""
        if self.in_cookie:
            if self.revocable:
                self._newest[state.sid] = copy.deepcopy(state), rotated
            return state.sid not in self._ended
        known = self.sessions.get(state.sid)
        if known is None or self.now >= known.expires:
            return False
        self.sessions[state.sid] = copy.deepcopy(state)
        return True

    def begin(self, state: State) -> None:
        state.sid, state.secret, state.created = self.number(), self.number(), self.now
        state.since, state.former, state.version = self.now, 0, 1
        state.renewed(self.now)
        if not self.in_cookie:
            self.sessions[state.sid] = copy.deepcopy(state)

    def end(self, sid: int) -> None:
        self.sessions.pop(sid, None)
        if self.revocable:
            self._ended.add(sid)

    def forget_all(self) -> None:
        self.sessions.clear()

    def learn(self, cookie: str, state: State) -> None:
        """Note what a new cookie is worth."""
        assert cookie not in self.cookies, "a cookie's value was given out twice"
        self.cookies[cookie] = copy.deepcopy(state)
        self.real_sids[state.sid] = cookie.partition(".")[0]
