"""Guards: what stands before a handler that not everybody may reach."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import wraps
from inspect import isawaitable, isclass, signature
from typing import Any, Protocol, cast

from sanic.request import Request

from ..errors import AccessDenied, FreshLoginRequired, LoginRequired, SessionConfigError
from ..options import Seconds
from .arguments import seconds_of
from .redirects import is_at, prefers_html, require_login_url, to_login

NoAuthHandler = Callable[..., Any]
Check = Callable[[Any], Any]
Guarded = Callable[..., Coroutine[Any, Any, Any]]

FRESH = 900.0  # seconds; what OWASP's cheat sheets suggest for high-value operations
# Set on what a guard has wrapped; `functools.wraps` hands it on to whatever wraps that.
GUARDS = "__sanic_cookies_guards__"
# Set on what a guard was put around: see `protect.require_guarded`.
GUARDED_BY = "__sanic_cookies_guarded_by__"

# A browser asks with OPTIONS before it may send credentials. HEAD runs the GET handler: guarded.
EXEMPT = frozenset({"OPTIONS"})


class Reason(Enum):
    """Why a request is turned away."""

    LOGIN = "nobody is logged in"
    CHECK = "the user may not do this"
    FRESH = "the login is not fresh"


class Gate(Protocol):
    """What a guard asks: an `AuthSession`, as far as this module knows it."""

    no_auth_handler: NoAuthHandler | None
    login_url: str | None

    async def current_user(self, request: Request | None = None) -> Any:
        """Return who is logged in, or None."""

    async def is_fresh(self, request: Request, within: Seconds = FRESH) -> bool:
        """Say whether the user has proved who they are just now."""

    async def denied(self, request: Request, reason: str = "") -> None:
        """Take note of a request that was turned away."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom a guard lets in, and what the others get; checked when made.

    Attributes:
        no_auth_handler: Called instead of the handler when nobody is logged in.
        redirect_to: Where browsers are sent that have to log in; None for the session's choice.
        check: Called with the user, sync or async; only True lets in.
        fresh: Seconds since the user's last proof of who they are; None for any.
    """

    no_auth_handler: NoAuthHandler | None = None
    redirect_to: str | None = None
    check: Check | None = None
    fresh: Seconds | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.no_auth_handler is not None:
            require_handler(self.no_auth_handler)
        if self.redirect_to is not None:
            require_login_url("redirect_to", self.redirect_to)
        if self.check is not None and not callable(self.check):
            raise SessionConfigError("check must be callable with a user")
        if self.fresh is not None:
            seconds_of("fresh", self.fresh)


Find = Callable[[Request], Gate]


def guard(rule: Rule, find: Find) -> Callable[..., Any]:
    """Return the decorator; used without parentheses, what it returns is the guarded handler.

    `@login_required` hands the handler over as `no_auth_handler`. The two cannot be told apart
    here, but when called: a decorator is given a handler, a handler is given a request.

    Raises:
        SessionConfigError: A class is decorated, or something that cannot be called.
    """
    perhaps_handler = rule.no_auth_handler

    def decorate(*args: Any, **kwargs: Any) -> Any:
        if bare is not None and request_in(args) is not None:
            return bare(*args, **kwargs)
        if len(args) != 1 or kwargs:
            raise SessionConfigError("login_required was given neither a handler nor a request")
        require_handler(args[0])
        if perhaps_handler is not None:
            _set_guarded_by(perhaps_handler, [])  # a `no_auth_handler`, which may well be a route
        return _guarded(args[0], rule, find)

    if perhaps_handler is None:
        bare = None
        return decorate
    bare = _guarded(perhaps_handler, Rule(), find)
    return wraps(bare)(decorate)


def fresh_guard(
    within: Seconds | Callable[..., Any],
    check: Check | None,
    redirect_to: str | None,
    find: Find,
) -> Callable[..., Any]:
    """Return the decorator for a fresh login; without parentheses, `within` is the handler."""
    if not callable(within):
        seconds_of("within", within)  # also says what it must be
        return guard(Rule(None, redirect_to, check, within), find)
    require_handler(within)
    return _guarded(within, Rule(None, redirect_to, check, FRESH), find)


def require_handler(handler: object) -> None:
    """Make sure that `handler` can be called with a request.

    Raises:
        SessionConfigError: It is a class, or cannot be called.
    """
    if not callable(handler):
        raise SessionConfigError(
            f"a guard goes around a handler, not {type(handler).__name__}: what it demands has "
            "names (session_name=, check=, fresh=)"
        )
    if isclass(handler):
        raise SessionConfigError(
            "login_required guards functions and methods; for a view class use "
            "decorators=[login_required()]"
        )


def _guarded(handler: Callable[..., Any], rule: Rule, find: Find) -> Guarded:
    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        request = request_in(args)
        if request is None:
            raise SessionConfigError("a guarded handler was called without a request", served=True)
        if request.method not in EXEMPT:
            gate = find(request)
            reason = await judge(gate, request, rule)
            if reason is not None:
                rest = args[1 if args[0] is request else 2 :]
                return await turn_away(gate, request, rule, reason, rest, kwargs)
        result = handler(*args, **kwargs)
        return await result if isawaitable(result) else result

    setattr(guarded, GUARDS, ((rule, find), *getattr(handler, GUARDS, ())))
    vars(guarded).pop(GUARDED_BY, None)  # of the handler, handed on by `wraps`
    _set_guarded_by(handler, [*getattr(handler, GUARDED_BY, ()), guarded])
    return guarded


def _set_guarded_by(handler: Callable[..., Any], guards: list[Guarded]) -> None:
    with suppress(AttributeError):  # a bound method keeps nothing
        setattr(handler, GUARDED_BY, guards)


async def judge(gate: Gate, request: Request, rule: Rule) -> Reason | None:
    """Return why `request` is not let in, None if it is; the gate is told."""
    user = await gate.current_user(request)
    reason = None
    if user is None:
        reason = Reason.LOGIN
    elif rule.check is not None and not await _passes(rule.check, user):
        reason = Reason.CHECK
    elif rule.fresh is not None and not await gate.is_fresh(request, rule.fresh):
        reason = Reason.FRESH
    if reason is not None:
        await gate.denied(request, reason.value)
    return reason


async def _passes(check: Check, user: Any) -> bool:
    result = check(user)
    if isawaitable(result):
        result = await result
    if result and result is not True:
        # Something true by mistake, such as a method that was not called, must let nobody in.
        raise SessionConfigError("check must return True or False", served=True)
    return result is True


async def turn_away(
    gate: Gate,
    request: Request,
    rule: Rule,
    reason: Reason,
    rest: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Answer a request that is not let in.

    A `no_auth_handler` that returns nothing has answered only where it has sent the response by
    itself, or was given a socket. Otherwise all is as without it.

    Args:
        gate: The session that was asked.
        request: The request.
        rule: What the guard demands.
        reason: Why it is not let in.
        rest: The handler's arguments after the request.
        kwargs: The handler's keyword arguments.

    Raises:
        LoginRequired: Nobody is logged in, and nothing else was asked for.
        FreshLoginRequired: The login is too old, and the client is no browser.
        AccessDenied: The user may not do this.
    """
    if reason is Reason.CHECK:
        raise AccessDenied
    handler, url = _answers(gate, rule, reason)
    socket = request.route is not None and request.route.extra.websocket
    if handler is not None:
        answer = await _call(handler, request, rest, kwargs or {})
        if answer or request.responded or (socket and rest):
            return answer
    if url is not None and not socket and prefers_html(request) and not is_at(request, url):
        return to_login(request, url)
    raise FreshLoginRequired if reason is Reason.FRESH else LoginRequired


async def shut_out(gate: Gate, request: Request, rule: Rule, reason: Reason) -> Any:
    """Answer a request before its handler; what is returned is never nothing.

    For that would let it in: Sanic goes on to the handler after a middleware without an answer.

    Raises:
        LoginRequired: As `turn_away`, which may also raise others.
    """
    kwargs = dict(request.match_info)
    answer = await turn_away(gate, request, rule, reason, (), kwargs)
    stream: Any = request.stream  # which is false once all has been sent
    answer = answer or stream.response  # by the handler
    if not answer:
        raise LoginRequired
    return answer


def _answers(gate: Gate, rule: Rule, reason: Reason) -> tuple[NoAuthHandler | None, str | None]:
    """Return handler and login page; what the guard says goes before what the session says."""
    url = rule.redirect_to or gate.login_url
    if reason is Reason.FRESH:
        return None, url  # somebody is logged in, so a `no_auth_handler` has nothing to say
    if rule.no_auth_handler is None and rule.redirect_to is not None:
        return None, url
    return rule.no_auth_handler or gate.no_auth_handler, url


def takes(handler: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Say whether `handler` can be called like this."""
    try:
        signature(handler).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    return True


async def _call(
    handler: NoAuthHandler, request: Request, rest: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    if takes(handler, request, *rest, **kwargs):
        result = handler(request, *rest, **kwargs)
    else:
        result = handler(request)  # it takes the request and nothing else
    return await result if isawaitable(result) else result


def request_in(args: tuple[Any, ...]) -> Request | None:
    """Return the request: first argument of a function, second of a method."""
    for candidate in args[:2]:
        if isinstance(candidate, Request):
            return cast(Request, candidate)
    return None
