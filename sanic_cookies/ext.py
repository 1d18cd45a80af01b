"""sanic-ext: sessions and users in the annotations of handlers, and in the OpenAPI document.

Nothing else in the package imports sanic-ext, so it may be missing or broken. It injects before any
middleware runs and before the body is read; so what is injected here is asked of the request
itself, and a user is guarded here in just the way that `login_required` guards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast, get_type_hints

from sanic import Sanic
from sanic.request import Request

from .auth.guards import Rule, judge, turn_away
from .auth.protect import Protection, rules_of
from .auth.session import AuthSession
from .errors import SessionConfigError, SessionError
from .session import Session
from .session_dict import SessionDict
from .wiring import Wiring

try:
    from sanic_ext import Extend, Extension
    from sanic_ext.extensions.openapi.builders import OperationBuilder, OperationStore
except ImportError as error:
    raise ImportError(
        "sanic_cookies.ext needs sanic-ext and pydantic: pip install 'sanic-cookies[ext]'",
        name=error.name,
    ) from error


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Who is logged in, for the annotation of a handler: nobody else reaches it.

    Attributes:
        value: What `current_user()` gives, never None.
    """

    value: Any


class Answered(SessionError):
    """Somebody was turned away with a response instead of an error.

    Attributes:
        response: What a guard answers: a redirect, or what a `no_auth_handler` returned.
    """

    quiet = True

    def __init__(self, response: Any) -> None:
        """Make the error.

        Args:
            response: What to answer.
        """
        super().__init__()
        self.response = response


class SessionExtension(Extension):  # type: ignore[no-untyped-call]
    """Adds sessions to sanic-ext: `Extend.register(SessionExtension())`.

    Handlers may then ask for `SessionDict` (the app's first session), for a `store_factory` of
    their own (the session that makes it), for `CurrentUser`, and for the class given as `user`;
    for the last two also with `| None`, which lets everybody in. In the OpenAPI document each
    `AuthSession` is a security scheme, which guarded routes name, together with their 401 and 403.
    """

    name = "sessions"

    def __init__(self, *sessions: Session, user: type | None = None) -> None:
        """Say what to add.

        Args:
            sessions: Attached to the app, unless they are already.
            user: The class of what `user_loader` returns, to be asked for by annotation.
        """
        self._sessions, self._user = sessions, user

    def startup(self, bootstrap: Extend) -> None:
        """Attach the sessions; the rest when the server starts and all routes are known.

        Args:
            bootstrap: The app's `Extend`.

        Raises:
            SessionConfigError: A session is attached to another app.
        """
        app = self.app
        for session in self._sessions:
            if getattr(app.ctx, session.name, None) is not session:
                session.init_app(app)
        app.exception(Answered)(_answer)

        async def complete(app: Sanic[Any, Any]) -> None:
            included = {each.name for each in bootstrap.extensions}
            if "injection" in included:
                self._inject(app, bootstrap)
            if "openapi" in included and app.config.OAS:
                _document(app, bootstrap, self._users)

        # After those of the app, which may attach sessions, before sanic-ext's, which have -1000.
        app.register_listener(complete, "before_server_start", priority=-999)

    def label(self) -> str:
        """Return what sanic-ext prints at the start."""
        return ", ".join(f"{each.name} on {_kind(each)}" for each in _sessions(self.app))

    @property
    def _users(self) -> list[type]:
        return [kind for kind in (CurrentUser, self._user) if kind is not None]

    def _inject(self, app: Sanic[Any, Any], bootstrap: Extend) -> None:
        for session in reversed(_sessions(app)):  # so that the first has the last word
            for kind in (SessionDict, session.settings.store_factory or SessionDict):
                bootstrap.add_dependency(kind, _session_of(session))
        auth = _auth_session(app)
        if auth is None:
            if self._user is not None:
                raise SessionConfigError("SessionExtension(user=...) needs an AuthSession")
            return
        for kind in self._users:
            wrap = kind is CurrentUser
            bootstrap.add_dependency(kind, _user_of(auth, wrap))
            bootstrap.add_dependency(cast(type, kind | None), _perhaps_user_of(auth, wrap))


def _sessions(app: Sanic[Any, Any]) -> list[Session]:
    return [each for each in Wiring.of(app).sessions if isinstance(each, Session)]


def _auth_session(app: Sanic[Any, Any]) -> AuthSession | None:
    return next((each for each in _sessions(app) if isinstance(each, AuthSession)), None)


def _kind(session: Session) -> str:
    return type(session.master_interface).__name__


async def _answer(request: Request, error: Answered) -> Any:
    return error.response


# Constructors: sanic-ext reads their annotations and calls them with the request.


def _session_of(session: Session) -> Any:
    def construct(request: Request) -> SessionDict:
        return session.of(request)

    return construct


def _user_of(auth: AuthSession, wrap: bool) -> Any:
    async def construct(request: Request) -> Any:
        reason = await judge(auth, request, Rule())
        if reason is not None:
            raise Answered(await turn_away(auth, request, Rule(), reason))
        user = await auth.current_user(request)
        return CurrentUser(user) if wrap else user

    return construct


def _perhaps_user_of(auth: AuthSession, wrap: bool) -> Any:
    async def construct(request: Request) -> Any:
        user = await auth.current_user(request)
        return CurrentUser(user) if wrap and user is not None else user

    return construct


# The OpenAPI document.


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that nobody has made: what guards look at when they say whom they would let in."""

    app: Sanic[Any, Any]
    route: Any
    method: str
    path: str


def _document(app: Sanic[Any, Any], bootstrap: Extend, users: list[type]) -> None:
    for session in _sessions(app):
        if isinstance(session, AuthSession):
            spec = session.settings.cookie
            bootstrap.openapi.add_security_scheme(
                session.name,
                "apiKey",
                location="cookie",
                name=f"{spec.prefix}{spec.name}",
                description="The cookie of a login.",
            )
    store = OperationStore()  # type: ignore[no-untyped-call]
    for route in app.router.routes:
        for method in route.methods:
            handler = _handler(route, method)
            if handler is not None:
                operation = store[handler]
                for gate, rule in _guards(Asked(app, route, method, f"/{route.path}"), users):
                    _tell(operation, gate.name, rule)


def _guards(asked: Asked, users: list[type]) -> Iterator[tuple[AuthSession, Rule]]:
    """Give what guards a route: decorators, what protects its app or blueprint, annotations."""
    request = cast(Request, asked)
    auth = _auth_session(asked.app)
    if auth is not None and _asks_for(users, _handler(asked.route, asked.method)):
        yield auth, Rule()
    for rule, find in rules_of(asked.route, asked.method):
        yield cast(AuthSession, find(request)), rule
    for session in _sessions(asked.app):
        for check in session.checks:
            if isinstance(check, Protection) and check.demands(request):
                yield cast(AuthSession, session), check.rule


def _handler(route: Any, method: str) -> Any:
    """Return what sanic-ext keeps an operation for; None for the HEAD that a view class gets."""
    view = getattr(route.handler, "view_class", None)
    return route.handler if view is None else getattr(view, method.lower(), None)


def _asks_for(users: list[type], handler: Any) -> bool:
    try:
        hints = get_type_hints(handler)
    except (AttributeError, NameError, TypeError):  # sanic-ext injects nothing there either
        return False
    return any(kind in users for name, kind in hints.items() if name != "return")


def _tell(operation: OperationBuilder, scheme: str, rule: Rule) -> None:
    """Note on an operation who is let in; once, however often the server starts."""
    if not operation.responses:
        operation.response("default", description="OK")
    if {scheme: []} not in operation.security:
        operation.secured(scheme)  # type: ignore[no-untyped-call]
    if "401" not in operation.responses:
        operation.response("401", description="Nobody is logged in, or not recently enough.")
    if rule.check is not None and "403" not in operation.responses:
        operation.response("403", description="The user may not do this.")
