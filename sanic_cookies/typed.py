"""Typed sessions: a class of the application's as the shape of what a session holds.

A thin layer over `SessionDict`, which stays a dict of JSON values for everybody else. In a block,
the data are made into an object, and on a clean exit the fields that changed are put back; lock,
dirty check, rollback and errors are those of the block underneath. Keys that the class does not
have are left alone, so an application can move to typed sessions key by key.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import fields as struct_fields
from sanic.request import Request

from .errors import SessionConfigError, SessionShapeMismatch
from .session import Session, session_of

logger = logging.getLogger("sanic_cookies")

T = TypeVar("T")
Data = dict[str, Any]
Upgrade = Callable[[Data, int], Mapping[str, Any]]

_ABSENT = object()
# How those errors of msgspec begin that name types and fields only.
_QUOTES_NONE = ("Expected `", "Object missing required field `", "Encoding objects of type ")


class _Loaded(NamedTuple, Generic[T]):
    """What was found in a session.

    Attributes:
        stored: The data as they are stored.
        base: The same, brought up to the present version.
        model: The object that was made of them.
        fits: False if it was made of defaults, since the data did not fit.
    """

    stored: Data
    base: Data
    model: T
    fits: bool = True


class Typed(Generic[T]):
    """A session as an object of one class.

    Examples:
        >>> @dataclass                                        # doctest: +SKIP
        ... class Cart:
        ...     items: list[str] = field(default_factory=list)
        >>> carts = Typed(Cart)                               # doctest: +SKIP

        Then, in a handler: `async with carts(request) as cart: cart.items.append("book")`.
    """

    def __init__(
        self,
        model: type[T],
        *,
        session_name: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        name: str | None = None,
        version: int = 1,
        upgrade: Upgrade | None = None,
        on_mismatch: Literal["raise", "reset"] = "raise",
    ) -> None:
        """Check the class; nothing is read here.

        Args:
            model: A dataclass, a `TypedDict` or a `msgspec.Struct`, not frozen; its fields are the
                session's keys.
            session_name: Which session; None for the app's first.
            defaults: Values of fields that have no default of their own, for a new session.
            name: Under which the version is kept (the class's name).
            version: Raise it with each change that old data do not fit.
            upgrade: Called with old data and their version, returns them as of today.
            on_mismatch: What data do that do not fit: "raise" (default), or "reset" to begin with
                the defaults; what is stored then stays until something is written.

        Raises:
            SessionConfigError: The class is none of these, or a field has no default, or a default
                no field.
        """
        self._fields = _fields_of(model)
        self._model, self._session_name = model, session_name
        self._defaults = dict(defaults or {})
        unknown = sorted(set(self._defaults).difference(self._fields))
        if unknown:
            raise SessionConfigError(f"defaults= has what is no field of the class: {unknown}")
        self._name = f"typed.{name or model.__name__}"
        self._version, self._upgrade, self._on_mismatch = version, upgrade, on_mismatch
        if on_mismatch not in ("raise", "reset"):
            raise SessionConfigError("on_mismatch must be 'raise' or 'reset'")
        if version < 1 or (version > 1) != (upgrade is not None):
            raise SessionConfigError("version counts from 1, and more than 1 needs upgrade=")
        try:
            self._made_of({})
        except (msgspec.ValidationError, NameError, TypeError) as error:
            raise SessionConfigError(
                f"a new session is no {model.__name__}: {error}; give each field a default, or "
                "defaults="
            ) from error

    @asynccontextmanager
    async def __call__(self, request: Request) -> AsyncIterator[T]:
        """Lock the session, and give its data as an object; save what changed at a clean exit.

        Args:
            request: The request.

        Raises:
            SessionShapeMismatch: What is stored does not fit, or what the block has made of it.
            SessionConfigError: A block of this view is open already: pass its object on.
            SessionError: As `async with request.ctx.session` does.
        """
        session = session_of(request, self._session_name)
        mark = f"_sanic_cookies_{session.name}_{self._name}"
        async with session.of(request) as sess:
            if getattr(request.ctx, mark, False):
                raise SessionConfigError("this view is open: pass its object on", served=True)
            setattr(request.ctx, mark, True)
            try:
                loaded = self._load(_data_of(session, sess), await sess.kept(self._name))
                before = _plain(loaded.model)
                yield loaded.model
                if _put(sess, loaded.stored, self._merged(loaded, before)) and self._version > 1:
                    sess.keep(self._name, self._version)
            finally:
                setattr(request.ctx, mark, False)

    async def peek(self, request: Request) -> T:
        """Return the data as an object to look at: no lock, one read, nothing is saved.

        Args:
            request: The request.

        Raises:
            SessionShapeMismatch: What is stored does not fit.
            SessionStoreError: The store failed or did not answer in time.
        """
        session = session_of(request, self._session_name)
        sess = session.of(request)
        data = _data_of(session, await sess.peek())
        return self._load(data, await sess.kept(self._name)).model

    def _load(self, stored: Data, kept: object) -> _Loaded[T]:
        version = kept if isinstance(kept, int) else 1
        try:
            if version > self._version:
                raise SessionShapeMismatch(f"version {version} is of a newer release")
            base = copy.deepcopy(stored)
            if base and version < self._version and self._upgrade is not None:
                base = self._upgraded(self._upgrade(base, version))
            return _Loaded(stored, base, self._made_of(base))
        except (msgspec.ValidationError, SessionShapeMismatch) as error:
            mismatch = SessionShapeMismatch(f"no {self._model.__name__}: {_told(error)}")
            if self._on_mismatch == "raise":
                raise mismatch from None
            logger.warning("a session is %s; it begins anew", mismatch.detail)
            rest = {key: value for key, value in stored.items() if key not in self._fields}
            return _Loaded(stored, rest, self._made_of({}), fits=False)

    def _upgraded(self, data: object) -> Data:
        if not isinstance(data, Mapping):
            kind = type(data).__name__
            wanted = f"upgrade= of {self._name!r} must return the data, not {kind}"
            raise SessionConfigError(wanted, served=True)
        return dict(data)

    def _made_of(self, data: Data) -> T:
        mine = {key: data[key] for key in self._fields if key in data}
        # Copied: no two sessions may share a default.
        return msgspec.convert(
            {**copy.deepcopy(self._defaults), **mine}, self._model, str_keys=True
        )

    def _merged(self, loaded: _Loaded[T], before: Data) -> Data:
        """Return what is to be stored; a field that is as it was keeps what was stored for it."""
        try:
            after = _plain(loaded.model)
            self._made_of(after)
        except (TypeError, ValueError, msgspec.ValidationError) as error:
            detail = f"the block left no {self._model.__name__}: {_told(error)}"
            raise SessionShapeMismatch(detail) from None
        if not loaded.fits and _same(before, after):
            return loaded.stored
        final = {key: value for key, value in loaded.base.items() if key not in self._fields}
        for key in self._fields:
            was, now = before.get(key, _ABSENT), after.get(key, _ABSENT)
            value = loaded.base.get(key, _ABSENT) if _same(was, now) else now
            if value is not _ABSENT:
                final[key] = value
        return final


def _fields_of(model: Any) -> list[str]:
    if isinstance(model, type) and issubclass(model, msgspec.Struct):
        return [each.encode_name for each in struct_fields(model)]
    if isinstance(model, type) and dataclasses.is_dataclass(model):
        return [each.name for each in dataclasses.fields(model)]
    keys = getattr(model, "__required_keys__", None)
    if keys is None:
        raise SessionConfigError("Typed() takes a dataclass, a TypedDict or a msgspec.Struct")
    return sorted(keys | model.__optional_keys__)


def _told(error: Exception) -> str:
    """Return what does not fit, and where; never the value, which some errors quote."""
    if isinstance(error, SessionShapeMismatch):
        return error.detail
    what, _, where = str(error).rpartition(" - at ")
    if not where.startswith("`$"):
        what, where = str(error), "the data"
    return f"{what if what.startswith(_QUOTES_NONE) else 'a value that may not be'}, at {where}"


def _data_of(session: Session, sess: Mapping[str, Any]) -> Data:
    """Return the user's data; who is logged in is nobody's field."""
    auth_key = session.settings.auth_key
    return {key: value for key, value in sess.items() if key != auth_key}


def _plain(model: object) -> Data:
    return cast(Data, msgspec.to_builtins(model, str_keys=True))


def _same(a: object, b: object) -> bool:
    """Say whether two values are the same in JSON, where 1, 1.0 and true are three."""
    if a is _ABSENT or b is _ABSENT:
        return a is b
    return msgspec.json.encode(a) == msgspec.json.encode(b)


def _put(sess: Any, stored: Data, final: Data) -> bool:
    """Bring the session up to `final`; say whether anything changed."""
    gone = [key for key in stored if key not in final]
    new = {key: value for key, value in final.items() if not _same(value, stored.get(key, _ABSENT))}
    for key in gone:
        sess.pop(key, None)
    sess.update(new)
    return bool(gone or new)
