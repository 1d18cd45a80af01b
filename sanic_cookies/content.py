"""What a payload holds: the user's data, and beside it identity, lifetime and the library's own.

They stand in separate branches of one tree, so that nothing which a handler writes into the
session can be taken for the library's own facts (`sess["current_user"] = "admin"` logs nobody in).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from . import codec as codecs
from .codec import Codec
from .errors import SessionNotSerializable
from .record import RecordUnreadable

FORMAT = 1

# In `Content.extra`: what forms are signed with; every login replaces it.
CSRF_SEED = "csrf"

# The fields of `Identity` and `Life` in their order, as they stand in the tree.
_Who = tuple[Any, float, float | None, float | None, bool | None, bool, float, str, str, str]
_Life = tuple[float | None, float | None, bool]


@dataclass(slots=True)
class Identity:
    """Who is logged in.

    Times count from the session's creation, so they are right whatever clock a store has.

    Attributes:
        user: Any JSON value but None.
        since: Seconds from the session's creation to the login.
        limit: Seconds from the login to the absolute end; None for none.
        idle: Seconds without a request after which it ends; None for the policy's.
        persistent: Whether the cookie outlives the browser; None for the policy's choice.
        remembered: Whether the login asked to be remembered.
        confirmed: Seconds from the session's creation to the last proof of who it is.
        stamp: Fingerprint of what ends the user's sessions when it changes; empty for none.
        agent: User agent at the login, shortened.
        address: Network address at the login.
    """

    user: Any
    since: float
    limit: float | None = None
    idle: float | None = None
    persistent: bool | None = None
    remembered: bool = False
    confirmed: float = 0.0
    stamp: str = ""
    agent: str = ""
    address: str = ""


@dataclass(slots=True)
class Life:
    """One session's own lifetime, set by `set_expiry`; takes the place of the policy.

    Attributes:
        idle: Seconds without a request after which it ends.
        end: Seconds from the session's creation to its absolute end.
        browser: The cookie ends with the browser; idle time stays the policy's.
    """

    idle: float | None = None
    end: float | None = None
    browser: bool = False


class Content(msgspec.Struct):
    """What a session holds.

    Attributes:
        data: The user's own mapping.
        identity: Who is logged in, or None.
        life: The session's own lifetime, or None.
        extra: What features of this library keep, by their names; no handler sees it.
    """

    data: dict[str, Any] = {}
    identity: Identity | None = None
    life: Life | None = None
    extra: dict[str, Any] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing worth a record."""
        return not (self.data or self.identity or self.life or self.extra)

    def end(self) -> None:
        """Forget who it was, with all that belonged to them; the data are the caller's affair."""
        self.identity = self.life = None
        self.extra.clear()

    def begin(self, identity: Identity, *, keep_data: bool) -> None:
        """Become `identity`'s, who says how long it lives; forms from before are not accepted."""
        if not keep_data:
            self.data.clear()
            self.extra.clear()
        self.extra.pop(CSRF_SEED, None)
        self.identity, self.life = identity, None


def pack(codec: Codec, content: Content) -> bytes:
    """Encode `content`; the same content gives the same bytes.

    Raises:
        SessionNotSerializable: A value in it has no encoding.
    """
    tree: dict[str, Any] = {"v": FORMAT, "d": content.data}
    who, life = content.identity, content.life
    if who is not None:
        tree["i"] = [getattr(who, name) for name in Identity.__slots__]
    if life is not None:
        tree["l"] = [life.idle, life.end, life.browser]
    if content.extra:
        tree["x"] = content.extra
    try:
        return codecs.encode(codec, tree, "d")
    except SessionNotSerializable:
        # The data are not to blame if something beside them is: each names its own place.
        beside = content.extra if who is None else {"user": who.user, **content.extra}
        codecs.encode(codec, {"d": beside}, "d")
        raise


def unpack(codec: Codec, payload: bytes) -> Content:
    """Decode what `pack` made.

    Raises:
        RecordUnreadable: The bytes are something else, or of a version this code does not know.
    """
    tree = codecs.decode(codec, payload)
    try:
        data = tree["d"]
        if tree["v"] != FORMAT or not isinstance(data, dict):
            raise RecordUnreadable("unknown format")
        if len(tree) == 2:
            return Content(data)  # as most are: nobody's, and without a lifetime of their own
        who, life, extra = tree.get("i"), tree.get("l"), tree.get("x")
        if "x" in tree and not (extra and isinstance(extra, dict)):
            raise RecordUnreadable("unknown format")
        return Content(
            data,
            identity=None if who is None else Identity(*_checked(who, _Who)),
            life=None if life is None else Life(*_checked(life, _Life)),
            extra=extra or {},
        )
    except (AttributeError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise RecordUnreadable("unknown format") from error


def _checked(fields: Any, kind: Any) -> Any:
    """Return `fields` as they are, so that encoding them again gives the same bytes."""
    msgspec.convert(fields, kind)
    return fields


def require_faithful(codec: Codec, payload: bytes, content: Content) -> None:
    """Make sure that `payload` gives the user's data and identity back unchanged.

    Raises:
        SessionNotSerializable: A value would come back as something else.
    """
    codecs.require_faithful(codec, payload, content.data, "d")
    if content.extra:
        codecs.require_faithful(codec, payload, content.extra, "x")
    if content.identity is not None:
        user = {"user": content.identity.user}
        codecs.require_faithful(codec, codecs.encode(codec, {"d": user}, "d"), user, "d")
