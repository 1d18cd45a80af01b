"""Requests that a foreign page makes in the user's name: refused by origin, and by token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sanic import HTTPResponse, Request, Sanic, Websocket, json, text
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from harness import Browser, make_app, serve
from sanic_cookies import AuthSession, CsrfRefused, SessionConfigError
from sanic_cookies.auth.csrf import CsrfGuard
from wire import ask

UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]
FOREIGN = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
TEXT = CsrfRefused.public_message


def make_site(master: Any = None, **options: Any) -> Sanic:
    """Return an app with guarded, free and strict routes, and a socket."""
    app = make_app()
    auth = AuthSession(app, master_interface=master, **options)

    async def act(request: Request) -> Any:
        return json(dict(request.form or {}) or request.json)

    for name, demand in (("act", None), ("free", False), ("strict", True)):
        context = {} if demand is None else {"ctx_csrf": demand}
        app.add_route(act, f"/{name}", ["GET", "OPTIONS", *UNSAFE], name=name, **context)

    @app.get("/login/<user>")
    async def login(request: Request, user: str) -> Any:
        await auth.login_user(request, user, reset_session="keep" not in request.args)
        return json(await auth.csrf_token(request) if "token" in request.args else None)

    @app.get("/logout")
    async def logout(request: Request) -> Any:
        await auth.logout_user(request)
        return json(None)

    @app.get("/token")
    async def token(request: Request) -> Any:
        return json(await auth.csrf_token(request))

    @app.post("/check", ctx_csrf=False)
    async def check(request: Request) -> Any:
        await auth.check_csrf(request)
        return json(None)

    @app.post("/upload", stream=True)
    async def upload(request: Request) -> Any:
        size = 0
        while chunk := await request.stream.read():
            size += len(chunk)
        return json(size)

    @app.websocket("/ws")
    async def socket(request: Request, ws: Websocket) -> None:
        await ws.send("hello")

    return app


@asynccontextmanager
async def signed_in(
    master: Any = None, *, host: str | None = None, **options: Any
) -> AsyncIterator[Browser]:
    """Serve the site; give a browser in which somebody has signed in."""
    app = make_site(master, **options)
    async with serve(app) as url, Browser(url, host=host) as browser:
        await browser.get("/login/ann")
        yield browser


async def status(browser: Browser, path: str = "/act", method: str = "POST", **headers: str) -> int:
    """Return what a request with these headers is answered; `_` in a name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await browser.request(method, path, headers=named)).status_code


# Where a request comes from.


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "none, cross-site", "", "SAME-ORIGIN"])
async def test_what_a_foreign_page_sends_is_refused(method: str, site: str) -> None:
    """An unsafe request with our cookie is a 403 unless the browser says that it is our own."""
    async with signed_in(csrf="fetch-metadata") as browser:
        response = await browser.request(method, "/act", headers={"sec-fetch-site": site})

        assert response.status_code == 403
        assert TEXT in response.text


@pytest.mark.parametrize("second", ["cross-site", "same-site", ""])
async def test_a_second_word_is_no_better(second: str) -> None:
    """A header that came twice passes only if both lines say that it is our own."""
    async with signed_in(csrf="fetch-metadata") as browser:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        lines = [f"Cookie: {cookie}", "Sec-Fetch-Site: same-origin", f"Sec-Fetch-Site: {second}"]
        url = str(browser._client.base_url)
        reply = await ask(url, "/act", *(line.encode() for line in lines), method="POST")

        assert reply.status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_what_our_page_sends_passes(site: str) -> None:
    """Our own pages, the address bar and bookmarks may do what they like."""
    async with signed_in(csrf="fetch-metadata") as browser:
        assert await status(browser, sec_fetch_site=site, origin="null") == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_methods_pass(method: str) -> None:
    """Links from elsewhere work: what only reads is not guarded."""
    async with signed_in(csrf="token") as browser:
        assert (await status(browser, method=method, **FOREIGN)) in (200, 405)
        assert await status(browser, "/token", "GET", **FOREIGN) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("{own}", 200),
        ("http://127.0.0.1", 403),
        ("http://localhost:{port}", 403),
        ("https://127.0.0.1:{port}", 403),
        ("{own}.evil.example", 403),
        ("{own}/", 403),
        ("http://user@127.0.0.1:{port}", 403),
        ("http://127.0.0.1:port", 403),
        ("127.0.0.1:{port}", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_without_fetch_metadata_the_origin_counts(origin: str, expected: int) -> None:
    """An older browser's `Origin` must be ours in scheme, host and port; `null` is nobody's."""
    app = make_site(csrf="fetch-metadata")
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/login/ann")
        given = origin.format(own=url, port=url.rpartition(":")[2])

        assert await status(browser, origin=given) == expected


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"host": "shop.example"}, "http://shop.example"),
        ({"host": "SHOP.example:80"}, "http://shop.example"),
        ({"host": "shop.example", "x-forwarded-proto": "https"}, "https://shop.example"),
        ({"host": "in", "x-forwarded-host": "shop.example:8443"}, "http://shop.example:8443"),
        ({"host": "[::1]:8000"}, "http://[::1]:8000"),
    ],
)
async def test_the_origin_is_that_of_the_request(headers: dict[str, str], origin: str) -> None:
    """Host and scheme are those the browser used, as Sanic tells them of a proxy it trusts."""
    app = make_site(csrf="fetch-metadata", secure=False)
    app.config.PROXIES_COUNT = 1
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/login/ann")
        sent = {**headers, "x-forwarded-for": "1.2.3.4"}

        assert await status(browser, **sent, origin=origin) == 200
        assert await status(browser, **sent, origin=origin + "1") == 403


async def test_two_origins_are_none() -> None:
    """A request with two `Origin` headers is refused, though one of them be ours."""
    app = make_site(csrf="fetch-metadata")
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/login/ann")
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = [("cookie", cookies), ("origin", url), ("origin", "https://evil.example")]

        assert (await browser._client.post("/act", headers=headers)).status_code == 403


async def test_other_programs_pass() -> None:
    """Who sends neither header is no browser, so nobody's cookies were lent to it."""
    async with signed_in(csrf="fetch-metadata") as browser:
        assert await status(browser) == 200


@pytest.mark.parametrize("cookie", ["", "other=1", "auth_session=malformed"])
async def test_without_our_cookie_there_is_nothing_to_forge(cookie: str) -> None:
    """A request without our cookie is nobody's; webhooks and public forms are left alone."""
    async with signed_in(csrf="token") as browser:
        assert await status(browser, cookie=cookie, **FOREIGN) == 200


async def test_a_route_may_opt_out_or_in() -> None:
    """`ctx_csrf=False` leaves a route alone; `True` guards it without a cookie, as for logins."""
    async with signed_in(csrf="fetch-metadata") as browser:
        assert await status(browser, "/free", **FOREIGN) == 200
        assert await status(browser, "/strict", cookie="", **FOREIGN) == 403
        assert await status(browser, "/strict", cookie="") == 200


async def test_a_trusted_origin_passes() -> None:
    """Pages of the origins in `csrf_origins` may make requests, and no others."""
    origins = ["https://app.example", "https://other.example:8443"]
    async with signed_in(csrf="fetch-metadata", csrf_origins=origins) as browser:
        for origin, expected in [
            ("https://app.example", 200),
            ("https://other.example:8443", 200),
            ("https://app.example:8443", 403),
            ("http://app.example", 403),
            ("null", 403),
        ]:
            for site in ({}, {"sec_fetch_site": "same-site"}, {"sec_fetch_site": "cross-site"}):
                assert await status(browser, origin=origin, **site) == expected
        assert await status(browser, sec_fetch_site="same-site") == 403


async def test_without_the_option_nothing_is_refused() -> None:
    """`csrf` is off by default, and costs nothing: no check is registered."""
    async with signed_in() as browser:
        assert await status(browser, **FOREIGN) == 200
    assert not [each for each in AuthSession().checks if isinstance(each, CsrfGuard)]


async def test_a_refusal_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The security log names the session by its public id (ASVS 5.0, 16.3.3), no token, no URL."""
    async with signed_in(csrf="fetch-metadata") as browser:
        token = next(iter(browser.cookies.values()))
        with caplog.at_level(logging.WARNING, "sanic_cookies.security"):
            await status(browser, **FOREIGN)

    sid, _, secret = token.partition(".")
    assert f"a request from another site was refused sid={sid}" in caplog.text
    assert secret not in caplog.text
    assert "evil.example" not in caplog.text


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": "{own}"}, "hello"),
        ({}, "hello"),
        ({"sec-fetch-site": "same-origin"}, "hello"),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "{own}"}, 403),
    ],
)
@pytest.mark.parametrize("mode", ["fetch-metadata", "token"])
async def test_a_foreign_page_opens_no_socket(
    mode: str, headers: dict[str, str], expected: Any
) -> None:
    """A handshake from elsewhere gets a 403 instead of a socket (ASVS 5.0, 4.4.2)."""
    app = make_site(csrf=mode)
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/login/ann")
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        sent = {name: value.format(own=url) for name, value in headers.items()}
        address = url.replace("http", "ws") + "/ws"
        dial = connect(address, additional_headers={"cookie": cookies, **sent}, proxy=None)

        if expected == "hello":
            async with dial as ws:
                assert await ws.recv() == expected
        else:
            with pytest.raises(InvalidStatus) as caught:
                await dial
            assert caught.value.response.status_code == expected


# Tokens.

Send = Callable[[Browser, str, str], Awaitable[Any]]


async def by_header(browser: Browser, path: str, token: str) -> Any:
    return await browser.post(path, headers={"X-CSRF-Token": token}, json={"n": "1"})


async def by_form(browser: Browser, path: str, token: str) -> Any:
    return await browser.post(path, data={"n": "1", "csrf_token": token})


async def by_upload(browser: Browser, path: str, token: str) -> Any:
    return await browser.post(path, data={"csrf_token": token}, files={"file": b"x" * 5000})


WAYS = [by_header, by_form, by_upload]


@pytest.mark.parametrize("send", WAYS)
async def test_a_token_opens_the_way(master: Any, send: Send) -> None:
    """The token passes by header or form field, file uploads included; the body is untouched."""
    async with signed_in(master, csrf="token") as browser:
        token = (await browser.get("/token")).json()
        response = await send(browser, "/act", token)

        assert response.status_code == 200
        if send is not by_upload:
            assert response.json()["n"] in ("1", ["1"])


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token[:43] + ("A" if token[43] != "A" else "B") + token[44:],
        lambda token: "A" * 86,
        lambda token: "é" + token[1:],
        lambda token: token[:-1] + "=",
    ],
)
async def test_another_token_is_refused(send: Send, spoil: Callable[[str], str]) -> None:
    """A token that is missing, cut, changed or made up is a 403."""
    async with signed_in(csrf="token") as browser:
        token = spoil((await browser.get("/token")).json())
        if send is by_header:
            token = token.replace("é", "%")
        response = await send(browser, "/act", token)

        assert response.status_code == 403
        assert TEXT in response.text


@pytest.mark.parametrize("site", [{}, {"sec-fetch-site": "same-origin"}])
async def test_the_url_carries_no_token(site: dict[str, str]) -> None:
    """A token in the query is not looked at, wherever the request comes from (ASVS 14.2.1)."""
    async with signed_in(csrf="token") as browser:
        token = (await browser.get("/token")).json()

        response = await browser.post(f"/act?csrf_token={token}", headers=site)
        assert response.status_code == 403


async def test_the_right_token_from_elsewhere_is_refused() -> None:
    """With `csrf="token"` it still counts where a request comes from."""
    async with signed_in(csrf="token") as browser:
        token = (await browser.get("/token")).json()

        assert await status(browser, **FOREIGN, x_csrf_token=token) == 403


async def test_two_tokens_are_none() -> None:
    """Fields or headers of one name twice: nobody honest sends that."""
    async with signed_in(csrf="token") as browser:
        token = (await browser.get("/token")).json()

        response = await browser.post("/act", data={"csrf_token": [token, token]})
        assert response.status_code == 403


async def test_a_token_looks_different_each_time(master: Any) -> None:
    """Each response has another text for the same token, so compression tells nothing (BREACH)."""
    async with signed_in(master, csrf="token") as browser:
        tokens = [(await browser.get("/token")).json() for _ in range(8)]

        assert len(set(tokens)) == 8
        assert all(len({token[at] for token in tokens}) > 1 for at in range(85))
        for token in tokens:
            assert (await by_header(browser, "/act", token)).status_code == 200


async def test_a_token_is_of_one_session(master: Any) -> None:
    """Somebody else's token opens nothing."""
    app = make_site(master, csrf="token")
    async with serve(app) as url, Browser(url) as ann, Browser(url) as eve:
        await ann.get("/login/ann")
        await eve.get("/login/eve")
        theirs = (await eve.get("/token")).json()
        (await ann.get("/token")).json()

        assert (await by_header(ann, "/act", theirs)).status_code == 403
        assert (await by_header(eve, "/act", theirs)).status_code == 200


@pytest.mark.parametrize("query", ["", "?keep=1"])
async def test_a_login_replaces_it(master: Any, query: str) -> None:
    """A token from before the login is refused after it, and the login's own response has a new."""
    app = make_site(master, csrf="token")
    async with serve(app) as url, Browser(url) as browser:
        before = (await browser.get("/token")).json()
        assert (await by_header(browser, "/act", before)).status_code == 200
        separator = "&" if query else "?"
        after = (await browser.get(f"/login/ann{query}{separator}token=1")).json()

        assert (await by_header(browser, "/act", before)).status_code == 403
        assert (await by_header(browser, "/act", after)).status_code == 200


async def test_a_form_to_sign_in_has_one_too(master: Any) -> None:
    """A visitor's token begins a session; a route with `ctx_csrf=True` asks even strangers."""
    app = make_site(master, csrf="token")
    async with serve(app) as url, Browser(url) as browser, Browser(url) as stranger:
        token = (await browser.get("/token")).json()

        assert browser.cookies
        assert (await by_form(browser, "/strict", token)).status_code == 200
        assert (await by_form(browser, "/strict", "")).status_code == 403
        assert (await by_form(stranger, "/strict", token)).status_code == 403


async def test_an_ended_session_has_nothing_to_forge(shared_master: Any) -> None:
    """The cookie of a session that has ended asks for no token: the form to sign in works."""
    async with signed_in(shared_master, csrf="token") as browser:
        old = dict(browser.cookies)
        await browser.get("/logout")
        browser.cookies = old

        assert (await browser.post("/act", json={})).status_code == 200


async def test_the_token_can_be_asked_for_by_hand(master: Any) -> None:
    """`check_csrf()` works without the option, on routes that opt out too, also for strangers."""
    async with signed_in(master) as browser:
        assert (await browser.post("/check")).status_code == 403
        token = (await browser.get("/token")).json()
        assert (await by_form(browser, "/check", token)).status_code == 200
        browser.cookies.clear()
        assert (await by_form(browser, "/check", token)).status_code == 403


async def test_a_refused_form_that_streams_can_be_shown_again() -> None:
    """Who answers a refusal on a streaming route may still read the form, and shows it again."""
    app = make_site(csrf="token")

    @app.post("/note", stream=True)
    async def note(request: Request) -> HTTPResponse:
        return text("noted")

    @app.exception(CsrfRefused)
    async def again(request: Request, error: CsrfRefused) -> HTTPResponse:
        await request.receive_body()
        return text(request.form.get("note", "lost"), status=error.status_code)

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/login/ann")
        response = await browser.request("POST", "/note", data={"note": "milk"})

        assert (response.status_code, response.text) == (403, "milk")


async def test_a_streamed_body_is_left_to_its_handler() -> None:
    """A streaming route gets its token by header; its body is not read before it."""
    async with signed_in(csrf="token") as browser:
        token = (await browser.get("/token")).json()

        response = await browser.post(
            "/upload", content=b"x" * 70000, headers={"X-CSRF-Token": token}
        )
        assert response.json() == 70000
        assert (await browser.post("/upload", content=b"x" * 70000)).status_code == 403


async def test_no_handler_sees_what_tokens_are_made_of(master: Any) -> None:
    """A token leaves no key in the session, and its random never leaves the record."""
    app = make_site(master, csrf="token")

    @app.get("/data")
    async def data(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            return json([dict(sess), dict(await sess.peek()), list(sess), len(sess)])

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/token")
        assert (await browser.get("/data")).json() == [{}, {}, [], 0]


async def test_two_pages_at_once_agree(shared_master: Any) -> None:
    """First tokens of one session, asked for at once, are all good."""

    async def ask(browser: Browser) -> str:
        async with browser.copy() as tab:
            return (await tab.get("/token")).json()

    async with signed_in(shared_master, csrf="token") as browser:
        for token in await asyncio.gather(*(ask(browser) for _ in range(6))):
            assert (await by_header(browser, "/act", token)).status_code == 200


# Options.


@pytest.mark.parametrize(
    "options",
    [
        {"csrf": True},
        {"csrf": "tokens"},
        {"csrf_origins": ["https://a.example"]},
        {"csrf": "token", "csrf_origins": ["a.example"]},
        {"csrf": "token", "csrf_origins": ["https://a.example/"]},
        {"csrf": "token", "csrf_origins": ["https://a.example?b"]},
        {"csrf": "token", "csrf_origins": ["https://a.example#b"]},
        {"csrf": "token", "csrf_origins": ["https://b@a.example"]},
        {"csrf": "token", "csrf_origins": ["https://"]},
        {"csrf": "token", "csrf_origins": ["app://a.example"]},
        {"csrf": "token", "csrf_origins": ["*"]},
        {"csrf": "token", "csrf_origins": ["https://*.example"]},
        {"csrf": "token", "csrf_origins": [None]},
        {"csrf": "token", "csrf_origins": 7},
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    """A mode that is none and an origin that is none show where the session is made."""
    with pytest.raises(SessionConfigError, match="csrf"):
        AuthSession(**options)


async def test_the_mode_can_stand_in_the_config() -> None:
    """`AUTH_SESSION_CSRF` and `AUTH_SESSION_CSRF_ORIGINS` in `app.config` count."""
    app = make_app(
        AUTH_SESSION_CSRF="fetch-metadata", AUTH_SESSION_CSRF_ORIGINS="https://app.example"
    )
    auth = AuthSession(app)

    @app.post("/")
    async def index(request: Request) -> Any:
        return json(None)

    @app.get("/in")
    async def sign_in(request: Request) -> Any:
        await auth.login_user(request, "ann")
        return json(None)

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/in")
        assert await status(browser, "/", **FOREIGN) == 403
        assert await status(browser, "/", origin="https://app.example") == 200


# Several sessions on one app.


def make_offices(mode: str, **contexts: Any) -> Sanic:
    """Return an app with three logins, and a route for each that says whom it wants to be asked."""
    app = make_app()
    logins = {
        name: AuthSession(app, session_name=name, csrf=mode) for name in ("user", "admin", "guest")
    }

    async def act(request: Request) -> Any:
        return json(None)

    for name, demand in contexts.items():
        app.add_route(act, f"/{name}", ["POST"], name=name, ctx_csrf=demand)

    @app.get("/login/<name>")
    async def login(request: Request, name: str) -> Any:
        await logins[name].login_user(request, name)
        return json(None)

    @app.get("/token/<name>")
    async def token(request: Request, name: str) -> Any:
        return json(await logins[name].csrf_token(request))

    return app


OFFICES = {"one": "admin", "each": True, "free": False}


@pytest.mark.parametrize("signed_in", [["admin"], ["admin", "user"]])
async def test_a_route_says_whose_token_it_wants(signed_in: list[str]) -> None:
    """The token of the session that a route names is enough, whoever else is signed in."""
    async with serve(make_offices("token", **OFFICES)) as url, Browser(url) as browser:
        for name in signed_in:
            await browser.get(f"/login/{name}")
        tokens = {name: (await browser.get(f"/token/{name}")).json() for name in signed_in}

        assert (await by_form(browser, "/one", tokens["admin"])).status_code == 200
        assert (await by_form(browser, "/one", tokens.get("user", ""))).status_code == 403
        assert (await by_form(browser, "/one", "")).status_code == 403
        assert (await by_form(browser, "/free", "")).status_code == 200
        # Nobody has the tokens of two.
        assert (await by_form(browser, "/each", tokens["admin"])).status_code == 403


async def test_a_named_session_guards_strangers_too() -> None:
    """What a route leaves to one session is guarded also where only another one comes along."""
    async with serve(make_offices("token", **OFFICES)) as url, Browser(url) as browser:
        assert (await browser.post("/one")).status_code == 403
        await browser.get("/login/user")
        token = (await browser.get("/token/user")).json()
        assert (await by_form(browser, "/one", token)).status_code == 403

    async with serve(make_offices("fetch-metadata", **OFFICES)) as url, Browser(url) as browser:
        assert await status(browser, "/one") == 200
        assert await status(browser, "/one", **FOREIGN) == 403


@pytest.mark.parametrize("demand", ["admins", "", "token", 1, ("admin", "user")])
async def test_a_session_that_is_not_there_guards_nothing(demand: Any) -> None:
    """An app does not start whose route names a session that is not there, or no session."""
    app = make_offices("token", act=demand)
    with pytest.raises(SessionConfigError, match=r"ctx_csrf.*'app-\d+\.act'.*\['user', 'admin'"):
        async with serve(app):
            pass  # pragma: no cover


async def test_a_session_without_the_option_guards_nothing() -> None:
    """An app does not start whose route is left to a session that has no guard, if others have."""
    app = make_offices("token", act="plain")
    AuthSession(app, session_name="plain")
    with pytest.raises(SessionConfigError, match="an AuthSession with csrf="):
        async with serve(app):
            pass  # pragma: no cover


@pytest.mark.parametrize("demand", ["auth_session", True, False])
async def test_a_route_may_ask_where_no_session_has_a_guard(
    demand: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Tests that do without `csrf=` need not change the routes; who forgot it is told."""
    app = make_app()
    AuthSession(app)

    @app.post("/", ctx_csrf=demand)
    async def act(request: Request) -> Any:
        return json(None)

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.post("/")).status_code == 200
    told = [line for line in caplog.messages if "ctx_csrf" in line]
    text = f"auth_session: ctx_csrf= of the route '{app.name}.act' guards nothing without csrf="
    assert told == ([text] if demand else [])


@pytest.mark.parametrize("name", ["late", "later"])
async def test_a_listener_may_attach_what_a_route_names(name: str) -> None:
    """Who is named is looked for when all listeners have attached what they have."""
    app = make_app()

    @app.before_server_start
    async def attach(app: Sanic) -> None:
        AuthSession(app, csrf="token")
        AuthSession(app, session_name="late", csrf="token")

    @app.post("/", ctx_csrf=name)
    async def act(request: Request) -> Any:
        return json(None)

    if name == "late":
        async with serve(app) as url, Browser(url) as browser:
            assert (await browser.post("/")).status_code == 403
    else:
        with pytest.raises(SessionConfigError, match="ctx_csrf='later'"):
            async with serve(app):
                pass  # pragma: no cover
