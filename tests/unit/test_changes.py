"""Unlocked changes, and what they make of a record that somebody else changed meanwhile."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanic_cookies.codec import JSONCodec
from sanic_cookies.content import Content, Identity, Life
from sanic_cookies.session_dict.changes import Changes

CODEC = JSONCodec()
LEAVES = st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, "a", "", None])
VALUES = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.sampled_from("xy"), LEAVES)
DATA = st.dictionaries(st.sampled_from("abcd"), VALUES)


def changes_of(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    changes = Changes()
    changes.compare(CODEC, before, after)
    return changes


def merged(changes: Changes, data: dict[str, Any]) -> dict[str, Any]:
    content = Content(data=deepcopy(data))
    changes.apply(content)
    return content.data


@pytest.mark.parametrize(
    ("before", "after", "assigned", "deleted"),
    [
        ({}, {}, {}, set()),
        ({"a": 1}, {"a": 1}, {}, set()),
        ({}, {"a": 1}, {"a": 1}, set()),
        ({"a": 1}, {}, {}, {"a"}),
        ({"a": 1}, {"a": 2}, {"a": 2}, set()),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"b": 3, "c": 4}, {"a"}),
        ({"a": {"x": [1]}}, {"a": {"x": [1, 2]}}, {"a": {"x": [1, 2]}}, set()),
        ({"a": None}, {}, {}, {"a"}),
        ({}, {"a": None}, {"a": None}, set()),
        ({"a": (1, 2)}, {"a": [1, 2]}, {}, set()),
        ({"a": object}, {"a": object}, {"a": object}, set()),
    ],
)
def test_changes_are_top_level_keys(
    before: dict[str, Any], after: dict[str, Any], assigned: dict[str, Any], deleted: set[str]
) -> None:
    """What differs in the store, nested parts included, is a changed or a deleted key."""
    changes = changes_of(before, after)

    assert (changes.assigned, changes.deleted) == (assigned, deleted)
    assert bool(changes) is bool(assigned or deleted)


@pytest.mark.parametrize(("before", "after"), [(True, 1), (1, 1.0), (0, False), ([1], [True])])
def test_what_python_calls_equal_may_be_a_change(before: Any, after: Any) -> None:
    """True and 1 are different in the store, so one in place of the other is a change."""
    assert before == after

    changes = changes_of({"a": before}, {"a": after})

    assert type(changes.assigned["a"]) is type(after)


@given(DATA, DATA)
def test_changes_turn_what_was_into_what_is(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Merged into the record they began from, changes give exactly the session as it was left."""
    result = merged(changes_of(before, after), before)

    assert {key: CODEC.encode(value) for key, value in result.items()} == {
        key: CODEC.encode(value) for key, value in after.items()
    }


@given(DATA, DATA, DATA)
def test_keys_that_were_not_touched_are_left_alone(
    before: dict[str, Any], after: dict[str, Any], meanwhile: dict[str, Any]
) -> None:
    """Whatever stands in the record by now, only the keys that this request changed are written."""
    changes = changes_of(before, after)
    result = merged(changes, meanwhile)
    touched = {*changes.assigned, *changes.deleted}

    for key in set(meanwhile) | set(result):
        expected = changes.assigned if key in touched else meanwhile
        assert (key in result) is (key in expected)
        assert key not in result or CODEC.encode(result[key]) == CODEC.encode(expected[key])


@given(DATA, DATA)
def test_merging_twice_is_merging_once(before: dict[str, Any], after: dict[str, Any]) -> None:
    """A merge that is repeated, because its first reply was lost, changes nothing more."""
    changes = changes_of(before, after)
    once = merged(changes, before)

    assert merged(changes, once) == once


def test_two_requests_that_set_different_keys_both_survive() -> None:
    """The purpose of it all."""
    before = {"cart": [], "name": "ann"}
    first = changes_of(before, {"cart": ["book"], "name": "ann"})
    second = changes_of(before, {"cart": [], "name": "bob"})

    assert merged(second, merged(first, before)) == {"cart": ["book"], "name": "bob"}


def test_clearing_drops_what_others_wrote_and_keeps_what_came_after() -> None:
    """After `clear()` only what was set since is there, user and lifetime stay."""
    content = Content({"a": 1, "b": 2}, Identity("ann", 0.0), Life(idle=5.0))
    Changes(cleared=True, assigned={"b": 3}).apply(content)

    assert content == Content({"b": 3}, Identity("ann", 0.0), Life(idle=5.0))


def test_ending_drops_everything() -> None:
    """What comes after a session was ended begins without its data, user or lifetime."""
    content = Content({"a": 1}, Identity("ann", 0.0), Life(idle=5.0))
    Changes(ended=True, assigned={"b": 3}).apply(content)

    assert content == Content({"b": 3})


@pytest.mark.parametrize(
    ("changes", "life"),
    [
        (Changes(), Life(idle=5.0)),
        (Changes(life_set=True), None),
        (Changes(life_set=True, life=Life(browser=True)), Life(browser=True)),
        (Changes(ended=True, life_set=True, life=Life(idle=9.0)), Life(idle=9.0)),
    ],
)
def test_a_lifetime_is_replaced_only_if_it_was_set(changes: Changes, life: Life | None) -> None:
    """`set_expiry(None)` takes a lifetime away; not calling it leaves it."""
    content = Content({}, None, Life(idle=5.0))
    changes.apply(content)

    assert content.life == life


def test_deleting_what_is_gone_already_is_no_error() -> None:
    """Two requests may delete the same key."""
    assert merged(Changes(deleted={"a"}), {"b": 1}) == {"b": 1}


@pytest.mark.parametrize(
    "changes",
    [
        Changes(assigned={"a": None}),
        Changes(deleted={"a"}),
        Changes(cleared=True),
        Changes(life_set=True),
        Changes(rotate=True),
        Changes(ended=True),
    ],
)
def test_every_kind_of_change_counts(changes: Changes) -> None:
    """Each mark by itself is something to merge; none is nothing."""
    assert changes
    assert not Changes()


LATER = [
    Changes(),
    Changes(assigned={"a": 3, "c": 4}),
    Changes(deleted={"a", "d"}),
    Changes(assigned={"b": 5}, cleared=True),
    Changes(life=Life(idle=7.0), life_set=True),
    Changes(rotate=True),
    Changes(assigned={"b": 6}, ended=True),
]


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("earlier", LATER)
def test_changes_after_changes_are_as_both(earlier: Changes, later: Changes) -> None:
    """Changes with later ones added do what both do, one after the other."""
    both, one = (
        Content({"a": 1, "d": 2}, life=Life(browser=True), extra={"csrf": "seed"}) for _ in range(2)
    )
    earlier, later = earlier.copied(), later.copied()
    earlier.apply(both)
    later.apply(both)
    rotate = earlier.rotate or later.rotate

    earlier.follow(later)
    earlier.apply(one)

    assert one == both
    assert earlier.rotate == rotate
