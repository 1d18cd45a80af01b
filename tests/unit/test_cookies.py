"""Cookies: read by exact name from raw bytes, written as one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanic_cookies import cookies as cookies_module
from sanic_cookies.cookies import (
    HOST,
    MAX_AGE_LIMIT,
    PREFIXES,
    REMEMBERED,
    REMEMBERED_LENGTH,
    SECURE,
    CookieSpec,
    SetCookie,
    cookie_name_of,
    sizes_in_head,
    sizes_in_headers,
    values_in_head,
    values_in_headers,
)
from sanic_cookies.errors import SessionConfigError

NAME = "__Host-session"
SPEC = CookieSpec("session", HOST)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET / HTTP/1.1", b"Host: shop.example", *lines])


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ([], []),
        ([b"Cookie: other=1"], []),
        ([b"Cookie: __Host-session=v"], ["v"]),
        ([b"cookie:__Host-session=v"], ["v"]),
        ([b"COOKIE:\t __Host-session=v \t"], ["v"]),
        ([b"Cookie: a=1; __Host-session=v; b=2"], ["v"]),
        ([b"Cookie: a=1;__Host-session=v;b=2"], ["v"]),
        ([b"Cookie: __Host-session=a=b=="], ["a=b=="]),
        ([b'Cookie: __Host-session="v"'], ['"v"']),
        ([b"Cookie: __Host-session=\x0bv\x0c"], ["\x0bv\x0c"]),
        ([b"Cookie: __Host-session="], [""]),
        ([b"Cookie: __Host-session"], [""]),
        ([b"Cookie: __Host-session; __Host-session; a=1"], ["", ""]),
        ([b"Cookie: __Host-session \t=v"], ["v"]),
        ([b"Cookie: ;;; =x; __Host-session=v;"], ["v"]),
        ([b"Cookie: __Host-session=a; __Host-session=b"], ["a", "b"]),
        ([b"Cookie: __Host-session=a", b"X: y", b"Cookie: __Host-session=b"], ["a", "b"]),
        ([b"Cookie: a=1", b"Cookie: __Host-session=v"], ["v"]),
        ([b"Cookie: __Host-session=\xff\xfe"], ["\xff\xfe"]),
        # A bare CR or LF ends no line, so it hides nothing and cuts nothing off.
        ([b"Cookie: a=\rb; c=\rd; __Host-session=v"], ["v"]),
        ([b"Cookie: __Host-session=v\nx"], ["v\nx"]),
        ([b"Cookie: a=1\n__Host-session=v"], []),
        ([b"Cookie: __Host-session\n"], []),
        # Names that other parsers take for ours.
        ([b"Cookie: session=v"], []),
        ([b"Cookie: __host-session=v"], []),
        ([b"Cookie: __Secure-session=v"], []),
        ([b"Cookie: __Host-session2=v"], []),
        ([b"Cookie: x__Host-session=v"], []),
        ([b"Cookie: \xc2\x85__Host-session=v"], []),
        ([b"Cookie: \xe2\x80\x80__Host-session=v"], []),
        ([b"Cookie: \xa0__Host-session=v"], []),
        ([b"Cookie: \x0b__Host-session=v"], []),
        ([b"Cookie: __Host-session\x0c=v"], []),
        ([b'Cookie: "__Host-session"=v'], []),
        ([b"Cookie: =__Host-session=v"], []),
        ([b"Cookie: a=__Host-session=v"], []),
        ([b"Cookie: __Host%2Dsession=v"], []),
        ([b"Cookie: a=1, __Host-session=v"], []),
        # Headers that are no Cookie headers.
        ([b"X-Cookie: __Host-session=v"], []),
        ([b"Cookie : __Host-session=v"], []),
        ([b"Cookies: __Host-session=v"], []),
        ([b"X: \ncookie: __Host-session=v"], []),
    ],
)
def test_a_cookie_is_ours_if_its_name_is_ours_byte_for_byte(
    lines: list[bytes], values: list[str]
) -> None:
    """The exact name counts, over all Cookie headers; no white space but blank and tab is cut."""
    assert values == values_in_head(head(*lines), NAME)


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        ([], []),
        (["a=1; __Host-session=v", "__Host-session=w"], ["v", "w"]),
        (["\x85__Host-session=v"], []),
        (["\u2000__Host-session=v"], []),
        (["__Host-session=\udcff"], ["\xff"]),
        (["__Host-session=ü"], ["\xc3\xbc"]),
    ],
)
def test_headers_of_another_server_are_read_by_the_same_rule(
    headers: list[str], values: list[str]
) -> None:
    """Where there is no raw head, header values are parsed alike and nothing in them raises."""
    assert values == values_in_headers(headers, NAME)


@given(st.binary(max_size=80))
def test_no_bytes_of_a_client_raise(line: bytes) -> None:
    """Whatever bytes a Cookie header holds, reading it gives a list of strings."""
    found = values_in_head(head(b"Cookie: " + line, b"Cookie: __Host-session=v"), NAME)

    assert found[-1] == "v"


def test_a_header_that_comes_again_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser sends the same cookies with each request: they are searched once for each name."""
    searched: list[str] = []

    def counting(name: str) -> Callable[[bytes], list[bytes]]:
        searched.append(name)
        return finder(name)

    finder = cookies_module._finder
    monkeypatch.setattr(cookies_module, "_finder", counting)
    raw = head(b"Cookie: again=1; other=2")

    assert [values_in_head(raw, n) for n in ("again", "again", "other")] == [["1"], ["1"], ["2"]]
    assert searched == ["again", "other"]


def test_a_process_remembers_a_bounded_number_of_headers() -> None:
    """However many headers come, no more than the last are kept, and of long ones none."""
    for n in range(REMEMBERED + 10):
        assert values_in_head(head(b"Cookie: a=%d" % n), "a") == [str(n)]
    before = cookies_module._remembered.cache_info()
    long = b"x" * REMEMBERED_LENGTH

    assert values_in_head(head(b"Cookie: a=" + long), "a") == [long.decode()]
    assert cookies_module._remembered.cache_info() == before
    assert before.currsize == REMEMBERED


PLAIN = st.text("abcXYZ019-_.~!", min_size=1, max_size=6)


@given(st.lists(st.tuples(PLAIN, PLAIN), max_size=6), PLAIN)
def test_what_a_browser_sends_is_found(pairs: list[tuple[str, str]], wanted: str) -> None:
    """Of well-formed cookies exactly those of the name are returned, in their order."""
    line = "; ".join(f"{name}={value}" for name, value in pairs)

    expected = [value for name, value in pairs if name == wanted]
    assert expected == values_in_head(head(b"Cookie: " + line.encode()), wanted)


@pytest.mark.parametrize(
    ("spec", "secure", "max_age", "line"),
    [
        (
            SPEC,
            True,
            60,
            "__Host-session=v; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax",
        ),
        (SPEC, True, None, "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (SPEC, False, None, "session=v; Path=/; HttpOnly; SameSite=Lax"),
        (
            CookieSpec("s", SECURE, path="/shop", domain="example.com", samesite="Strict"),
            True,
            5,
            "__Secure-s=v; Path=/shop; Domain=example.com; Max-Age=5; Secure; HttpOnly; "
            "SameSite=Strict",
        ),
        (
            CookieSpec("s", "", httponly=False, samesite="None", secure=True, partitioned=True),
            True,
            None,
            "s=v; Path=/; Secure; SameSite=None; Partitioned",
        ),
        (
            CookieSpec("s", "", samesite="None", partitioned=True),
            False,
            None,
            "s=v; Path=/; HttpOnly; SameSite=Lax",  # the others are nothing without Secure
        ),
    ],
)
def test_the_line_that_sets_a_cookie(
    spec: CookieSpec, secure: bool, max_age: int | None, line: str
) -> None:
    """Every attribute stands in the line, Max-Age only if it is to outlive the browser."""
    assert line == spec.render("v", max_age, secure)


def test_a_removal_repeats_every_attribute() -> None:
    """The line that removes a cookie differs in value and age only, or browsers keep the cookie."""
    spec = CookieSpec("s", SECURE, path="/shop", domain="example.com", samesite="Strict")
    kept = spec.render("v", 60, True)

    assert kept.replace("=v;", "=;").replace("=60", "=0") == spec.render("", None, True)


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("max_age", [None, 0, 60])
@pytest.mark.parametrize("value", ["", "v"])
def test_expires_is_never_sent(value: str, max_age: int | None, secure: bool) -> None:
    """Max-Age alone says how long: the clocks of browsers are wrong."""
    assert "expires" not in SPEC.render(value, max_age, secure).lower()


def test_the_age_is_capped_as_browsers_cap_it() -> None:
    """No cookie claims to live longer than 400 days."""
    assert f"Max-Age={MAX_AGE_LIMIT};" in SPEC.render("v", 10**9, True)
    assert MAX_AGE_LIMIT == 400 * 24 * 3600


def test_a_suffix_joins_the_name() -> None:
    """A second cookie of the same session has the name with a suffix."""
    line = SPEC.render("v", None, True, ".2")

    assert line.startswith("__Host-session.2=v;")
    assert line.key == "__Host-session.2"


def test_a_line_answers_what_sanic_asks_of_a_cookie() -> None:
    """Sanic's own cookie jar looks through the lines as if they were its objects."""
    spec = CookieSpec("s", SECURE, path="/shop", domain="example.com")
    line = spec.render("v", 60, True)

    assert isinstance(line, SetCookie)
    assert (
        line.key,
        line.value,
        line.path,
        line.domain,
    ) == ("__Secure-s", "v", "/shop", "example.com")
    assert (
        line.max_age,
        line.secure,
        line.httponly,
        line.samesite,
        line.partitioned,
    ) == (60, True, True, "Lax", False)
    assert (line.expires, line.comment) == (None, None)
    shared = CookieSpec("s", "", samesite="None")
    assert [shared.render("v", 60, secure).samesite for secure in (True, False)] == ["None", "Lax"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "cookie_name"),
        ({"name": "a b"}, "cookie_name"),
        ({"name": "a=b"}, "cookie_name"),
        ({"name": "a;b"}, "cookie_name"),
        ({"name": "a\r\nX: y"}, "cookie_name"),
        ({"name": "a\n"}, "cookie_name"),
        ({"name": "sitzüng"}, "cookie_name"),
        *(({"name": f"{prefix}s"}, "cookie_name") for prefix in PREFIXES),
        ({"name": "__host-s"}, "cookie_name"),
        ({"name": "__SECURE-s"}, "cookie_name"),
        ({"prefix": "__host-"}, "cookie_prefix"),
        ({"prefix": "X-"}, "cookie_prefix"),
        ({"path": ""}, "path"),
        ({"path": "shop"}, "path"),
        ({"path": "/a;b", "prefix": ""}, "path"),
        ({"path": "/a\r\nX: y", "prefix": ""}, "path"),
        ({"path": "/a\n", "prefix": ""}, "path"),
        ({"path": "/ä", "prefix": ""}, "path"),
        ({"domain": "", "prefix": ""}, "domain"),
        ({"domain": "a b", "prefix": ""}, "domain"),
        ({"domain": "a;b", "prefix": ""}, "domain"),
        ({"domain": "example.com\n", "prefix": ""}, "domain"),
        ({"domain": "https://example.com", "prefix": ""}, "domain"),
        ({"samesite": "lax"}, "^samesite must be 'Lax', 'Strict' or 'None'$"),
        ({"samesite": ""}, "^samesite must be 'Lax', 'Strict' or 'None'$"),
        # Contradictions.
        ({"prefix": HOST, "path": "/shop"}, "__Host- needs path"),
        ({"prefix": HOST, "domain": "example.com"}, "__Host- needs path"),
        ({"prefix": "__Host-Http-", "domain": "example.com"}, "__Host-Http- needs path"),
        ({"prefix": HOST, "secure": False}, "__Host- needs secure"),
        ({"prefix": SECURE, "secure": False}, "__Secure- needs secure"),
        ({"prefix": "__Http-", "httponly": False}, "__Http- needs httponly"),
        ({"prefix": "__Host-Http-", "httponly": False}, "__Host-Http- needs httponly"),
        (
            {"prefix": "", "samesite": "None", "secure": False},
            "^samesite='None' needs secure=True$",
        ),
        ({"partitioned": True}, "^partitioned=True needs samesite='None' and secure=True$"),
    ],
)
def test_what_browsers_would_refuse_is_refused_at_construction(
    options: dict[str, Any], message: str
) -> None:
    """A cookie that no browser would keep, or that holds a header of its own, is never made."""
    with pytest.raises(SessionConfigError, match=message):
        CookieSpec(**{"name": "session", "prefix": HOST, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"samesite": "None", "secure": True},
        {"samesite": "None", "secure": "auto"},
        {"samesite": "None", "secure": True, "partitioned": True},
        {"samesite": "None", "secure": "auto", "partitioned": True},
        {"samesite": "Lax", "secure": False, "prefix": ""},
        {"samesite": "Strict", "secure": True},
    ],
    ids=str,
)
def test_what_browsers_would_keep_is_taken(options: dict[str, Any]) -> None:
    """Nothing is refused that makes sense together."""
    spec = CookieSpec(**{"name": "session", "prefix": HOST, **options})

    assert (spec.samesite, spec.secure) == (options["samesite"], options["secure"])


@pytest.mark.parametrize(
    ("lines", "sizes"),
    [
        ([], {}),
        ([b"Cookie: a=1"], {"a": 5}),
        ([b"Cookie: a=1; bb=22;c=;d"], {"a": 5, "bb": 7, "c": 4, "d": 3}),
        ([b"Cookie:  a=1 ;\t a=22 "], {"a": 11}),
        ([b"Cookie: a=1", b"X: y", b"cookie: a=1; b=1"], {"a": 10, "b": 5}),
        ([b"Cookie: a=1=2=3"], {"a": 9}),
        ([b"Cookie: \x0ba=\x0c"], {"\x0ba": 6}),
        ([b"Cookie: \xe4=\xff\xfe"], {"\xe4": 6}),
        ([b"X-Cookie: a=1"], {}),
    ],
)
def test_the_bytes_that_cookies_take(lines: list[bytes], sizes: dict[str, int]) -> None:
    """Each counts with its name, its signs and what separates it from the next."""
    assert sizes_in_head(head(*lines)) == sizes
    values = [line.partition(b":")[2] for line in lines if line.lower().startswith(b"cookie:")]
    texts = [value.decode("utf-8", "surrogateescape") for value in values]
    assert sizes_in_headers(texts) == sizes
    assert sizes_in_headers(iter(texts)) == sizes


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
def test_every_prefix_is_used_over_https_only(prefix: str) -> None:
    """The prefix needs `Secure`, so without it the plain name is used."""
    spec = CookieSpec("s", prefix)

    assert f"{prefix}s" == spec.full_name(True)
    assert spec.full_name(False) == "s"


@pytest.mark.parametrize("domain", ["example.com", ".example.com", "localhost", "a-b.c", "x"])
def test_domains_that_can_be(domain: str) -> None:
    """A host name, with or without a leading dot, is a domain."""
    assert f"Domain={domain};" in CookieSpec("s", SECURE, domain=domain).render("v", None, True)


class Foreign:
    """A cookie object as Sanic has it."""

    key = "theirs"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (SPEC.render("v", None, True), NAME),
        (Foreign(), "theirs"),
        ("raw=1; Path=/", "raw"),
        (" raw =1", "raw"),
        ("raw", "raw"),
        ("", ""),
    ],
)
def test_the_name_in_anybodys_set_cookie(line: object, name: str) -> None:
    """Lines of ours, cookie objects and raw strings all tell their name."""
    assert name == cookie_name_of(line)
