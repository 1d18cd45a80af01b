"""Deny by default: what is decided before any handler, and before a websocket's handshake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sanic import Blueprint, Sanic
from sanic.blueprint_group import BlueprintGroup
from sanic.request import Request

from ..errors import SessionConfigError
from .guards import EXEMPT, GUARDED_BY, GUARDS, Find, Gate, Rule, judge, shut_out, takes
from .redirects import is_at

PUBLIC = "__sanic_cookies_public__"
Target = Sanic[Any, Any] | Blueprint | BlueprintGroup
T = TypeVar("T")


def public(handler: T) -> T:
    """Let everybody reach a handler or a view class of an app that `auth.protect()` guards.

    Stands above or below the route's decorator. A class that inherits from a public one is not
    public. A `login_required` on the same handler still guards it.

    Raises:
        SessionConfigError: What is decorated cannot be called, or is a method of an object.
    """
    if not callable(handler):
        raise SessionConfigError("public goes on a handler or a view class, without parentheses")
    try:
        setattr(handler, PUBLIC, True)
    except AttributeError:
        raise SessionConfigError(
            "public cannot mark a method of an object: put it above the method's def"
        ) from None
    return handler


class Protection:
    """What `protect()` has checked with each request."""

    def __init__(self, gate: Gate, target: Target, rule: Rule, static: bool) -> None:
        """Guard the routes of `target`.

        Args:
            gate: The session that is asked.
            target: An app, a blueprint or a group of them.
            rule: Whom to let in.
            static: Guard static files too.
        """
        self._gate, self.rule, self._static = gate, rule, static
        self._target = target
        if not isinstance(target, Sanic):
            list(_blueprints(target))  # what is none of these is refused now
        self._known: dict[int, tuple[Any, bool]] = {}

    async def __call__(self, request: Request) -> Any:
        """Answer instead of the handler, or raise, unless the request is let in."""
        if not self.demands(request):
            return None
        reason = await judge(self._gate, request, self.rule)
        return None if reason is None else await shut_out(self._gate, request, self.rule, reason)

    def demands(self, request: Request) -> bool:
        """Say whether `request` is guarded; its app, route, method and path are looked at."""
        route = request.route
        # Without a route there is nothing to guard: it is a 404 or a 405.
        if route is None or request.method in EXEMPT:
            return False
        if (route.extra.static and not self._static) or not self._covers(request):
            return False
        url = self.rule.redirect_to or self._gate.login_url
        # Who has to log in must be able to.
        return not ((url is not None and _is_login_page(request, url)) or is_public(request))

    def _covers(self, request: Request) -> bool:
        if isinstance(self._target, Sanic):
            return True
        route = request.route
        # Routes live as long as the app; each is kept with its answer, so that no id is reused.
        known = self._known.get(id(route))
        if known is None:
            own = _with_copies(list(_blueprints(self._target)), request.app)
            known = self._known[id(route)] = (route, _belongs(route, own, request.app))
        return known[1]

    def idle_on(self, app: Sanic[Any, Any]) -> list[str]:
        """Return a sentence if none of an app's routes is of the blueprints that are guarded."""
        if isinstance(self._target, Sanic):
            return []
        given = list(_blueprints(self._target))
        own = _with_copies(given, app)
        if any(_belongs(route, own, app) for route in app.router.routes):
            return []
        names = ", ".join(each.name for each in given)
        return [f"protect() guards nothing: the app has no route of the blueprint {names or '-'}"]


async def before_handshake(gate: Gate, request: Request) -> Any:
    """Have the guards of a websocket handler decide while the answer can still be an HTTP status.

    They are found by what they left on the handler. One that is not found here, or whose
    `no_auth_handler` wants the socket, decides when the handler is called.
    """
    if request.route is None or not request.route.extra.websocket:
        return None
    kwargs = dict(request.match_info)
    for rule, find in _mark(request.route, GUARDS) or ():
        if find(request) is not gate:
            continue
        denied = rule.no_auth_handler or gate.no_auth_handler
        if denied and not (takes(denied, request, **kwargs) or takes(denied, request)):
            continue
        reason = await judge(gate, request, rule)
        if reason is not None:
            return await shut_out(gate, request, rule, reason)
    return None


def require_guarded(app: Sanic[Any, Any]) -> None:
    """See that each handler with a guard around it is reached through that guard.

    `@login_required()` above the route's decorator comes too late: the route has the handler as it
    was, and would let everybody in.

    Raises:
        SessionConfigError: A route has a handler without its guard.
    """
    # Of all apps: one may leave open to its own network what the other guards.
    apps = [app, *Sanic._app_registry.values()]
    routes = [route for each in apps for route in each.router.routes]
    reached = {id(each) for route in routes for layer in _layers(route) for each in _inside(layer)}
    for route in app.router.routes:
        *_, handler = _layers(route)
        guards = getattr(handler, GUARDED_BY, ())
        if guards and not any(id(each) in reached for each in guards):
            raise SessionConfigError(
                f"nothing guards the route {route.name!r}: put login_required below the route's "
                "decorator"
            )


def _is_login_page(request: Request, url: str) -> bool:
    """Say whether `request` asks for the page at `url`, and not for what a pattern makes of it.

    With another slash at its end it is the same page where the route is fixed; to one with
    parameters, such as `/<path:path>`, it is another value.
    """
    if request.path == urlsplit(url).path:
        return True
    return is_at(request, url) and request.route is not None and not request.route.params


def _inside(handler: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Go from a handler through what decorators have put around it, as `functools.wraps` tells."""
    seen: Any = handler
    while seen is not None:
        yield seen
        seen = getattr(seen, "__wrapped__", None)


def rules_of(route: Any, method: str) -> list[tuple[Rule, Find]]:
    """Return the rules by which decorators guard a route's handler, or its view's method."""
    view = _mark(route, "view_class")
    method_of_view = getattr(view, method.lower(), None)
    return [*(_mark(route, GUARDS) or ()), *getattr(method_of_view, GUARDS, ())]


def is_public(request: Request) -> bool:
    """Say whether the handler of `request`, its view class or the class's method is public."""
    if _mark(request.route, PUBLIC):
        return True
    view = _mark(request.route, "view_class")
    if view is None:
        return False
    if PUBLIC in vars(view):
        return True
    method = getattr(view, request.method.lower(), None)
    if method is None and request.method == "HEAD":
        method = getattr(view, "get", None)  # as Sanic's views do
    return bool(getattr(method, PUBLIC, False))


def _mark(route: Any, name: str) -> Any:
    """Return an attribute of the route's handler; None if nothing on the way to it has one."""
    for layer in _layers(route):
        found = getattr(layer, name, None)
        if found is not None:
            return found
    return None


def _layers(route: Any) -> Iterator[Callable[..., Any]]:
    """Go from what Sanic and sanic-ext made of a handler to what the application wrote."""
    # sanic-ext's automatic HEAD routes have a handler of their own and an empty context.
    handler = getattr(route.handler, "__route_handler__", route.handler)
    yield handler
    while isinstance(handler, partial):
        # Sanic binds a websocket handler as the first argument of its own.
        handler = handler.args[0] if getattr(handler, "is_websocket", False) else handler.func
        yield handler


def _with_copies(blueprints: list[Blueprint], app: Sanic[Any, Any]) -> list[Blueprint]:
    """Return `blueprints`, all of an app's that Sanic has copied from them, and copies of those.

    A copy tells the name of what it was made from. Where that is on no app, and may be a copy
    itself, it is taken for one of these if both come from the same first blueprint: shut, not open.
    """
    found, names = list(blueprints), {each.name for each in blueprints}
    family = names.union(*map(_firsts, blueprints))

    def is_copy(each: Blueprint) -> bool:
        firsts = _firsts(each)
        if each.copied_from in names.union(firsts, app.blueprints):
            return each.copied_from in names
        return not family.isdisjoint(firsts)

    served = [each for each in app.blueprints.values() if each.copied_from]
    while copies := [each for each in served if each not in found and is_copy(each)]:
        found += copies
        names.update(each.name for each in copies)
    return found


def _firsts(blueprint: Blueprint) -> set[str]:
    """Return for which blueprints the routes were written: copies keep the names of routes."""
    pages = {each.name.partition(".")[0] for each in blueprint._future_routes}
    return pages | {each.name.partition(".")[0] for each in blueprint._future_statics}


def _belongs(route: Any, blueprints: list[Blueprint], app: Sanic[Any, Any]) -> bool:
    """Say whether a blueprint has this route; its name would not tell, apps may share them."""
    if route.extra.static:
        # Sanic does not keep these with their blueprint, but it starts no app with a name twice.
        files = [each for blueprint in blueprints for each in blueprint._future_statics]
        return route.name in {app.generate_name(each.name) for each in files}
    handler = getattr(route.handler, "__route_handler__", route.handler)
    own = [each for blueprint in blueprints for each in blueprint.routes]
    return any(each is route or _same(each, route, handler) for each in own)


def _same(each: Any, route: Any, handler: Any) -> bool:
    """Say whether `route` runs the handler of `each` at the same path, under another method."""
    return bool(each.path == route.path and each.handler is handler)


def _blueprints(target: Blueprint | BlueprintGroup) -> Iterator[Blueprint]:
    if isinstance(target, Blueprint):
        yield target
    elif isinstance(target, BlueprintGroup):
        for each in target.blueprints:
            yield from _blueprints(each)
    else:
        raise SessionConfigError("protect() takes an app, a blueprint or a group of blueprints")
