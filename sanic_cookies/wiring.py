"""How the sessions of one app hang on Sanic: one pair of middlewares and one of listeners for all.

Our response middleware runs before any other, so that nobody who raises or answers can skip it; a
response that another one puts in place of the handler's is given the cookies too (`_carried`).
Sanic swallows what a response middleware raises, so failures become their own response here.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Protocol, cast

from sanic import Sanic
from sanic.request import Request
from sanic.response import BaseHTTPResponse

from .exchange import Exchange
from .session_dict import SessionDict
from .settings import Settings

logger = logging.getLogger("sanic_cookies")

# First with the request, first with the response (lowest priority runs first there).
PRIORITY = sys.maxsize  # whatever the others choose
DRAIN_SECONDS = 5.0
APP_ATTRIBUTE = "_sanic_cookies"
_CARRIED = "_sanic_cookies_carried"

Responder = Callable[[Request, Any], Any]
Check = Callable[[Request], Awaitable[Any]]


class Attached(Protocol):
    """A `Session`, as far as this module knows it."""

    settings: Settings
    checks: list[Check]
    serving: bool

    @property
    def name(self) -> str:
        """The attribute on `request.ctx`."""

    @property
    def interfaces(self) -> tuple[Any, ...]:
        """Master and others."""

    @property
    def is_shared(self) -> bool:
        """Whether processes see each other's sessions."""

    def start(self) -> None:
        """Make the parts anew for this event loop."""

    def warnings(self) -> list[str]:
        """Return what the operator should know about the set-up."""

    def make(self, exchange: Exchange) -> SessionDict:
        """Return the session of one request."""

    async def drain(self, timeout: float) -> None:
        """Wait for commits that are under way."""


class Wiring:
    """All sessions of one app."""

    def __init__(self, app: Sanic[Any, Any]) -> None:
        """Register listeners and middlewares; done once an app."""
        self.app = app
        self.sessions: list[Attached] = []
        app.register_middleware(cast(Any, self.attach), "request", priority=PRIORITY)
        app.register_middleware(self.flush, "response", priority=-PRIORITY)
        app.register_listener(self._warn_of_workers, "main_process_start")
        app.register_listener(self._open, "before_server_start", priority=PRIORITY)
        app.register_listener(self._close, "after_server_stop", priority=PRIORITY)

    @classmethod
    def of(cls, app: Sanic[Any, Any]) -> Wiring:
        """Return the wiring of `app`; made on first use."""
        wiring = getattr(app.ctx, APP_ATTRIBUTE, None)
        if wiring is None:
            wiring = cls(app)
            setattr(app.ctx, APP_ATTRIBUTE, wiring)
        return wiring

    def attach(self, request: Request) -> Awaitable[Any] | None:
        """Hand each session to the request; read those that are to be read before the handler.

        Then the checks of the sessions have their say: what they raise or return is the answer,
        before the handler and before a websocket's handshake.
        """
        self.adopt(request)
        wanted: list[SessionDict] = []
        if may_preload(request):
            wanted = [
                getattr(request.ctx, session.name)
                for session in self.sessions
                if session.settings.preload
            ]
        checks = [check for session in self.sessions for check in session.checks]
        return _prepare(request, wanted, checks) if wanted or checks else None

    def adopt(self, request: Request) -> None:
        """Hand each session to the request, once: Sanic runs middleware twice in some errors."""
        if getattr(request.ctx, self.sessions[0].name, None) is not None:
            return
        exchange = Exchange(request)
        for session in self.sessions:
            setattr(request.ctx, session.name, session.make(exchange))

    async def flush(self, request: Request, response: Any) -> Any:
        """Save what was changed without the lock, then write cookies and cache headers."""
        sessions = [getattr(request.ctx, session.name, None) for session in self.sessions]
        first = sessions[0]
        if first is None or not hasattr(response, "headers"):
            return None
        failure: Exception | None = None
        for sess in sessions:
            if sess is not None:
                try:
                    await sess.close(response.status)
                except Exception as error:  # noqa: BLE001 - it becomes the response, see _answer
                    failure = failure or error
        replacement = None if failure is None else await self._answer(request, failure)
        exchange: Exchange = first.exchange
        exchange.write_to(response if replacement is None else replacement)
        exchange.begun = True
        return replacement

    async def _answer(self, request: Request, error: Exception) -> Any:
        """Return the response that raising `error` in the handler would have given."""
        handler: Any = self.app.error_handler
        try:
            response = handler.response(request, error)
            return await response if isawaitable(response) else response
        except Exception:  # the application's own handler failed; Sanic would swallow that too
            logger.exception("an exception handler failed on %s", type(error).__name__)
            return handler.default(request, error)

    async def _warn_of_workers(self, app: Sanic[Any, Any]) -> None:
        if app.state.workers < 2:
            return
        for session in self.sessions:
            if not session.is_shared:
                logger.warning(
                    "%s: %s is per process, so %d workers each see sessions of their own: use "
                    "Redis or AsyncPG as master_interface",
                    session.name,
                    type(session.interfaces[0]).__name__,
                    app.state.workers,
                )

    async def _open(self, app: Sanic[Any, Any]) -> None:
        for session in self.sessions:
            session.start()
            session.serving = True
            for text in session.warnings():
                logger.warning("%s: %s", session.name, text)
        for interface in self._interfaces():
            await interface.open()
        self._carry_cookies()

    async def _close(self, app: Sanic[Any, Any]) -> None:
        await asyncio.gather(*(session.drain(DRAIN_SECONDS) for session in self.sessions))
        for session in self.sessions:
            session.serving = False
        for interface in self._interfaces():
            await interface.close()

    def _interfaces(self) -> list[Any]:
        """Return each interface once, however many sessions share it."""
        unique = {id(each): each for session in self.sessions for each in session.interfaces}
        return list(unique.values())

    def _carry_cookies(self) -> None:
        """Have every other response middleware pass the cookies on to what it returns.

        A middleware that returns a response ends the chain, and headers set before are lost with
        the old one. The signal that comes after the chain would cost each request 5 to 13
        microseconds, this costs nothing where there is no such middleware.
        """
        chains = [self.app.response_middleware]
        chains += [route.extra.response_middleware for route in self.app.router.routes]
        for chain in chains:
            for middleware in chain or ():
                func: Any = middleware.func
                if func != self.flush and not hasattr(func, _CARRIED):
                    middleware.func = self._carried(func)

    def _carried(self, func: Responder) -> Responder:
        async def carried(request: Request, response: Any) -> Any:
            replacement = func(request, response)
            if isawaitable(replacement):
                replacement = await replacement
            first = getattr(request.ctx, self.sessions[0].name, None)
            target = replacement if isinstance(replacement, BaseHTTPResponse) else response
            if first is not None and first.exchange.begun and hasattr(target, "headers"):
                # Cookies for a new response; and for any, the cache headers that go with them.
                first.exchange.write_to(target)
            return replacement

        setattr(carried, _CARRIED, True)
        carried.__name__ = getattr(func, "__name__", "carried")
        return carried


async def _prepare(request: Request, wanted: list[SessionDict], checks: list[Check]) -> Any:
    for sess in wanted:
        await sess.preload()
    for check in checks:
        answer = await check(request)
        if answer is not None:
            return answer
    return None


def may_preload(request: Request) -> bool:
    """Say whether sessions may be read before the handler: not for what never asks for them."""
    route = request.route
    if request.method == "OPTIONS":
        return False
    if route is None:
        return True
    return not route.extra.static and getattr(route.ctx, "session_preload", True)
