"""The key by which a user's sessions are found: made from whatever a user is."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from ..codec import HALVES

MAX_USER_KEY = 255  # characters; an index of Postgres takes 2704 bytes
_HASHED = "sha256:"


def default_user_key(user: Any) -> Any:
    """Return what `user` is found by: the value itself, or its "user_id" or "id".

    Of an object these are attributes: what `user_loader` returned names the same sessions as the
    id by which it was loaded. None for a dict without them; its sessions are not listed.

    Raises:
        TypeError: An object without them. That it has no sessions would be a lie.
    """
    if isinstance(user, dict):
        return user.get("user_id", user.get("id"))
    if user is None or isinstance(user, str | int | float | list | tuple):
        return user
    key = getattr(user, "user_id", getattr(user, "id", None))
    if key is None:
        raise TypeError(
            f"{type(user).__name__} names no user: login_user() takes JSON values, and other "
            "methods what it was given, something with an id, or what user_key= makes a key of"
        )
    return key


def index_key(key: Any) -> str | None:
    """Return `key` as a text that every store can index: short, of whole characters, no NUL.

    One that looks like what long ones are turned into is turned, too: no name is another's.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        key = msgspec.to_builtins(key)  # a UUID is its text, wherever it was made one
    text = key if isinstance(key, str) else msgspec.json.encode(key).decode()
    is_plain = len(text) <= MAX_USER_KEY and "\0" not in text and not HALVES.search(text)
    if not is_plain or text.startswith(_HASHED):
        return _HASHED + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text
