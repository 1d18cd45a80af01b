"""What `login_required` refuses to decorate, and how it tells a handler from a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sanic.views import HTTPMethodView

from sanic_cookies import AuthSession, SessionConfigError, fresh_login_required, login_required
from sanic_cookies.auth.guards import Rule, guard


class View(HTTPMethodView):
    """A view that somebody may decorate by mistake."""

    async def get(self, request: Any) -> None:
        raise AssertionError("it ran")


@pytest.mark.parametrize("bare", [True, False], ids=["bare", "called"])
@pytest.mark.parametrize("method", [True, False], ids=["method", "function"])
@pytest.mark.parametrize(
    ("target", "instead"),
    [(View, "decorators="), ("admin", "not str: .*session_name="), (7, "not int")],
    ids=["class", "name", "number"],
)
def test_only_handlers_are_guarded(target: Any, instead: str, method: bool, bare: bool) -> None:
    """A class, or what cannot be called, is refused where it is decorated."""
    decorator: Callable[..., Any] = AuthSession().login_required if method else login_required
    with pytest.raises(SessionConfigError, match=instead):
        decorator(target) if bare else decorator()(target)


@pytest.mark.parametrize("within", ["15m", None])
def test_a_time_that_is_none(within: Any) -> None:
    """A guard that was given no time says what one is."""
    with pytest.raises(SessionConfigError, match="within must be seconds or a timedelta"):
        fresh_login_required(within)


@pytest.mark.parametrize("arguments", [(), (1, 2), (None,)])
def test_a_bare_guard_without_a_request_does_not_call(arguments: tuple[Any, ...]) -> None:
    """Called with something that is no request, a guard fails and does not call its handler."""

    def handler(*_: Any) -> None:
        raise AssertionError("it ran")

    with pytest.raises(SessionConfigError):
        guard(Rule(handler), _nobody)(*arguments)


@pytest.mark.parametrize("arguments", [(), (1,), ("self", "no request")])
async def test_a_guard_without_a_request_does_not_call(arguments: tuple[Any, ...]) -> None:
    """A guarded handler that is called without a request fails, and its body does not run."""

    def handler(*_: Any) -> None:
        raise AssertionError("it ran")

    with pytest.raises(SessionConfigError, match="without a request"):
        await guard(Rule(), _nobody)(handler)(*arguments)


@pytest.mark.parametrize("bare", [True, False], ids=["bare", "called"])
def test_a_guarded_handler_keeps_its_name(bare: bool) -> None:
    """Routes are named after handlers, so a guarded one keeps name and docstring."""

    async def account(request: Any) -> None:
        """Show the account."""

    guarded = login_required(account) if bare else login_required()(account)
    assert (guarded.__name__, guarded.__doc__) == ("account", "Show the account.")


def _nobody(request: object) -> Any:
    raise AssertionError("nobody was to be asked")
