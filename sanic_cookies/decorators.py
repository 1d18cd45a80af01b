"""`login_required`: handlers that only somebody who is logged in reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanic.request import Request

from .auth import AuthSession
from .errors import SessionConfigError
from .guards import NoAuthHandler, guard


def login_required(
    no_auth_handler: NoAuthHandler | None = None, session_name: str = "auth_session"
) -> Callable[..., Any]:
    """Guard a handler by the `AuthSession` of the app that serves it.

    Works on sync and async functions, methods of class-based views and websocket handlers, with
    and without parentheses; for a whole view class put it into `decorators=[login_required()]`.
    It stands below the route's decorator, which registers what it is given. `OPTIONS` passes.

    Args:
        no_auth_handler: Called instead of the handler, with its arguments, when nobody is logged
            in; sync or async; by default the session's own, or `LoginRequired` is raised (401).
        session_name: Name of the `AuthSession`.

    Raises:
        SessionConfigError: A class is decorated, or something that cannot be called.

    Examples:
        >>> @app.get("/account")       # doctest: +SKIP
        ... @login_required()
        ... async def account(request): ...
    """

    def find(request: Request) -> AuthSession:
        auth = getattr(request.app.ctx, session_name, None)
        if not isinstance(auth, AuthSession):
            raise SessionConfigError(f"app.ctx.{session_name} is no AuthSession", served=True)
        return auth

    return guard(no_auth_handler, find)
