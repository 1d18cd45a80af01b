"""What is refused while sessions are set up, or warned of: no app, taken names, idle times."""

from __future__ import annotations

import re
from typing import Any

from sanic import Sanic

from .errors import SessionConfigError
from .expiry import Policy
from .interfaces.base import Interface, LivesInCookie
from .mistakes import no_interface
from .options import Options
from .settings import Settings
from .wiring import Wiring

AnyInterface = Interface | LivesInCookie

# What is added to a cookie's name: for copies in cookies (`FanOut.suffixes`), for a browser's run.
_COMPANION = re.compile(r"(?:_data\d*|_run)?", re.ASCII)


def checked_interface(interface: object) -> Any:
    """Return `interface`, if it is one.

    Raises:
        SessionConfigError: It is not.
    """
    # A class has what its objects have, so the protocols alone would take it.
    if isinstance(interface, Interface | LivesInCookie) and not isinstance(interface, type):
        return interface
    raise SessionConfigError(no_interface(interface))


def require_app(app: object) -> None:
    """Refuse what is no app.

    Raises:
        SessionConfigError: It is none.
    """
    if not isinstance(app, Sanic):
        name = type(app).__name__
        raise SessionConfigError(f"{name} is no Sanic app: give it first, or to init_app(app)")


def require_free(wiring: Wiring, settings: Settings) -> None:
    """Refuse names that an app, or its requests, have for something else.

    Args:
        wiring: The app's.
        settings: Of the session that is to be attached to it.

    Raises:
        SessionConfigError: The session's name is taken, or its cookie's.
    """
    name, mine = settings.name, settings.cookie.name
    if hasattr(wiring.app.ctx, name):
        raise SessionConfigError(f"app.ctx.{name} is taken: choose another session_name")
    if hasattr(wiring.blank_context(), name):
        raise SessionConfigError(f"request.ctx.{name} is taken: choose another session_name")
    for other in wiring.sessions:
        theirs = other.settings.cookie.name
        if _meet(mine, theirs):
            raise SessionConfigError(
                f"{other.name} uses the cookie {theirs!r} already, which meets {mine!r}: "
                "choose another cookie_name"
            )


def cut_short(options: Options, policy: Policy) -> list[str]:
    """Return a sentence if an idle time was asked for that no session reaches.

    Where both times are given that is refused; here the other is a default, perhaps unknown.

    Args:
        options: What was given.
        policy: What came of it.
    """
    idle, absolute = policy.idle, policy.absolute
    if not options.has("expiry") or idle is None or absolute is None or idle <= absolute:
        return []
    end = f"absolute_timeout ends each session after {absolute / 3600:g} hours"
    return [f"{end}, before its expiry: give both"]


def _meet(one: str, other: str) -> bool:
    """Say whether two cookies, or what may go with one of them, have the same name."""
    shorter, longer = sorted((one, other), key=len)
    return longer.startswith(shorter) and _COMPANION.fullmatch(longer, len(shorter)) is not None
