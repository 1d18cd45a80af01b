"""From the session's content to bytes and back.

The default is strict JSON. There is no fallback decoder and no pickle: bytes that do not decode
are an unreadable record, never a guess (CVE-2026-39324).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from .errors import SessionNotSerializable
from .record import RecordUnreadable

# Deeper than any sane session, shallow enough for every decoder's stack, and for that of
# `copy.deepcopy`, which takes up to three frames a level; Python has 1,000 for all there is to do.
MAX_DEPTH = 200
_MAX_SEARCH_DEPTH = 64
# Halves of characters: Python's JSON lets them through, and no store takes them.
HALVES = re.compile("[\ud800-\udfff]")
_REMEDY = "would not be read back equal: store what JSON has, such as an id or a text, or use Typed"
_ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class Difference(NamedTuple):
    """What would come back as something else: where it stands, and what kind of thing it is."""

    path: str
    what: str


@runtime_checkable
class Codec(Protocol):
    """Turns a plain tree of dicts, lists and scalars into bytes, and back."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes; the same value gives the same bytes.

        Raises:
            TypeError: The value cannot be encoded (ValueError is as good).
        """

    def decode(self, payload: bytes) -> Any:
        """Return the value; any exception means that the payload is unreadable."""


class JSONCodec:
    """JSON by msgspec: strict, ordered as written, a microsecond a session."""

    def __init__(self) -> None:
        """Prepare encoder and decoder once."""
        self.encode = msgspec.json.Encoder().encode
        self.decode = msgspec.json.Decoder().decode


def encode(codec: Codec, tree: dict[str, Any], key: str) -> bytes:
    """Encode `tree`, whose part under `key` is the user's data.

    Raises:
        SessionNotSerializable: A value has no encoding; the error names where it stands.
    """
    try:
        return codec.encode(tree)
    except _ENCODE_ERRORS as error:
        found = _unencodable(codec, tree[key], "sess", 0)
        raise SessionNotSerializable(f"{found.what} {_REMEDY}", found.path) from error


def decode(codec: Codec, payload: bytes) -> Any:
    """Decode what a store returned.

    Raises:
        RecordUnreadable: These bytes are not what `codec` writes.
    """
    try:
        return codec.decode(payload)
    except Exception as error:
        raise RecordUnreadable(type(error).__name__) from error


def require_faithful(codec: Codec, payload: bytes, data: Any, key: str) -> None:
    """Make sure that `payload` gives `data` back, so that nothing is changed by being stored.

    The usual case is one decode and one comparison. Only if they differ the tree is walked, since
    a tuple, which comes back as a list, is no reason to refuse.

    Raises:
        SessionNotSerializable: A value would come back as something else (a set, a date, NaN, an
            integer key), or is nested so deeply that a request further up or down the stack could
            not read it; the error names where it stands.
    """
    # Each level has its bracket, or a byte in any other encoding: mostly that settles it.
    is_json = type(codec) is JSONCodec
    levels = payload.count(b"[") + payload.count(b"{") if is_json else len(payload)
    if levels > MAX_DEPTH:
        _require_shallow(data)
    try:
        back = codec.decode(payload)[key]
        found = None if back == data else _unfaithful(data, back, "sess")
    except RecursionError as error:
        raise SessionNotSerializable("it is nested too deeply") from error
    if found is not None:
        raise SessionNotSerializable(f"{found.what} {_REMEDY}", found.path)


def _require_shallow(data: Any) -> None:
    """Refuse what is nested too deeply; level by level, as it may well be too deep for the stack.

    Raises:
        SessionNotSerializable: A value is.
    """
    for step, child in _children(data):
        level, depth = [child], 0
        while level := [inner for each in level for _, inner in _children(each)]:
            depth += 1
            if depth > MAX_DEPTH:
                raise SessionNotSerializable(
                    f"it is nested more than {MAX_DEPTH} levels deep", f"sess[{step!r}]"
                )


def _named(value: Any) -> str:
    """Say what kind of value it is; the value itself stays unsaid."""
    if isinstance(value, str) and HALVES.search(value):
        return "half a character (a lone surrogate) in a text"
    return "NaN or infinity" if isinstance(value, float) else type(value).__name__


def _named_key(key: Any) -> str:
    return _named(key) if isinstance(key, str) else f"a key of type {type(key).__name__}"


def _unencodable(codec: Codec, value: Any, path: str, depth: int) -> Difference:
    """Return the innermost part of `value` that has no encoding."""
    if depth < _MAX_SEARCH_DEPTH:
        for step, child in _children(value):
            inner = f"{path}[{step!r}]"
            if not _encodes(codec, child):
                return _unencodable(codec, child, inner, depth + 1)
            if isinstance(value, dict) and not _encodes(codec, {step: None}):
                return Difference(inner, _named_key(step))
    return Difference(path, _named(value))


def _encodes(codec: Codec, value: Any) -> bool:
    try:
        codec.encode(value)
    except _ENCODE_ERRORS:
        return False
    return True


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    return []


def _unfaithful(value: Any, back: Any, path: str) -> Difference | None:
    """Return the first part of `value` that differs from `back`, if any."""
    if isinstance(value, dict) and isinstance(back, dict):
        for key, child in value.items():
            step = f"{path}[{key!r}]"
            if key not in back:
                return Difference(step, _named_key(key))
            found = _unfaithful(child, back[key], step)
            if found is not None:
                return found
        return None if len(value) == len(back) else Difference(path, _named(value))
    if isinstance(value, list | tuple) and isinstance(back, list):
        for index, (child, other) in enumerate(zip(value, back, strict=False)):
            found = _unfaithful(child, other, f"{path}[{index}]")
            if found is not None:
                return found
        return None if len(value) == len(back) else Difference(path, _named(value))
    return None if value == back else Difference(path, _named(value))
