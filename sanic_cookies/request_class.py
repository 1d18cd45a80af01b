"""What is added to an app's request class: sessions on its context, their cookies on its response.

`request.ctx` comes with the sessions. `respond()`, which each response goes through, saves what was
changed without the lock and writes the cookies. So a request that asks for nothing pays for
nothing: a pair of middlewares would cost it 5 to 10 microseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol, cast

from sanic.request import Request
from sanic.response import BaseHTTPResponse, HTTPResponse

from .exchange import Exchange, drop_ours


class Sessions(Protocol):
    """All sessions of an app, as far as its requests know them.

    Attributes:
        saves_untouched: Whether one is saved even if nobody has looked at it.
    """

    saves_untouched: bool

    def adopt(self, request: Request, ctx: Any) -> Exchange:
        """Put the sessions onto the context of a request; nothing is parsed or read."""

    def unsaved(self, ctx: Any) -> list[Any]:
        """Return the sessions of a request that have something to do before its response goes."""

    async def flush(self, request: Request, unsaved: list[Any], response: Any) -> Any:
        """Save what was changed without the lock; return the response to send."""


class _WithSessions(Request):
    """Stands before the app's own request class."""

    _sessions: ClassVar[Sessions]
    _exchange: Exchange | None = None
    _context: Any = None
    _respond_as_own: ClassVar[Callable[..., Awaitable[Any]]]

    def __init_subclass__(cls) -> None:
        """Find the app's own `respond()` once: by `super()` it would be sought by each request."""
        super().__init_subclass__()
        cls._respond_as_own = super().respond

    @property
    def ctx(self) -> Any:
        """The app's own context, with the sessions on it."""
        exchange = self._exchange
        if exchange is None:
            ctx = self._context = super().ctx
            exchange = self._exchange = self._sessions.adopt(self, ctx)
            exchange.begun |= self.responded
        elif exchange.route is None:
            exchange.meet(self)
        return self._context

    def respond(  # type: ignore[override] # a coroutine less where nobody has to be waited for
        self, response: Any = None, **options: Any
    ) -> Awaitable[Any]:
        """As the app's own `respond()`; the sessions are saved before it, and their cookies go."""
        route = self.route
        # What Sanic runs between here and the sending.
        others = (route and route.extra.response_middleware) or self.app.response_middleware
        exchange = self._exchange
        if exchange is None:
            if not others and not self._sessions.saves_untouched:
                if getattr(response, "headers", None):
                    drop_ours(response)  # a shared response has nobody else's on it
                if not options:  # spares the making of another dict
                    return self._respond_as_own(response)
                return self._respond_as_own(response, **options)
            self.ctx  # noqa: B018 - one of the others may be the first to look at a session
            exchange = cast("Exchange", self._exchange)
        if response is None:
            response = HTTPResponse(**options)
        has_headers = hasattr(response, "headers")
        unsaved: list[Any] = []
        if exchange.unsettled and has_headers:
            unsaved = self._sessions.unsaved(self._context)
        if unsaved or others:
            drop_ours(response)  # whatever becomes of this call
            return self._respond_after(exchange, response, unsaved, bool(others))
        if has_headers:
            exchange.begun = True
            exchange.write_to(response)
        return self._respond_as_own(response)

    async def _respond_after(
        self, exchange: Exchange, response: Any, unsaved: list[Any], others: bool
    ) -> Any:
        """Respond after sessions have been saved, and middlewares of the app have run."""
        if unsaved:
            response = await self._sessions.flush(self, unsaved, response)
        if hasattr(response, "headers"):
            # From here on Sanic may be sending: what other middlewares write is not saved.
            exchange.begun = True
            if others:
                # A cache or a log among them is to see whose page this is.
                exchange.write_to(response)
        response, stream = await self._respond_as_own(response), self.stream
        if isinstance(response, BaseHTTPResponse) and stream and response.stream is not stream:
            # Another request was answered with this very object meanwhile: it would go there.
            response = stream.respond(response)
        # After all middlewares, so that one which answers itself cannot lose the cookies.
        if hasattr(response, "headers"):
            exchange.write_to(response)
        return response


def with_sessions(plain: type[Request], sessions: Sessions) -> type[Request]:
    """Return a subclass of an app's request class, with its sessions."""
    return type(plain.__name__, (_WithSessions, plain), {"_sessions": sessions})
