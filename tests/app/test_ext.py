"""sanic-ext: injection by annotation, the OpenAPI document; with it, without it, with it broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sanic import Blueprint, Request, Sanic, Websocket, json
from sanic.views import HTTPMethodView
from sanic_ext import Extend, openapi
from sanic_ext.extensions.openapi.builders import OperationStore, SpecificationBuilder
from sanic_ext.extras.validation import clean
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from harness import Browser, make_app, serve
from programs import ROOT
from sanic_cookies import (
    AuthSession,
    InMemory,
    Session,
    SessionConfigError,
    SessionDict,
    login_required,
    public,
)
from sanic_cookies.ext import CurrentUser, SessionExtension

HTML = {"accept": "text/html"}


@dataclass
class User:
    """What the loader of these tests makes of a name."""

    name: str


class Cart(SessionDict):
    """A session with a type of its own."""


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """sanic-ext keeps one document and one list of extensions for all apps of a process."""
    for each in (Extend, OperationStore, SpecificationBuilder):
        each.reset()
    yield
    Extend.reset()


def add_routes(app: Sanic, auth: AuthSession) -> None:
    @app.post("/login")
    @public
    async def login(request: Request) -> Any:
        await auth.login_user(request, "ada")
        return json(None)

    @app.get("/me")
    async def me(request: Request, user: User) -> Any:
        return json(user.name)

    @app.get("/perhaps")
    @public
    async def perhaps(request: Request, user: User | None) -> Any:
        return json(user and user.name)

    @app.get("/value")
    async def value(request: Request, user: CurrentUser) -> Any:
        return json(user.value.name)


def make(*, routes: bool = True, **options: Any) -> tuple[Sanic, AuthSession]:
    app = make_app(AUTO_EXTEND=True, FALLBACK_ERROR_FORMAT="json")
    auth = AuthSession(app, user_loader=User, **options)
    app.extend(extensions=[SessionExtension(user=User)])
    if routes:
        add_routes(app, auth)
    return app, auth


async def spec_of(app: Sanic) -> dict[str, Any]:
    async with serve(app) as url, Browser(url) as browser:
        return (await browser.get("/docs/openapi.json")).json()


async def test_a_session_by_annotation() -> None:
    """A handler that asks for a `SessionDict` gets the app's first; a factory's class, its own."""
    app = make_app(AUTO_EXTEND=True)
    Session(app, store_factory=Cart, session_name="cart")
    Session(app)
    app.extend(extensions=[SessionExtension])

    @app.get("/")
    async def index(request: Request, first: SessionDict, cart: Cart) -> Any:
        async with first:
            first["n"] = first.get("n", 0) + 1
            return json([first["n"], first is cart, first is request.ctx.cart])

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).json() == [1, True, True]
        assert (await browser.get("/")).json() == [2, True, True]


async def test_extend_register_attaches_sessions() -> None:
    """Sessions given to the extension need no app: it brings them one."""
    session = Session(master_interface=InMemory())
    Extend.register(SessionExtension(session))
    app = make_app(AUTO_EXTEND=True)

    @app.get("/")
    async def index(request: Request, sess: SessionDict) -> Any:
        async with sess:
            sess["n"] = sess.get("n", 0) + 1
            return json(sess["n"])

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).json() == 1
        assert (await browser.get("/")).json() == 2
    assert app.ctx.session is session
    assert app.ext.extensions[-1].label() == "session on InMemory"


async def test_sessions_that_a_listener_attaches() -> None:
    """What the app attaches as it starts is injected and documented as if it had always been."""
    app = make_app(AUTO_EXTEND=True)
    app.extend(extensions=[SessionExtension])

    @app.before_server_start
    async def attach(app: Sanic) -> None:
        AuthSession(app)

    @app.get("/")
    async def index(request: Request, user: CurrentUser) -> Any:
        return json(user.value)

    @app.get("/guarded")
    @login_required()
    async def guarded(request: Request) -> Any:
        return json(None)

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).status_code == 401
        paths = (await browser.get("/docs/openapi.json")).json()["paths"]
        for path in ("/", "/guarded"):
            assert paths[path]["get"]["security"] == [{"auth_session": []}]


async def test_a_user_by_annotation() -> None:
    """Nobody reaches a handler that asks for the user; one that says `| None` is for all."""
    app, _ = make()
    async with serve(app) as url, Browser(url) as browser:
        for path in ("/me", "/value"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.json()["message"]) == (401, "Please log in.")
        assert (await browser.get("/perhaps")).json() is None

        await browser.post("/login")
        for path in ("/me", "/value", "/perhaps"):
            assert (await browser.get(path)).json() == "ada"
            assert (await browser.request("HEAD", path)).status_code == 200


async def test_strangers_are_answered_as_by_a_guard() -> None:
    """Browsers go to the login page; a `no_auth_handler` answers; both are reported as denied."""
    app, _ = make(login_url="/login")
    denied = []

    @app.signal("session.user.denied")
    async def note(route: str, **_: Any) -> None:
        denied.append(route.partition(".")[2])

    async with serve(app) as url, Browser(url) as browser:
        sent = await browser.get("/me?page=2", headers=HTML)
        assert (sent.status_code, sent.headers["location"]) == (302, "/login?next=/me%3Fpage%3D2")
        assert sent.headers["cache-control"] == "no-store"
    assert denied == ["me"]

    app, _ = make(no_auth_handler=lambda request: json("who?", status=418))
    async with serve(app) as url, Browser(url) as browser:
        asked = await browser.get("/me")
        assert (asked.status_code, asked.json()) == (418, "who?")


async def test_sockets_and_views_ask_alike() -> None:
    """A websocket is refused before its handshake; methods of a view class are given the user."""
    app, _ = make()

    @app.websocket("/feed")
    async def feed(request: Request, ws: Websocket, user: User) -> None:
        await ws.send(user.name)

    class Profile(HTTPMethodView):
        async def get(self, request: Request, user: User) -> Any:
            return json(user.name)

    app.add_route(Profile.as_view(), "/profile")
    async with serve(app) as url, Browser(url) as browser:
        socket = url.replace("http", "ws") + "/feed"
        with pytest.raises(InvalidStatus) as refused:
            await connect(socket, proxy=None)
        assert refused.value.response.status_code == 401
        assert (await browser.get("/profile")).status_code == 401

        await browser.post("/login")
        assert (await browser.get("/profile")).json() == "ada"
        [(name, value)] = browser.cookies.items()
        headers = {"cookie": f"{name}={value}"}
        async with connect(socket, additional_headers=headers, proxy=None) as ws:
            assert await ws.recv() == "ada"


async def test_injection_and_guards_go_together() -> None:
    """A guard around a handler, and one around the app, see the same user as the annotation."""
    app, auth = make()
    auth.protect(app)

    @app.get("/guarded")
    @login_required(check=lambda user: user.name == "ada")
    async def guarded(request: Request, user: User, sess: SessionDict) -> Any:
        async with sess:
            sess["seen"] = True
        return json(user.name)

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/guarded")).status_code == 401
        await browser.post("/login")
        assert (await browser.get("/guarded")).json() == "ada"


async def test_the_document_names_cookie_and_answers() -> None:
    """The login's cookie is a security scheme; what is guarded names it, and says 401 and 403."""
    app, auth = make()

    @app.get("/checked")
    @login_required(check=lambda user: True)
    async def checked(request: Request) -> Any:
        return json(None)

    class Orders(HTTPMethodView):
        async def get(self, request: Request) -> Any:
            return json(None)

        @auth.login_required()
        async def post(self, request: Request) -> Any:
            return json(None)

    app.add_route(Orders.as_view(), "/orders")
    spec = await spec_of(app)

    assert spec["components"]["securitySchemes"] == {
        "auth_session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-auth_session",
            "description": "The cookie of a login.",
        }
    }
    found = {
        (path, method): (operation.get("security"), sorted(operation["responses"]))
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    }
    cookie = [{"auth_session": []}]
    assert found == {
        ("/login", "post"): (None, ["default"]),
        ("/me", "get"): (cookie, ["401", "default"]),
        ("/perhaps", "get"): (None, ["default"]),
        ("/value", "get"): (cookie, ["401", "default"]),
        ("/checked", "get"): (cookie, ["401", "403", "default"]),
        ("/orders", "get"): (None, ["default"]),
        ("/orders", "post"): (cookie, ["401", "default"]),
    }


async def test_the_document_knows_protected_blueprints() -> None:
    """`protect()` is told for each route of what it protects, but not for what is public."""
    app, auth = make(routes=False)
    inner, outer = Blueprint("inner", url_prefix="/inner"), Blueprint("outer", url_prefix="/outer")

    @inner.get("/")
    async def secret(request: Request) -> Any:
        return json(None)

    @inner.get("/open")
    @public
    async def opened(request: Request) -> Any:
        return json(None)

    @outer.get("/")
    async def other(request: Request) -> Any:
        return json(None)

    auth.protect(inner)
    for each in (inner, outer):
        app.blueprint(each)
    paths = (await spec_of(app))["paths"]

    guarded = {path for path in paths if "security" in paths[path]["get"]}
    assert guarded == {"/inner"}
    assert set(paths) == {"/inner", "/inner/open", "/outer"}


async def test_what_was_written_by_hand_stays() -> None:
    """An operation that describes its own 401 keeps it; a second start adds nothing."""
    app, _ = make(routes=False)

    @app.get("/")
    @openapi.response(200, description="Fine.")
    @openapi.response("401", description="Mine.")
    @login_required()
    async def index(request: Request) -> Any:
        return json(None)

    await spec_of(app)
    operation = (await spec_of(app))["paths"]["/"]["get"]

    assert operation["responses"]["401"]["description"] == "Mine."
    assert sorted(operation["responses"]) == ["200", "401"]
    assert operation["security"] == [{"auth_session": []}]


async def test_without_parts_of_sanic_ext() -> None:
    """Injection and document are used where they are: an app may do without them."""
    app = make_app(AUTO_EXTEND=True)
    Session(app)
    app.extend(extensions=[SessionExtension()], built_in_extensions=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return json(None)

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).status_code == 200


async def test_a_user_needs_a_login_session() -> None:
    """An extension that is told of users, on an app where nobody logs in, does not start."""
    app = make_app(AUTO_EXTEND=True)
    Session(app)
    app.extend(extensions=[SessionExtension(user=User)])
    app.add_route(lambda request: json(None), "/", name="index")

    with pytest.raises(SessionConfigError, match="needs an AuthSession"):
        async with serve(app):
            pass


WITHOUT = """
import sys
sys.modules[{module!r}] = None  # as if it were not installed
import asyncio
sys.path.insert(0, "tests")
from harness import Browser, make_app, serve
from sanic import json
from sanic_cookies import AuthSession

app = make_app(AUTO_EXTEND=True)
auth = AuthSession(app)

@app.get("/")
async def index(request):
    await auth.login_user(request, "ada")
    return json(await auth.current_user())

async def main():
    async with serve(app) as url, Browser(url) as browser:
        print((await browser.get("/")).json())

asyncio.run(main())
try:
    import sanic_cookies.ext
except ImportError as error:
    print(error)
else:
    print("works")
"""
# Only later ones than sanic-ext 24.12 cannot be imported without pydantic.
NEEDS_PYDANTIC = hasattr(clean, "pydantic")


@pytest.mark.parametrize("module", ["sanic_ext", "pydantic"])
def test_the_core_does_without_it(module: str) -> None:
    """Without sanic-ext, or with one that is broken, sessions work; the extension says why not."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    said = "works"
    if module == "sanic_ext" or NEEDS_PYDANTIC:
        said = "sanic_cookies.ext needs sanic-ext and pydantic: pip install 'sanic-cookies[ext]'"
    assert done.stdout.splitlines()[-2:] == ["ada", said], done.stdout + done.stderr
