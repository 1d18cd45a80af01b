"""Cookies, read from the raw header and written as one ready-made line.

Sanic's own parser strips Unicode white space from names and falls back between prefixed names, so
a sub-domain could forge `__Host-` through it ("Cookie Chaos", PortSwigger 2025). Here a name is
equal byte for byte or it is not ours. Nothing in this module knows of requests or responses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Literal

from .errors import SessionConfigError
from .headers import HeaderText

HOST = "__Host-"
SECURE = "__Secure-"
PREFIXES = ("__Host-Http-", HOST, "__Http-", SECURE)
MAX_COOKIE_BYTES = 4096  # name and value; browsers drop more (RFC 6265bis, section 5.7)
COOKIE_SIGNS = len("=; ")  # what a cookie takes in a request beside its name and value
MAX_AGE_LIMIT = 400 * 24 * 3600  # browsers cap the age there (RFC 6265bis, section 5.5)
REMEMBERED = 1024  # Cookie headers that a process has last seen, in two megabytes at most
REMEMBERED_LENGTH = 1024  # bytes of the longest of them

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+", re.ASCII)
_DOMAIN = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]*", re.ASCII)
# A line ends where the server ends it, at CR LF: what stands behind a bare CR is seen too.
_HEADER = re.compile(rb"\r\n(?i:cookie):([^\r]*(?:\r(?!\n)[^\r]*)*)")
_BLANK = b" \t"


class SetCookie(HeaderText):
    """A Set-Cookie line that Sanic's `response.cookies` can also look through.

    Sanic expects cookie objects there and fails on plain strings; these attributes are what its
    methods ask for.
    """

    __slots__ = ("key", "max_age", "secure", "spec", "value")

    spec: CookieSpec
    key: str
    value: str
    max_age: int | None
    secure: bool
    expires: None = None
    comment: None = None

    path = property(attrgetter("spec.path"))
    domain = property(attrgetter("spec.domain"))
    httponly = property(attrgetter("spec.httponly"))
    partitioned = property(attrgetter("spec.partitioned"))

    @property
    def samesite(self) -> str:
        """As it stands in the line."""
        return self.spec.same_site(self.secure)


@dataclass(frozen=True, slots=True, eq=False)  # a dict's key: to compare all fields takes longer
class CookieSpec:
    """How a session's cookie is written; validated when made.

    Attributes:
        name: The name without prefix.
        prefix: The prefix over https; none is used where a cookie goes without `Secure`.
        path: The path.
        domain: The domain; None for this host only.
        secure: True, False, or "auto": not for plain http on a loopback host.
        httponly: Hidden from scripts.
        samesite: "Lax", "Strict" or "None".
        partitioned: CHIPS.
    """

    name: str
    prefix: str
    path: str = "/"
    domain: str | None = None
    secure: bool | Literal["auto"] = "auto"
    httponly: bool = True
    samesite: str = "Lax"
    partitioned: bool = False

    def __post_init__(self) -> None:
        """Refuse what browsers would refuse (ASVS 5.0, 3.3.1 to 3.3.3), at construction."""
        self._require_well_formed()
        if self.prefix.startswith(HOST) and (self.path != "/" or self.domain is not None):
            raise SessionConfigError(f"{self.prefix} needs path='/' and no domain")
        if self.prefix and self.secure is False:
            raise SessionConfigError(f"{self.prefix} needs secure=True or secure='auto'")
        if "Http-" in self.prefix and not self.httponly:
            raise SessionConfigError(f"{self.prefix} needs httponly=True")
        if self.samesite == "None" and self.secure is False:
            raise SessionConfigError("samesite='None' needs secure=True")
        if self.partitioned and (self.samesite != "None" or self.secure is False):
            raise SessionConfigError("partitioned=True needs samesite='None' and secure=True")

    def _require_well_formed(self) -> None:
        # Browsers know the prefixes in any case (RFC 6265bis, section 5.7).
        prefixed = self.name.lower().startswith(tuple(map(str.lower, PREFIXES)))
        if not _NAME.fullmatch(self.name) or prefixed:
            raise SessionConfigError(
                f"cookie_name={self.name!r} must be a plain token; use cookie_prefix= for prefixes"
            )
        if self.prefix and self.prefix not in PREFIXES:
            raise SessionConfigError(f"cookie_prefix={self.prefix!r} is none of {PREFIXES}")
        if not _PATH.fullmatch(self.path):
            raise SessionConfigError(f"path={self.path!r} must begin with '/' and hold no ';'")
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            raise SessionConfigError(f"domain={self.domain!r} is not a domain name")
        if self.samesite not in ("Lax", "Strict", "None"):
            raise SessionConfigError("samesite must be 'Lax', 'Strict' or 'None'")

    def full_name(self, secure: bool) -> str:
        """Return the name as the browser knows it."""
        return self.prefix + self.name if secure else self.name

    def same_site(self, secure: bool) -> str:
        """Return SameSite; "None" without `Secure` would have browsers drop the cookie."""
        return "Lax" if self.samesite == "None" and not secure else self.samesite

    def render(self, value: str, max_age: int | None, secure: bool, suffix: str = "") -> SetCookie:
        """Return the Set-Cookie line; only Max-Age is ever sent, never Expires.

        Args:
            value: The value; "" removes the cookie, with every attribute repeated.
            max_age: Seconds to keep it; None for until the browser closes.
            secure: Whether this goes over a connection that may carry `Secure` cookies.
            suffix: Added to the name.
        """
        if value == "":
            max_age = 0
        name, before_age, after_age = _template(self, secure, suffix)
        age = "" if max_age is None else f"; Max-Age={min(max_age, MAX_AGE_LIMIT)}"
        line = SetCookie(f"{name}={value}{before_age}{age}{after_age}")
        line.spec, line.key, line.value = self, name, value
        line.max_age, line.secure = max_age, secure
        return line


@lru_cache(maxsize=64)
def _template(spec: CookieSpec, secure: bool, suffix: str) -> tuple[str, str, str]:
    """Return a cookie's name, and its attributes before and after Max-Age."""
    before = f"; Path={spec.path}" + (f"; Domain={spec.domain}" if spec.domain else "")
    after = [
        "; Secure" if secure else "",
        "; HttpOnly" if spec.httponly else "",
        f"; SameSite={spec.same_site(secure)}",
        "; Partitioned" if spec.partitioned and secure else "",
    ]
    return spec.full_name(secure) + suffix, before, "".join(after)


def values_in_head(head: bytes, name: str) -> list[str]:
    """Return each value of the cookie `name` in a raw HTTP/1 head, over all Cookie headers."""
    return _values(_HEADER.findall(head), name)


def sizes_in_head(head: bytes) -> dict[str, int]:
    """Return the bytes that each cookie takes in a raw HTTP/1 head."""
    return _sizes(_HEADER.findall(head))


def sizes_in_headers(headers: Iterable[str]) -> dict[str, int]:
    """Return the bytes that each cookie takes in Cookie header values (ASGI, HTTP/3)."""
    return _sizes([header.encode("utf-8", "surrogateescape") for header in headers])


def _sizes(headers: Iterable[bytes]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for header in headers:
        for pair in header.split(b";"):
            name = pair.partition(b"=")[0].strip(_BLANK).decode("latin-1")
            sizes[name] = sizes.get(name, 0) + len(pair.strip(_BLANK)) + len("; ")
    return sizes


def values_in_headers(headers: Iterable[str], name: str) -> list[str]:
    """Return each value of the cookie `name` in Cookie header values (ASGI, HTTP/3)."""
    return _values([header.encode("utf-8", "surrogateescape") for header in headers], name)


def _values(headers: Iterable[bytes], name: str) -> list[str]:
    values: list[str] = []
    for header in headers:
        values += (_remembered if len(header) <= REMEMBERED_LENGTH else _found)(header, name)
    return values


def _found(header: bytes, name: str) -> list[str]:
    return [value.strip(_BLANK).decode("latin-1") for value in _finder(name)(b";" + header)]


# A browser sends the same header with each request, with more in it than our cookie. How long the
# look takes says nothing of what others sent: it is for the whole header, by a hash with a key.
@lru_cache(maxsize=REMEMBERED)
def _remembered(header: bytes, name: str) -> tuple[str, ...]:
    return tuple(_found(header, name))


@lru_cache(maxsize=64)
def _finder(name: str) -> Callable[[bytes], list[bytes]]:
    """Return what finds the values of one cookie; its bare name, without "=", has an empty one.

    Each cookie is to begin with ";", the first too: so the search jumps from one to the next.
    """
    named = rb";[ \t]*" + re.escape(name.encode())
    return re.compile(named + rb"[ \t]*(?:=([^;]*)|(?=;|\Z))").findall


def cookie_name_of(line: object) -> str:
    """Return the name in a Set-Cookie header, whether a cookie object or a plain string."""
    key = getattr(line, "key", None)
    return key if isinstance(key, str) else str(line).partition("=")[0].strip()
