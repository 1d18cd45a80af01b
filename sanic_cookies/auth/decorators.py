"""`login_required` and its kin: handlers that only somebody who is logged in reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanic.request import Request

from ..errors import SessionConfigError
from ..options import Seconds
from .guards import FRESH, Check, NoAuthHandler, Rule, fresh_guard, guard
from .session import AuthSession


def login_required(
    no_auth_handler: NoAuthHandler | None = None,
    session_name: str = "auth_session",
    *,
    check: Check | None = None,
    fresh: Seconds | None = None,
    redirect_to: str | None = None,
) -> Callable[..., Any]:
    """Guard a handler by the `AuthSession` of the app that serves it.

    Works on sync and async functions, methods of class-based views and websocket handlers, with
    and without parentheses; for a whole view class put it into `decorators=[login_required()]`.
    It stands below the route's decorator, which registers what it is given. `OPTIONS` passes. A
    websocket is refused before its handshake, with the HTTP status.

    Args:
        no_auth_handler: Called instead of the handler, with its arguments, when nobody is logged
            in; sync or async; by default the session's own, or `LoginRequired` is raised (401).
        session_name: Name of the `AuthSession`.
        check: Called with the user, sync or async; only True lets in, else `AccessDenied` is
            raised (403).
        fresh: Seconds since the last login or `confirm_login`; for a login that is older,
            browsers are sent to the login page, others get `FreshLoginRequired` (401).
        redirect_to: Path of the login page of this handler, instead of the session's `login_url`.

    Raises:
        SessionConfigError: A class is decorated, or something that cannot be called.

    Examples:
        >>> @app.get("/account")       # doctest: +SKIP
        ... @login_required()
        ... async def account(request): ...
    """
    return guard(Rule(no_auth_handler, redirect_to, check, fresh), _finder(session_name))


def fresh_login_required(
    within: Seconds | Callable[..., Any] = FRESH,
    session_name: str = "auth_session",
    *,
    check: Check | None = None,
    redirect_to: str | None = None,
) -> Callable[..., Any]:
    """Guard a handler that asks for a recent proof of who it is (OWASP ASVS 5.0, 7.5.1 and 7.5.3).

    Works wherever `login_required` does; without parentheses it asks for 15 minutes.

    Args:
        within: Seconds since the last login or `confirm_login`.
        session_name: Name of the `AuthSession`.
        check: As for `login_required`.
        redirect_to: As for `login_required`.

    Raises:
        SessionConfigError: A class is decorated, or `within` is not more than 0 seconds.

    Examples:
        >>> @app.post("/password")     # doctest: +SKIP
        ... @fresh_login_required(within=300)
        ... async def change_password(request): ...
    """
    return fresh_guard(within, check, redirect_to, _finder(session_name))


def _finder(session_name: str) -> Callable[[Request], AuthSession]:
    def find(request: Request) -> AuthSession:
        auth = getattr(request.app.ctx, session_name, None)
        if not isinstance(auth, AuthSession):
            raise SessionConfigError(
                f"app.ctx.{session_name} is no AuthSession: attach one of this name to the app, or "
                "give the guard the session_name of another",
                served=True,
            )
        return auth

    return find
