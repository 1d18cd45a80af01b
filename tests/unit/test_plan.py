"""The table of decisions, row by row and as a whole."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

from sanic_cookies.expiry import Span
from sanic_cookies.session_dict.plan import Act, Plan, decide


class Situation(NamedTuple):
    """What a decision rests on, as `decide` takes it."""

    exists: bool
    ended: bool
    empty: bool
    expired: bool
    changed: bool
    rotate: bool
    renew: bool


ALL = [Situation(*flags) for flags in product([False, True], repeat=7)]
WRITES = {Act.CREATE, Act.SAVE}


def row(situation: Situation) -> tuple[int, Act | None]:
    """Return the number of the row of `decide`'s table that applies, and what it says."""
    s = situation
    over, wanted = s.empty or s.expired, s.changed or s.rotate or s.renew
    rows = [
        (s.ended and s.empty, Act.NOTHING),
        (s.ended and not s.empty, None),
        (not s.ended and over and s.exists, Act.DELETE),
        (not s.ended and over and not s.exists, Act.NOTHING),
        (not s.ended and not over and not s.exists, Act.CREATE),
        (not s.ended and not over and s.exists and wanted, Act.SAVE),
        (not s.ended and not over and s.exists and not wanted, Act.NOTHING),
    ]
    (found,) = [(number, act) for number, (applies, act) in enumerate(rows) if applies]
    return found


@pytest.mark.parametrize("situation", ALL, ids=str)
def test_every_situation_has_the_act_of_its_row(situation: Situation) -> None:
    """For each of the 128 situations exactly one row of the table applies, and it is followed."""
    assert row(situation)[1] == decide(*situation)


def test_no_row_of_the_table_is_idle() -> None:
    """Each of the seven rows decides some situation."""
    assert set(range(7)) == {row(situation)[0] for situation in ALL}


def test_an_ended_session_is_never_written() -> None:
    """Whatever else is true: what has ended is not created again, saved or deleted twice."""
    acts = {decide(*situation) for situation in ALL if situation.ended}

    assert {Act.NOTHING, None} == acts


def test_an_empty_session_makes_no_record() -> None:
    """Nothing is ever stored for a session in which there is nothing, or whose life is over."""
    acts = {decide(*situation) for situation in ALL if situation.empty or situation.expired}

    assert not WRITES & acts


def test_saving_needs_a_record_and_creating_needs_none() -> None:
    """A record is never made by a save, and never replaced by a creation."""
    for situation in ALL:
        act = decide(*situation)

        assert situation.exists or act not in (Act.SAVE, Act.DELETE)
        assert not situation.exists or act is not Act.CREATE


def test_a_plan_does_nothing_but_release_unless_told_otherwise() -> None:
    """By default a plan writes nothing new, rotates nothing and gives the lock up."""
    plan = Plan(Act.NOTHING, Span(idle=60, lifetime=None, ttl=60, persistent=True))

    assert plan.release
    assert not any((plan.payload, plan.changed, plan.rotate, plan.periodic, plan.renew))
