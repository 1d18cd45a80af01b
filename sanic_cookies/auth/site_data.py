"""What a browser is asked to forget at logout: `Clear-Site-Data` (W3C Clear Site Data, section 3).

A logout ends the session on the server and removes its cookie; pages in the browser's cache and
what scripts have stored are still there for whoever sits down next (OWASP ASVS 5.0, 14.3.1).
"""

from __future__ import annotations

from collections.abc import Collection

from ..errors import SessionConfigError

ClearSiteData = bool | Collection[str]

# Not "cookies": that takes those of all hosts under the registered domain, of other applications
# too, and ours is removed anyway. Not "*", which means more with every version of a browser.
USUAL = ("cache", "storage")
KNOWN = frozenset(
    {
        "cache",
        "clientHints",
        "cookies",
        "executionContexts",
        "prefetchCache",
        "prerenderCache",
        "storage",
    }
)


def site_data(value: object, *, served: bool = False) -> tuple[str, ...]:
    """Return the types of data that `clear_site_data=value` names; none for False.

    Args:
        value: True for `USUAL`, or a collection of types.
        served: It is asked in a request, whose answer is not to tell of options.

    Raises:
        SessionConfigError: It is neither, or names a type that no browser knows.
    """
    if isinstance(value, bool):
        return USUAL if value else ()
    if isinstance(value, str) or not isinstance(value, Collection):
        wanted = 'clear_site_data must be True, False or a list such as ["cache"]'
        raise SessionConfigError(wanted, served=served)
    for each in value:
        if not isinstance(each, str) or each not in KNOWN:
            wanted = f"clear_site_data: {each!r} is not known; known are {sorted(KNOWN)}"
            raise SessionConfigError(wanted, served=served)
    return tuple(dict.fromkeys(value))
