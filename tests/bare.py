"""Sessions without a server: a real Sanic request, made by hand, for tests that count awaits."""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.compat import Header
from sanic.request import Request

from harness import be_patient, make_app
from sanic_cookies import Session, SessionDict
from sanic_cookies.exchange import Exchange
from sanic_cookies.interfaces.base import Interface


def bare_session(interface: Interface, **options: Any) -> Session:
    """Return a session on an app that is never served, with patience for its stores."""
    session = Session(make_app(), interface, **options)
    if "store_timeout" not in options:
        be_patient(session)
    return session


def request_with(session: Session, cookie: str | None) -> SessionDict:
    """Return the session of a new request that carries `cookie`."""
    app: Sanic[Any, Any] = session._app  # type: ignore[assignment]
    lines = ["GET / HTTP/1.1", "host: localhost"]
    headers = {"host": "localhost"}
    if cookie is not None:
        lines.append(f"cookie: session={cookie}")
        headers["cookie"] = f"session={cookie}"
    head = "\r\n".join(lines).encode()
    request = Request(b"/", Header(headers), "1.1", "GET", None, app, head)  # type: ignore[arg-type]
    return session.make(Exchange(request))


async def begin(session: Session, **data: Any) -> str:
    """Store a new session and return its cookie."""
    sess = request_with(session, None)
    async with sess:
        sess.update(data)
    value = value_of(sess)
    assert value is not None
    return value


def value_of(sess: SessionDict) -> str | None:
    """Return what the session's cookie carries by now; None if that is no token."""
    credential = sess._credential
    return None if credential is None else credential.value or None
