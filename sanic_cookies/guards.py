"""Guards: what stands before a handler that not everybody may reach."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import isawaitable, isclass, signature
from typing import Any, Protocol

from sanic.request import Request

from .errors import LoginRequired, SessionConfigError

NoAuthHandler = Callable[..., Any]
Guarded = Callable[..., Coroutine[Any, Any, Any]]

# A browser asks with OPTIONS before it may send credentials. HEAD runs the GET handler: guarded.
_EXEMPT = frozenset({"OPTIONS"})


class Gate(Protocol):
    """What a guard asks."""

    no_auth_handler: NoAuthHandler | None

    async def current_user(self, request: Request | None = None) -> Any:
        """Return who is logged in, or None."""

    def denied(self, request: Request) -> None:
        """Take note of a request that was turned away."""


def guard(
    no_auth_handler: Callable[..., Any] | None, find: Callable[[Request], Gate]
) -> Callable[..., Any]:
    """Return the decorator; used without parentheses, what it returns is the guarded handler.

    `@login_required` hands the handler over as `no_auth_handler`. The two cannot be told apart
    here, but when called: a decorator is given a handler, a handler is given a request.

    Raises:
        SessionConfigError: A class is decorated, or something that cannot be called.
    """
    if no_auth_handler is not None:
        _require_handler(no_auth_handler)

    def decorate(*args: Any, **kwargs: Any) -> Any:
        if no_auth_handler is not None and _request_in(args) is not None:
            return _guarded(no_auth_handler, None, find)(*args, **kwargs)
        if len(args) != 1 or kwargs:
            raise SessionConfigError("login_required was given neither a handler nor a request")
        _require_handler(args[0])
        return _guarded(args[0], no_auth_handler, find)

    return decorate if no_auth_handler is None else wraps(no_auth_handler)(decorate)


def _require_handler(handler: object) -> None:
    if not callable(handler) or isclass(handler):
        raise SessionConfigError(
            "login_required guards functions and methods; for a view class use "
            "decorators=[login_required()]"
        )


def _guarded(
    handler: Callable[..., Any],
    no_auth_handler: Callable[..., Any] | None,
    find: Callable[[Request], Gate],
) -> Guarded:
    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        request = _request_in(args)
        if request is None:
            raise SessionConfigError("a guarded handler was called without a request", served=True)
        if request.method not in _EXEMPT:
            auth = find(request)
            if await auth.current_user(request) is None:
                auth.denied(request)
                denied = no_auth_handler or auth.no_auth_handler
                return await _turn_away(denied, request, args, kwargs)
        result = handler(*args, **kwargs)
        return await result if isawaitable(result) else result

    return guarded


async def _turn_away(
    handler: Callable[..., Any] | None,
    request: Request,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    if handler is None:
        raise LoginRequired
    rest = args[1 if args[0] is request else 2 :]
    try:
        signature(handler).bind(request, *rest, **kwargs)
    except (TypeError, ValueError):
        rest, kwargs = (), {}  # it takes the request and nothing else
    result = handler(request, *rest, **kwargs)
    return await result if isawaitable(result) else result


def _request_in(args: tuple[Any, ...]) -> Request | None:
    """Return the request: first argument of a function, second of a method."""
    for candidate in args[:2]:
        if isinstance(candidate, Request):
            return candidate
    return None
