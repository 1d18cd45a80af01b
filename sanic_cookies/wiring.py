"""How the sessions of one app hang on Sanic: by its request class, and one pair of listeners.

What a request gets, and what its response goes through, stands in `request_class`. Only what has
to happen before the handler (preloading, guards) is a middleware, and only where there is any.
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

from .exchange import Exchange, is_rewritten
from .request_class import with_sessions
from .session_dict import SessionDict
from .settings import Settings

logger = logging.getLogger("sanic_cookies")

PRIORITY = sys.maxsize  # first with the request, whatever the others choose
DRAIN_SECONDS = 5.0

Check = Callable[[Request], Awaitable[Any]]


class Attached(Protocol):
    """A `Session`, as far as this module knows it."""

    settings: Settings
    checks: list[Check]
    handshake_checks: list[Check]
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
        """Replace the app's request class and register listeners; done once an app."""
        self.app = app
        self.sessions: list[Attached] = []
        self.saves_untouched = False
        self._before_handlers = False
        self._is_rewritten: bool | None = None
        self._plain_class: type[Request] = app.request_class
        app.request_class = with_sessions(app.request_class, self)
        app.register_listener(self._warn_of_workers, "main_process_start")
        app.register_listener(self._open, "before_server_start", priority=PRIORITY)
        app.register_listener(self._open_late, "after_server_start", priority=PRIORITY)
        app.register_listener(self._close, "after_server_stop", priority=PRIORITY)

    @classmethod
    def of(cls, app: Sanic[Any, Any]) -> Wiring:
        """Return the wiring of `app`, which its request class knows; made on first use."""
        wiring: Wiring | None = getattr(app.request_class, "_sessions", None)
        return cls(app) if wiring is None or wiring.app is not app else wiring

    def blank_context(self) -> Any:
        """Return a request's context as it is without sessions."""
        return self._plain_class.make_context()

    def add(self, session: Attached) -> None:
        """Hand `session` to each request from now on."""
        self.sessions.append(session)
        self.saves_untouched |= session.settings.save_every_request
        if session.settings.preload or session.checks or session.handshake_checks:
            self.act_before_handlers()

    def act_before_handlers(self) -> None:
        """Look at each request before its handler; some session wants to read or to check it."""
        if not self._before_handlers:
            self._before_handlers = True
            self.app.register_middleware(
                cast(Any, self.before_handler), "request", priority=PRIORITY
            )

    def before_handler(self, request: Request) -> Awaitable[Any] | None:
        """Read the sessions that are to be read before the handler, then let the checks speak.

        What a check raises or returns is the answer, before the handler and before a websocket's
        handshake.
        """
        wanted: list[SessionDict] = []
        if may_preload(request):
            wanted = [
                sess
                for session in self.sessions
                if session.settings.preload
                and (sess := getattr(request.ctx, session.name)).presented is not None
            ]
        checks = [check for session in self.sessions for check in session.checks]
        route = request.route
        if route is not None and route.extra.websocket:
            checks += [check for session in self.sessions for check in session.handshake_checks]
        return _prepare(request, wanted, checks) if wanted or checks else None

    def adopt(self, request: Request, ctx: Any) -> Exchange:
        """Put the sessions onto the context of a request; nothing is parsed or read."""
        if self._is_rewritten is None:  # with the first request: a listener may yet change settings
            self._is_rewritten = is_rewritten(self.app)
        exchange = Exchange(request, self._is_rewritten)
        exchange.unsettled = self.saves_untouched
        for session in self.sessions:
            setattr(ctx, session.settings.name, session.make(exchange))
        return exchange

    def unsaved(self, ctx: Any) -> list[SessionDict]:
        """Return the sessions of a request that have something to do before its response goes."""
        unsaved = []
        for session in self.sessions:
            sess = getattr(ctx, session.settings.name, None)
            if isinstance(sess, SessionDict) and sess.needs_closing:
                unsaved.append(sess)
        return unsaved

    async def flush(self, request: Request, unsaved: list[SessionDict], response: Any) -> Any:
        """Save what was changed without the lock; return the response to send.

        Sanic swallows what is raised here, so a failure becomes the answer that raising it in the
        handler would have given.
        """
        failure = await _close(unsaved, response.status)
        if failure is None:
            return response
        response = await self._answer(request, failure)
        # An exception handler may have written in turn. If that fails, too, Sanic's own answers.
        late = self.unsaved(request.ctx)
        failure = await _close(late, response.status) if late else None
        return response if failure is None else self.app.error_handler.default(request, failure)

    async def _answer(self, request: Request, error: Exception) -> Any:
        """Return the response that raising `error` in the handler would have given."""
        try:
            raise error  # Sanic's log tells of the exception that is being handled
        except Exception:  # noqa: BLE001 - it becomes the response
            return await self._handle(request, error)

    async def _handle(self, request: Request, error: Exception) -> Any:
        handler: Any = self.app.error_handler
        try:
            await self._report(request, error)
            response = handler.response(request, error)
            response = await response if isawaitable(response) else response
        except Exception:  # the application's own handler failed; Sanic would swallow that too
            logger.exception("an exception handler failed on %s", type(error).__name__)
            response = None
        # Of nothing Sanic would make an empty answer that says 200.
        return handler.default(request, error) if response is None else response

    async def _report(self, request: Request, error: Exception) -> None:
        """Tell whom Sanic tells of each exception that it handles."""
        told = {"exception": error}
        await self.app.dispatch("server.exception.report", context=told, fail_not_found=False)
        await self.app.dispatch(
            "http.lifecycle.exception",
            context={"request": request, **told},
            inline=True,
            fail_not_found=False,
        )

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
        self._is_rewritten = None
        for session in self.sessions:
            session.start()
            session.serving = False
        await self._serve(self.sessions)

    async def _open_late(self, app: Sanic[Any, Any]) -> None:
        """Open what a listener of the app has attached as it started: a pool needs a loop, say."""
        await self._serve([session for session in self.sessions if not session.serving])

    async def _serve(self, sessions: list[Attached]) -> None:
        serving = [session for session in self.sessions if session.serving]
        for session in sessions:
            session.serving = True
            for text in session.warnings():
                logger.warning("%s: %s", session.name, text)
        is_open = _interfaces(serving)
        for each, interface in _interfaces(sessions).items():
            if each not in is_open:
                await interface.open()

    async def _close(self, app: Sanic[Any, Any]) -> None:
        await asyncio.gather(*(session.drain(DRAIN_SECONDS) for session in self.sessions))
        for session in self.sessions:
            session.serving = False
        for interface in _interfaces(self.sessions).values():
            try:
                await interface.close()
            except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
                kind = type(interface).__name__
                logger.error("closing %s failed: %s", kind, type(error).__name__)


def _interfaces(sessions: list[Attached]) -> dict[int, Any]:
    """Return each interface once, however many sessions share it."""
    return {id(each): each for session in sessions for each in session.interfaces}


async def _close(unsaved: list[SessionDict], status: int) -> Exception | None:
    """Save what was changed without the lock; return the first failure."""
    failure: Exception | None = None
    for sess in unsaved:
        try:
            await sess.close(status)
        except Exception as error:  # noqa: BLE001 - it becomes the response
            failure = failure or error
    return failure


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
