"""Cookies as they travel: requests by hand, over raw sockets, and what comes back."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any

import httpx
import pytest
import trustme
from sanic import Request, html, json, redirect, text
from sanic.exceptions import NotFound
from sanic.response import ResponseStream, empty, file_stream

from harness import Browser, make_app, serve
from programs import BUSY
from sanic_cookies import InMemory, Session, SessionConfigError
from wire import Reply, ask

SHOP = "shop.example"
SECURITY = "sanic_cookies.security"


def make_shop(**options: Any) -> tuple[Any, InMemory]:
    """Return an app that shows (`/`) and counts (`/count`), and its store."""
    app, master = make_app(), InMemory()
    Session(app, master_interface=master, **options)

    @app.get("/")
    async def index(request: Request) -> Any:
        return json(dict(await request.ctx.session.peek()))

    @app.get("/count")
    async def count(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = sess.get("n", 0) + 1
        return text("")

    @app.get("/unlocked")
    async def unlocked(request: Request) -> Any:
        request.ctx.session["n"] = 1
        return text("")

    return app, master


def pair(reply: Reply) -> tuple[str, str]:
    """Return name and value of the one cookie that a reply sets."""
    (line,) = reply.set_cookies
    name, _, value = line.partition(";")[0].partition("=")
    return name, value


async def begin(url: str, host: str | None = SHOP) -> tuple[bytes, bytes]:
    """Begin a session; return name and value of its cookie."""
    name, value = pair(await ask(url, "/count", host=host))
    return name.encode(), value.encode()


# Reading. The traps of the framework's own parser are each named in the test.


@pytest.mark.parametrize(
    "line",
    [
        b"Cookie: %(name)s=%(value)s",
        b"cookie:%(name)s=%(value)s",
        b"COOKIE: \t%(name)s=%(value)s \t",
        b"Cookie: a=1; %(name)s=%(value)s; b=2",
        b"Cookie: a=1;%(name)s=%(value)s;b=2",
        b"Cookie: a; =; ;;%(name)s=%(value)s;",
        b"Cookie: a=1\r\nX: y\r\nCookie: %(name)s=%(value)s",
        b"Cookie: \xff\xfe=\xff; %(name)s=%(value)s",
        b"Cookie: x%(name)s=evil; %(name)s=%(value)s",
        b"Cookie: session=evil; __Secure-session=evil; %(name)s=%(value)s",
        b"Cookie: \xe2\x80\x80%(name)s=evil; %(name)s=%(value)s",
        b"Cookie: %(name)s\xc2\xa0=evil; %(name)s=%(value)s",
    ],
)
async def test_the_one_real_cookie_is_found(line: bytes) -> None:
    """Our cookie opens its session wherever it stands, whatever stands around it."""
    app, _ = make_shop()
    async with serve(app) as url:
        name, value = await begin(url)
        assert name == b"__Host-session"
        reply = await ask(url, "/", line % {b"name": name, b"value": value}, host=SHOP)

        assert (reply.status, reply.body) == (200, b'{"n":1}')


@pytest.mark.parametrize(
    "line",
    [
        # Sanic strips Unicode white space from names, and from the header's beginning.
        b"Cookie: \xe2\x80\x80%(name)s=%(value)s",
        b"Cookie: a=1; \xe2\x80\x80%(name)s=%(value)s",
        b"Cookie: %(name)s\xe2\x80\x80=%(value)s",
        b"Cookie: \xc2\xa0%(name)s=%(value)s",
        b"Cookie: \x85%(name)s=%(value)s",
        # Sanic falls back from one prefix to the other.
        b"Cookie: session=%(value)s",
        b"Cookie: __Secure-session=%(value)s",
        b"Cookie: __Host-__Host-session=%(value)s",
        # A name is equal byte for byte.
        b"Cookie: __host-session=%(value)s",
        b"Cookie: __Host-Session=%(value)s",
        b"Cookie: __Host-session =x%(value)s",
        # A value is as we wrote it.
        b'Cookie: %(name)s="%(value)s"',
        b"Cookie: %(name)s=%(value)s\xff",
        b"Cookie: %(name)s=\xff%(value)s",
        b"Cookie: %(name)s=%(value)s=",
        b"Cookie: %(name)s=%(value)s%(value)s",
        b"Cookie: %(name)s=%%00%(value)s",
        b"Cookie: %(name)s=",
        b"Cookie: %(name)s",
        b"X-Cookie: %(name)s=%(value)s",
    ],
)
async def test_a_forged_or_broken_cookie_opens_nothing(line: bytes) -> None:
    """What is not our cookie, name and value byte for byte, is an anonymous request."""
    app, master = make_shop()
    async with serve(app) as url:
        name, value = await begin(url)
        reply = await ask(url, "/", line % {b"name": name, b"value": value}, host=SHOP)

        assert (reply.status, reply.body, reply.set_cookies) == (200, b"{}", [])
        assert len(master) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"\xff" * 66,
        b"\xed\xa0\x80" * 22,
        b"x" * 66,
        b"A" * 22 + b"." + b"A" * 43,
        b"." * 66,
        b"A" * 4000,
        b"../../etc/passwd",
        b"' OR 1=1 --",
        b"${jndi:ldap://x}",
        "é".encode() * 33,
    ],
    ids=lambda value: repr(value[:12]),
)
@pytest.mark.parametrize("path", ["/", "/count"])
async def test_nonsense_is_anonymous(value: bytes, path: str, caplog: Any) -> None:
    """Malformed, overlong and unknown values never show in status, store or log."""
    app, master = make_shop()
    async with serve(app) as url:
        reply = await ask(url, path, b"Cookie: __Host-session=" + value, host=SHOP)

        assert reply.status == 200
        assert len(master) == len(reply.set_cookies) == (1 if path == "/count" else 0)
        if path == "/count":
            assert pair(reply)[1].encode() != value
    said = [each.getMessage() for each in caplog.records if each.name.startswith("sanic_cookies")]
    assert [line for line in said if BUSY not in line] == []


async def test_a_nul_in_the_header_is_no_crash() -> None:
    """A NUL byte in the value gives no session and no server error."""
    app, master = make_shop()
    async with serve(app) as url:
        name, value = await begin(url)
        reply = await ask(url, "/", b"Cookie: %s=\0%s" % (name, value), host=SHOP)

        assert reply.status in (200, 400)
        assert b'"n"' not in reply.body
        assert len(master) == 1


@pytest.mark.parametrize("second", [b"same", b"other", b""])
@pytest.mark.parametrize("join", [b"; ", b"\r\nCookie: "])
async def test_two_cookies_of_our_name(second: bytes, join: bytes, caplog: Any) -> None:
    """Two cookies of exactly our name, in one header or in two: no session, a security event."""
    app, master = make_shop()
    seen: list[Any] = []

    @app.signal("session.security.suspicious")
    async def suspicious(**context: Any) -> None:
        seen.append(context["reason"])

    async with serve(app) as url:
        name, value = await begin(url)
        ours = name + b"=" + value
        theirs = name + b"=" + (value if second == b"same" else second)
        with caplog.at_level(logging.WARNING, SECURITY):
            replies = [
                await ask(url, "/", b"Cookie: " + join.join(both), host=SHOP)
                for both in ((ours, theirs), (theirs, ours))
            ]

        for reply in replies:
            assert (reply.status, reply.body, reply.set_cookies) == (200, b"{}", [])
        lines = [each.getMessage() for each in caplog.records if each.name == SECURITY]
        assert lines == ["session: two cookies of the session's name sid=-"] * 2
        assert seen == ["two cookies of the session's name"] * 2
        assert value.decode() not in caplog.text
        assert len(master) == 1


async def test_a_wrong_secret_is_a_security_event(caplog: Any) -> None:
    """Somebody who knows a public id but not its secret gets nothing, and is reported."""
    app, _ = make_shop()
    async with serve(app) as url:
        name, value = await begin(url)
        sid = value.partition(b".")[0]
        forged = sid + b"." + b"A" * 43
        reply = await ask(url, "/", b"Cookie: " + name + b"=" + forged, host=SHOP)

        assert (reply.status, reply.body) == (200, b"{}")
        lines = [each.getMessage() for each in caplog.records if each.name == SECURITY]
        assert lines == [f"session: wrong secret for a known session sid={sid.decode()}"]


# Writing: exactly one Set-Cookie, on every kind of response.


def make_responses(tmp_path: Any) -> Any:
    """Return an app whose routes all begin a session, each with another kind of response."""
    app = make_app()
    Session(app, warn_lock=False)
    (tmp_path / "file.txt").write_text("streamed")

    async def write(request: Request) -> None:
        async with request.ctx.session as sess:
            sess["n"] = 1

    @app.route("/ok", methods=["GET", "HEAD"])
    async def ok(request: Request) -> Any:
        await write(request)
        return text("ok")

    @app.get("/unlocked")
    async def unlocked(request: Request) -> Any:
        request.ctx.session["n"] = 1
        return text("ok")

    @app.get("/twice")
    async def twice(request: Request) -> Any:
        await write(request)
        async with request.ctx.session as sess:
            sess["m"] = 1
            sess.rotate()
        request.ctx.session["o"] = 1
        return text("ok")

    @app.get("/empty")
    async def nothing(request: Request) -> Any:
        await write(request)
        return empty()

    @app.get("/redirect")
    async def moved(request: Request) -> Any:
        await write(request)
        return redirect("/ok")

    @app.get("/missing")
    async def missing(request: Request) -> Any:
        await write(request)
        raise NotFound("no such thing")

    @app.get("/error")
    async def error(request: Request) -> Any:
        await write(request)
        raise ZeroDivisionError

    @app.get("/respond")
    async def respond(request: Request) -> None:
        await write(request)
        response = await request.respond(content_type="text/plain")
        await response.send("ok")
        await response.eof()

    @app.get("/stream")
    async def stream(request: Request) -> Any:
        async def send(response: Any) -> None:
            await response.write("ok")

        await write(request)
        return ResponseStream(send, content_type="text/plain")

    @app.get("/file")
    async def file(request: Request) -> Any:
        await write(request)
        return await file_stream(tmp_path / "file.txt")

    @app.on_request
    async def not_found(request: Request) -> None:
        if request.path == "/nowhere":
            await write(request)

    return app


@pytest.mark.parametrize(
    ("path", "status", "method"),
    [
        ("/ok", 200, "GET"),
        ("/ok", 200, "HEAD"),
        ("/unlocked", 200, "GET"),
        ("/twice", 200, "GET"),
        ("/empty", 204, "GET"),
        ("/redirect", 302, "GET"),
        ("/missing", 404, "GET"),
        ("/nowhere", 404, "GET"),
        ("/error", 500, "GET"),
        ("/respond", 200, "GET"),
        ("/stream", 200, "GET"),
        ("/file", 200, "GET"),
    ],
)
async def test_exactly_one_set_cookie(path: str, status: int, method: str, tmp_path: Any) -> None:
    """Each kind of response carries our cookie once, uncacheable, with Max-Age and no Expires."""
    async with serve(make_responses(tmp_path)) as url:
        reply = await ask(url, path, method=method)

        assert reply.status == status
        (line,) = reply.set_cookies
        assert line.startswith("session=")
        assert "; Max-Age=2592000; HttpOnly; SameSite=Lax" in line
        assert "expires" not in line.lower()
        assert reply.all("cache-control") == ["no-store"]
        assert reply.all("vary") == ["Cookie"]


async def test_an_untouched_response_is_left_alone() -> None:
    """A route that never looks at the session gets no header of ours, cookie or not."""
    app, _ = make_shop()

    @app.get("/plain")
    async def plain(request: Request) -> Any:
        return text("", headers={"Cache-Control": "public", "Vary": "Accept"})

    async with serve(app) as url:
        name, value = await begin(url)
        reply = await ask(url, "/plain", b"Cookie: " + name + b"=" + value, host=SHOP)

        assert reply.set_cookies == []
        assert reply.all("cache-control") == ["public"]
        assert reply.all("vary") == ["Accept"]


@pytest.mark.parametrize("extended", [True, False])
async def test_a_shared_response_object_leaks_nothing(extended: bool) -> None:
    """A response object that all requests share never carries another user's cookie.

    Nor where a route looks at no session: without preloading, and without a middleware of the app
    (sanic-ext has one), nothing of ours is made for it.
    """
    app = make_app(AUTO_EXTEND=extended)
    Session(app, preload=False)
    shared = text("shared")

    @app.get("/<write:int>")
    async def index(request: Request, write: int) -> Any:
        async with request.ctx.session as sess:
            if write:
                sess["n"] = 1
        return shared

    @app.get("/untouched")
    async def untouched(request: Request) -> Any:
        return shared

    async with serve(app) as url:
        first = await ask(url, "/1")
        second = await ask(url, "/1")
        third = await ask(url, "/0")
        await ask(url, "/1")
        fourth = await ask(url, "/untouched")

        assert len(first.set_cookies) == len(second.set_cookies) == 1
        assert first.set_cookies != second.set_cookies
        assert third.set_cookies == fourth.set_cookies == []


@pytest.mark.parametrize("goes_first", ["early", "late", "stranger"])
async def test_a_response_object_shared_by_requests_at_once(goes_first: str) -> None:
    """Answers that wait in a middleware at the same time go each to whom it is for."""
    app, shared = make_app(), text("shared")
    Session(app)
    people = ("early", "late", "stranger")
    here, go = ({each: asyncio.Event() for each in people} for _ in range(2))
    sids = {}

    @app.get("/<who:str>")
    async def index(request: Request, who: str) -> Any:
        if who != "stranger":
            async with request.ctx.session as sess:
                sess["who"] = who
            sids[who] = sess.sid
        return shared

    @app.on_response
    async def pause(request: Request, response: Any) -> None:
        who = request.match_info["who"]
        here[who].set()
        await go[who].wait()

    async with serve(app) as url, asyncio.timeout(30):
        asked = {}
        for each in people:
            asked[each] = asyncio.create_task(ask(url, f"/{each}"))
            await here[each].wait()
        replies = {}
        for each in sorted(people, key=lambda each: each != goes_first):
            go[each].set()
            replies[each] = await asked[each]

    assert [reply.status for reply in replies.values()] == [200] * 3
    assert replies["stranger"].set_cookies == []
    for each, sid in sids.items():
        (line,) = replies[each].set_cookies
        assert sid in line


async def test_a_stream_behind_a_middleware() -> None:
    """What Sanic runs as a stream of its own goes with its cookie, and whole."""
    app, _ = make_shop()

    async def tell(response: ResponseStream) -> None:
        await response.write("told")

    @app.get("/stream")
    async def stream(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return ResponseStream(tell)

    @app.on_response
    async def look_on(request: Request, response: Any) -> None:
        pass

    async with serve(app) as url:
        reply = await ask(url, "/stream")

        assert (reply.status, len(reply.set_cookies)) == (200, 1)
        assert b"told" in reply.body


# Cookies and headers of the application's own.


async def test_the_handlers_own_cookies_stay() -> None:
    """Raw Set-Cookie strings and `response.cookies` of handler and middleware work beside ours."""
    app, _ = make_shop()

    @app.get("/raw")
    async def raw(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        response = text("", headers={"Set-Cookie": "raw=1"})
        response.headers.add("set-cookie", "session=forged; Path=/")
        return response

    @app.get("/cookies")
    async def cookies(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        response = text("")
        response.cookies.add_cookie("early", "1", secure=False)
        return response

    seen = []

    @app.on_response
    async def later(request: Request, response: Any) -> None:
        if request.path == "/cookies":
            response.cookies.add_cookie("late", "1", secure=False)
            response.cookies.delete_cookie("old")
            seen.append(response.cookies.get_cookie("early").value)
            seen.append(response.cookies.get_cookie("session").value)
            seen.append(response.cookies.has_cookie("late"))

    async with serve(app) as url:
        for path, names in (("/raw", ["raw", "session"]), ("/cookies", _COOKIES)):
            reply = await ask(url, path)
            assert reply.status == 200
            assert sorted(line.partition("=")[0] for line in reply.set_cookies) == names
            assert "forged" not in str(reply.set_cookies)
    # What fails in a middleware, Sanic only logs.
    early, ours, late = seen
    assert (early, late) == ("1", True)
    assert f"session={ours};" in str(reply.set_cookies)


_COOKIES = ["early", "late", "old", "session"]


@pytest.mark.parametrize("priority", [0, 5, -5000, 5000])
async def test_a_middleware_that_answers_itself_keeps_our_cookie(priority: int) -> None:
    """A response that a middleware puts in place of the handler's carries our cookie, once."""
    app, _ = make_shop(warn_lock=False)

    async def replace(request: Request, response: Any) -> Any:
        return html("<b>new</b>", status=201)

    app.register_middleware(replace, "response", priority=priority)
    async with serve(app) as url:
        reply = await ask(url, "/count")

        assert (reply.status, reply.body) == (201, b"<b>new</b>")
        assert len(reply.set_cookies) == 1
        assert reply.all("cache-control") == ["no-store"]
        assert len((await ask(url, "/unlocked")).set_cookies) == 1


async def test_a_sync_middleware_and_one_of_a_blueprint_keep_it_too() -> None:
    """Middlewares that are plain functions, or belong to a blueprint, pass our cookie on."""
    from sanic import Blueprint

    app, _ = make_shop()
    blueprint = Blueprint("bp", url_prefix="/bp")

    @blueprint.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return text("")

    @blueprint.on_response
    def replace(request: Request, response: Any) -> Any:
        return text("new")

    app.blueprint(blueprint)
    async with serve(app) as url:
        reply = await ask(url, "/bp/")

        assert (reply.body, len(reply.set_cookies)) == (b"new", 1)


@pytest.mark.parametrize("priority", [0, 5, -5000, 5000])
async def test_a_middleware_that_raises_keeps_our_cookie(priority: int) -> None:
    """Whatever another response middleware raises, the session is saved and its cookie set."""
    app, _ = make_shop(warn_lock=False)

    async def fail(request: Request, response: Any) -> Any:
        raise ZeroDivisionError

    app.register_middleware(fail, "response", priority=priority)
    async with serve(app) as url:
        assert len((await ask(url, "/count")).set_cookies) == 1
        assert len((await ask(url, "/unlocked")).set_cookies) == 1


@pytest.mark.parametrize("answers", [True, False])
async def test_a_request_middleware_that_ends_the_request(answers: bool) -> None:
    """A request middleware that answers or raises can use the session, whatever its priority."""
    app, _ = make_shop()

    async def stop(request: Request) -> Any:
        async with request.app.ctx.session.of(request) as sess:
            sess["n"] = 1
        if not answers:
            raise NotFound("stop")
        return text("stop", status=404)

    app.register_middleware(stop, "request", priority=9999)
    async with serve(app) as url:
        reply = await ask(url, "/")

        assert (reply.status, len(reply.set_cookies)) == (404, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"vary": ["Cookie"], "cache-control": ["no-store"]}),
        ({"Vary": "Accept"}, {"vary": ["Accept, Cookie"]}),
        ({"Vary": "accept, COOKIE"}, {"vary": ["accept, COOKIE"]}),
        ({"Vary": "*"}, {"vary": ["*"]}),
        ({"Cache-Control": "public, max-age=60"}, {"cache-control": ["no-store"]}),
        ({"Cache-Control": "private, no-store"}, {"cache-control": ["private, no-store"]}),
        ({"CDN-Cache-Control": "max-age=60"}, {"cdn-cache-control": ["no-store"]}),
        ({"A-Cache-Control": "private, no-store"}, {"a-cache-control": ["private, no-store"]}),
    ],
)
async def test_cache_headers(given: dict[str, str], expected: dict[str, list[str]]) -> None:
    """Vary is merged, and a Set-Cookie of ours is never cacheable."""
    app = make_app()
    Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return text("", headers=given)

    async with serve(app) as url:
        reply = await ask(url)

        assert {name: reply.all(name) for name in expected} == expected


async def test_an_access_without_a_cookie_leaves_caching_to_the_handler() -> None:
    """Reading adds Vary only: what may be cached stays the handler's decision."""
    app = make_app()
    Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        await request.ctx.session.peek()
        return text("", headers={"Cache-Control": "max-age=60"})

    async with serve(app) as url:
        reply = await ask(url)

        assert (reply.all("cache-control"), reply.all("vary")) == (["max-age=60"], ["Cookie"])


# Name, prefix and attributes.


@pytest.mark.parametrize(
    ("host", "header", "secure"),
    [
        (None, b"X: y", False),
        ("localhost:8000", b"X: y", False),
        ("shop.localhost", b"X: y", False),
        ("[::1]:8000", b"X: y", False),
        ("127.0.0.2", b"X: y", False),
        ("shop.example", b"X: y", True),
        ("shop.example:8000", b"X: y", True),
        ("localhost.evil.example", b"X: y", True),
        ("127.0.0.1", b"X-Forwarded-For: 192.0.2.1", True),
        ("127.0.0.1", b"X-Forwarded-Proto: https", True),
        ("127.0.0.1", b"Forwarded: for=192.0.2.1", True),
        ("127.0.0.1", b"X-Real-IP: 192.0.2.1", True),
        ("127.0.0.1", b"Via: 1.1 proxy", True),
    ],
)
async def test_secure_auto(host: str | None, header: bytes, secure: bool) -> None:
    """Only plain http to this very machine, with no proxy between, goes without Secure."""
    app, _ = make_shop()
    async with serve(app) as url:
        reply = await ask(url, "/count", header, host=host)
        (line,) = reply.set_cookies

        assert line.startswith("__Host-session=" if secure else "session=")
        assert ("; Secure" in line) is secure


@pytest.mark.parametrize("traced", [True, False])
async def test_https_is_known_as_such_whoever_looked_first(traced: bool) -> None:
    """A tracer that writes to `request.ctx` before anything is known changes nothing over TLS."""
    app, _ = make_shop()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    if traced:

        @app.signal("http.lifecycle.request")
        async def trace(request: Request) -> None:
            request.ctx.span = 1

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = await app.create_server(sock=listener, ssl=tls, return_asyncio_server=True)
        await server.startup()
        await server.before_start()
        async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - of this very test
            answer = await client.get(f"https://127.0.0.1:{listener.getsockname()[1]}/count")
        server.close()
        await server.wait_closed()
        await server.after_stop()

    assert answer.headers["set-cookie"].startswith("__Host-session=")


async def test_a_setting_of_a_listener_counts() -> None:
    """Sanic's name of the server decides, even if a listener has read it from somewhere."""
    app, _ = make_shop()

    @app.before_server_start
    async def configure(app: Any) -> None:
        app.config.SERVER_NAME = "http://localhost:8000"

    async with serve(app) as url:
        (line,) = (await ask(url, "/count", host=SHOP)).set_cookies

        assert line.startswith("session=")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1.evil.example", True),
        ("127.evil.example", True),
        ("127.0.0.1", False),
        ("127.0.0.1:80", False),
    ],
)
async def test_a_name_that_only_looks_like_loopback(host: str, expected: bool) -> None:
    """A public name that begins like a loopback address is public."""
    app, _ = make_shop()
    async with serve(app) as url:
        (line,) = (await ask(url, "/count", host=host)).set_cookies

        assert ("; Secure" in line) is expected


@pytest.mark.parametrize(
    ("options", "name", "attributes"),
    [
        ({}, "__Host-session", "Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax"),
        (
            {"cookie_name": "id", "samesite": "strict", "httponly": False},
            "__Host-id",
            "Path=/; Max-Age=2592000; Secure; SameSite=Strict",
        ),
        (
            {"domain": "shop.example"},
            "__Secure-session",
            "Path=/; Domain=shop.example; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"path": "/count"},
            "__Secure-session",
            "Path=/count; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"cookie_prefix": ""},
            "session",
            "Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"cookie_prefix": "__Secure-"},
            "__Secure-session",
            "Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"cookie_prefix": "__Host-Http-"},
            "__Host-Http-session",
            "Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"secure": False},
            "session",
            "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax",
        ),
        (
            {"partitioned": True},
            "__Host-session",
            "Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=None; Partitioned",
        ),
        (
            {"session_cookie": True},
            "__Host-session",
            "Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"expiry": 60.5},
            "__Host-session",
            "Path=/; Max-Age=61; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"expiry": 500 * 24 * 3600},
            "__Host-session",
            "Path=/; Max-Age=34560000; Secure; HttpOnly; SameSite=Lax",
        ),
    ],
)
async def test_the_whole_line(options: dict[str, Any], name: str, attributes: str) -> None:
    """Name and attributes follow the options, and the cookie opens its session again."""
    app, _ = make_shop(**options)
    async with serve(app) as url, Browser(url, host=SHOP) as browser:
        response = await browser.get("/count")
        (line,) = response.headers.get_list("set-cookie")

        assert line.partition("=")[0] == name
        assert line.partition("; ")[2] == attributes
        assert (await browser.get("/")).json() == {"n": 1}


async def test_secure_true_stays_secure_on_loopback() -> None:
    """`secure=True` is not softened for plain http on this machine."""
    app, _ = make_shop(secure=True)
    async with serve(app) as url:
        (line,) = (await ask(url, "/count")).set_cookies

        assert line.startswith("__Host-session=")
        assert "; Secure" in line


@pytest.mark.parametrize(
    "options",
    [
        {"cookie_prefix": "__Host-", "path": "/app"},
        {"cookie_prefix": "__Host-", "domain": "shop.example"},
        {"cookie_prefix": "__Host-", "secure": False},
        {"cookie_prefix": "__Secure-", "secure": False},
        {"cookie_prefix": "__Host-Http-", "httponly": False},
        {"cookie_prefix": "__Other-"},
        {"samesite": "None", "secure": False},
        {"samesite": "Sometimes"},
        {"partitioned": True, "secure": False},
        {"partitioned": True, "samesite": "Lax"},
        {"cookie_name": "__Host-session"},
        {"cookie_name": "a b"},
        {"cookie_name": ""},
        {"cookie_name": "a;b"},
        {"cookie_name": "é"},
        {"path": "app"},
        {"path": "/a; Domain=evil"},
        {"path": "/a\r\nX: y"},
        {"domain": "x; Path=/evil"},
        {"domain": ""},
        {"secure": "yes"},
        {"secure": 1},
        {"httponly": "yes"},
        {"expiry": 0},
        {"expiry": -1},
        {"expiry": float("nan")},
        {"expiry": float("inf")},
        {"expiry": True},
        {"expiry": "60"},
        {"expiry": None},
        {"expiry": 100, "absolute_timeout": 50},
        {"renew_every": 100, "expiry": 50},
        {"lease": 100, "max_hold": 50},
        {"lock_timeout": 0},
        {"max_waiters": 0},
        {"max_waiters": 1.5},
        {"max_bytes": 0},
        {"on_interface_error": "ignore"},
        {"session_name": "Not Lower"},
        {"session_name": ""},
        {"codec": object()},
        {"store_factory": dict},
        {"no_such_option": 1},
        {"master_interface": object()},
    ],
    ids=str,
)
def test_contradictions_are_refused_at_construction(options: dict[str, Any]) -> None:
    """Options that contradict each other, or cannot be, never reach a running server."""
    with pytest.raises(SessionConfigError):
        Session(make_app(), **options)
