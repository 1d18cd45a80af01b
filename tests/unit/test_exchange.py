"""A request and its response, as far as cookies and caches are concerned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sanic.compat import Header
from sanic.config import Config

from samples import Request, Response, a_route
from sanic_cookies.cookies import HOST, CookieSpec
from sanic_cookies.exchange import Exchange

SPEC = CookieSpec("session", HOST)
AUTH = CookieSpec("auth_session", HOST)


def written(exchange: Exchange, **headers: str) -> Header:
    """Return the headers of a response after `exchange` was written to it."""
    response = Response(Header({name.replace("_", "-"): v for name, v in headers.items()}))
    exchange.write_to(response)
    return response.headers


@pytest.mark.parametrize(
    ("host", "scheme", "secure"),
    [
        ("localhost", "http", False),
        ("LOCALHOST:8000", "http", False),
        ("127.0.0.1:8000", "http", False),
        ("127.1.2.3", "http", False),
        ("[::1]:8000", "http", False),
        ("[::1]", "http", False),
        ("::1", "http", False),
        ("shop.localhost:8000", "http", False),
        ("localhost", "ws", False),
        ("localhost", "https", True),
        ("localhost", "wss", True),
        ("127.0.0.1", "https", True),
        ("", "http", True),
        ("shop.example", "http", True),
        ("shop.example:80", "http", True),
        ("10.0.0.1", "http", True),
        ("0.0.0.0", "http", True),  # noqa: S104 - a name in a header, nothing is bound
        ("localhost.example", "http", True),
        ("notlocalhost", "http", True),
        ("127.evil.example", "http", True),
        ("127.0.0.1.evil.example", "http", True),
        ("[::2]:8000", "http", True),
        ("2001:db8::1", "http", True),
        ("localhost@evil.example", "http", True),
    ],
)
def test_cookies_are_secure_but_on_plain_http_to_this_very_machine(
    host: str, scheme: str, secure: bool
) -> None:
    """Only plain http to a loopback host goes without `Secure`; every other name needs it."""
    assert secure is Exchange(Request(host=host, scheme=scheme)).goes_secure(SPEC)


@pytest.mark.parametrize(
    "header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via"]
)
def test_behind_a_proxy_cookies_are_secure(header: str) -> None:
    """A proxy on this machine hides the browser's own connection, so its traces count."""
    request = Request(host="localhost", scheme="http", headers=Header({header: "x"}))

    assert Exchange(request).goes_secure(SPEC)


@pytest.mark.parametrize(
    ("secure", "host", "expected"),
    [
        ("auto", "localhost", False),
        ("auto", "shop.example", True),
        (True, "localhost", True),
        (False, "shop.example", False),
    ],
)
def test_the_option_overrides_what_the_connection_says(
    secure: Any, host: str, expected: bool
) -> None:
    """`secure=True` and `secure=False` hold whatever the connection is."""
    spec = CookieSpec("session", "", secure=secure)

    assert expected is Exchange(Request(host=host, scheme="http")).goes_secure(spec)


@pytest.mark.parametrize(
    ("request_", "values"),
    [
        (Request(head=b"GET / HTTP/1.1\r\nCookie: __Host-session=a; session=b"), ["a"]),
        (
            Request("localhost", "http", b"GET / HTTP/1.1\r\nCookie: __Host-session=a; session=b"),
            ["b"],
        ),
        (Request(headers=Header([("cookie", "__Host-session=a"), ("cookie", "x=1")])), ["a"]),
        (Request(), []),
        # The raw head is what counts where there is one.
        (
            Request(head=b"GET / HTTP/1.1\r\n", headers=Header({"cookie": "__Host-session=a"})),
            [],
        ),
    ],
)
def test_the_cookie_is_read_under_the_name_it_would_be_sent_with(
    request_: Request, values: list[str]
) -> None:
    """Over https only the prefixed name is ours, on a plain loopback only the bare one."""
    assert values == Exchange(request_).received(SPEC)


def test_a_second_cookie_is_read_by_its_suffix() -> None:
    """A suffix makes another name."""
    request = Request(head=b"GET / HTTP/1.1\r\nCookie: __Host-session=a; __Host-session.2=b")

    assert Exchange(request).received(SPEC, ".2") == ["b"]


@pytest.mark.parametrize(("route", "websocket"), [(a_route(), False), (a_route(True), True)])
def test_a_websocket_has_begun_its_response_before_its_handler(route: Any, websocket: bool) -> None:
    """A handshake leaves no response that could carry a cookie."""
    exchange = Exchange(Request(route=route))

    assert websocket is exchange.is_websocket
    assert websocket is exchange.begun


def test_a_request_without_route_is_served_as_any() -> None:
    """A 404 has no route and no name; both are no reason to fail."""
    exchange = Exchange(Request(route=None, name=None))

    assert not exchange.begun
    assert exchange.label == ""
    assert Exchange(Request()).label == "app.index"


def test_an_untouched_exchange_changes_no_header() -> None:
    """A route that never looked at a session answers as if there were none."""
    assert Header({"x": "y"}) == written(Exchange(Request()), x="y")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "Cookie"),
        ("", "Cookie"),
        ("Accept", "Accept, Cookie"),
        ("Cookie", "Cookie"),
        ("accept, COOKIE", "accept, COOKIE"),
        ("*", "*"),
        ("X-Cookie", "X-Cookie, Cookie"),
    ],
)
def test_looking_at_the_session_makes_the_response_vary(before: str | None, after: str) -> None:
    """`Vary: Cookie` is added once, beside what the handler set."""
    exchange = Exchange(Request())
    exchange.accessed = True
    headers = written(exchange, **({} if before is None else {"vary": before}))

    assert after == headers["vary"]
    assert "cache-control" not in headers


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "no-store"),
        ("public, max-age=60", "no-store"),
        ("private", "no-store"),
        ("no-store", "no-store"),
        ("private, no-store, max-age=0", "private, no-store, max-age=0"),
    ],
)
def test_a_response_that_sets_a_cookie_is_not_stored_by_caches(
    before: str | None, after: str
) -> None:
    """A Set-Cookie of ours adds `no-store` unless the handler said so already."""
    exchange = Exchange(Request())
    exchange.send(SPEC, "v", 60)
    headers = written(exchange, **({} if before is None else {"cache-control": before}))

    assert after == headers["cache-control"]


def test_the_last_word_for_a_name_is_the_only_one() -> None:
    """However often a cookie is set, one line of it goes out, with the last value."""
    exchange = Exchange(Request())
    for value in ("a", "", "b"):
        exchange.send(SPEC, value, None)
    exchange.send(AUTH, "c", None)

    assert [SPEC.render("b", None, True), AUTH.render("c", None, True)] == written(exchange).getall(
        "set-cookie"
    )


def test_writing_twice_changes_nothing() -> None:
    """A second pass over the same response leaves it as it is."""
    exchange, response = Exchange(Request()), Response(Header({"vary": "Accept"}))
    exchange.accessed = True
    exchange.send(SPEC, "v", 60)
    exchange.write_to(response)
    once = response.headers.copy()
    exchange.write_to(response)

    assert sorted(once.items()) == sorted(response.headers.items())


def test_a_withdrawn_cookie_is_not_sent() -> None:
    """What was set and taken back leaves no trace; taking back what was not set is harmless."""
    exchange = Exchange(Request())
    exchange.withdraw(SPEC)
    exchange.send(SPEC, "v", 60)
    exchange.withdraw(SPEC)
    exchange.withdraw(SPEC)

    assert Header() == written(exchange)


def test_a_shared_response_never_carries_another_requests_cookie() -> None:
    """One response object served to two browsers gives each its own cookie, or none."""
    response = Response(Header([("set-cookie", "theirs=1; Path=/")]))
    first, second, third = (Exchange(Request()) for _ in range(3))
    first.send(SPEC, "first", None)
    first.write_to(response)
    second.send(AUTH, "second", None)
    second.write_to(response)

    assert ["theirs=1; Path=/", AUTH.render("second", None, True)] == response.headers.getall(
        "set-cookie"
    )

    third.write_to(response)

    assert response.headers.getall("set-cookie") == ["theirs=1; Path=/"]


@pytest.mark.parametrize("theirs", ["__Host-session=forged", "__Host-session=; Max-Age=0"])
def test_a_raw_header_of_our_name_gives_way_to_ours(theirs: str) -> None:
    """Exactly one Set-Cookie of our name goes out, also when a handler wrote one itself."""
    exchange, response = Exchange(Request()), Response(Header([("set-cookie", theirs)]))
    exchange.send(SPEC, "ours", None)
    exchange.write_to(response)

    assert [SPEC.render("ours", None, True)] == response.headers.getall("set-cookie")


def with_limit(limit: int, *, head: bytes = b"", cookie: str = "") -> Exchange:
    """Return the exchange of a request to an app that reads heads of this length."""
    request = Request(head=head)
    request.app = SimpleNamespace(config=Config({"REQUEST_MAX_HEADER_SIZE": limit}))
    if cookie:
        request.headers["cookie"] = cookie
    return Exchange(request)


def a_head(*cookies: str, rest: int = 0) -> bytes:
    """Return a head with these cookies, and so many bytes of other things."""
    line = f"\r\nCookie: {'; '.join(cookies)}" if cookies else ""
    return f"GET /{'x' * rest} HTTP/1.1{line}".encode()


@pytest.mark.parametrize(
    ("limit", "head", "room"),
    [
        (8192, a_head(), 4096),
        (8192, a_head("a=1"), 4096),
        (4096, a_head(), 4096 - 11 - 2048 - 3),
        (4096, a_head("a=1"), 4096 - 11 - 2048 - 5 - 3),
        (4096, a_head(f"a={'1' * 995}"), 4096 - 11 - 2048 - 999 - 3),
        (4096, a_head(f"a={'1' * 995}", "__Host-session=old"), 4096 - 11 - 2048 - 999 - 3),
        (8192, a_head(f"a={'1' * 5995}"), 8192 - 11 - 2048 - 5999 - 3),
        (100_000, a_head(rest=14_000), 16_384 - 11 - len(a_head(rest=14_000)) - 3),
        # What came may come again, however little room there is.
        (2048, a_head("__Host-session=" + "x" * 500), len("__Host-session") + 500),
        (2048, a_head(), 0),
    ],
)
def test_the_room_that_the_next_head_has(limit: int, head: bytes, room: int) -> None:
    """The limit, without the rest of a head and the other cookies, each with its signs."""
    assert with_limit(limit, head=head).room(SPEC) == room


def test_what_is_sent_takes_room_too() -> None:
    """Cookies of other sessions in the same answer count as they will be, removed ones not."""
    exchange = with_limit(4096, head=a_head("__Host-auth_session=" + "x" * 300))
    before = exchange.room(SPEC)
    exchange.send(AUTH, "y" * 100, None)
    assert exchange.room(SPEC) == before + 200
    exchange.send(SPEC, "z" * 900, None)  # its own former answer is replaced, and takes none
    assert exchange.room(SPEC) == before + 200
    exchange.send(AUTH, "", None)
    assert exchange.room(SPEC) == before + 300 + len("__Host-auth_session") + len("=; ")


def test_what_is_sent_counts_where_there_seemed_to_be_room() -> None:
    """A short head leaves room for one long cookie, and not for a second one."""
    exchange = with_limit(8192, head=a_head())
    exchange.send(AUTH, "y" * 3000, None)

    other = len("__Host-auth_session") + 3000 + len("=; ")
    assert exchange.room(SPEC) == 8192 - 11 - 2048 - other - 3


def test_a_server_without_a_raw_head_counts_the_cookies() -> None:
    """ASGI passes headers on; the rest is taken to be as long as browsers make it."""
    exchange = with_limit(8192, cookie="a=" + "1" * 2995)

    assert exchange.room(SPEC) == 8192 - 11 - 2048 - 2999 - 3
    assert exchange.room(SPEC, "_data") == 8192 - 11 - 2048 - 2999 - 3
