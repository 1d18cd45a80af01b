"""One request as sessions see it: the cookies that came, and those to send.

The only place that looks into a Sanic request, and the only one that writes to a response. It does
no I/O and cannot fail on what a client sends.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Any, Protocol
from weakref import ref

from multidict import istr

from .cookies import (
    COOKIE_SIGNS,
    MAX_COOKIE_BYTES,
    CookieSpec,
    SetCookie,
    cookie_name_of,
    sizes_in_head,
    sizes_in_headers,
    values_in_head,
    values_in_headers,
)
from .headers import FixedText, HeaderName, HeaderText
from .interfaces.guard import Budget

# Addresses in full: "127.evil.example" is somebody else's name.
_LOOPBACK = re.compile(
    r"((?:[a-z0-9.-]+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?|::1",
    re.ASCII | re.IGNORECASE,
)
# Names of headers are `istr`: any other string is made lower case at each look into the headers.
_PROXY_HEADERS = tuple(
    map(istr, ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "via"))
)
# Settings of Sanic by which a request's scheme and host are not what the connection says.
_REWRITERS = ("SERVER_NAME", "REAL_IP_HEADER", "PROXIES_COUNT", "FORWARDED_SECRET")
_HOST, _COOKIE = istr("host"), istr("cookie")
_SET_COOKIE, _CACHE, _VARY = map(HeaderName, ("set-cookie", "cache-control", "vary"))
_CLEAR = HeaderName("clear-site-data")
# CDN-Cache-Control and what single makers call theirs, and what there was before it.
_TARGETED = ("-cache-control", "surrogate-control")
_BY_COOKIE, _NO_STORE = FixedText("Cookie"), FixedText("no-store")


@lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host) is not None


_MOST_HEAD = 16_384  # Sanic reads no longer head, whatever REQUEST_MAX_HEADER_SIZE says
_COOKIE_LINE = len("\r\nCookie: ") + 1  # and Sanic wants a head shorter than its limit
_REST_OF_HEAD = 2048  # of a browser's request: its address, referrer, and what it says of itself


def is_rewritten(app: Any) -> bool:
    """Say whether a setting of `app` makes a request's scheme or host another one."""
    return any(map(app.config.get, _REWRITERS))


class Response(Protocol):
    """What is needed of a response: any of Sanic's has it, streams included."""

    headers: Any


class _SiteData(HeaderText):
    """A header that was put there by us."""


class Exchange:
    """A request and the response that will answer it; shared by all sessions of the request.

    Attributes:
        accessed: Some session was looked at, so the response varies by cookie.
        begun: The response is on its way: no cookie can be set any more.
        budget: What the request may still wait for stores, whichever of its sessions asks.
        unsettled: Some session may have something to do before the response goes: mostly none has,
            and then none is asked.
        route: What the request is for; None as long as nobody knows.
        is_websocket: There will be no response that could carry a cookie.
    """

    __slots__ = (
        "_app",
        "_connection",
        "_head",
        "_headers",
        "_is_rewritten",
        "_outgoing",
        "_request",
        "_secure",
        "_unwanted",
        "accessed",
        "begun",
        "budget",
        "is_websocket",
        "route",
        "unsettled",
    )

    def __init__(self, request: Any, is_rewritten: bool | None = None) -> None:
        """Look at `request`; nothing is parsed before it is asked for.

        Args:
            request: The request.
            is_rewritten: What `is_rewritten` says of its app; None to ask.
        """
        # The request holds the exchange. If that held the request, both would wait for the garbage
        # collector, with all that hangs on them: so what is needed is taken over, and no more.
        self._request = ref(request)
        self._app = request.app
        self._head, self._headers = request.head, request.headers
        self._is_rewritten = is_rewritten
        self._outgoing: dict[str, SetCookie] | None = None
        self._secure: bool | None = None
        self._unwanted: tuple[str, ...] = ()
        self.accessed = self.begun = self.is_websocket = self.unsettled = False
        self.budget: Budget | None = None
        self.meet(request)

    def meet(self, request: Any) -> None:
        """See how the request came and what it is for; a tracer may look before either is known."""
        self._connection, self.route = request.conn_info, (route := request.route)
        if route is not None and route.extra.websocket:
            self.is_websocket = self.begun = True

    @property
    def label(self) -> str:
        """Name of the route, for those who wait for its lock."""
        named = self.route or self._request()
        return "" if named is None else str(named.name or "")

    @property
    def is_static(self) -> bool:
        """Whether it is for a file."""
        return self.route is not None and bool(self.route.extra.static)

    def goes_secure(self, spec: CookieSpec) -> bool:
        """Say whether `spec`'s cookie is `Secure` in this exchange."""
        if spec.secure != "auto":
            return spec.secure
        if self._secure is None:
            self._secure = self._seems_secure()
        return self._secure

    def _seems_secure(self) -> bool:
        """Say whether cookies may be `Secure`: but on plain http to this very machine they may.

        A proxy in front hides the browser's own connection, so its traces count as secure.
        """
        headers = self._headers
        if self._is_rewritten is None:
            self._is_rewritten = is_rewritten(self._app)
        if self._is_rewritten:
            # Once the request is gone nobody knows, so it is taken for what most are.
            request = self._request()
            if request is None or request.scheme not in ("http", "ws"):
                return True
            host = request.host
        else:
            # What `scheme` and `host` would say, without their search for proxies.
            if self._connection is not None and self._connection.ssl:
                return True
            host = headers.get(_HOST, "")
        if not _is_loopback(host):
            return True
        for name in _PROXY_HEADERS:  # noqa: SIM110 - any() would make a generator
            if name in headers:
                return True
        return False

    def received(self, spec: CookieSpec, suffix: str = "") -> list[str]:
        """Return each value that came under exactly the name of `spec`."""
        name = spec.full_name(self.goes_secure(spec)) + suffix
        head = self._head
        # ASGI and HTTP/3 have no raw head; there the headers are as the server passed them on.
        if head:
            return values_in_head(head, name)
        return values_in_headers(self._cookie_headers(), name)

    def _cookie_headers(self) -> Iterable[str]:
        headers: Iterable[str] = self._headers.getall(_COOKIE, ())
        return headers

    def room(self, spec: CookieSpec, suffix: str = "") -> int:
        """Return how many bytes name and value of a cookie may have.

        What the browser sends with its next request must fit into the head that Sanic reads: to a
        longer one it answers 413, and then nobody could even log out. That head is taken to be as
        long as this one, but for the cookies that change, and not shorter than browsers make it. A
        cookie may always be as long as the one that came.

        Args:
            spec: The session's cookie.
            suffix: Added to its name.
        """
        head, outgoing = self._head or b"", list((self._outgoing or {}).values())
        most: int = min(self._app.config.REQUEST_MAX_HEADER_SIZE, _MOST_HEAD)
        most -= _COOKIE_LINE
        if head and len(head) + _REST_OF_HEAD + sum(map(len, outgoing)) + MAX_COOKIE_BYTES < most:
            return MAX_COOKIE_BYTES  # mostly there is room enough, and nothing to be counted
        name = spec.full_name(self.goes_secure(spec)) + suffix
        sizes = sizes_in_head(head) if head else sizes_in_headers(self._cookie_headers())
        rest = max(len(head) - sum(sizes.values()), _REST_OF_HEAD)
        before = sizes.get(name, 0)
        for line in outgoing:
            sizes[line.key] = len(line.key) + len(line.value) + COOKIE_SIGNS if line.value else 0
        sizes.pop(name, None)
        return max(most - rest - sum(sizes.values()), before, COOKIE_SIGNS) - COOKIE_SIGNS

    def send(self, spec: CookieSpec, value: str, max_age: int | None, suffix: str = "") -> None:
        """Set a cookie with the response; the last word for a name counts.

        Args:
            spec: The session's cookie.
            value: Its value; "" removes it.
            max_age: Seconds to keep it; None until the browser closes.
            suffix: Added to the name.
        """
        if self._outgoing is None:
            self._outgoing = {}
        line = spec.render(value, max_age, self.goes_secure(spec), suffix)
        self._outgoing[line.key] = line

    def withdraw(self, spec: CookieSpec, suffix: str = "") -> None:
        """Set no cookie for `spec`, `suffix` added to its name, after all; removals are sent."""
        outgoing, name = self._outgoing or {}, spec.full_name(self.goes_secure(spec)) + suffix
        if name in outgoing and outgoing[name].value:
            del outgoing[name]

    def forget_site_data(self, spec: CookieSpec, types: tuple[str, ...]) -> None:
        """Ask the browser to drop what it keeps of this site, with the response.

        Not where browsers would not listen: they do over https, and on loopback hosts (W3C Clear
        Site Data, section 4.1; Secure Contexts, section 3.1). Nor for a request without `spec`'s
        cookie: a foreign page that sends somebody to a logout must not clear anything by that.

        Args:
            spec: The session's cookie.
            types: Such as "cache"; none for nothing.
        """
        if types and self._is_trustworthy(spec) and self.received(spec):
            self._unwanted = (*self._unwanted, *types)

    def _is_trustworthy(self, spec: CookieSpec) -> bool:
        request = self._request()
        if spec.secure is not False or (request and request.scheme in ("https", "wss")):
            return True
        return request is not None and _is_loopback(request.host)

    def write_to(self, response: Response) -> None:
        """Put cookies and cache headers onto `response`; doing it twice changes nothing.

        A response object may be shared by requests and still carry another one's cookies: every
        line of ours is dropped first, or one user's session would go to another.
        """
        headers, outgoing = response.headers, self._outgoing or {}
        if headers:  # most have none yet, and then there is nothing to look for
            if _SET_COOKIE in headers:
                _keep_foreign(headers, outgoing)
            if _CLEAR in headers:
                _drop_our_site_data(headers)
        if self.accessed:
            _vary_by_cookie(headers)
        if self._unwanted:
            _clear_site_data(headers, self._unwanted, any(each.value for each in outgoing.values()))
        if not outgoing:
            return
        for line in outgoing.values():
            headers.add(_SET_COOKIE, line)
        # A cached Set-Cookie hands one user's session to the next (CVE-2026-35192 and others).
        if _NO_STORE not in headers.get(_CACHE, ""):
            headers[_CACHE] = _NO_STORE
        # To whom it is meant for, a targeted field goes before Cache-Control (RFC 9213).
        for name in [each for each in headers if each.lower().endswith(_TARGETED)]:
            if _NO_STORE not in headers[name]:
                headers[name] = _NO_STORE


def drop_ours(response: Any) -> None:
    """Take what is for one browser only off a response that is sent again, to another one."""
    headers = getattr(response, "headers", ())
    if _SET_COOKIE in headers:
        _keep_foreign(headers, ())
    if _CLEAR in headers:
        _drop_our_site_data(headers)


def _keep_foreign(headers: Any, replaced: Container[str]) -> None:
    """Drop each line of ours, and those that `replaced` names; keep the others as they are."""
    for line in headers.popall(_SET_COOKIE):
        if not isinstance(line, SetCookie) and cookie_name_of(line) not in replaced:
            headers.add(_SET_COOKIE, line)


def _vary_by_cookie(headers: Any) -> None:
    first = headers.get(_VARY)
    if first is _BY_COOKIE:
        return  # written by us before the app's own middlewares ran
    if first is None:
        headers.add(_VARY, _BY_COOKIE)
        return
    present = ", ".join(headers.getall(_VARY, ()))
    names = {name.strip().lower() for name in present.split(",")}
    if "cookie" not in names and "*" not in names:
        headers[_VARY] = f"{present}, Cookie" if present else "Cookie"


def _drop_our_site_data(headers: Any) -> None:
    """Take off what was put there for another request that was answered with the same response."""
    if isinstance(headers.get(_CLEAR), _SiteData):
        del headers[_CLEAR]


def _clear_site_data(headers: Any, types: tuple[str, ...], keeps_cookies: bool) -> None:
    """Name the types that are to go, unless the handler has; a cookie that is set now must stay."""
    named = [each for each in dict.fromkeys(types) if not (keeps_cookies and each == "cookies")]
    if named and _CLEAR not in headers:
        headers[_CLEAR] = _SiteData(", ".join(f'"{each}"' for each in named))
