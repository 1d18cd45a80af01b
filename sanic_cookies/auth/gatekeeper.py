"""What an `AuthSession` guards: single handlers, or all of an app or a blueprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanic import Sanic
from sanic.request import Request

from ..errors import SessionConfigError
from ..options import Options, Seconds
from ..wiring import PRIORITY, Wiring
from .csrf import require_known, unheard
from .freshness import FreshLogins
from .guards import FRESH, Check, NoAuthHandler, Rule, fresh_guard, guard
from .protect import Protection, Target, before_handshake, require_guarded
from .redirects import require_login_url


class Gatekeeper(FreshLogins):
    """The half of `AuthSession` that guards."""

    no_auth_handler: NoAuthHandler | None
    login_url: str | None

    def _set_guards(self, options: Options) -> None:
        self.no_auth_handler = options.raw("no_auth_handler")
        if self.no_auth_handler is not None and not callable(self.no_auth_handler):
            raise SessionConfigError("no_auth_handler must be callable")
        url = options.optional_text("login_url")
        self.login_url = None if url is None else require_login_url("login_url", url)
        self.handshake_checks = [self._before_handshake]

    def init_app(self, app: Sanic[Any, Any]) -> None:
        """Attach to `app`; see `Session.init_app`."""
        super().init_app(app)
        # The main process says so before there are workers; not every server has one.
        for event in ("main_process_start", "before_server_start"):
            app.register_listener(_require_guarded, event)
        # After all other listeners, which may attach more sessions than this one.
        app.register_listener(_require_known, "before_server_start", priority=-PRIORITY)
        if app.state.is_started:  # in a listener of the app: the routes are there
            require_guarded(app)
            app.register_listener(_require_known, "after_server_start")

    def warnings(self) -> list[str]:
        """Return what the operator should know about the set-up."""
        found = super().warnings()
        if self._app is not None:
            found += unheard(self._app, Wiring.of(self._app).sessions)
            for check in self.checks:
                found += check.idle_on(self._app) if isinstance(check, Protection) else []
        return found

    def login_required(
        self,
        no_auth_handler: NoAuthHandler | None = None,
        *,
        check: Check | None = None,
        fresh: Seconds | None = None,
        redirect_to: str | None = None,
    ) -> Callable[..., Any]:
        """Guard a handler; as the function `login_required`, by this session.

        Args:
            no_auth_handler: Called instead, with the handler's arguments; sync or async.
            check: Called with the user, sync or async; only True lets in, else it is a 403.
            fresh: Seconds since the last login or `confirm_login`.
            redirect_to: Path of the login page of this handler, instead of `login_url`.
        """
        return guard(Rule(no_auth_handler, redirect_to, check, fresh), lambda request: self)

    def fresh_login_required(
        self,
        within: Seconds | Callable[..., Any] = FRESH,
        *,
        check: Check | None = None,
        redirect_to: str | None = None,
    ) -> Callable[..., Any]:
        """Guard a handler; as the function `fresh_login_required`, by this session.

        Args:
            within: Seconds since the last login or `confirm_login`.
            check: Called with the user, sync or async; only True lets in, else it is a 403.
            redirect_to: Path of the login page of this handler, instead of `login_url`.
        """
        return fresh_guard(within, check, redirect_to, lambda request: self)

    def protect(
        self,
        target: Target,
        no_auth_handler: NoAuthHandler | None = None,
        *,
        check: Check | None = None,
        fresh: Seconds | None = None,
        redirect_to: str | None = None,
        static: bool = False,
    ) -> None:
        """Guard all routes of an app, a blueprint or a group of them, but those that are `public`.

        It is decided before the handler, and before a websocket's handshake. `OPTIONS`, static
        files, the login page and what has no route (404, 405) pass; `HEAD` does not. What is put
        into a group later is guarded, too, and so is what Sanic copies from a blueprint, whenever.

        Args:
            target: The app that this session is attached to, or a blueprint of it.
            no_auth_handler: Called instead of a handler, with the route's arguments.
            check: Called with the user, sync or async; only True lets in, else it is a 403.
            fresh: Seconds since the last login or `confirm_login`.
            redirect_to: Path of the login page, instead of `login_url`.
            static: Guard static files too.

        Raises:
            SessionConfigError: It is another app, or none of these.
        """
        if isinstance(target, Sanic) and target is not self._app:
            raise SessionConfigError(f"{self.name} is not attached to this app: init_app() first")
        rule = Rule(no_auth_handler, redirect_to, check, fresh)
        self.checks.append(Protection(self, target, rule, static))
        if self._app is not None:
            Wiring.of(self._app).act_before_handlers()

    async def denied(self, request: Request, reason: str = "") -> None:
        """Report that a guard turned a request away.

        Args:
            request: The request.
            reason: A fixed text.
        """
        sess = self.of(request)
        identity = await sess.identity()
        user_key = None if identity is None else self.user_key(identity.user)
        context = {"route": request.name, "reason": reason}
        self.runtime.emit("denied", sid=sess.sid, user_key=user_key, **context)

    async def _before_handshake(self, request: Request) -> Any:
        return await before_handshake(self, request)


async def _require_guarded(app: Sanic[Any, Any]) -> None:
    require_guarded(app)


async def _require_known(app: Sanic[Any, Any]) -> None:
    require_known(app, Wiring.of(app).sessions)
