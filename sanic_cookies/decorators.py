"""`login_required`: handlers that only somebody who is logged in reaches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import isawaitable, isclass, signature
from typing import TYPE_CHECKING, Any, TypeVar

from sanic.request import Request

from .errors import LoginRequired, SessionConfigError

if TYPE_CHECKING:
    from .auth import AuthSession

Handler = TypeVar("Handler", bound=Callable[..., Any])
NoAuthHandler = Callable[..., Any]
Guarded = Callable[..., Coroutine[Any, Any, Any]]

# A browser asks with OPTIONS before it may send credentials. HEAD runs the GET handler: guarded.
_EXEMPT = frozenset({"OPTIONS"})


def login_required(
    no_auth_handler: NoAuthHandler | None = None, session_name: str = "auth_session"
) -> Callable[..., Any]:
    """Guard a handler by the `AuthSession` of the app that serves it.

    Works on sync and async functions and on methods of class-based views, with and without
    parentheses; for a whole view class put it into `decorators=[login_required()]`.

    Args:
        no_auth_handler: Called instead of the handler, with its arguments, when nobody is logged
            in; sync or async; by default the session's own, or `LoginRequired` is raised (401).
        session_name: Name of the `AuthSession`.

    Examples:
        >>> @app.get("/account")       # doctest: +SKIP
        ... @login_required()
        ... async def account(request): ...
    """

    def find(request: Request) -> AuthSession:
        auth = getattr(request.app.ctx, session_name, None)
        if auth is None or not hasattr(auth, "current_user"):
            raise SessionConfigError(f"login_required: app.ctx.{session_name} is no AuthSession")
        found: AuthSession = auth
        return found

    return guard(no_auth_handler, find)


def guard(
    no_auth_handler: Callable[..., Any] | None, find: Callable[[Request], AuthSession]
) -> Callable[..., Any]:
    """Return the decorator; used without parentheses, what it returns is the guarded handler.

    `@login_required` hands the handler over as `no_auth_handler`. The two cannot be told apart
    here, but when called: a decorator is given a handler, a handler is given a request.
    """

    def decorate(*args: Any, **kwargs: Any) -> Any:
        if no_auth_handler is not None and _request_in(args) is not None:
            return _guarded(no_auth_handler, None, find)(*args, **kwargs)
        if len(args) != 1 or kwargs or not callable(args[0]) or isclass(args[0]):
            raise SessionConfigError(
                "login_required guards functions and methods; for a view class use "
                "decorators=[login_required()]"
            )
        return _guarded(args[0], no_auth_handler, find)

    return decorate if no_auth_handler is None else wraps(no_auth_handler)(decorate)


def _guarded(
    handler: Callable[..., Any],
    no_auth_handler: Callable[..., Any] | None,
    find: Callable[[Request], AuthSession],
) -> Guarded:
    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        request = _request_in(args)
        if request is None:
            raise SessionConfigError("login_required: the handler was called without a request")
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
    rest = args[args.index(request) + 1 :]
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
