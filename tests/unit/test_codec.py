"""From values to bytes and back: equal, or refused with the place named."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanic_cookies import codec as codecs
from sanic_cookies.codec import Codec, JSONCodec
from sanic_cookies.errors import SessionNotSerializable
from sanic_cookies.record import RecordUnreadable

CODEC = JSONCodec()
Pair = namedtuple("Pair", "a b")


class Packed:
    """Another codec: nothing of it has brackets."""

    encode = staticmethod(msgspec.msgpack.encode)
    decode = staticmethod(msgspec.msgpack.decode)


class Level(IntEnum):
    HIGH = 3


class Colour(StrEnum):
    RED = "red"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=15,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
DATA = st.dictionaries(TEXT, TREES, max_size=5)
# What Python lets a handler put into a dict, JSON or not.
ANYTHING = st.recursive(
    SCALARS
    | st.floats()
    | st.integers()
    | st.binary()
    | st.text()
    | st.datetimes()
    | st.uuids()
    | st.decimals()
    | st.frozensets(st.integers())
    | st.complex_numbers()
    | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=10,
)


def store_and_load(data: dict[Any, Any]) -> Any:
    """Return `data` as the next request gets it; refused as a commit refuses it."""
    payload = codecs.encode(CODEC, {"d": data}, "d")
    codecs.require_faithful(CODEC, payload, data, "d")
    return codecs.decode(CODEC, payload)["d"]


def listed(value: Any) -> Any:
    """Return `value` with each tuple as the list it is read back as."""
    if isinstance(value, dict):
        return {key: listed(child) for key, child in value.items()}
    return [listed(child) for child in value] if isinstance(value, list | tuple) else value


@given(DATA)
def test_what_json_can_hold_comes_back_equal(data: dict[str, Any]) -> None:
    """Every tree of dicts, lists and scalars survives."""
    assert data == store_and_load(data)


@given(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4))
def test_a_value_comes_back_equal_or_is_refused(data: dict[str, Any]) -> None:
    """Nothing is ever changed by being stored, tuples excepted, and only one error is known."""
    try:
        back = store_and_load(data)
    except SessionNotSerializable:
        return
    assert listed(data) == back


@given(DATA)
def test_equal_content_gives_equal_bytes(data: dict[str, Any]) -> None:
    """The dirty check compares bytes, so encoding what was decoded gives the same bytes again."""
    payload = codecs.encode(CODEC, {"d": data}, "d")

    assert payload == codecs.encode(CODEC, codecs.decode(CODEC, payload), "d")


def test_true_and_one_are_different_bytes() -> None:
    """Python calls True and 1 equal; what is stored tells them apart, and so do 1 and 1.0."""
    assert len({CODEC.encode(value) for value in (True, 1, 1.0)}) == 3


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"a": object()}, "sess['a']"),
        ({"ok": 1, "cart": [{"n": 1}, {"n": {1}}]}, "sess['cart'][1]['n']"),
        ({"a": {"b": (1, 2, object())}}, "sess['a']['b'][2]"),
        ({"a": 1 + 2j}, "sess['a']"),
        ({"a": lambda: None}, "sess['a']"),
        ({"a": "\ud800"}, "sess['a']"),
        ({"a": {"b": {None: 1}}}, "sess['a']['b'][None]"),
        ({"a": {(1, 2): 1}}, "sess['a'][(1, 2)]"),
    ],
)
def test_what_has_no_encoding_is_named_by_its_path(data: dict[str, Any], path: str) -> None:
    """The error says where the innermost culprit stands."""
    with pytest.raises(SessionNotSerializable) as caught:
        store_and_load(data)

    assert path == caught.value.path


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"a": {1, 2}}, "sess['a']"),
        ({"a": b"raw"}, "sess['a']"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "sess['a']"),
        ({"a": Decimal("1.5")}, "sess['a']"),
        ({"a": UUID(int=1)}, "sess['a']"),
        ({"a": float("nan")}, "sess['a']"),
        ({"a": float("inf")}, "sess['a']"),
        ({"a": {1: "one"}}, "sess['a'][1]"),
        ({"a": {1: "one", "1": "two"}}, "sess['a'][1]"),
        ({"ok": (1, 2), "a": [{"b": (0, {7})}]}, "sess['a'][0]['b'][1]"),
        ({"a": [1, [2, [float("-inf")]]]}, "sess['a'][1][1][0]"),
    ],
)
def test_what_would_come_back_as_something_else_is_named_by_its_path(
    data: dict[str, Any], path: str
) -> None:
    """What the encoder takes but JSON cannot give back equal is refused, not changed."""
    with pytest.raises(SessionNotSerializable) as caught:
        store_and_load(data)

    assert path == caught.value.path


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "sess['a']: datetime would not be read back equal"),
        ({1, 2}, "sess['a']: set would"),
        ([float("nan")], "sess['a'][0]: NaN or infinity would"),
        ({1: "hunter2"}, "sess['a'][1]: a key of type int would"),
        ({(1, 2): "hunter2"}, "sess['a'][(1, 2)]: a key of type tuple would"),
        ([{None: {"hunter2": []}}], "sess['a'][0][None]: a key of type NoneType would"),
        ({"\ud800": "hunter2"}, "sess['a']['\\ud800']: half a character (a lone surrogate)"),
        ("hunter2\ud800", "sess['a']: half a character (a lone surrogate) in a text would"),
        ({"b": object()}, "sess['a']['b']: object would"),
        (b"hunter2", "sess['a']: bytes would"),
    ],
    ids=["date", "set", "nan", "key", "tuple", "none", "half key", "half", "object", "bytes"],
)
def test_the_error_names_the_kind_and_the_way_out(value: Any, words: str) -> None:
    """The log tells what kind of value it is and what to store instead, and never the value."""
    with pytest.raises(SessionNotSerializable) as caught:
        store_and_load({"a": value})

    assert caught.value.detail.startswith(words)
    assert "store what JSON has, such as an id or a text, or use Typed" in caught.value.detail
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Pair(1, [(2,)]), [1, [[2]]]),
        (OrderedDict(a=1), {"a": 1}),
        (Level.HIGH, 3),
        (Colour.RED, "red"),
        ([], []),
        ("", ""),
        (2**200, 2**200),
        (-(2**200), -(2**200)),
        (1e308, 1e308),
        ("\x00 \u2028 😀", "\x00 \u2028 😀"),
    ],
)
def test_what_is_equal_in_json_is_taken(value: Any, back: Any) -> None:
    """A tuple comes back as a list; what equals its JSON form, such as an IntEnum, is stored."""
    assert {"a": back} == store_and_load({"a": value})


@pytest.mark.parametrize("make", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}])
@pytest.mark.parametrize("depth", [10, 200, 201, 500, *range(880, 1000, 8), 1100, 5000, 100_000])
def test_depth_is_stored_or_refused(make: Any, depth: int) -> None:
    """A value of 200 levels is stored, a deeper one refused; the stack never overflows."""
    value: Any = 1
    for _ in range(depth):
        value = make(value)
    try:
        store_and_load({"deep": value})
    except SessionNotSerializable:
        assert depth > codecs.MAX_DEPTH
    else:
        assert depth <= codecs.MAX_DEPTH


def test_what_is_nested_too_deeply_is_named() -> None:
    """The error names the key, and how deep is deep enough; other brackets do not count."""
    deep: Any = 1
    for _ in range(codecs.MAX_DEPTH + 1):
        deep = [deep]

    with pytest.raises(SessionNotSerializable) as caught:
        store_and_load({"flat": [[]] * 500, "deep": deep})
    assert caught.value.detail == "sess['deep']: it is nested more than 200 levels deep"


@pytest.mark.parametrize("codec", [JSONCodec(), Packed()])
def test_a_session_is_read_wherever_it_was_written(codec: Codec) -> None:
    """What was stored with much of the stack free is read, and copied, with half of it taken."""
    deep: Any = 1
    for _ in range(codecs.MAX_DEPTH):
        deep = {"k": deep}
    payload = codec.encode({"d": {"deep": deep}})
    codecs.require_faithful(codec, payload, {"deep": deep}, "d")

    def read(frames: int) -> Any:
        if frames:
            return read(frames - 1)
        return copy.deepcopy(codecs.decode(codec, payload))

    assert read(400) == {"d": {"deep": deep}}
    with pytest.raises(SessionNotSerializable):
        codecs.require_faithful(codec, codec.encode({"d": {"a": [deep]}}), {"a": [deep]}, "d")


def test_a_cycle_is_refused() -> None:
    """A list that holds itself is refused with the path where that begins."""
    cycle: list[Any] = []
    cycle.append(cycle)

    with pytest.raises(SessionNotSerializable, match="cannot be stored") as caught:
        store_and_load({"ok": 1, "loop": cycle})
    assert caught.value.path.startswith("sess['loop'][0]")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": 1}x',
        b"\xff\xfe",
        b'"\xed\xa0\x80"',
        pickle.dumps({"a": 1}),
        b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_json_are_unreadable(payload: bytes) -> None:
    """There is no second decoder and no pickle: strict JSON, or an unreadable record."""
    with pytest.raises(RecordUnreadable):
        codecs.decode(CODEC, payload)


def test_any_exception_of_a_codec_means_unreadable() -> None:
    """Somebody else's codec may raise what it likes; what caused it is kept for the log."""

    class Broken(JSONCodec):
        def __init__(self) -> None:
            super().__init__()
            self.decode = self.explode

        def explode(self, payload: bytes) -> Any:
            raise ZeroDivisionError("detail")

    with pytest.raises(RecordUnreadable) as caught:
        codecs.decode(Broken(), b"{}")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "detail" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ([1, 2], [1]),
        ([1], [1, 2]),
        ({"b": 1}, {"b": 1, "c": 2}),
        ({"b": 1}, [["b", 1]]),
        ([["b", 1]], {"b": 1}),
        ((1, 2), "12"),
    ],
)
def test_a_codec_that_gives_back_less_or_more_is_found_out(value: Any, back: Any) -> None:
    """A codec of your own is not trusted: what it loses, adds or turns around is refused."""

    class Careless:
        encode = CODEC.encode

        def decode(self, payload: bytes) -> Any:
            return {"d": {"a": [back]}}

    with pytest.raises(SessionNotSerializable) as caught:
        codecs.require_faithful(Careless(), b"{}", {"a": [value]}, "d")
    assert caught.value.path == "sess['a'][0]"
    assert caught.value.detail.startswith(f"sess['a'][0]: {type(value).__name__} would")


def test_what_a_codec_is() -> None:
    """A codec is anything that encodes and decodes."""
    assert isinstance(JSONCodec(), Codec)
    assert not isinstance(object(), Codec)
