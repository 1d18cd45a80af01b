"""Every option of a session: its name, its default, and what contradicts what; checked once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any, Literal, TypedDict

from .codec import Codec, JSONCodec
from .cookies import HOST, SECURE, CookieSpec
from .errors import SessionConfigError
from .expiry import Policy
from .options import Options, Seconds
from .record import Limit

DAY = 24 * 3600.0

_NAME = re.compile(r"[a-z_][a-z0-9_]*")


class SessionOptions(TypedDict, total=False):
    """Keywords of `Session`; what is left out has the default named here.

    Attributes:
        session_name: Attribute on `request.ctx` and `app.ctx`, part of every key ("session").
        cookie_name: Cookie's name without prefix (the session's name).
        cookie_prefix: `__Host-`, `__Secure-`, `__Host-Http-`, "" for none; by default the
            strictest that domain and path allow (ASVS 5.0, 3.3.1 and 3.3.3).
        domain: Cookie's domain (None: this host only).
        path: Cookie's path ("/").
        secure: True, False, or "auto" (default): not for plain http on a loopback host.
        httponly: Hide the cookie from scripts (True; ASVS 5.0, 3.3.4).
        samesite: "Lax" (default), "Strict" or "None".
        partitioned: CHIPS (False).
        session_cookie: The cookie ends with the browser (Session: False, AuthSession: True).
        expiry: Seconds of idle time (Session: 30 days, AuthSession: 1 hour).
        absolute_timeout: Seconds from creation or login to the end (Session: None, AuthSession:
            24 hours, NIST SP 800-63B-4 AAL2).
        warn_lock: Warn when the session is used without its lock (True).
        preload: Read the session before the handler if the request has its cookie (True).
        lock_timeout: Seconds to wait for the lock (10).
        lease: Seconds that the lock survives a dead holder in the store (10).
        max_hold: Seconds after which a hold ends whatever its owner does (60).
        max_waiters: Requests of one session that may wait in one process (16).
        store_timeout: Seconds for one call to the store (2); a request spends at most 5.
        max_bytes: Largest payload of one session (65,536).
        codec: How content becomes bytes (strict JSON).
        store_factory: Subclass of `SessionDict` to hand to handlers.
        save_every_request: Write at every request that has a session, but for static files (False).
        renew_every: Seconds after which the token's secret is renewed by itself (None: never).
        rotation_grace: Seconds in which a request with the former token is recognised (15).
        on_interface_error: What a failing added interface does: "log" (default) or "raise".
        clock: Epoch seconds; injected by tests.
    """

    session_name: str
    cookie_name: str
    cookie_prefix: str | None
    domain: str | None
    path: str
    secure: bool | Literal["auto"]
    httponly: bool
    samesite: str
    partitioned: bool
    session_cookie: bool
    expiry: Seconds | None
    absolute_timeout: Seconds | None
    warn_lock: bool
    preload: bool
    lock_timeout: Seconds
    lease: Seconds
    max_hold: Seconds
    max_waiters: int
    store_timeout: Seconds
    max_bytes: int
    codec: Codec
    store_factory: type[Any]
    save_every_request: bool
    renew_every: Seconds | None
    rotation_grace: Seconds
    on_interface_error: Literal["log", "raise"]
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one session, checked; the fields are those of `SessionOptions`.

    Attributes:
        reserve: Seconds of a request's budget that only the end of a block may spend: so no block
            begins that could not be saved, and no request goes on for ever by beginning one block
            after the other.
    """

    name: str
    cookie: CookieSpec
    policy: Policy
    warn_lock: bool = True
    preload: bool = True
    lock_timeout: float = 10.0
    lease: float = 10.0
    max_hold: float = 60.0
    max_waiters: int = 16
    store_timeout: float = 2.0
    request_timeout: float = 5.0
    max_bytes: int = 64 * 1024
    codec: Codec = field(default_factory=JSONCodec)
    store_factory: type[Any] | None = None
    save_every_request: bool = False
    renew_every: float | None = None
    rotation_grace: float = 15.0
    on_interface_error: Literal["log", "raise"] = "log"
    clock: Callable[[], float] = time.time
    auth_key: str | None = None
    user_key: Callable[[Any], str | None] | None = None
    limit: Limit | None = None
    reserve: float = field(init=False)

    def __post_init__(self) -> None:
        """Keep the time of one call for the end of a block, or what there is of it."""
        reserve = max(0.0, min(self.store_timeout, self.request_timeout - self.store_timeout))
        object.__setattr__(self, "reserve", reserve)


def build(options: Options, name: object, defaults: Policy, auth: Mapping[str, Any]) -> Settings:
    """Return checked settings.

    Args:
        options: What was given.
        name: Name of the session.
        defaults: Lifetimes where none was given.
        auth: Settings of an `AuthSession`: `auth_key`, `user_key` and `limit`.

    Raises:
        SessionConfigError: An option has the wrong type, or two contradict each other.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or iskeyword(name):
        raise SessionConfigError(f"session_name={name!r} must be a lower case identifier")
    given = {
        each: options.raw(each) for each in ("codec", "store_factory", "clock") if options.has(each)
    }
    if "codec" in given and not isinstance(given["codec"], Codec):
        raise SessionConfigError("codec must have encode() and decode()")
    if "clock" in given and not callable(given["clock"]):
        raise SessionConfigError("clock must be callable")
    on_error = options.raw("on_interface_error", "log")
    if on_error not in ("log", "raise"):
        raise SessionConfigError("on_interface_error must be 'log' or 'raise'")
    settings = Settings(
        name=name,
        cookie=_cookie(options, name),
        policy=_policy(options, defaults),
        warn_lock=options.flag("warn_lock", True),
        preload=options.flag("preload", True),
        lock_timeout=options.seconds("lock_timeout", 10.0),
        lease=options.seconds("lease", 10.0),
        max_hold=options.seconds("max_hold", 60.0),
        max_waiters=options.number("max_waiters", 16),
        store_timeout=options.seconds("store_timeout", 2.0),
        max_bytes=options.number("max_bytes", 64 * 1024),
        save_every_request=options.flag("save_every_request", False),
        renew_every=options.optional_seconds("renew_every", None),
        rotation_grace=options.seconds("rotation_grace", 15.0, zero=True),
        on_interface_error=on_error,
        **auth,
        **given,
    )
    if settings.lease > settings.max_hold:
        raise SessionConfigError("lease must not be longer than max_hold")
    return settings


def _cookie(options: Options, name: str) -> CookieSpec:
    path, domain = options.text("path", "/"), options.optional_text("domain")
    secure = options.raw("secure", "auto")
    if not isinstance(secure, bool) and secure != "auto":
        raise SessionConfigError("secure must be True, False or 'auto'")
    partitioned = options.flag("partitioned", False)
    samesite = options.text("samesite", "None" if partitioned else "Lax")
    return CookieSpec(
        name=options.text("cookie_name", name),
        prefix=_prefix(options, secure, path, domain),
        path=path,
        domain=domain,
        secure=secure,
        httponly=options.flag("httponly", True),
        samesite=samesite.capitalize(),
        partitioned=partitioned,
    )


def _prefix(options: Options, secure: object, path: str, domain: str | None) -> str:
    if options.has("cookie_prefix"):
        return options.optional_text("cookie_prefix") or ""
    if secure is False:
        return ""
    return HOST if path == "/" and domain is None else SECURE


def _policy(options: Options, defaults: Policy) -> Policy:
    idle = options.optional_seconds("expiry", defaults.idle)
    absolute = options.optional_seconds("absolute_timeout", defaults.absolute)
    if idle is None and absolute is None:
        raise SessionConfigError("expiry=None needs an absolute_timeout: sessions must end")
    both = options.has("expiry") and options.has("absolute_timeout")
    if idle is not None and absolute is not None and idle > absolute and both:
        raise SessionConfigError("expiry (idle) must not be longer than absolute_timeout")
    renew_every = options.optional_seconds("renew_every", None)
    if renew_every is not None and idle is not None and renew_every > idle:
        raise SessionConfigError("renew_every must not be longer than expiry")
    return Policy(idle, absolute, not options.flag("session_cookie", not defaults.persistent))
