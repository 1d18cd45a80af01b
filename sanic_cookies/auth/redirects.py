"""Where a browser may be sent: paths of this site, whatever a client asks for (CWE-601)."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from sanic.exceptions import InvalidHeader
from sanic.request import Request
from sanic.response import HTTPResponse, redirect

from ..errors import SessionConfigError

MAX_PATH = 2048
_SAFE = ("GET", "HEAD")
_DECODINGS = 4  # what is encoded more often was made to hide something

# Printable ASCII without a backslash, which browsers read as a slash: what comes after a second
# slash at the beginning is a host to them.
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*", re.ASCII)
# What becomes "//host" if somebody between here and the browser decodes it or resolves the dots, as
# `new URL(next, location).pathname` does with "/a/..//host"; browsers themselves never send dots.
_HOSTLIKE = re.compile(r"//|.*/\.\.?(?:/|\Z)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def safe_next(request: Request, default: str = "/", name: str = "next") -> str:
    """Return where to send the browser after a login: a path of this site, never another site.

    It is read from the query or, if there is none, from the form (of a route that streams its body,
    once that has been read). An address of this very site is cut down to its path; all else gives
    `default`.

    Args:
        request: The request.
        default: What to return instead of nothing, and of what is refused.
        name: Name of the query argument or form field.

    Examples:
        >>> return redirect(safe_next(request))       # doctest: +SKIP
    """
    given = request.args.getlist(name, [])
    # A body that is still to come would be taken for an empty form for good.
    if not given and request.body and request.form is not None:
        given = request.form.getlist(name, [])
    # Two of them: whoever checks one may follow the other.
    path = _own_path(request, given[0]) if len(given) == 1 else None
    return default if path is None else path


def local_path(text: str) -> str | None:
    """Return `text` if every browser takes it for a path of the same site, else None."""
    if len(text) > MAX_PATH or not _PATH.fullmatch(text):
        return None
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    for _ in range(_DECODINGS):
        if _HOSTLIKE.match(path) or _CONTROL.search(path):
            return None
        decoded = unquote(path)
        if decoded == path:
            return text
        path = decoded
    return None


def require_login_url(name: str, url: object) -> str:
    """Return `url` if a login page can be there.

    Raises:
        SessionConfigError: It is no path of this site.
    """
    if not isinstance(url, str) or local_path(url) is None or "#" in url:
        raise SessionConfigError(
            f"{name} must be a path of this site, such as '/login'; to send browsers to another "
            "site use no_auth_handler"
        )
    return url


def to_login(request: Request, login_url: str) -> HTTPResponse:
    """Send the browser to the login page, which is told where it came from."""
    back, sign = _origin_of(request), "&" if "?" in login_url else "?"
    query = "" if back is None else f"{sign}next={quote(back)}"
    status = 302 if request.method in _SAFE else 303
    # A cache that kept it would send the user who has logged in meanwhile (ASVS 5.0, 14.3.2).
    return redirect(login_url + query, headers={"cache-control": "no-store"}, status=status)


def is_at(request: Request, url: str) -> bool:
    """Say whether `request` asks for the page at `url` already."""
    return bool(request.path.rstrip("/") == urlsplit(url).path.rstrip("/"))


def prefers_html(request: Request) -> bool:
    """Say whether a person waits for a page, as far as `Accept` tells; wildcards do not count."""
    try:
        best = request.accept.match("text/html", "application/json", accept_wildcards=False)
    except InvalidHeader:
        return False
    return bool(best.mime == "text/html" and best.header is not None and best.header.q > 0)


def _origin_of(request: Request) -> str | None:
    """Return the page to come back to; a form is not sent again, so the page that holds it."""
    if request.method in _SAFE:
        query = request.query_string
        return local_path(request.path + (f"?{query}" if query else ""))
    return _own_path(request, request.headers.get("referer", ""))


def _own_path(request: Request, text: str) -> str | None:
    for scheme in ("https", "http"):
        origin = f"{scheme}://{request.host}"
        if text.startswith(f"{origin}/"):
            return local_path(text.removeprefix(origin))
    return local_path(text)
