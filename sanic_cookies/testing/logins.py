"""Logging in without a login page, for tests of what lies behind it."""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.compat import Header
from sanic.request import Request
from sanic.response import HTTPResponse

from ..auth.session import AuthSession
from ..errors import SessionConfigError
from ..exchange import Exchange
from ..wiring import Wiring


async def login_as(
    app: Sanic[Any, Any],
    user: Any,
    *,
    session_name: str | None = None,
    host: str = "127.0.0.1",
    **options: Any,
) -> list[str]:
    """Log a user in, without a request, and return the Set-Cookie lines that a browser would get.

    Call it in the loop that serves the app: a `Browser`'s `login_as` does all of it.

    Args:
        app: An app with an `AuthSession`.
        user: As for `AuthSession.login_user`.
        session_name: Name of the `AuthSession`; None for the first.
        host: Which host the browser is to talk to: cookies for another than this machine are
            `Secure` and named `__Host-...`.
        options: For `AuthSession.login_user`: `duration`, `remember_me`.

    Raises:
        SessionConfigError: The app has no such `AuthSession`.
    """
    auth = _auth_of(app, session_name)
    head = f"GET / HTTP/1.1\r\nhost: {host}".encode()
    request = Request(b"/", Header({"host": host}), "1.1", "GET", None, app, head)  # type: ignore[arg-type]
    request.conn_info = None
    setattr(request.ctx, auth.name, auth.make(Exchange(request)))
    await auth.login_user(request, user, **options)
    response = HTTPResponse()
    auth.of(request).exchange.write_to(response)
    return [str(line) for line in response.headers.getall("set-cookie", ())]


def _auth_of(app: Sanic[Any, Any], name: str | None) -> AuthSession:
    for session in Wiring.of(app).sessions:
        if isinstance(session, AuthSession) and name in (None, session.name):
            return session
    raise SessionConfigError(f"the app has no AuthSession {name or ''!r}".rstrip())
