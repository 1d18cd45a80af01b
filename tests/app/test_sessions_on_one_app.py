"""Several sessions on one app, attaching later, options from the config, one app on many loops."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sanic import Request, Sanic, json, text

from harness import Browser, make_app, serve
from sanic_cookies import InMemory, Redis, Session, SessionConfigError


def add_count(app: Sanic) -> None:
    """Add a route that counts in the session of the given name."""

    @app.get("/<name>")
    async def count(request: Request, name: str) -> Any:
        async with getattr(request.ctx, name) as sess:
            sess["n"] = sess.get("n", 0) + 1
            return json(sess["n"])


async def test_two_sessions_share_an_interface(master: Any) -> None:
    """Two sessions on one interface have a cookie and data each."""
    app = make_app()
    Session(app, master_interface=master)
    Session(app, master_interface=master, session_name="cart")
    add_count(app)
    async with serve(app) as url, Browser(url) as browser:
        seen = [(await browser.get(f"/{name}")).json() for name in ("session", "session", "cart")]

        assert seen == [1, 2, 1]
        assert sorted(browser.cookies) == ["cart", "session"]


async def test_a_cookie_of_one_session_does_not_open_the_other(master: Any) -> None:
    """The value of one session's cookie under the other's name is an anonymous request."""
    app = make_app()
    Session(app, master_interface=master)
    Session(app, master_interface=master, session_name="cart")
    add_count(app)
    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/session")
        stolen = browser.cookies["session"]
        browser.cookies = {"cart": stolen}

        assert (await browser.get("/cart")).json() == 1
        assert browser.cookies["cart"] != stolen


async def test_one_block_in_another(master: Any) -> None:
    """Both sessions of a request can be open at once, and both are saved."""
    app = make_app()
    Session(app, master_interface=master)
    Session(app, master_interface=master, session_name="cart")

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess, request.ctx.cart as cart:
            sess["n"] = sess.get("n", 0) + 1
            cart["n"] = cart.get("n", 10) + 1
            return json([sess["n"], cart["n"]])

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).json() == [1, 11]
        assert (await browser.get("/")).json() == [2, 12]


def test_two_sessions_of_one_name() -> None:
    """A second session of the same name is refused."""
    app = make_app()
    Session(app)
    with pytest.raises(SessionConfigError, match=r"app\.ctx\.session is taken.*session_name"):
        Session(app, cookie_name="other")


def test_two_sessions_of_one_cookie() -> None:
    """A second session with the same cookie is refused."""
    app = make_app()
    Session(app)
    with pytest.raises(SessionConfigError, match=r"cookie 'session' already.*cookie_name"):
        Session(app, session_name="cart", cookie_name="session")


@pytest.mark.parametrize(
    "companion", ["auth_session_run", "auth_session_data", "auth_session_data2"]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_cookie_that_goes_with_another_one(companion: str, first: bool) -> None:
    """No session has the cookie that may carry another one's copy, or tells its browser's run."""
    app = make_app()
    names = {"cookie_name": companion}, {"session_name": "auth_session"}
    one, other = names if first else reversed(names)
    Session(app, **one)
    with pytest.raises(SessionConfigError, match="choose another cookie_name"):
        Session(app, **other)


def test_a_cookie_whose_name_only_begins_like_another_one() -> None:
    """Names that have a beginning in common are two names."""
    app = make_app()
    for name in ("session", "session2", "session_database", "session_running", "sess"):
        Session(app, session_name=name)


def test_a_name_that_the_app_uses() -> None:
    """A name that `app.ctx` has already is refused."""
    app = make_app()
    app.ctx.session = "SQLAlchemy"
    with pytest.raises(SessionConfigError, match=r"app\.ctx\.session is taken"):
        Session(app)


def test_a_name_that_the_requests_use() -> None:
    """A name that the app's own request class puts on `request.ctx` is refused."""

    class OwnRequest(Request):
        @staticmethod
        def make_context() -> SimpleNamespace:
            return SimpleNamespace(session="SQLAlchemy")

    app = Sanic("own-request", request_class=OwnRequest, configure_logging=False)
    Sanic._app_registry.pop(app.name, None)
    with pytest.raises(SessionConfigError, match=r"request\.ctx\.session is taken"):
        Session(app)


async def test_a_name_that_a_middleware_takes_is_told() -> None:
    """`Session.of` names the culprit when something else stands on `request.ctx`."""
    app = make_app()
    session = Session(app)
    texts: list[str] = []

    @app.on_request
    async def overwrite(request: Request) -> None:
        request.ctx.session = "SQLAlchemy"

    @app.get("/")
    async def index(request: Request) -> Any:
        with pytest.raises(SessionConfigError) as caught:
            session.of(request)
        texts.append(caught.value.detail)
        request.ctx.session = None
        return text("")

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).status_code == 200
        assert texts == ["request.ctx.session is not a session: who set it?"]


@pytest.mark.parametrize("use", [delattr, lambda ctx, name: setattr(ctx, name, "SQLAlchemy")])
async def test_a_session_that_is_taken_away_keeps_no_other_one_from_being_saved(use: Any) -> None:
    """What a handler puts in a session's place, or leaves there, is not asked for its changes."""
    app = make_app()
    Session(app)
    Session(app, session_name="cart", warn_lock=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        use(request.ctx, "session")
        request.ctx.cart["n"] = 1
        return text("")

    @app.get("/see")
    async def see(request: Request) -> Any:
        return json(dict(await request.ctx.cart.peek()))

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).status_code == 200
        assert (await browser.get("/see")).json() == {"n": 1}


async def test_init_app() -> None:
    """A session made without an app is attached by `init_app`, once."""
    session = Session(master_interface=InMemory(), expiry=60)
    app = make_app()
    session.init_app(app)
    add_count(app)
    assert app.ctx.session is session
    with pytest.raises(SessionConfigError, match="attached to an app already"):
        session.init_app(make_app())
    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/session")).json() == 1
        assert (await browser.get("/session")).json() == 2


def test_app_ctx_has_the_session_object() -> None:
    """`app.ctx.<session_name>` is the `Session`."""
    app = make_app()
    one, two = Session(app), Session(app, session_name="cart")

    assert (app.ctx.session, app.ctx.cart) == (one, two)


# Options in app.config.


async def test_options_from_the_config() -> None:
    """`SESSION_*` counts where no keyword was given, in the types that an environment has."""
    app = make_app(
        SESSION_COOKIE_NAME="id", SESSION_EXPIRY=60, SESSION_SAMESITE="Strict", SESSION_PATH="/x"
    )
    Session(app, path="/")
    add_count(app)
    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/session")

        assert response.headers["set-cookie"].partition("; ")[2] == (
            "Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        )
        assert [*browser.cookies] == ["id"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SESSION_EXPIRY", 60),
        ("SESSION_EXPIRY", 60.5),
        ("SESSION_EXPIRY", timedelta(minutes=1)),
        ("SESSION_WARN_LOCK", False),
        ("SESSION_MAX_WAITERS", 5),
        ("SESSION_SECURE", True),
        ("SESSION_SECURE", "auto"),
        ("SESSION_DOMAIN", None),
    ],
)
def test_values_that_the_config_may_hold(key: str, value: Any) -> None:
    """A value of the right type is taken."""
    Session(make_app(**{key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SESSION_COOKIE_NAME", 12345678),
        ("SESSION_COOKIE_NAME", True),
        ("SESSION_EXPIRY", "1h"),
        ("SESSION_EXPIRY", True),
        ("SESSION_WARN_LOCK", 0),
        ("SESSION_WARN_LOCK", "no"),
        ("SESSION_HTTPONLY", "False"),
        ("SESSION_PRELOAD", 1.0),
        ("SESSION_MAX_WAITERS", 1000.0),
        ("SESSION_MAX_WAITERS", True),
        ("SESSION_PATH", 1),
        ("SESSION_DOMAIN", 127.0),
        ("SESSION_SAMESITE", True),
    ],
)
def test_values_of_the_wrong_type(key: str, value: Any) -> None:
    """A value that an environment's conversion has made something else is refused by its name."""
    with pytest.raises(SessionConfigError) as caught:
        Session(make_app(**{key: value}))

    assert key in str(caught.value)


@pytest.mark.parametrize("name", ["cart", "auth_session"])
def test_each_session_has_its_own_prefix(name: str) -> None:
    """The prefix of the keys is the session's own name."""
    app = make_app(SESSION_EXPIRY="not ours", **{f"{name.upper()}_COOKIE_NAME": "mine"})
    session = Session(app, session_name=name)

    assert session.settings.cookie.name == "mine"


async def test_apps_that_share_a_context() -> None:
    """Each app has the sessions that were attached to it, also where `app.ctx` is one for both."""
    apps = [make_app(), make_app()]
    apps[1].ctx = apps[0].ctx
    for app, name in zip(apps, ("cart", "session"), strict=True):
        Session(app, session_name=name)
        add_count(app)
    with pytest.raises(SessionConfigError, match=r"app\.ctx\.cart is taken"):
        Session(apps[1], session_name="cart")

    for app, name, other in ((apps[0], "cart", "session"), (apps[1], "session", "cart")):
        async with serve(app) as url, Browser(url) as browser:
            assert [(await browser.get(f"/{name}")).json() for _ in range(2)] == [1, 2]
            assert (await browser.get(f"/{other}")).status_code == 500


class Opened(InMemory):
    """Memory that counts how often it is opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[str] = []

    async def open(self) -> None:
        self.times.append("open")
        await super().open()

    async def close(self) -> None:
        self.times.append("close")
        await super().close()


async def test_a_session_that_a_listener_attaches() -> None:
    """What an app attaches as it starts is opened as all are; what is open already is not again."""
    app, one, other = make_app(), Opened(), Opened()
    Session(app, one)

    @app.before_server_start
    async def attach(app: Sanic) -> None:
        cart = Session(app, one, session_name="cart")
        cart.add_interface(other)

    add_count(app)
    async with serve(app) as url, Browser(url) as browser:
        assert one.times == other.times == ["open"]
        assert [(await browser.get("/cart")).json() for _ in range(2)] == [1, 2]
        with pytest.raises(SessionConfigError):
            app.ctx.cart.add_interface(InMemory())

    assert one.times == other.times == ["open", "close"]


# One app, started more than once.


async def test_start_stop_start(shared_master: Any) -> None:
    """The same app serves again after it was stopped; what is stored is still there."""
    app = make_app()
    Session(app, master_interface=shared_master)
    add_count(app)
    cookies: dict[str, str] = {}
    for expected in (1, 2, 3):
        async with serve(app) as url, Browser(url) as browser:
            browser.cookies = cookies
            assert (await browser.get("/session")).json() == expected


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_start_stop_start_on_new_loops(kind: str, request: pytest.FixtureRequest) -> None:
    """The same app serves on one event loop after the other."""
    import asyncio

    url = request.getfixturevalue("redis_url") if kind == "redis" else ""
    app = make_app()
    Session(app, master_interface=Redis(url, prefix="loops:") if url else InMemory())
    add_count(app)
    cookies: dict[str, str] = {}

    async def serve_once() -> list[int]:
        async with serve(app) as address, Browser(address) as browser:
            browser.cookies = cookies
            await browser.get("/session")
            both = await asyncio.gather(*(browser.get("/session") for _ in range(2)))
            return sorted(each.json() for each in both)

    assert [asyncio.run(serve_once()) for _ in range(3)] == [[2, 3], [5, 6], [8, 9]]
