"""What is often given by mistake, and what was meant: so errors of the set-up name the fix."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

# What options of ours are called elsewhere.
_ELSEWHERE = {
    "interface": "master_interface",
    "store": "master_interface",
    "backend": "master_interface",
    "name": "session_name",
    **dict.fromkeys(("max_age", "ttl", "lifetime", "timeout", "expire", "expires"), "expiry"),
    "cookie_age": "expiry",
    "expire_at_browser_close": "session_cookie",
    **{f"cookie_{name}": name for name in ("domain", "path", "secure", "httponly", "samesite")},
    "cookie_partitioned": "partitioned",
}
# By the class of a driver's error: what was forgotten before the server started.
FORGOTTEN = {
    "UndefinedTableError": (
        "its table is not there: run 'sanic-cookies create-table', or await its create_table()"
    ),
    "UndefinedColumnError": (
        "its table is an older one: run 'sanic-cookies create-table --upgrade', or await its "
        "upgrade_table()"
    ),
    "ClusterNodeError": "its server is a node of a cluster: give it a redis.asyncio.RedisCluster",
}
# Closer than `session_stamp`, of AuthSession, is to `session_name`.
_CLOSE = 0.85
_PARTS = ("open", "close", "fetch", "create", "save", "touch", "delete")
# By the package of a driver's object: what makes an interface of it.
_WRAPPERS = {"redis": "Redis(client)", "asyncpg": "AsyncPG(pool)"}
# One host of a URL, with its port; Postgres takes several.
_HOST = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?", re.ASCII)
_URLS = {"redis": "Redis(url)", "rediss": "Redis(url)", "unix": "Redis(url)"}
_URLS |= {"postgresql": "AsyncPG(url)", "postgres": "AsyncPG(url)"}


def unknown_option(name: str, known: Collection[str]) -> str:
    """Say that there is no such option, and which one may have been meant.

    Args:
        name: What was given.
        known: The options that there are.
    """
    names = {"master_interface", "session_name", *known}
    meant = meant_by(name, names)
    if meant is not None:
        return f"unknown option {name!r}: did you mean {meant!r}?"
    more = "" if "auth_key" in known else "; AuthSession has more, for logins"
    return f"unknown option {name!r}; known are {', '.join(sorted(names))}{more}"


def meant_by(name: str, known: Collection[str]) -> str | None:
    """Return the option that was probably meant; None if that is anybody's guess.

    Args:
        name: What was given.
        known: The options that there are.
    """
    if _ELSEWHERE.get(name) in known:
        return _ELSEWHERE[name]
    return next(iter(get_close_matches(name, sorted(known), 1, _CLOSE)), None)


def no_interface(given: object) -> str:
    """Say why `given` is no interface, and what would be; nothing of a URL is repeated."""
    if isinstance(given, type):
        return f"{given.__name__} is a class: give an object of it, such as {given.__name__}(...)"
    if isinstance(given, str):
        made = _URLS.get(given.partition(":")[0], "Redis(url) or AsyncPG(url)")
        return f"a str is no interface: give {made}"
    kind = type(given)
    package = kind.__module__.partition(".")[0]
    if package in _WRAPPERS:
        return f"{kind.__name__} of {kind.__module__} is no interface: give {_WRAPPERS[package]}"
    missing = [name for name in _PARTS if not hasattr(given, name)]
    return f"{kind.__name__} is no interface: it lacks {', '.join(missing)}"


def unreadable_url(url: str) -> str | None:
    """Say that no driver can read a URL, and what it may be; None if one can.

    Drivers would say so when the server starts, and repeat what they take for a port: it is the
    beginning of a password.

    Args:
        url: With a scheme.
    """
    hosts = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    if "#" not in url and all(map(_HOST.fullmatch, hosts.split(","))):
        return None
    return (
        "a URL whose host or port cannot be read: in a password '/', '?' and '#' are written "
        "'%2F', '%3F' and '%23'"
    )
