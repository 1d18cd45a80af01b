"""How long a session lives: policy, login, and a lifetime of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from math import inf, isfinite, nan
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sanic_cookies import expiry
from sanic_cookies.content import Content, Identity, Life
from sanic_cookies.errors import SessionError
from sanic_cookies.expiry import Policy, Span, parse_expiry, span

HOUR, DAY = 3600.0, 86400.0
PLAIN = Policy(idle=HOUR, absolute=None, persistent=True)
AUTH = Policy(idle=HOUR, absolute=DAY, persistent=False)
LIMITED = Policy(idle=None, absolute=DAY, persistent=True)
NOW = 1_700_000_000.0


def login(**values: Any) -> Content:
    return Content(identity=Identity(user="ann", **{"since": 100.0, "limit": DAY, **values}))


def own(**values: Any) -> Content:
    return Content(life=Life(**values))


@pytest.mark.parametrize(
    ("policy", "content", "age", "expected"),
    [
        (PLAIN, Content(), 5.0, Span(HOUR, None, HOUR, True)),
        (AUTH, Content(), 0.0, Span(HOUR, DAY, HOUR, False)),
        (AUTH, Content(), DAY - 60, Span(HOUR, 60, 60, False)),
        (AUTH, Content(), DAY + 1, Span(HOUR, -1, -1, False)),
        (LIMITED, Content(), 400.0, Span(None, DAY - 400, DAY - 400, True)),
        # A login counts its own absolute time, from the login on.
        (AUTH, login(), 100.0, Span(HOUR, DAY, HOUR, False)),
        (AUTH, login(limit=60.0), 130.0, Span(HOUR, 30, 30, False)),
        (AUTH, login(since=2 * DAY), 2 * DAY, Span(HOUR, DAY, HOUR, False)),
        (PLAIN, login(limit=None), 100.0, Span(HOUR, None, HOUR, True)),
        # Where there is no idle time, either.
        (LIMITED, login(limit=60.0), 130.0, Span(None, 30, 30, True)),
        (LIMITED, login(limit=None), 130.0, Span(None, DAY - 30, DAY - 30, True)),
        # Remembered: its own idle time, its own kind of cookie.
        (
            AUTH,
            login(limit=30 * DAY, idle=30 * DAY, persistent=True),
            100.0,
            Span(30 * DAY, 30 * DAY, 30 * DAY, True),
        ),
        (PLAIN, login(persistent=False), 100.0, Span(HOUR, DAY, HOUR, False)),
        # set_expiry(seconds), set_expiry(0), set_expiry(timedelta).
        (PLAIN, own(idle=60.0), 10.0, Span(60, None, 60, True)),
        (AUTH, own(idle=60.0), 0.0, Span(60, DAY, 60, True)),
        (AUTH, own(idle=2 * DAY), 60.0, Span(2 * DAY, DAY - 60, DAY - 60, True)),
        (PLAIN, own(browser=True), 10.0, Span(HOUR, None, HOUR, False)),
        (PLAIN, own(end=500.0), 100.0, Span(None, 400, 400, True)),
        (AUTH, own(end=5 * DAY), 60.0, Span(None, DAY - 60, DAY - 60, True)),
        (PLAIN, own(idle=-5.0), 10.0, Span(-5, None, -5, True)),
    ],
)
def test_the_lifetime_of_a_session(
    policy: Policy, content: Content, age: float, expected: Span
) -> None:
    """The first of idle time and absolute end counts; a login or `set_expiry` moves them."""
    assert expected == span(policy, content, age)


DURATIONS = st.none() | st.floats(1, 1e8)
POLICIES = st.builds(Policy, DURATIONS, DURATIONS, st.booleans()).filter(
    lambda policy: policy.idle is not None or policy.absolute is not None
)
LOGINS = st.builds(
    Identity, st.just("ann"), st.floats(0, 1e8), DURATIONS, DURATIONS, st.none() | st.booleans()
)
LIVES = st.one_of(
    st.builds(Life, idle=st.floats(1, 1e8)),
    st.builds(Life, end=st.floats(-1e8, 1e8)),
    st.just(Life(browser=True)),
)


@given(POLICIES, st.none() | LOGINS, st.none() | LIVES, st.floats(0, 1e8))
def test_every_session_ends(
    policy: Policy, identity: Identity | None, life: Life | None, age: float
) -> None:
    """No policy, login or `set_expiry` makes a session that never ends, or outlives its end."""
    result = span(policy, Content({}, identity, life), age)

    assert isfinite(result.ttl)
    assert result.lifetime is None or result.ttl <= result.lifetime
    assert result.idle is None or result.ttl <= result.idle


@given(POLICIES, LIVES, st.floats(0, 1e8))
def test_no_own_lifetime_outlives_the_policys_absolute_end(
    policy: Policy, life: Life, age: float
) -> None:
    """`set_expiry` cannot prolong a session beyond `absolute_timeout`."""
    assume(policy.absolute is not None)
    assert policy.absolute is not None
    assert span(policy, Content(life=life), age).ttl <= policy.absolute - age


@pytest.mark.parametrize(
    ("idle", "unseen", "due"),
    [(60.0, 5.9, False), (60.0, 6.0, True), (60.0, 61.0, True), (None, 1e9, False)],
)
def test_a_touch_is_due_after_a_tenth_of_the_idle_time(
    idle: float | None, unseen: float, due: bool
) -> None:
    """Use is written down at most ten times per idle time, and never where there is none."""
    assert due is Span(idle, None, 60, True).touch_due(unseen)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0, Life(browser=True)),
        (0.0, Life(browser=True)),
        (60, Life(idle=60.0)),
        (1.5, Life(idle=1.5)),
        (-1, Life(idle=-1.0)),
        (timedelta(minutes=5), Life(end=1300.0)),
        (timedelta(0), Life(end=1000.0)),
        (timedelta(seconds=-5), Life(end=995.0)),
        (datetime.fromtimestamp(NOW + 60, UTC), Life(end=1060.0)),
        (datetime.fromtimestamp(NOW + 60, timezone(timedelta(hours=9))), Life(end=1060.0)),
        (datetime.fromtimestamp(NOW - 60, UTC), Life(end=940.0)),
        (timedelta(seconds=1e10), Life(end=1000.0 + 1e10)),
        (timedelta.min, Life(end=1000.0 - 1e10)),
        (datetime.min.replace(tzinfo=UTC), Life(end=1000.0 - 1e10)),
    ],
)
def test_the_grammar_of_set_expiry(value: Any, expected: Life | None) -> None:
    """Seconds are idle time, 0 the browser's end, timedelta and datetime an absolute end."""
    life = parse_expiry(value, 1000.0, NOW)

    assert expected == life
    assert life is None or isinstance(life.idle, float | None)


@pytest.mark.parametrize(
    "value",
    [
        datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None),
        True,
        False,
        "60",
        nan,
        inf,
        -inf,
        10**400,
        timedelta(seconds=1e10 + 1),
        timedelta.max,
        datetime.max.replace(tzinfo=UTC),
        [60],
        b"60",
    ],
)
def test_what_set_expiry_refuses(value: Any) -> None:
    """A naive datetime, a bool, what has no end within reach and every other type are refused."""
    with pytest.raises(SessionError) as caught:
        parse_expiry(value, 0.0, NOW)
    assert caught.value.detail


def test_what_set_expiry_takes_is_said() -> None:
    """What is of no kind that it takes is answered by those that it does take."""
    with pytest.raises(SessionError) as caught:
        parse_expiry("1h", 0.0, NOW)  # type: ignore[arg-type]
    assert "seconds, a timedelta, a datetime or None, not str" in caught.value.detail


def test_dates_are_aware() -> None:
    """An expiry date names its zone."""
    assert datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC) == expiry.as_date(NOW)
