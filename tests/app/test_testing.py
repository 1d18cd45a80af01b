"""What tests of other people's apps use, over real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
from sanic import Request, Sanic, json
from sanic.application.constants import ServerStage

from harness import make_app
from lab import until
from sanic_cookies import (
    AuthSession,
    InCookieEncrypted,
    InMemory,
    Interface,
    Redis,
    Session,
    SessionConfigError,
    login_required,
)
from sanic_cookies.testing import Browser, FakeClock, Faulty, login_as, serving
from stores import KEY


def make_shop(master: object = None, **options: object) -> Sanic:
    """Return an app with a counter and a page for users."""
    app = make_app()
    master = InMemory() if master is None else master
    Session(app, master, **options)
    auth = AuthSession(app, master, **options)

    @app.get("/count")
    async def count(request: Request):
        async with request.ctx.session as sess:
            sess["n"] = sess.get("n", 0) + 1
            return json(sess["n"])

    @app.get("/me")
    @login_required()
    async def me(request: Request):
        return json(await auth.current_user(request))

    @app.get("/out")
    async def out(request: Request):
        await auth.logout_user(request)
        return json("out")

    return app


async def test_browser_keeps_cookies() -> None:
    """A browser sends what it was given; another one has a jar of its own."""
    async with Browser(make_shop()) as browser:
        assert [(await browser.get("/count")).json() for _ in range(3)] == [1, 2, 3]
        async with browser.another() as other:
            assert (await other.get("/count")).json() == 1
        assert (await browser.get("/count")).json() == 4


async def test_browser_forgets_cookies_that_are_taken_away() -> None:
    """A logout takes the cookie out of the jar, one name is never sent twice."""
    async with Browser(make_shop()) as browser:
        await browser.login_as("ann")
        await browser.login_as("bob")
        assert len(browser.cookies) == 1
        assert (await browser.get("/me")).json() == "bob"
        await browser.get("/out")
        assert len(browser.cookies) == 0
        assert (await browser.get("/me")).status_code == 401


@pytest.mark.parametrize("cookies", [None, {"theme": "dark"}])
async def test_browser_sends_secure_cookies(cookies: dict[str, str] | None) -> None:
    """An app that says `secure=True` is tested as it is: no TLS is needed on one's own machine."""
    async with Browser(make_shop(secure=True), cookies=cookies) as browser:
        assert [(await browser.get("/count")).json() for _ in range(2)] == [1, 2]
        await browser.login_as("ann")
        assert (await browser.get("/me")).json() == "ann"
        assert "__Host-auth_session" in browser.cookies
        assert browser.cookies.get("theme") == (cookies or {}).get("theme")
        await browser.get("/out")
        assert "__Host-auth_session" not in browser.cookies


async def test_what_a_handler_leaves_to_the_app_is_done() -> None:
    """A task that is given to `app.add_task()` runs while the app is served, as at a real start."""
    app = make_shop()
    done = asyncio.Event()

    @app.get("/later")
    async def later(request: Request):
        async def work() -> None:
            done.set()

        app.add_task(work())
        return json("soon")

    async with Browser(app) as browser:
        await browser.get("/later")
        await asyncio.wait_for(done.wait(), 5)
    assert app.state.stage is ServerStage.STOPPED


async def test_named_tasks_end_with_the_server() -> None:
    """A task that has a name is cancelled when the app is no longer served, as at a real stop."""
    app = make_shop()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @app.after_server_start
    async def begin(app: Sanic) -> None:
        async def wait() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        app.add_task(wait(), name="waiting")

    async with Browser(app):
        await asyncio.wait_for(begun.wait(), 5)
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_serving_ends_though_a_client_is_still_connected() -> None:
    """Whoever keeps a connection open is cut off at the end of the block, not waited for."""
    async with asyncio.timeout(10):
        async with serving(make_app()) as url:
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionResetError):
            await reader.read()
    writer.close()


async def test_an_app_that_does_not_start_listens_no_more() -> None:
    """Whose listener fails is told so; neither a socket nor a server is left that seems to run."""
    app, servers = make_app(), []

    @app.before_server_start
    async def fail(app: Sanic) -> None:
        servers.append(app.state.server_info[-1].server)
        raise LookupError

    with pytest.raises(LookupError):
        async with serving(app):
            pass  # pragma: no cover

    assert not servers[0].is_serving()
    assert not app.state.server_info


@pytest.mark.parametrize("sealed", [False, True])
async def test_login_without_a_page(sealed: bool) -> None:
    """A user who is logged in by the helper is one to all handlers, wherever sessions are kept."""
    master = InCookieEncrypted(KEY, revocations=InMemory()) if sealed else InMemory()
    async with Browser(make_shop(master)) as browser:
        assert (await browser.get("/me")).status_code == 401
        await browser.login_as({"id": 7})
        assert (await browser.get("/me")).json() == {"id": 7}


async def test_remembered_login() -> None:
    """Options of `login_user` are passed on: a remembered login has a cookie that stays."""
    app = make_shop()
    async with serving(app):
        lines = await login_as(app, "ann", remember_me=True)

    assert "Max-Age=2592000" in lines[0]
    assert lines[0].startswith("auth_session=")


async def test_login_for_another_host() -> None:
    """For a public host the cookie is as browsers get it there."""
    app = make_shop()
    async with serving(app):
        [line] = await login_as(app, "ann", host="shop.example")

    assert line.startswith("__Host-auth_session=")
    assert "Secure" in line


async def test_login_needs_an_auth_session() -> None:
    """An app without one, or without that one, is told so."""
    with pytest.raises(SessionConfigError, match="no AuthSession 'other'"):
        await login_as(make_shop(), "ann", session_name="other")
    with pytest.raises(SessionConfigError, match="no AuthSession"):
        await login_as(make_app(), "ann")


async def test_clock_moves_expiry() -> None:
    """With the fake clock a session expires when the test says so."""
    clock = FakeClock()
    master = InMemory(clock=clock.monotonic)
    async with Browser(make_shop(master, clock=clock.epoch, expiry=3600)) as browser:
        await browser.login_as("ann")
        clock.forward(timedelta(minutes=59))
        assert (await browser.get("/me")).status_code == 200
        clock.forward(3601)
        assert (await browser.get("/me")).status_code == 401


def test_clock_stands_still() -> None:
    """It goes only when told to, and never back."""
    clock = FakeClock()
    assert abs(clock.epoch() - time.time()) < 60
    before = clock.epoch(), clock.monotonic()
    clock.forward(2.5)
    assert (clock.epoch() - before[0], clock.monotonic() - before[1]) == (2.5, 2.5)
    with pytest.raises(ValueError, match="back"):
        clock.forward(-1)


async def test_failure_of_the_nth_call() -> None:
    """Only the call that was meant fails; the client is told that the store is away."""
    faulty = Faulty(InMemory())
    async with Browser(make_shop(faulty)) as browser:
        await browser.get("/count")
        faulty.fail("save", nth=2)
        answers = [(await browser.get("/count")).status_code for _ in range(4)]

        assert answers == [200, 503, 200, 200]
        assert (await browser.get("/count")).json() == 5
        assert faulty.calls["save"] == 5
        assert faulty.calls["create"] == 1


AWAITED = "fetch create save touch delete acquire commit renew release turn records_of admit"


async def test_each_call_can_fail(shared_master: Interface) -> None:
    """However an interface makes what is awaited, a coroutine function or not."""
    faulty = Faulty(shared_master)
    for operation in filter(partial(hasattr, shared_master), AWAITED.split()):
        faulty.fail(operation)
        with pytest.raises(ConnectionError):
            await getattr(faulty, operation)()


async def test_lost_reply() -> None:
    """A write whose reply is lost has happened, and the client is not told that it has."""
    faulty = Faulty(InMemory())
    async with Browser(make_shop(faulty)) as browser:
        await browser.get("/count")
        faulty.lose_reply("save")

        assert (await browser.get("/count")).status_code == 503
        assert (await browser.get("/count")).json() == 3


async def test_hanging_call_goes_on_when_healed() -> None:
    """A call that hangs waits until the fault is taken back."""
    faulty = Faulty(InMemory())
    async with Browser(make_shop(faulty, store_timeout=60)) as browser:
        await browser.get("/count")
        faulty.hang("save", times=None)
        request = asyncio.ensure_future(browser.get("/count"))
        await until(lambda: faulty.calls["save"] == 1)
        assert not request.done()
        faulty.heal()

        assert (await request).json() == 2
        assert (await browser.get("/count")).json() == 3


async def test_delayed_call_is_late() -> None:
    """A call that is delayed beyond `store_timeout` is given up."""
    faulty = Faulty(InMemory())
    async with Browser(make_shop(faulty, store_timeout=1.5)) as browser:
        await browser.get("/count")
        faulty.delay("save", 30)

        assert (await browser.get("/count")).status_code == 503


async def test_own_error_is_raised() -> None:
    """The error that was given is what the interface raises."""
    faulty = Faulty(InMemory())
    faulty.fail("fetch", OSError("disk"), times=2)
    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            await faulty.fetch("session", "x")
    assert await faulty.fetch("session", "x") is None


def test_nonsense_is_refused() -> None:
    """An operation that the interface has not, and a cookie that cannot fail, are mistakes."""
    with pytest.raises(AttributeError, match=r"no 'commit'.* fetch, .*touch"):
        Faulty(InMemory()).fail("commit")
    with pytest.raises(AttributeError, match="no 'prefix'"):
        Faulty(Redis("redis://127.0.0.1")).fail("prefix")
    with pytest.raises(TypeError, match="revocations"):
        Faulty(InCookieEncrypted(KEY))


def test_only_the_browser_needs_httpx() -> None:
    """All but the browser works without httpx, and the browser says what to install."""
    program = """
import sys
sys.modules["httpx"] = None
from sanic_cookies.testing import FakeClock, Faulty, login_as, contract_for
try:
    from sanic_cookies.testing import Browser
except ImportError as error:
    sys.exit("sanic-cookies[testing]" not in str(error))
sys.exit(2)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
