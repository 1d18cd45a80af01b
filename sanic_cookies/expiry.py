"""How long a session lives: idle time, absolute time, and what `set_expiry` makes of them.

Arithmetic only. Every figure is seconds; times count from the session's creation (`age`), so no
clock is read here. Activity resets idle time and never the absolute one (NIST SP 800-63B-4,
section 5.2: either of them ends the session).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf

from msgspec import Struct

from .content import Content, Life
from .errors import SessionError
from .record import Record

# A touch is worth a write when a tenth of the idle time has passed.
TOUCH_FRACTION = 10

# Three centuries: more than anybody means, and every store and calendar can still add it to now.
MOST_SECONDS = 1e10
_TOO_FAR = f"set_expiry() takes up to {MOST_SECONDS:g} seconds from now; what never ends is refused"


class Span(Struct, frozen=True, gc=False):
    """The lifetime of one session at one moment.

    Attributes:
        idle: Its idle time; None for none.
        lifetime: Seconds left to its absolute end; None for none.
        ttl: Seconds left if nobody uses it any more.
        persistent: Whether its cookie outlives the browser.
    """

    idle: float | None
    lifetime: float | None
    ttl: float
    persistent: bool

    def touch_due(self, unseen: float) -> bool:
        """Say whether `unseen` seconds since the last recorded use are worth writing down."""
        return self.idle is not None and unseen >= self.idle / TOUCH_FRACTION


def touch_may_be_due(record: Record) -> bool:
    """Say whether enough of the idle time may have passed to move the expiry.

    What was left at the last use is never more than the idle time: that settles it for most, before
    anything else of the session is known.
    """
    last = record.last_seen
    return (record.now - last) * TOUCH_FRACTION >= record.expires_at - last


@dataclass(frozen=True, slots=True)
class Policy:
    """The lifetime that a `Session` gives where nothing else is said.

    Attributes:
        idle: Seconds without a request after which a session ends; None for no such limit.
        absolute: Seconds from creation or login to the end; None for no such limit.
        persistent: Whether the cookie outlives the browser.
        ageless: What it gives at any age, where it sets no absolute end.
    """

    idle: float | None
    absolute: float | None
    persistent: bool
    ageless: Span = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out once what most sessions get."""
        ttl = inf if self.idle is None else self.idle
        object.__setattr__(self, "ageless", Span(self.idle, None, ttl, self.persistent))


def span(policy: Policy, content: Content, age: float) -> Span:
    """Return the lifetime of a session that is `age` seconds old."""
    who, life = content.identity, content.life
    if who is None and life is None and policy.absolute is None:
        return policy.ageless
    idle, end, persistent = policy.idle, policy.absolute, policy.persistent
    if who is not None:
        idle = who.idle or idle
        # A login from before the policy changed may have no end left but the policy's.
        limit = policy.absolute if who.limit is None and idle is None else who.limit
        end = None if limit is None else who.since + limit
        persistent = persistent if who.persistent is None else who.persistent
    if life is not None:
        idle, persistent = _own_idle(life, idle, persistent)
        if life.end is not None:
            end = life.end if end is None else min(end, life.end)
    if end is None:
        return Span(idle, None, inf if idle is None else idle, persistent)
    lifetime = end - age
    return Span(idle, lifetime, lifetime if idle is None else min(idle, lifetime), persistent)


def _own_idle(life: Life, idle: float | None, persistent: bool) -> tuple[float | None, bool]:
    if life.browser:
        return idle, False
    if life.end is not None:
        return None, True
    return life.idle, True


def parse_expiry(value: float | timedelta | datetime | None, age: float, now: float) -> Life | None:
    """Read the argument of `set_expiry`, whose grammar is Django's.

    Args:
        value: A number of seconds of idle time; 0 for a cookie that ends with the browser; a
            `timedelta` from now or an aware `datetime` for an absolute end; None for the policy.
        age: Seconds since the session began.
        now: Epoch seconds.

    Raises:
        SessionError: A naive `datetime`, what ends later than `MOST_SECONDS` from now or never, or
            something else altogether.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        return Life(end=age + _reachable(value.total_seconds()))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise SessionError("set_expiry() needs an aware datetime, such as datetime.now(UTC)")
        return Life(end=age + _reachable(value.timestamp() - now))
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise SessionError(
            f"set_expiry() takes seconds, a timedelta, a datetime or None, not {kind}"
        )
    if not abs(value) <= MOST_SECONDS:  # false for NaN
        raise SessionError(_TOO_FAR)
    if value == 0:
        return Life(browser=True)
    return Life(idle=float(value))


def _reachable(seconds: float) -> float:
    """Return seconds to an absolute end; what is longer past than all stores can say is past."""
    if seconds > MOST_SECONDS:
        raise SessionError(_TOO_FAR)
    return max(seconds, -MOST_SECONDS)


def as_date(epoch: float) -> datetime:
    """Return `epoch` seconds as an aware datetime."""
    return datetime.fromtimestamp(epoch, UTC)
