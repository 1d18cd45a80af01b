"""Arguments of calls, checked like the options of the same kind.

What is wrong with one that is given in a request is for the log: the client learns nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import SessionConfigError
from ..options import Options, Seconds

T = TypeVar("T")


def seconds_of(name: str, value: Seconds, *, served: bool = False) -> float:
    """Return an argument as seconds.

    Args:
        name: The argument's.
        value: What was given.
        served: It was given in a request.

    Raises:
        SessionConfigError: It is none, or not more than 0.
    """
    return _checked(lambda: _only(name, value).seconds(name, 0.0), served)


def flag_of(name: str, value: bool) -> bool:
    """Return an argument of a request as a bool; a form's "no" is none, though it is true.

    Args:
        name: The argument's.
        value: What was given.

    Raises:
        SessionConfigError: It is none.
    """
    return _checked(lambda: _only(name, value).flag(name, False), True)


def _only(name: str, value: object) -> Options:
    return Options({name: value}, {}, "", {name})


def _checked(check: Callable[[], T], served: bool) -> T:
    try:
        return check()
    except SessionConfigError as error:
        raise SessionConfigError(error.detail, served=served) from None
