"""Websockets that do not outlive their session.

A handshake proves who it is, and then the socket lives for hours: a logout, a revoked session or a
password change in between does not reach it by itself (OWASP ASVS 5.0, 7.4.1: no further use after
termination). The watcher looks at the record now and then, and at once when there is news.

Close codes (RFC 6455, section 7.4): 1008, "policy violation", is what the standard has for a
socket that may not go on, and for not saying why; 4000 to 4999 need an agreement with the page,
which the application may make by `code=`. 1011 is "unexpected condition": no store that answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from sanic.exceptions import WebsocketClosed
from sanic.request import Request

from .errors import SessionConfigError, SessionStoreError
from .options import Seconds
from .session import Session, session_of
from .wiring import Wiring

logger = logging.getLogger("sanic_cookies")

ENDED, ENDED_TEXT = 1008, "session ended"
FAILED, FAILED_TEXT = 1011, "session unavailable"
FAILURES = 3  # looks in a row that may fail
_CLOSE_SECONDS = 1.0  # for the close frame, if the client does not read
_MARGIN = 0.02  # the store's clock says when a session is over, not ours


@asynccontextmanager
async def watch(
    request: Request,
    ws: Any,
    *,
    every: Seconds = 5.0,
    code: int = ENDED,
    session_name: str | None = None,
) -> AsyncIterator[None]:
    """Run the block while the session that the handshake came with is alive, and no longer.

    When it was logged out, revoked, expired, or its token was replaced (a login elsewhere, a
    periodic renewal: the page connects again with the cookie it has by now), or when its user is
    gone or has another stamp (`user_loader` and `session_stamp` are asked at each look), the
    socket is closed and the block cancelled: a client that ignores the close is not served either.
    What ends a session in this process is seen at once, and in others, too, where the store tells
    of it (Redis, and Postgres by a URL without a pooler between); whatever else, at the next look.
    Looks are no use of the session and do not prolong it. Without one the block is not entered.

    A look that fails, or lasts longer than five seconds, changes nothing yet; after three in a row
    the socket is closed with 1011.

    Args:
        request: The handshake.
        ws: The socket, which the handler was given.
        every: Seconds between two looks at the store.
        code: The close code.
        session_name: Which session; None for the app's first with logins or, where there are none,
            its first.

    Raises:
        CancelledError: The session has ended (`WebsocketClosed` under an ASGI server); let it pass.
        SessionConfigError: There is no such session, or `every` is not a time.

    Examples:
        >>> @app.websocket("/feed")                        # doctest: +SKIP
        ... async def feed(request, ws):
        ...     async with watch(request, ws):
        ...         async for message in ws: ...
    """
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    if not seconds > 0:
        raise SessionConfigError("every must be more than 0 seconds", served=True)
    session, owner = _session_of(request, session_name), asyncio.current_task()
    alive, closed = asyncio.Event(), False

    async def guard() -> None:
        nonlocal closed
        try:
            why, text = await _end_of(session, request, seconds, code, alive)
        except Exception:
            # An unwatched socket must neither go on nor wait for a first look that never comes.
            logger.exception("%s: a socket cannot be watched", session.name)
            why, text = FAILED, FAILED_TEXT
        closed = True
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await _close(ws, why, text)
        if owner is not None:
            owner.cancel()

    task = asyncio.create_task(guard())
    try:
        await alive.wait()
        yield
    except asyncio.CancelledError:
        if not closed or owner is None or not request.app.asgi:
            raise
        # There Sanic (25.12) fails on a cancelled handler.
        owner.uncancel()
        raise WebsocketClosed("The session has ended.") from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _session_of(request: Request, session_name: str | None) -> Session:
    """Return the session to watch: a socket that was opened by a login must end with it."""
    if session_name is None:
        for session in Wiring.of(request.app).sessions:
            if isinstance(session, Session) and session.settings.auth_key is not None:
                return session
    return session_of(request, session_name)


async def _end_of(
    session: Session, request: Request, every: float, code: int, alive: asyncio.Event
) -> tuple[int, str]:
    """Return how to close the socket, when it is time to."""
    sid = session.of(request).presented
    if sid is None:
        return code, ENDED_TEXT
    failures, runtime = 0, session.runtime
    with runtime.hub.listening(sid) as news:
        runtime.store.listen(session.name, runtime.hub.hear)
        while failures < FAILURES:
            news.clear()
            pause = every
            try:
                # The store's calls have deadlines of their own; a `user_loader` has none.
                async with asyncio.timeout(session.settings.request_timeout):
                    left = await session.look(request)
            except (SessionStoreError, TimeoutError):
                failures += 1
            except Exception:
                # A watcher that has died must not leave its socket unwatched.
                logger.exception("%s: a look at the session of a socket failed", session.name)
                failures += 1
            else:
                if left is None:
                    return code, ENDED_TEXT
                failures, pause = 0, min(every, left + _MARGIN)
                alive.set()
            if failures < FAILURES:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await news.wait()
    return FAILED, FAILED_TEXT


async def _close(ws: Any, code: int, reason: str) -> None:
    # Under ASGI Sanic's own close() does nothing (25.12).
    send = getattr(ws, "_send", None)
    if send is None:
        await ws.close(code, reason)
    else:
        await send({"type": "websocket.close", "code": code, "reason": reason})
