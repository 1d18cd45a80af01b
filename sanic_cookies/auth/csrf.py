"""Cross-site request forgery: requests that a foreign page makes in the user's name (ASVS 3.5.1).

Two defences, both about requests that may change something and carry our cookie:

- Where from. Browsers say which site made a request (Fetch Metadata, `Sec-Fetch-Site`), and older
  ones at least its origin (RFC 6454). Scripts cannot forge either. A request with neither was not
  made by a browser of this decade, so nobody's cookies were lent to it. The `Referer` is not asked:
  pages may suppress it, so to demand it refuses the honest, and its absence proves nothing.
- A token. A page of ours carries it, a foreign page cannot read it. It is derived from a random
  that stands in the session's record, so it ends with the session and is replaced by each login.
  It looks different in each response, or compression would give it away (BREACH).

Websocket handshakes are unsafe although they are GET: no same-origin policy keeps a foreign page
from talking over them (cross-site websocket hijacking; ASVS 5.0, 4.4.2).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest, digest
from secrets import token_bytes, token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from sanic import Sanic
from sanic.request import Request

from ..content import CSRF_SEED
from ..errors import CsrfRefused, SessionConfigError
from ..runtime import suspicious
from ..session import Session
from ..session_dict import SessionDict
from ..wiring import Attached

FETCH_METADATA, TOKEN = "fetch-metadata", "token"
HEADER, FIELD = "x-csrf-token", "csrf_token"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, section 9.2.1
_OURS = frozenset({"same-origin", "none"})  # "none": the user, by bookmark or address bar
_PORTS = {"http": 80, "https": 443}
_SIZE = sha256().digest_size
_SHAPE = re.compile(r"[A-Za-z0-9_-]{86}", re.ASCII)  # 64 bytes

Origin = tuple[str, str, int]


class CsrfGuard:
    """What stands before the handlers of an app whose `AuthSession` has `csrf=`.

    Attributes:
        by_token: Whether a token is asked for, besides where a request comes from.
    """

    def __init__(self, session: Session, mode: object, origins: object) -> None:
        """Check the options.

        Args:
            session: Whose cookie is to be protected.
            mode: "fetch-metadata" or "token", which includes the former.
            origins: Other sites whose pages may make requests, such as "https://app.example".

        Raises:
            SessionConfigError: Another mode, or an origin that is none.
        """
        if mode not in (FETCH_METADATA, TOKEN):
            raise SessionConfigError("csrf must be None, 'fetch-metadata' or 'token'")
        self._session = session
        self._trusted = frozenset(_trusted(origins))
        self.by_token = mode == TOKEN

    async def __call__(self, request: Request) -> None:
        """Refuse a request that may be forged; called before its handler.

        A route with `ctx_csrf=False` is left alone, one with `ctx_csrf=True` is guarded even if no
        session comes with the request: a form to sign in, which has nothing to lose but can sign
        the user in as somebody else. One that names a session is guarded so by that alone: no form
        has the tokens of two.

        Raises:
            CsrfRefused: It comes from elsewhere, or without the token.
            SessionStoreError: The store failed, so the token cannot be judged.
        """
        route = request.route
        websocket = route is not None and bool(route.extra.websocket)
        if route is None or (request.method in _SAFE and not websocket):
            return
        demand, sess = _demand(route, self._session.name), self._session.of(request)
        if demand is False or (sess.presented is None and demand is not True):
            return
        if is_foreign(request, self._trusted):
            raise _refused(self._session, request, "a request from another site")
        if self.by_token and not websocket:  # no script can give a handshake a header
            await sess.load()
            if sess.sid is not None or demand is True:
                await require_token(self._session, request)


def require_known(app: Sanic[Any, Any], sessions: Iterable[Attached]) -> None:
    """See that the sessions that routes name for their guards have one.

    Where none has, as in tests that do without, there is nothing to see to.

    Args:
        app: The app.
        sessions: All of it.

    Raises:
        SessionConfigError: A route's `ctx_csrf` is no bool, and names no session with `csrf=`.
    """
    guarded = [one.name for one in sessions if any(isinstance(c, CsrfGuard) for c in one.checks)]
    for route in app.router.routes if guarded else ():
        said = getattr(route.ctx, "csrf", None)
        if said is not None and not isinstance(said, bool) and said not in guarded:
            raise SessionConfigError(
                f"ctx_csrf={said!r} of the route {route.name!r} must be True, False or the name of "
                f"an AuthSession with csrf=: there are {guarded}"
            )


def unheard(app: Sanic[Any, Any], sessions: Iterable[Attached]) -> list[str]:
    """Return a sentence if routes ask for a guard, `ctx_csrf`, and no session has one."""
    if any(isinstance(check, CsrfGuard) for each in sessions for check in each.checks):
        return []
    asking = [each.name for each in app.router.routes if getattr(each.ctx, "csrf", None)]
    return [f"ctx_csrf= of the route {asking[0]!r} guards nothing without csrf="] if asking else []


def _demand(route: Any, name: str) -> bool | None:
    """Return what a route says of the guard of the session `name`; None for nothing."""
    said = getattr(route.ctx, "csrf", None)
    return said if said is None or isinstance(said, bool) else bool(said == name)


def is_foreign(request: Request, trusted: Iterable[Origin] = ()) -> bool:
    """Say whether a browser made `request` for a page of another origin.

    The site of a sub-domain's neighbour is another one: `same-site` is refused, too, since any
    host under the same domain could be somebody else's, or taken over.

    Args:
        request: The request.
        trusted: Origins that count as ours.
    """
    sites = request.headers.getall("sec-fetch-site", ())
    origins = request.headers.getall("origin", ())
    if sites and _OURS.issuperset(sites):
        return False
    if not sites and not origins:
        return False
    origin = _origin(origins[0]) if len(origins) == 1 else None  # "null" is none, too
    if origin is not None and origin in trusted:
        return False
    return bool(sites) or origin != _own_origin(request)


async def make_token(sess: SessionDict) -> str:
    """Return a token for the pages of this session; a session without one begins now."""
    seed = await sess.kept(CSRF_SEED)
    if seed is None:
        async with sess:
            seed = await sess.kept(CSRF_SEED)
            if seed is None:
                seed = token_urlsafe(_SIZE)
                sess.keep(CSRF_SEED, seed)
    mask = token_bytes(_SIZE)
    return urlsafe_b64encode(mask + _xor(mask, _signature(seed))).rstrip(b"=").decode()


async def require_token(session: Session, request: Request) -> None:
    """Refuse a request that brings no token of its session, in a header or in a form.

    Raises:
        CsrfRefused: It is missing, malformed, of another session, or from before the login.
        SessionStoreError: The store failed.
    """
    seed = await session.of(request).kept(CSRF_SEED)
    given = _presented(request)
    if not isinstance(seed, str) or given is None or not _SHAPE.fullmatch(given):
        raise _refused(session, request, "a request without its token")
    raw = urlsafe_b64decode(given + "==")
    if not compare_digest(_xor(raw[:_SIZE], raw[_SIZE:]), _signature(seed)):
        raise _refused(session, request, "a request with a wrong token")


def _presented(request: Request) -> str | None:
    """Return the token that came; never from the URL, which is logged and sent on as referrer."""
    values = request.headers.getall(HEADER, ())
    if not values and request.body and request.form is not None:
        values = request.form.getlist(FIELD, [])
    return str(values[0]) if len(values) == 1 else None


def _refused(session: Session, request: Request, what: str) -> CsrfRefused:
    sid = session.of(request).sid or ""
    suspicious(session.runtime, f"{what} was refused", sid, route=str(request.name or ""))
    return CsrfRefused(what)


def _signature(seed: str) -> bytes:
    return digest(seed.encode(), b"sanic_cookies csrf", sha256)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _own_origin(request: Request) -> Origin:
    scheme = request.scheme.replace("ws", "http", 1)
    return scheme, request.server_name.strip("[]"), request.server_port


def _origin(text: str) -> Origin | None:
    """Read an origin (RFC 6454, section 6.2): scheme, host and port are compared, nothing else."""
    try:
        url = urlsplit(text)
        port = url.port or _PORTS.get(url.scheme, 0)
    except ValueError:
        return None
    if not url.hostname or port == 0 or url.path or url.query or url.fragment or url.username:
        return None
    return url.scheme, url.hostname, port


def _trusted(origins: object) -> list[Origin]:
    given = [origins] if isinstance(origins, str) else origins
    if not isinstance(given, list | tuple | set | frozenset):
        raise SessionConfigError("csrf_origins must be a list of origins")
    found = []
    for each in given:
        origin = _origin(each) if isinstance(each, str) and "*" not in each else None
        if origin is None:
            raise SessionConfigError(f"csrf_origins: {each!r} is not like 'https://app.example'")
        found.append(origin)
    return found
