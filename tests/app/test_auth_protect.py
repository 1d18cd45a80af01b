"""`auth.protect()`: deny by default, with exceptions that are written down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sanic import Blueprint, Request, Sanic, text
from sanic.exceptions import NotFound
from sanic.response import HTTPResponse
from sanic.views import HTTPMethodView
from sanic_ext import Extend
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from auth_lab import AuthLab
from harness import Browser, make_app, serve
from sanic_cookies import AuthSession, InMemory, SessionConfigError, login_required, public

HTML = {"accept": "text/html"}


async def hello(request: Request, **_: Any) -> HTTPResponse:
    return text("in")


class Shut(HTTPMethodView):
    """A view without exceptions."""

    async def get(self, request: Request) -> HTTPResponse:
        return text("in")


class Half(HTTPMethodView):
    """A view of which one method is public."""

    @public
    async def get(self, request: Request) -> HTTPResponse:
        return text("in")

    async def post(self, request: Request) -> HTTPResponse:
        return text("in")


@public
class Open(HTTPMethodView):
    """A view for everybody."""

    async def get(self, request: Request) -> HTTPResponse:
        return text("in")


class Child(Open):
    """A view that inherits from a public one, and adds what is not for everybody."""

    async def post(self, request: Request) -> HTTPResponse:
        return text("in")


class Decorated(HTTPMethodView):
    """A view that is public by its decorators."""

    decorators = [public]  # noqa: RUF012 - so does Sanic's documentation

    async def get(self, request: Request) -> HTTPResponse:
        return text("in")


def site(lab: AuthLab, tmp_path: Path) -> AuthLab:
    """Fill an app with pages of each kind."""
    app = lab.app
    (tmp_path / "style.css").write_text("in")
    app.static("/static", tmp_path)
    for view in (Shut, Half, Open, Child, Decorated):
        app.add_route(view.as_view(), f"/{view.__name__.lower()}")
    app.add_route(hello, "/page/<name>", name="page")

    @app.get("/below")
    @public
    async def below(request: Request) -> HTTPResponse:
        return text("in")

    @public
    @app.get("/above")
    async def above(request: Request) -> HTTPResponse:
        return text("in")

    @app.get("/sync")
    @public
    def sync(request: Request) -> HTTPResponse:
        return text("in")

    @app.get("/both")
    @public
    @login_required()
    async def both(request: Request) -> HTTPResponse:
        return text("in")

    app.add_route(hello, "/login", name="login", methods=["GET", "POST"])

    @app.exception(NotFound)
    async def missing(request: Request, error: Exception) -> HTTPResponse:
        return text("missing", 404)

    return lab


RULES = [
    ("GET", "/page/1", 401),
    ("HEAD", "/page/1", 401),
    ("GET", "/page/1/", 401),
    ("GET", "/shut", 401),
    ("HEAD", "/shut", 401),
    ("GET", "/half", 200),
    ("HEAD", "/half", 200),
    ("POST", "/half", 401),
    ("GET", "/open", 200),
    ("GET", "/child", 401),
    ("POST", "/child", 401),
    ("GET", "/decorated", 200),
    ("GET", "/below", 200),
    ("HEAD", "/below", 200),
    ("GET", "/above", 200),
    ("GET", "/sync", 200),
    ("GET", "/both", 401),
    ("HEAD", "/both", 401),
    ("GET", "/static/style.css", 200),
    ("GET", "/static/missing.css", 404),
    ("GET", "/nowhere", 404),
    ("HEAD", "/nowhere", 404),
    ("DELETE", "/page/1", 405),
    ("OPTIONS", "/page/1", 204),
    ("GET", "/login", 200),
    ("POST", "/login", 200),
    ("GET", "/login?x=1", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), RULES)
async def test_an_app_is_shut_but_for_its_exceptions(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    """Without a login every route is a 401, HEAD too, but for what is public or not a route."""
    lab = site(AuthLab(None, login_url="/login"), tmp_path)
    lab.auth.protect(lab.app)
    Extend(lab.app)
    async with lab:
        assert (await lab.browser.request(method, path)).status_code == status
        # Not via the lab's own pages: those are shut, too.
        assert not lab.browser.cookies


@pytest.mark.parametrize("page", ["fixed", "catch-all"])
@pytest.mark.parametrize("login_url", ["/login", "/login/"])
async def test_nothing_else_passes_for_the_login_page(page: str, login_url: str) -> None:
    """With other slashes at its end, the login page's path may be another value of a pattern."""
    lab = AuthLab(None, login_url=login_url)
    lab.app.add_route(hello, "/login" if page == "fixed" else "/<path:path>", name="page")
    lab.auth.protect(lab.app)
    async with lab:
        for path in ("/login", "/login/", "/login//"):
            status = 200 if page == "fixed" or path == login_url else 401
            assert (await lab.browser.get(path)).status_code == status, path


async def test_who_is_logged_in_reaches_it(master: Any) -> None:
    """With a login all is as it was; with another user than the rule's it is a 403."""
    lab = AuthLab(master)
    lab.app.add_route(hello, "/page/<name>", name="page")
    log_in_at(lab)
    lab.auth.protect(lab.app, check=lambda user: user == "admin")
    async with lab:
        assert (await lab.browser.get("/page/1")).status_code == 401
        await lab.browser.post("/in/ann")
        assert (await lab.browser.get("/page/1")).status_code == 403
        await lab.browser.post("/in/admin")
        assert (await lab.browser.get("/page/1")).text == "in"


def log_in_at(lab: AuthLab) -> None:
    @lab.app.post("/in/<name>")
    @public
    async def log_in(request: Request, name: str) -> HTTPResponse:
        await lab.auth.login_user(request, name)
        return text("ok")


async def test_static_files_may_be_guarded_too(tmp_path: Path) -> None:
    """With `static=True` they need a login as well."""
    lab = site(AuthLab(), tmp_path)
    lab.auth.protect(lab.app, static=True)
    async with lab:
        assert (await lab.browser.get("/static/style.css")).status_code == 401


async def test_the_answer_is_the_guards(tmp_path: Path) -> None:
    """Browsers go to the login page, a `no_auth_handler` answers with the route's parameters."""
    lab = site(AuthLab(None, login_url="/login"), tmp_path)
    lab.auth.protect(lab.app)
    async with lab:
        sent = await lab.browser.get("/page/1", headers=HTML)
        assert (sent.status_code, sent.headers["location"]) == (302, "/login?next=/page/1")
    lab = site(AuthLab(), tmp_path)
    lab.auth.protect(lab.app, lambda request, name="": text(f"no {name}", 418))
    async with lab:
        answer = await lab.browser.get("/page/1")
        assert (answer.status_code, answer.text) == (418, "no 1")


async def _none(request: Request) -> None:
    """Answer nothing."""


def _no_async(request: Request) -> Any:
    return None


async def _empty(request: Request) -> Any:
    return ""


async def _sends(request: Request) -> None:
    response = await request.respond(text("no", 418))
    await response.eof()


@pytest.mark.parametrize("given_to", ["decorator", "protect", "session"])
@pytest.mark.parametrize(
    ("denied", "program", "browser"),
    [(_none, 401, 302), (_no_async, 401, 302), (_empty, 401, 302), (_sends, 418, 418)],
)
async def test_no_answer_lets_nobody_in(
    denied: Any, program: int, browser: int, given_to: str
) -> None:
    """With a `no_auth_handler` that returns nothing all is as without it, or as it has sent.

    What it has sent is the answer, and no error of the app's.
    """
    ran, errors = [], []
    lab = AuthLab(
        None, login_url="/login", **({"no_auth_handler": denied} if given_to == "session" else {})
    )
    own = login_required(denied) if given_to == "decorator" else login_required()

    async def page(request: Request) -> HTTPResponse:
        ran.append(request.path)
        return text("in")

    async def socket(request: Request, ws: Any) -> None:
        ran.append(request.path)

    lab.app.add_route(page if given_to == "protect" else own(page), "/page")
    lab.app.add_websocket_route(socket if given_to == "protect" else own(socket), "/ws")
    if given_to == "protect":
        lab.auth.protect(lab.app, denied)

    @lab.app.signal("http.lifecycle.exception")
    async def tell(exception: Exception, **_: Any) -> None:
        errors.append(exception)

    async with lab:
        assert (await lab.browser.get("/page")).status_code == program
        assert (await lab.browser.get("/page", headers=HTML)).status_code == browser
        with pytest.raises(InvalidStatus) as refused:
            await connect(lab.url.replace("http", "ws") + "/ws")
        assert refused.value.response.status_code == program
    assert ran == []
    assert errors == [] or denied is not _sends


# Blueprints.


def with_blueprints(lab: AuthLab, app_name: str = "inner") -> tuple[Blueprint, Blueprint]:
    """Add two blueprints, one in a versioned group, and an open page beside them."""
    inner, outer = Blueprint("inner", "/in"), Blueprint("outer", "/out")
    for blueprint in (inner, outer):
        blueprint.add_route(hello, "/page", name="page")
    inner.add_route(hello, "/open", name="open")
    inner.add_route(Open.as_view(), "/view")
    lab.app.blueprint(Blueprint.group(inner, version=1, url_prefix="/group"))
    lab.app.blueprint(outer)
    lab.app.add_route(hello, "/page", name="page")
    return inner, outer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_blueprint_is_shut_alone(method: str) -> None:
    """Its routes need a login, HEAD too, those of others and of the app do not."""
    lab = AuthLab()
    inner, _ = with_blueprints(lab)
    lab.auth.protect(inner)
    Extend(lab.app)
    expected = {
        "/v1/group/in/page": 401,
        "/v1/group/in/view": 200,
        "/out/page": 200,
        "/page": 200,
        "/v1/group/in/nowhere": 404,
    }
    async with lab:
        for path, status in expected.items():
            assert (await lab.browser.request(method, path)).status_code == status, path


async def test_a_group_is_shut_as_a_whole() -> None:
    """`protect` takes a group of blueprints, also before they are on the app."""
    lab = AuthLab()
    first, second = Blueprint("first", "/1"), Blueprint("second", "/2")
    group = Blueprint.group(Blueprint.group(first), second)
    lab.auth.protect(group)
    for blueprint in (first, second):
        blueprint.add_route(hello, "/page", name="page")
    lab.app.blueprint(group)
    async with lab:
        for path in ("/1/page", "/2/page"):
            assert (await lab.browser.get(path)).status_code == 401


# What is protected of a blueprint and its copies, what of them is on the app, and what is shut.
COPIES = [
    ("original", "original copy", "original copy"),
    ("original", "copy copy_of_copy", "copy copy_of_copy"),
    ("original", "last", "last"),
    ("copy", "original copy", "copy"),
    ("copy", "copy copy_of_copy", "copy copy_of_copy"),
    ("copy", "last", "last"),
    ("copy", "sister", ""),
    ("sister", "copy sister", "sister"),
]


@pytest.mark.parametrize(("protected", "served", "shut"), COPIES)
@pytest.mark.parametrize("first", ["protect", "copy"])
async def test_copies_are_shut_too(protected: str, served: str, shut: str, first: str) -> None:
    """What Sanic copies from a protected blueprint, and from such a copy, needs a login, too."""
    lab = AuthLab()
    original, other = Blueprint("original", "/original"), Blueprint("other", "/other")
    for blueprint in (original, other):
        blueprint.add_route(hello, "/page", name="page")
    if first == "protect" and protected == "original":
        lab.auth.protect(original)
    copy, sister = original.copy("copy", "/copy"), original.copy("sister", "/sister")
    copy_of_copy = copy.copy("copy_of_copy", "/copy_of_copy")
    if first == "protect" and protected != "original":
        lab.auth.protect(copy if protected == "copy" else sister)
    last = copy_of_copy.copy("last", "/last")
    kin = {each.name: each for each in (original, copy, sister, copy_of_copy, last)}
    served_too = [other, other.copy("open", "/open")]
    for blueprint in (*[kin[name] for name in served.split()], *served_too):
        lab.app.blueprint(blueprint)
    if first == "copy":
        lab.auth.protect(kin[protected])
    Extend(lab.app)
    async with lab:
        for name in (*served.split(), "other", "open"):
            for method in ("GET", "HEAD"):
                response = await lab.browser.request(method, f"/{name}/page")
                assert (response.status_code == 401) is (name in shut.split()), name


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("copies", [0, 1, 2])
async def test_static_files_of_a_blueprint(tmp_path: Path, static: bool, copies: int) -> None:
    """Static files of a protected blueprint, and of copies, are shut if that is asked for."""
    lab, blueprint = AuthLab(), Blueprint("inner", "/in")
    (tmp_path / "style.css").write_text("in")
    blueprint.static("/static", tmp_path, name="files")
    lab.app.static("/static", tmp_path, name="files")
    lab.auth.protect(blueprint, static=static)
    for number in range(copies):
        blueprint = blueprint.copy(f"copy_{number}")
    lab.app.blueprint(Blueprint.group(blueprint, url_prefix="/group"))
    async with lab:
        inside = await lab.browser.get("/group/in/static/style.css")
        assert inside.status_code == (401 if static else 200)
        assert (await lab.browser.get("/static/style.css")).status_code == 200


async def test_what_joins_a_group_later_is_shut() -> None:
    """A blueprint that is put into a protected group afterwards needs a login as the others do."""
    lab, group, late = AuthLab(), Blueprint.group(), Blueprint("late", "/late")
    late.add_route(hello, "/page", name="page")
    lab.auth.protect(group)
    group.append(late)
    lab.app.blueprint(group)
    async with lab:
        assert (await lab.browser.get("/late/page")).status_code == 401


async def test_a_blueprint_with_the_apps_name_is_shut() -> None:
    """Names do not decide whose a route is: a blueprint may be called like the app."""
    lab = AuthLab()
    blueprint = Blueprint(lab.app.name.replace("-", "_"), "/bp")
    blueprint.add_route(hello, "/page", name=f"{lab.app.name}.page")
    lab.app.blueprint(blueprint)
    lab.auth.protect(blueprint)
    async with lab:
        assert (await lab.browser.get("/bp/page")).status_code == 401


# Websockets.


@pytest.mark.parametrize("exempt", [False, True])
async def test_sockets_are_shut_before_their_handshake(exempt: bool) -> None:
    """A socket of a protected app is a 401 instead of a handshake, unless it is public."""
    lab = AuthLab()

    async def socket(request: Request, ws: Any) -> None:
        await ws.send("in")

    lab.app.add_websocket_route(public(socket) if exempt else socket, "/ws")
    lab.auth.protect(lab.app)
    async with lab:
        url = lab.url.replace("http", "ws") + "/ws"
        if exempt:
            async with connect(url) as ws:
                assert await asyncio.wait_for(ws.recv(), 5) == "in"
        else:
            with pytest.raises(InvalidStatus) as refused:
                await connect(url)
            assert refused.value.response.status_code == 401


# Mistakes.


def test_what_cannot_be_protected() -> None:
    """Another app, an app before `init_app`, and other things are refused."""
    auth = AuthSession(make_app(), InMemory())
    for session, target in ((auth, make_app()), (AuthSession(), make_app()), (auth, "admin")):
        with pytest.raises(SessionConfigError):
            session.protect(target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("is_there", "what"), [(True, "blueprint"), (False, "blueprint"), (False, "group")]
)
async def test_a_blueprint_that_the_app_does_not_have(
    is_there: bool, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who guards another blueprint than the one that is served is told at the start."""
    app, served, other = make_app(), Blueprint("admin"), Blueprint("admin")
    served.add_route(lambda request: text(""), "/admin", name="index")
    app.blueprint(served)
    guarded = served if is_there else other
    target = guarded if what == "blueprint" else Blueprint.group(guarded)
    AuthSession(app).protect(target)
    async with serve(app) as url, Browser(url) as browser:
        told = [line for line in caplog.messages if "protect()" in line]
        assert (await browser.get("/admin")).status_code == (401 if is_there else 200)

    nothing = "auth_session: protect() guards nothing: the app has no route of the blueprint admin"
    assert told == ([] if is_there else [nothing])


def test_public_goes_on_something_that_is_called() -> None:
    """With parentheses, or on a name, it fails where it is written."""
    with pytest.raises(SessionConfigError):
        public("page")
    with pytest.raises(TypeError):
        public()  # type: ignore[call-arg]


async def test_public_methods_of_an_object() -> None:
    """In the class it marks the method; on the object's it says where to put it."""

    class Pages:
        @public
        async def index(self, request: Request) -> HTTPResponse:
            return text("in")

        async def shut(self, request: Request) -> HTTPResponse:
            return text("in")

    app, pages = make_app(), Pages()
    AuthSession(app).protect(app)
    with pytest.raises(SessionConfigError, match="above the method's def"):
        public(pages.shut)
    for handler in (pages.index, pages.shut):
        app.add_route(handler, f"/{handler.__name__}", name=handler.__name__)
    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/index")).status_code == 200
        assert (await browser.get("/shut")).status_code == 401


async def test_a_factory_may_protect_when_the_app_is_there() -> None:
    """After `init_app` the session protects the app; options are read anew and keep nothing out."""
    app: Sanic = make_app()
    auth = AuthSession()
    auth.init_app(app)
    auth.protect(app)
    assert len([each for each in auth.checks if type(each).__name__ == "Protection"]) == 1
