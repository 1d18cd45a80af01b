"""What a payload holds: the user's data apart from the library's own facts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanic_cookies import content as contents
from sanic_cookies.codec import JSONCodec
from sanic_cookies.content import Content, Identity, Life
from sanic_cookies.errors import SessionNotSerializable
from sanic_cookies.record import RecordUnreadable

CODEC = JSONCodec()
SECONDS = st.none() | st.floats(0, 1e9)
USERS = st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3) | st.just({"id": 1})
IDENTITIES = st.builds(
    Identity, USERS, st.floats(0, 1e9), SECONDS, SECONDS, st.none() | st.booleans(), st.booleans()
)
LIVES = st.builds(Life, SECONDS, SECONDS, st.booleans())
CONTENTS = st.builds(
    Content,
    st.dictionaries(st.sampled_from("vdilx"), st.integers(-5, 5)),
    st.none() | IDENTITIES,
    st.none() | LIVES,
    st.dictionaries(st.sampled_from("vdilx"), st.lists(st.integers(-5, 5), max_size=2)),
)


@given(CONTENTS)
def test_content_is_read_back_equal_and_encodes_the_same(content: Content) -> None:
    """Data, user, lifetime and extras survive, and what was only read never looks changed."""
    payload = contents.pack(CODEC, content)
    back = contents.unpack(CODEC, payload)

    assert content == back
    assert payload == contents.pack(CODEC, back)


@given(CONTENTS)
def test_only_content_without_anything_is_empty(content: Content) -> None:
    """Data, a user, a lifetime of its own, or extras: each alone is worth a record."""
    assert content.is_empty is (content == Content())


@pytest.mark.parametrize("user", [0, "", False, [], {}])
def test_every_json_value_but_none_is_a_user(user: Any) -> None:
    """A user that Python calls false is still somebody."""
    content = Content(identity=Identity(user=user, since=0.0))

    assert not content.is_empty
    assert content == contents.unpack(CODEC, contents.pack(CODEC, content))


def test_data_cannot_pose_as_identity() -> None:
    """Whatever key a handler writes, it stays data and logs nobody in."""
    data = {"i": ["admin", 0, None, None, None, True], "l": [1], "current_user": "admin", "v": 2}
    data["x"] = {"csrf": "known", "flash": [["error", "boo"]]}
    back = contents.unpack(CODEC, contents.pack(CODEC, Content(data=data)))

    assert data == back.data
    assert back.identity is None
    assert back.life is None
    assert back.extra == {}


@pytest.mark.parametrize(
    "tree",
    [
        None,
        7,
        "text",
        [],
        {},
        {"v": 1},
        {"d": {}},
        {"v": 2, "d": {}},
        {"v": "1", "d": {}},
        {"v": None, "d": {}},
        {"v": 1, "d": []},
        {"v": 1, "d": None},
        {"v": 1, "d": {}, "i": 7},
        {"v": 1, "d": {}, "i": []},
        {"v": 1, "d": {}, "i": "ab"},
        {"v": 1, "d": {}, "i": ["ann", "now", None, None, None, False]},
        {"v": 1, "d": {}, "i": ["ann", 0.0, None, None, None, 1]},
        {"v": 1, "d": {}, "i": ["ann", 0.0, None, None, None, False, "more"]},
        {"v": 1, "d": {}, "l": "abc"},
        {"v": 1, "d": {}, "l": [None, None, None]},
        {"v": 1, "d": {}, "l": ["60", None, False]},
        {"v": 1, "d": {}, "l": [1, 2, False, 4]},
        {"v": 1, "d": {}, "x": {}},
        {"v": 1, "d": {}, "x": None},
        {"v": 1, "d": {}, "x": ["csrf"]},
    ],
)
def test_another_tree_is_unreadable(tree: Any) -> None:
    """A payload of another shape, type or version is unreadable, never half understood."""
    with pytest.raises(RecordUnreadable):
        contents.unpack(CODEC, CODEC.encode(tree))


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    """Whatever stands in a store, reading it ends in content or in one known error."""
    try:
        content = contents.unpack(CODEC, payload)
    except RecordUnreadable:
        return
    assert payload == contents.pack(CODEC, content)


@pytest.mark.parametrize("user", [{1: "a"}, {"when": {1, 2}}, float("nan")])
def test_a_user_that_would_change_is_refused(user: Any) -> None:
    """The user is held to the same rule as the data: it comes back equal or is refused."""
    content = Content(identity=Identity(user=user, since=0.0))

    with pytest.raises(SessionNotSerializable) as caught:
        contents.require_faithful(CODEC, contents.pack(CODEC, content), content)
    assert caught.value.path.startswith("sess['user']")


@pytest.mark.parametrize("value", [{1: "a"}, [{1, 2}], float("nan")])
def test_an_extra_that_would_change_is_refused(value: Any) -> None:
    """What features keep is held to the same rule as the data."""
    content = Content(extra={"flash": value})

    with pytest.raises(SessionNotSerializable):
        contents.require_faithful(CODEC, contents.pack(CODEC, content), content)


@pytest.mark.parametrize("keep_data", [True, False])
def test_a_login_takes_over(keep_data: bool) -> None:
    """Extras go with the data, what signs forms and a lifetime of its own go in any case."""
    content = Content({"a": 1}, None, Life(idle=9.0), {"csrf": "seed", "flash": ["hello"]})
    content.begin(Identity("ann", 0.0), keep_data=keep_data)

    assert content.identity == Identity("ann", 0.0)
    assert content.data == ({"a": 1} if keep_data else {})
    assert content.life is None
    assert content.extra == ({"flash": ["hello"]} if keep_data else {})


def test_a_user_that_has_no_encoding_is_refused() -> None:
    """A user that cannot be encoded gives the error that says so, and where it stands."""
    content = Content({"a": 1}, identity=Identity(user=object(), since=0.0), extra={"flash": []})

    with pytest.raises(SessionNotSerializable) as caught:
        contents.pack(CODEC, content)
    assert caught.value.path == "sess['user']"


@pytest.mark.parametrize("identity", [None, Identity(user=7, since=0.0)], ids=["nobody", "a user"])
def test_what_has_no_encoding_beside_the_data_is_named(identity: Identity | None) -> None:
    """What features keep has a path of its own; bad data are named where they stand."""
    extra = Content({"a": 1}, identity=identity, extra={"flash": [["message", object()]]})
    data = Content({"a": [object()]}, identity=identity, extra={"flash": []})

    for content, path in ((extra, "sess['flash'][0][1]"), (data, "sess['a'][0]")):
        with pytest.raises(SessionNotSerializable) as caught:
            contents.pack(CODEC, content)
        assert caught.value.path == path


def test_faithful_content_passes() -> None:
    """Content that comes back equal, with or without a user, is taken."""
    for identity in (None, Identity(user={"id": 1}, since=0.0)):
        content = Content(data={"a": (1, 2)}, identity=identity)
        contents.require_faithful(CODEC, contents.pack(CODEC, content), content)

        assert contents.unpack(CODEC, contents.pack(CODEC, content)).data == {"a": [1, 2]}
