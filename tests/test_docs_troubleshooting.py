"""Each row of the page on trouble is real: what it names happens, and what it says helps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from inspect import iscoroutine
from typing import Any

import asyncpg
import httpx
import pytest
from sanic import Request, Sanic, json

from documents import ROOT, headings, rows
from harness import Browser, make_app, serve
from sanic_cookies import AsyncPG, AuthSession, ResponseStarted, Session
from stores import table

PAGE = ROOT / "docs" / "troubleshooting.md"
Handler = Callable[[Request], Awaitable[Any]]
ROWS = {row[0]: row for heading in headings(PAGE) for row in rows(PAGE, heading)}


def an_app(*handlers: Handler, **options: Any) -> Sanic:
    """Return an app with both kinds of session and these handlers, at their names."""
    app = make_app()
    Session(app, **options)
    AuthSession(app)
    for handler in handlers:
        app.add_route(handler, f"/{handler.__name__}", name=handler.__name__)
    return app


async def count(request: Request) -> Any:
    async with request.ctx.session as sess:
        sess["n"] = sess.get("n", 0) + 1
        return json(sess["n"])


async def given(app: Sanic, *paths: str, host: str | None = None) -> list[Any]:
    """Return what one browser gets at these paths, one after the other."""
    async with serve(app) as url, Browser(url, host=host) as browser:
        return [(await browser.get(path)).json() for path in paths]


async def without_a_jar(_: Any) -> None:
    async with serve(an_app(count)) as url, httpx.AsyncClient() as client:
        for _ in range(2):
            client.cookies.clear()
            assert (await client.get(f"{url}/count")).json() == 1
    assert await given(an_app(count), "/count", "/count") == [1, 2]


async def over_http(_: Any) -> None:
    for host, options, answers in (
        ("shop.example", {}, [1, 1]),
        ("0.0.0.0", {}, [1, 1]),  # noqa: S104 - nothing is bound
        ("shop.example", {"secure": False}, [1, 2]),
    ):
        app = an_app(count, **options)
        client = httpx.AsyncClient(headers={"host": host})  # keeps and sends as browsers do
        async with serve(app) as url, client:
            found = [(await client.get(f"{url}/count")).json() for _ in range(2)]
        assert found == answers, (host, options)


async def in_another_process(_: Any) -> None:
    async with serve(an_app(count)) as url, Browser(url) as browser:
        assert (await browser.get("/count")).json() == 1
        cookies = browser.cookies
    async with serve(an_app(count)) as url, Browser(url) as browser:
        browser.cookies = cookies
        assert (await browser.get("/count")).json() == 1


async def at_another_port(_: Any) -> None:
    for options, last in (({}, 1), ({"cookie_name": "other"}, 2)):
        async with (
            serve(an_app(count)) as one,
            serve(an_app(count, **options)) as other,
            httpx.AsyncClient() as client,  # its jar knows no ports, as a browser's
        ):
            found = [(await client.get(f"{url}/count")).json() for url in (one, other, one)]
        assert found == [1, 1, last], options


async def after_a_login(_: Any) -> None:
    for options, left in (({}, {}), ({"reset_session": False}, {"n": 1})):
        app = make_app()
        auth = AuthSession(app)

        @app.get("/login")
        async def login(request: Request, auth: Any = auth, options: Any = options) -> Any:
            async with request.ctx.auth_session as sess:
                sess["n"] = 1
            await auth.login_user(request, "ada", **options)
            view = dict(await request.ctx.auth_session.peek())
            return json({key: view[key] for key in view if key != "current_user"})

        assert await given(app, "/login") == [left]


async def with_two_cookies(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(an_app(count)) as url, Browser(url) as browser:
        await browser.get("/count")
        twice = "; ".join(f"session={value}" for value in [*browser.cookies.values()] * 2)
        assert (await browser.get("/count", headers={"cookie": twice})).json() == 1
    assert "two cookies of the session's name" in caplog.text


async def changed_in_a_view(_: Any) -> None:
    async def begin(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["cart"] = []
        return json(None)

    async def look(request: Request) -> Any:
        view = await request.ctx.session.peek()
        found = list(view["cart"])
        view["cart"].append("lost")
        return json(found)

    assert await given(an_app(begin, look), "/begin", "/look", "/look") == [None, [], []]


async def unlocked(_: Any) -> None:
    async def plain(request: Request) -> Any:
        with pytest.warns(RuntimeWarning, match="The session is used without its lock"):
            return json(request.ctx.session.get("n"))

    async def peek(request: Request) -> Any:
        return json((await request.ctx.session.peek()).get("n"))

    assert await given(an_app(plain, peek), "/plain", "/peek") == [None, None]


async def not_awaited(_: Any) -> None:
    async def seems(request: Request) -> Any:
        user = request.app.ctx.auth_session.current_user(request)
        assert iscoroutine(user)
        return json([bool(user), await user])

    assert await given(an_app(seems), "/seems") == [[True, None]]


async def another_name(_: Any) -> None:
    app = make_app()
    auth, late = AuthSession(app), Session()

    @app.get("/")
    async def index(request: Request) -> Any:
        if late.name not in vars(request.ctx):
            with pytest.raises(AttributeError, match="has no attribute 'session'"):
                _ = request.ctx.session
        assert request.ctx.auth_session is auth.of(request)
        return json(sorted(vars(request.ctx)))

    assert await given(app, "/") == [["auth_session"]]
    late.init_app(app)
    assert await given(app, "/") == [["auth_session", "session"]]


async def not_async(_: Any) -> None:
    async def plain_with(request: Request) -> Any:
        refused = pytest.raises(TypeError, match="does not support the context manager protocol")
        with refused, request.ctx.session:
            pass
        async with request.ctx.session:
            return json("in")

    assert await given(an_app(plain_with), "/plain_with") == ["in"]


async def as_json(_: Any) -> None:
    async def whole(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
            with pytest.raises(TypeError, match="is not JSON serializable"):
                json(sess)
            return json(dict(sess))

    assert await given(an_app(whole), "/whole") == [{"n": 1}]


async def no_json(caplog: pytest.LogCaptureFixture) -> None:
    async def date(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["when"] = datetime.now(UTC)

    async def text(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["when"] = datetime.now(UTC).isoformat()
        return json("kept")

    app = an_app(date, text)
    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/date")).status_code == 500
        assert (await browser.get("/text")).json() == "kept"
    assert any("would not be read back equal" in _told(record) for record in caplog.records)


def _told(record: logging.LogRecord) -> str:
    """Return a line of the log with the notes of its error."""
    error = record.exc_info[1] if record.exc_info else None
    return " ".join([record.getMessage(), *getattr(error, "__notes__", [])])


async def not_loaded(_: Any) -> None:
    async def plain(request: Request) -> Any:
        return json(request.ctx.session.get("n"))

    app = an_app(count, plain, preload=False, warn_lock=False)
    first, second, third = await given(app, "/count", "/plain", "/count")
    assert (first, third) == (1, 2)
    assert "The session is not loaded" in second["message"]


async def begun(_: Any) -> None:
    answered, tasks, told = asyncio.Event(), [], list[str]()

    async def outlived(request: Request) -> Any:
        async def later() -> None:
            await answered.wait()
            with pytest.raises(ResponseStarted, match="The response has begun"):
                await count(request)

        tasks.append(asyncio.create_task(later()))
        return json(None)

    app = an_app(outlived)

    @app.on_response
    async def late(request: Request, response: Any) -> None:
        try:  # Sanic swallows what is raised here
            await count(request)
        except ResponseStarted as error:
            told.append(str(error))

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/outlived")
        assert "The response has begun" in told[0]
        answered.set()
        await asyncio.gather(*tasks)


async def waiting_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def gathers(request: Request) -> Any:
        async with request.ctx.session:
            await asyncio.gather(count(request))

    async with serve(an_app(gathers, lock_timeout=0.1)) as url, Browser(url) as browser:
        assert (await browser.get("/gathers")).status_code == 503
    assert "a block must not wait for tasks" in caplog.text


async def no_table(caplog: pytest.LogCaptureFixture, database_url: str) -> None:
    database = await asyncpg.connect(database_url)
    async with table(database) as name:
        store = AsyncPG(database_url, table=name, sweep_every=0)
        async with serve(an_app(count, master_interface=store)) as url, Browser(url) as browser:
            assert (await browser.get("/count")).status_code == 503
            assert "its table is not there" in caplog.text
            await store.create_table()
            assert (await browser.get("/count")).json() == 1
    await database.close()


async def no_token(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    auth = AuthSession(app, csrf="token")

    @app.get("/login")
    async def login(request: Request) -> Any:
        await auth.login_user(request, "ada")
        return json(await auth.csrf_token(request))

    @app.post("/pay", ctx_csrf=True)
    async def pay(request: Request) -> Any:
        return json("paid")

    async with serve(app) as url, Browser(url) as browser:
        token = (await browser.get("/login")).json()
        assert (await browser.post("/pay")).status_code == 403
        assert (await browser.post("/pay", headers={"x-csrf-token": token})).json() == "paid"
        assert "a request without its token was refused" in caplog.text
        caplog.clear()
        browser.cookies.clear()
        refused = await browser.post("/pay", headers={"x-csrf-token": token})
        assert refused.status_code == 403
    assert "a request without its token was refused sid=-" in caplog.text


async def wrong_token(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    logins = [AuthSession(app, session_name=name, csrf="token") for name in ("user", "admin")]

    @app.get("/login")
    async def login(request: Request) -> Any:
        for each in logins:
            await each.login_user(request, "ada")
        return json([await each.csrf_token(request) for each in logins])

    async def pay(request: Request) -> Any:
        return json("paid")

    app.add_route(pay, "/pay", ["POST"], name="pay")
    app.add_route(pay, "/office", ["POST"], name="office", ctx_csrf="admin")
    async with serve(app) as url, Browser(url) as browser:
        before = (await browser.get("/login")).json()
        user, admin = (await browser.get("/login")).json()
        for token in (before[1], user):
            caplog.clear()
            refused = await browser.post("/office", headers={"x-csrf-token": token})
            assert refused.status_code == 403
            assert "admin: a request with a wrong token was refused" in caplog.text
        for token in (user, admin):
            refused = await browser.post("/pay", headers={"x-csrf-token": token})
            assert refused.status_code == 403
        paid = await browser.post("/office", headers={"x-csrf-token": admin})
        assert paid.json() == "paid"


SHOWN: dict[str, Callable[..., Awaitable[None]]] = {
    "with `curl`, or with Sanic's `test_client`": without_a_jar,
    "over `http://` from another machine, or with Sanic's `asgi_client`": over_http,
    "after a restart, or on another worker": in_another_process,
    "while another app runs at another port of `localhost`": at_another_port,
    "after a login": after_a_login,
    "with `two cookies of the session's name` in the log": with_two_cookies,
    "for what a handler changed in `peek()`": changed_in_a_view,
    "`The session is used without its lock`": unlocked,
    "everybody seems to be logged in": not_awaited,
    "`has no attribute 'session'`": another_name,
    "`does not support the context manager protocol`": not_async,
    "`is not JSON serializable`": as_json,
    "`would not be read back equal`": no_json,
    "`The session is not loaded`": not_loaded,
    "`The response has begun`": begun,
    "`a block must not wait for tasks`": waiting_for_itself,
    "`its table is not there`": no_table,
    "`a request without its token was refused`": no_token,
    "`a request with a wrong token was refused`": wrong_token,
}


def test_each_row_is_shown() -> None:
    """The rows of the page and what is tried here are the same."""
    assert [*ROWS] == [*SHOWN]


@pytest.mark.parametrize("row", SHOWN)
async def test_it_happens_and_is_helped(
    row: str, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    """What the row names happens, for the reason that it says, and its remedy is one."""
    more = (request.getfixturevalue("database_url"),) if SHOWN[row] is no_table else ()
    await SHOWN[row](caplog, *more)
