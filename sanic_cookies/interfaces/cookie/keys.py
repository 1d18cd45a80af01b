"""What is accepted as a key: 32 bytes that a machine has made at random and nobody has published.

Who knows a key opens every session of an app and writes any, and applications do run with the key
of somebody's documentation (CVE-2023-27524). A guard at the start is all it takes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from ...errors import SessionConfigError

KEY_BYTES: Final = 32
_LEAST_DISTINCT = 8
_MAKES = "sanic-cookies key makes one"
_WANTED = f"a key must be {KEY_BYTES} random bytes in url-safe base64, with its padding: {_MAKES}"

# Keys that examples have made famous; each stands in many public repositories.
PUBLISHED = (
    "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",  # Airflow's containers
    "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",  # the same, an older one
    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",  # the specification of Fernet
)
_PUBLISHED = frozenset(map(base64.urlsafe_b64decode, PUBLISHED))
# What people write where a key is to be: one random key in 10^7 holds such a word.
_WORDS = re.compile(r"secret|change|example|passwor|insecure|default|session|cookie", re.IGNORECASE)


def checked_keys(given: object) -> list[bytes]:
    """Return the bytes of a key, or of each in a list.

    Raises:
        SessionConfigError: There is none, or one of them is no key.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        return [checked(given)]
    if not given:
        raise SessionConfigError("InCookieEncrypted needs at least one key")
    return [checked(each) for each in given]


def checked(key: object) -> bytes:
    """Return the bytes of a key.

    Args:
        key: 32 random bytes in url-safe base64; `sanic-cookies key` makes one.

    Raises:
        SessionConfigError: It is something else, or nothing that is random or secret.
    """
    if not isinstance(key, str | bytes):
        kind = type(key).__name__
        raise SessionConfigError(f"a key must be str or bytes, not {kind}: {_MAKES}")
    text = key if isinstance(key, str) else key.decode("ascii", "replace")
    if "," in text and text.isascii():  # one in eight keys of raw bytes has a comma, too
        raise SessionConfigError("several keys are a list: InCookieEncrypted(keys.split(','))")
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SessionConfigError(_WANTED) from error
    if len(raw) != KEY_BYTES:
        raise SessionConfigError(_WANTED)
    if raw in _PUBLISHED:
        raise SessionConfigError("this key is published: sanic-cookies key makes a new one")
    if _is_made_up(raw) or _is_typed(text):
        raise SessionConfigError(f"this key is not random: {_MAKES}")
    return raw


def _is_made_up(raw: bytes) -> bool:
    """Whether the bytes are repeated, counted, or a text; once in 10^13 random keys."""
    steps = {(after - before) % 256 for before, after in pairwise(raw)}
    printable = all(0x20 <= byte < 0x7F for byte in raw)
    return len(set(raw)) < _LEAST_DISTINCT or len(steps) < _LEAST_DISTINCT or printable


def _is_typed(text: str) -> bool:
    """Whether somebody typed what happens to be base64; once in 10^7 random keys."""
    return text == text.lower() or text == text.upper() or _WORDS.search(text) is not None
