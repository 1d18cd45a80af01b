"""`login_required`: whom it lets in, and what the others get."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any

import httpx
import pytest
from sanic import Blueprint, Request, Sanic, text
from sanic.exceptions import NotFound
from sanic.response import HTTPResponse
from sanic.views import HTTPMethodView
from sanic_ext import Extend
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from auth_lab import AuthLab
from harness import Browser, make_app, serve, set_cookies
from sanic_cookies import AuthSession, InMemory, Redis, SessionConfigError, login_required

Guard = Callable[..., Any]

SPELLINGS = {
    "function()": lambda auth: login_required(),
    "function": lambda auth: login_required,
    "method()": lambda auth: auth.login_required(),
    "method": lambda auth: auth.login_required,
}


@pytest.fixture(params=SPELLINGS)
def spelled(request: pytest.FixtureRequest) -> Callable[[AuthSession], Guard]:
    """Each way to write the decorator."""
    return SPELLINGS[request.param]


def _async_handler(app: Sanic, guard: Guard, ran: list[str]) -> None:
    @app.get("/x/<name>")
    @guard
    async def handler(request: Request, name: str) -> HTTPResponse:
        ran.append(name)
        return text("in")


def _sync_handler(app: Sanic, guard: Guard, ran: list[str]) -> None:
    @app.get("/x/<name>")
    @guard
    def handler(request: Request, name: str) -> HTTPResponse:
        ran.append(name)
        return text("in")


def _view_method(app: Sanic, guard: Guard, ran: list[str]) -> None:
    class View(HTTPMethodView):
        @guard
        async def get(self, request: Request, name: str) -> HTTPResponse:
            assert isinstance(self, View)
            ran.append(name)
            return text("in")

    app.add_route(View.as_view(), "/x/<name>")


def _sync_view_method(app: Sanic, guard: Guard, ran: list[str]) -> None:
    class View(HTTPMethodView):
        @guard
        def get(self, request: Request, name: str) -> HTTPResponse:
            assert isinstance(self, View)
            ran.append(name)
            return text("in")

    app.add_route(View.as_view(), "/x/<name>")


def _view_decorators(app: Sanic, guard: Guard, ran: list[str]) -> None:
    class View(HTTPMethodView):
        decorators = [guard]  # noqa: RUF012 - so does Sanic's documentation

        async def get(self, request: Request, name: str) -> HTTPResponse:
            ran.append(name)
            return text("in")

    app.add_route(View.as_view(), "/x/<name>")


def _added_route(app: Sanic, guard: Guard, ran: list[str]) -> None:
    async def handler(request: Request, name: str) -> HTTPResponse:
        ran.append(name)
        return text("in")

    app.add_route(guard(handler), "/x/<name>")


@pytest.mark.parametrize(
    "add",
    [
        _async_handler,
        _sync_handler,
        _view_method,
        _sync_view_method,
        _view_decorators,
        _added_route,
    ],
)
async def test_each_spelling_guards_each_kind(
    spelled: Callable[[AuthSession], Guard], add: Callable[[Sanic, Guard, list[str]], None]
) -> None:
    """Without a login the handler does not run; with one it runs, with its route's parameters."""
    lab, ran = AuthLab(), []
    add(lab.app, spelled(lab.auth), ran)
    async with lab:
        assert (await lab.browser.get("/x/1")).status_code == 401
        assert ran == []
        await lab.login()
        response = await lab.browser.get("/x/2")
        assert (response.status_code, response.text) == (200, "in")
        await lab.logout()
        assert (await lab.browser.get("/x/3")).status_code == 401
        assert ran == ["2"]


@pytest.mark.parametrize("user", [0, "", False, []])
async def test_falsy_users_are_let_in(master: Any, user: Any) -> None:
    """A guard asks for somebody, not for somebody true."""
    async with _guarded(master) as lab:
        assert (await lab.browser.get("/x")).status_code == 401
        await lab.login(user)
        assert (await lab.browser.get("/x")).text == "in"


async def test_data_open_no_guard(master: Any) -> None:
    """A handler that writes `sess["current_user"]` gets nobody past a guard."""
    async with _guarded(master) as lab:
        await lab.write(current_user="admin")
        assert (await lab.browser.get("/x")).status_code == 401


async def test_a_guard_is_fresh(shared_master: Any) -> None:
    """Who was logged out elsewhere is turned away by the next request."""
    async with _guarded(shared_master) as lab:
        await lab.login()
        tab = await lab.thief()
        assert (await tab.get("/x")).status_code == 200
        await lab.logout()
        assert (await tab.get("/x")).status_code == 401


# Methods.


@pytest.mark.parametrize("extended", [False, True], ids=["sanic", "sanic-ext"])
async def test_head_is_guarded_and_options_is_not(extended: bool) -> None:
    """HEAD runs the GET handler, so it is guarded, also where sanic-ext adds it; OPTIONS is not."""
    lab, ran = AuthLab(), []
    methods = ["GET"] if extended else ["GET", "HEAD", "OPTIONS"]

    @lab.app.route("/x", methods=methods)
    @login_required()
    async def handler(request: Request) -> HTTPResponse:
        ran.append(request.method)
        return text("in")

    if extended:
        Extend(lab.app)
    async with lab:
        assert (await lab.browser.request("HEAD", "/x")).status_code == 401
        assert ran == []
        assert (await lab.browser.request("OPTIONS", "/x")).status_code in (200, 204)
        await lab.login()
        ran.clear()
        response = await lab.browser.request("HEAD", "/x")
        assert (response.status_code, ran) == (200, ["HEAD"])


# The answer.


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("application/json", "application/json"), ("text/plain", "text/plain; charset=utf-8")],
)
async def test_the_default_answer(master: Any, accept: str, kind: str) -> None:
    """By default it is 401 in the client's format, never to be cached, and it stores nothing."""
    async with _guarded(master) as lab:
        response = await lab.browser.get("/x", headers={"accept": accept})
        assert response.status_code == 401
        assert response.headers["content-type"] == kind
        assert "Please log in." in response.text
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["vary"] == "Cookie"
        assert set_cookies(response) == []


async def test_the_answer_to_a_user_varies_by_cookie(master: Any) -> None:
    """What a guard let through varies by cookie too, though the handler asked nothing."""
    async with _guarded(master) as lab:
        await lab.login()
        assert (await lab.browser.get("/x")).headers["vary"] == "Cookie"


async def _async_denied(request: Request, name: str) -> HTTPResponse:
    return text(f"no {name}", 403)


def _sync_denied(request: Request, name: str) -> HTTPResponse:
    return text(f"no {name}", 403)


async def _async_short(request: Request) -> HTTPResponse:
    return text("no", 403)


def _sync_short(request: Request) -> HTTPResponse:
    return text("no", 403)


def _any_denied(request: Request, **parameters: str) -> HTTPResponse:
    return text(f"no {parameters['name']}", 403)


@pytest.mark.parametrize("given_to", ["decorator", "session"])
@pytest.mark.parametrize(
    ("denied", "answer"),
    [
        (_async_denied, "no 7"),
        (_sync_denied, "no 7"),
        (_any_denied, "no 7"),
        (_async_short, "no"),
        (_sync_short, "no"),
    ],
)
@pytest.mark.parametrize("add", [_async_handler, _view_method, _view_decorators])
async def test_no_auth_handler(
    add: Callable[[Sanic, Guard, list[str]], None],
    denied: Callable[..., Any],
    answer: str,
    given_to: str,
) -> None:
    """`no_auth_handler` answers instead, with the route's parameters if it takes them."""
    options = {"no_auth_handler": denied} if given_to == "session" else {}
    lab, ran = AuthLab(None, **options), []
    guard = login_required(denied) if given_to == "decorator" else login_required()
    add(lab.app, guard, ran)
    async with lab:
        response = await lab.browser.get("/x/7")
        assert (response.status_code, response.text) == (403, answer)
        assert response.headers["vary"] == "Cookie"
        assert ran == []
        await lab.login()
        assert (await lab.browser.get("/x/7")).text == "in"


async def test_the_decorators_own_handler_wins() -> None:
    """A `no_auth_handler` of the decorator takes the place of the session's."""
    lab = AuthLab(None, no_auth_handler=lambda request: text("session"))

    @lab.app.get("/x")
    @lab.auth.login_required(lambda request: text("decorator"))
    async def handler(request: Request) -> HTTPResponse:
        return text("in")

    async with lab:
        assert (await lab.browser.get("/x")).text == "decorator"


# Mistakes and failures never let anybody in.


@pytest.mark.parametrize("name", ["nope", "session"])
async def test_a_wrong_session_name(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A name that is no `AuthSession` gives 500; what is wrong stands in the log only."""
    lab, ran = AuthLab(), []
    _async_handler(lab.app, login_required(session_name=name), ran)
    async with lab:
        await lab.login()
        with caplog.at_level(logging.ERROR, "sanic.error"):
            response = await lab.browser.get("/x/1")
    assert response.status_code == 500
    assert name not in response.text.replace("session could", "")
    (record,) = [each for each in caplog.records if each.name == "sanic.error"]
    assert record.exc_info is not None
    assert f"app.ctx.{name} is no AuthSession" in str(record.exc_info[1].__notes__)
    assert ran == []


async def test_a_store_that_is_down_is_no_401() -> None:
    """If nobody can tell who it is, the answer is 503, neither 401 nor the page."""
    async with _guarded(InMemory()) as known:
        await known.login()
        cookies = dict(known.browser.cookies)
    async with _guarded(Redis("redis://127.0.0.1:1")) as lab:
        lab.browser.cookies = cookies
        response = await lab.browser.get("/x")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert set_cookies(response) == []


async def test_a_browser_gets_a_401_where_there_is_no_login_page() -> None:
    """Without a `login_url` a person is told by the status, as a program is."""
    app = make_app()
    auth = AuthSession(app)

    @app.get("/")
    @auth.login_required
    async def index(request: Request) -> HTTPResponse:
        return text("in")

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/", headers={"accept": "text/html"})

        assert response.status_code == 401


async def test_a_guarded_login_page_sends_nobody_in_a_circle() -> None:
    """A guard on the login page itself answers 401: a redirect would lead there again."""
    app = make_app()
    auth = AuthSession(app, login_url="/login")

    @app.get("/login")
    @auth.login_required
    async def login(request: Request) -> HTTPResponse:
        return text("in")

    async with serve(app) as url, Browser(url) as browser:
        for path in ("/login", "/login/?next=/"):
            response = await browser.get(path, headers={"accept": "text/html"})
            assert response.status_code == 401


async def test_an_exception_handler_can_be_guarded() -> None:
    """A guard works where there is no route, on what answers a 404."""
    app = make_app()
    auth = AuthSession(app)

    @app.exception(NotFound)
    @auth.login_required(lambda request, error: text("stranger", status=404))
    async def lost(request: Request, error: NotFound) -> HTTPResponse:
        return text(f"lost, {await auth.current_user()}", status=404)

    @app.get("/login")
    async def login(request: Request) -> HTTPResponse:
        await auth.login_user(request, "ann")
        return text("in")

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/nowhere")).text == "stranger"
        await browser.get("/login")
        assert (await browser.get("/nowhere")).text == "lost, ann"


async def test_a_no_auth_handler_that_fails_lets_nobody_in() -> None:
    """An error in `no_auth_handler` is an error of the request."""

    def broken(request: Request) -> HTTPResponse:
        raise ZeroDivisionError

    async with _guarded(None, no_auth_handler=broken) as lab:
        assert (await lab.browser.get("/x")).status_code == 500


# Websockets.


async def test_a_websocket_handler_does_not_run(spelled: Callable[[AuthSession], Guard]) -> None:
    """A guarded websocket is refused with 401 before its handshake, and its handler never runs."""
    lab, ran = AuthLab(), []

    @lab.app.websocket("/ws")
    @spelled(lab.auth)
    async def handler(request: Request, ws: Any) -> None:
        ran.append(await lab.auth.current_user())
        await ws.send("in")

    async with lab:
        url = lab.url.replace("http", "ws") + "/ws"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 401
        assert ran == []
        await lab.login("ann")
        cookie = f"{lab.cookie}={lab.browser.cookies[lab.cookie]}"
        async with connect(url, additional_headers={"cookie": cookie}) as ws:
            assert await asyncio.wait_for(ws.recv(), 5) == "in"
        assert ran == ["ann"]


# Two of them on one app.


@pytest.fixture
async def two(master: Any) -> AsyncIterator[tuple[str, AuthSession, AuthSession]]:
    """Users and admins on one interface, each with a login and a guarded page."""
    lab = AuthLab(master, session_name="user")
    admins = AuthSession(lab.app, master_interface=master, session_name="admin")
    for auth in (lab.auth, admins):
        _add_pages(lab.app, auth)
    async with lab:
        yield lab.url, lab.auth, admins


def _add_pages(app: Sanic, auth: AuthSession) -> None:
    @app.post(f"/{auth.name}/login", name=f"{auth.name}_login")
    async def log_in(request: Request) -> HTTPResponse:
        await auth.login_user(request, auth.name)
        return text("ok")

    @app.get(f"/{auth.name}", name=f"{auth.name}_page")
    @login_required(session_name=auth.name)
    async def page(request: Request) -> HTTPResponse:
        return text(str(await auth.current_user()))


@pytest.mark.parametrize(("mine", "other"), [("user", "admin"), ("admin", "user")])
async def test_two_auth_sessions(
    two: tuple[str, AuthSession, AuthSession], mine: str, other: str
) -> None:
    """A cookie of one never opens the other, not even under the other's name."""
    async with Browser(two[0]) as browser:
        await browser.post(f"/{mine}/login")
        assert (await browser.get(f"/{mine}")).text == mine
        assert (await browser.get(f"/{other}")).status_code == 401
        browser.cookies[other] = browser.cookies[mine]
        assert (await browser.get(f"/{other}")).status_code == 401
        assert (await browser.get(f"/{mine}")).text == mine
        response: httpx.Response = await browser.post(f"/{other}/login")
        assert len(set_cookies(response)) == 1
        assert (await browser.get(f"/{other}")).text == other


def _guarded(master: Any, **options: Any) -> AuthLab:
    """Return a lab with a guarded page at /x."""
    lab = AuthLab(master, **options)

    @lab.app.get("/x")
    @login_required()
    async def page(request: Request) -> HTTPResponse:
        return text("in")

    return lab


# The order of decorators.


def _above_a_route(app: Sanic, guard: Guard) -> None:
    @guard
    @app.get("/x")
    async def handler(request: Request) -> HTTPResponse:
        return text("in")


def _above_a_socket(app: Sanic, guard: Guard) -> None:
    @guard
    @app.websocket("/x")
    async def handler(request: Request, ws: Any) -> None:
        await ws.send("in")


def _above_a_blueprint_s_route(app: Sanic, guard: Guard) -> None:
    blueprint = Blueprint(f"{app.name}-blueprint")

    @guard
    @blueprint.get("/x")
    async def handler(request: Request) -> HTTPResponse:
        return text("in")

    app.blueprint(blueprint)


def _above_and_below(app: Sanic, guard: Guard) -> None:
    @guard
    @app.get("/x")
    @login_required()
    async def handler(request: Request) -> HTTPResponse:
        return text("in")


@pytest.mark.parametrize(
    "put", [_above_a_route, _above_a_socket, _above_a_blueprint_s_route, _above_and_below]
)
async def test_a_guard_above_the_route_is_refused(
    put: Callable[[Sanic, Guard], None], spelled: Callable[[AuthSession], Guard]
) -> None:
    """A guard that a route does not have lets everybody in: the server does not start with it."""
    app = make_app()
    put(app, spelled(AuthSession(app)))

    with pytest.raises(SessionConfigError, match="put login_required below the route's decorator"):
        for listener in app.listeners["main_process_start"]:
            await listener(app)


UNGUARDED = """
import asyncio, socket
from sanic import Sanic
from sanic_cookies import AuthSession, login_required

app = Sanic("shop")
AuthSession(app)

@login_required()
@app.get("/x")
async def handler(request): ...

async def main():
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    server = await app.create_server(sock=place, return_asyncio_server=True)
    await server.startup()
    await server.before_start()
    print("started")

asyncio.run(main())
"""


LATE = UNGUARDED.replace(
    "AuthSession(app)\n", "app.before_server_start(lambda app: AuthSession(app))\n"
)


@pytest.mark.parametrize("program", [UNGUARDED, LATE], ids=["at once", "by a listener"])
def test_a_server_without_a_main_process_does_not_start_either(program: str) -> None:
    """What has no main process, as an ASGI server's app, is told before it serves.

    Nor does one whose app attaches its session only as it starts.
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode
    assert "started" not in done.stdout
    assert "nothing guards the route 'shop.handler'" in done.stderr


async def test_what_another_app_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two apps of a process one may leave open what the other guards."""
    inside, outside = make_app(), make_app()
    monkeypatch.setattr(Sanic, "_app_registry", {each.name: each for each in (inside, outside)})
    auth = AuthSession(outside)
    AuthSession(inside)

    @inside.get("/x")
    async def handler(request: Request) -> HTTPResponse:
        return text("in")

    outside.add_route(auth.login_required()(handler), "/x")

    for app, status in ((inside, 200), (outside, 401)):
        async with serve(app) as url, Browser(url) as browser:
            assert (await browser.get("/x")).status_code == status


async def test_what_is_a_route_and_guarded_elsewhere() -> None:
    """A handler may be open at one route and guarded at another, and answer for a guard as well."""
    app = make_app()
    auth = AuthSession(app)

    @app.get("/open")
    async def handler(request: Request) -> HTTPResponse:
        return text("in")

    @app.get("/login")
    async def page(request: Request) -> HTTPResponse:
        return text("who are you?")

    def timed(inner: Guard) -> Guard:
        @wraps(inner)
        async def around(*args: Any) -> Any:
            return await inner(*args)

        return around

    app.add_route(timed(auth.login_required(check=bool)(login_required()(handler))), "/x", name="x")
    app.add_route(auth.login_required(page)(timed(handler)), "/page", name="page_x")

    async with serve(app) as url, Browser(url) as browser:
        answers = [await browser.get(path) for path in ("/open", "/login", "/x", "/page")]
    assert [each.status_code for each in answers] == [200, 200, 401, 200]
    assert [each.text for each in answers if each.status_code == 200] == [
        "in",
        "who are you?",
        "who are you?",
    ]
