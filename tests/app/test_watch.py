"""Websockets that are closed when their session ends, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sanic import Request, Websocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from auth_lab import AuthLab, Clock
from harness import Browser
from lab import until
from sanic_cookies import InMemory, watch
from sanic_cookies.interfaces.base import Hear

NEVER = 600.0
ENDED = (1008, "session ended")


class Site(AuthLab):
    """A lab with a watched socket, which echoes or waits for something that never comes.

    Args:
        master: The master interface; memory if None.
        watching: For `watch`.
        options: For `AuthSession`.
    """

    def __init__(self, master: Any = None, watching: Any = None, **options: Any) -> None:
        super().__init__(master, **options)
        self.watching = {"every": NEVER, "session_name": "auth_session", **(watching or {})}
        self.heard: list[str] = []
        self.entered = self.left = 0
        self.failures: list[BaseException] = []
        self.app.add_websocket_route(self._echo, "/echo")
        self.app.add_websocket_route(self._wait, "/wait")

    async def _echo(self, request: Request, ws: Websocket) -> None:
        async with self._watched(request, ws):
            async for message in ws:
                self.heard.append(message)
                await ws.send(message)

    async def _wait(self, request: Request, ws: Websocket) -> None:
        async with self._watched(request, ws):
            await ws.send("waiting")
            await asyncio.Event().wait()

    @asynccontextmanager
    async def _watched(self, request: Request, ws: Websocket) -> AsyncIterator[None]:
        try:
            async with watch(request, ws, **self.watching):
                self.entered += 1
                yield
        except Exception as error:
            self.failures.append(error)
            raise
        finally:
            self.left += 1

    @property
    def watched(self) -> int:
        """How many sessions are being watched."""
        return len(self.auth.runtime.hub)

    def dial(self, path: str = "/echo", browser: Browser | None = None) -> connect:
        """Connect with the cookies of a browser."""
        cookies = (browser or self.browser).cookies
        sent = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        return connect(self.url.replace("http", "ws") + path, additional_headers=sent, proxy=None)


async def lives(ws: ClientConnection) -> None:
    """Make sure that somebody answers."""
    await ws.send("still there?")
    assert await asyncio.wait_for(ws.recv(), 30) == "still there?"


async def closing(ws: ClientConnection) -> tuple[int, str]:
    """Wait for the close; give its code and reason."""
    with pytest.raises(ConnectionClosed) as caught:
        async with asyncio.timeout(30):
            while True:
                await ws.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def logout(site: Site) -> None:
    await site.logout()


async def revoke(site: Site) -> None:
    assert await site.auth.revoke(site.sid(), "ann")


async def everywhere(site: Site) -> None:
    assert await site.auth.logout_everywhere("ann") == 1


async def login_elsewhere(site: Site) -> None:
    await site.login("ann", browser=await site.thief())


async def rotate_elsewhere(site: Site) -> None:
    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess.rotate()

    await site.do(body, browser=await site.thief())


async def reset(site: Site) -> None:
    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess.reset()

    await site.do(body)


ENDS = [logout, revoke, everywhere, login_elsewhere, rotate_elsewhere, reset]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("path", ["/echo", "/wait"])
async def test_what_ends_here_is_seen_at_once(
    shared_master: Any, end: Callable[[Site], Awaitable[None]], path: str
) -> None:
    """In the same process a session's end closes its socket without any further look."""
    async with Site(shared_master) as site:
        await site.login("ann")
        async with site.dial(path) as ws:
            await until(lambda: site.entered == 1)
            await end(site)

            assert await closing(ws) == ENDED
        await until(lambda: site.left == 1)
        assert site.watched == 0
        assert site.failures == []


async def test_of_several_sessions_the_login_is_watched(shared_master: Any) -> None:
    """Where a plain session was attached first, it is still the login whose end closes."""
    async with Site(shared_master, {"session_name": None}) as site:
        await site.do(put_into_the_plain_session)
        await site.login("ann")
        async with site.dial() as ws:
            await until(lambda: site.entered == 1)
            await lives(ws)
            await site.logout()

            assert await closing(ws) == ENDED


async def put_into_the_plain_session(request: Request) -> None:
    async with request.ctx.session as sess:
        sess["cart"] = 1


class Deaf(InMemory):
    """A store of somebody's own, which fails when it is to tell of news."""

    def listen(self, name: str, hear: Hear) -> None:
        raise RuntimeError("no channel")


async def test_a_watcher_that_cannot_begin_closes_its_socket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A socket that cannot be watched is closed: its handler neither waits for ever nor runs."""
    async with Site(Deaf()) as site:
        await site.login("ann")
        async with site.dial() as ws:
            assert await closing(ws) == (1011, "session unavailable")
        await until(lambda: site.left == 1)
        assert site.entered == 0
        assert "RuntimeError: no channel" in caplog.text


async def test_what_ends_elsewhere_is_seen_by_looking(shared_master: Any) -> None:
    """A session that somebody else deletes closes its socket at the next look."""
    async with Site(shared_master, {"every": 0.05}) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            assert await shared_master.delete("auth_session", site.sid())

            assert await closing(ws) == ENDED


async def test_a_revoked_cookie(master: Any) -> None:
    """Whatever the interface: after a logout the socket is closed."""
    async with Site(master) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            await site.logout()

            assert await closing(ws) == ENDED


async def test_eviction_closes_the_socket(shared_master: Any) -> None:
    """A login that takes the place of an older one closes the older one's sockets."""
    async with Site(shared_master, max_sessions=1) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            other = await site.open_browser()
            await site.login("ann", browser=other)
            assert await closing(ws) == ENDED
            async with site.dial(browser=other) as newer:
                await lives(newer)


async def test_other_sessions_do_not_matter(shared_master: Any) -> None:
    """Sockets of other sessions, of the same user too, go on; so does one that is only written."""
    async with Site(shared_master) as site:
        await site.login("ann")
        other = await site.open_browser()
        await site.login("ann", browser=other)
        async with site.dial() as ws, site.dial(browser=other) as theirs:
            await lives(ws)
            await lives(theirs)
            await site.write(n=1)
            await site.logout(browser=other)

            assert await closing(theirs) == ENDED
            await lives(ws)
            assert site.watched == 1


async def test_all_sockets_of_a_session_are_closed() -> None:
    """Two tabs, two sockets: both end."""
    async with Site() as site:
        await site.login("ann")
        async with site.dial() as one, site.dial() as two:
            await lives(one)
            await lives(two)
            assert site.watched == 1
            await site.logout()

            assert [await closing(one), await closing(two)] == [ENDED, ENDED]


@pytest.mark.parametrize("cookie", [None, "malformed", "A" * 22 + "." + "B" * 43])
async def test_without_a_session_nobody_gets_in(cookie: str | None) -> None:
    """A handshake without a live session is closed before the block."""
    async with Site() as site:
        if cookie is not None:
            site.browser.cookies = {site.cookie: cookie}
        async with site.dial() as ws:
            assert await closing(ws) == ENDED
        await until(lambda: site.left == 1)
        assert (site.entered, site.watched) == (0, 0)


async def test_one_that_ended_before_the_handshake(shared_master: Any) -> None:
    """A cookie of a session that was logged out opens no block."""
    async with Site(shared_master) as site:
        await site.login("ann")
        old = dict(site.browser.cookies)
        await site.logout()
        site.browser.cookies = old
        async with site.dial() as ws:
            assert await closing(ws) == ENDED
        assert site.entered == 0


async def test_the_code_is_the_applications_choice() -> None:
    """A page that has agreed on 4401 gets it."""
    async with Site(watching={"code": 4401, "every": timedelta(hours=1)}) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            await site.logout()

            assert await closing(ws) == (4401, "session ended")


# Expiry.


async def test_it_is_closed_when_the_session_expires(shared_master: Any) -> None:
    """Nobody has to look: the end that is known is waited for."""
    async with Site(shared_master, expiry=3) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)

            assert await closing(ws) == ENDED


async def test_use_prolongs_and_looking_does_not() -> None:
    """A session that its user goes on using keeps its socket; the looks are no such use."""
    clock = Clock()
    master = InMemory(clock=clock.monotonic)
    async with Site(master, {"every": 0.01}, expiry=100) as site:
        await site.login("ann")
        async with site.dial() as ws:
            for _ in range(3):
                clock.now += 60
                assert await site.user() == "ann"
                await lives(ws)
            clock.now += 101

            assert await closing(ws) == ENDED


async def test_a_periodic_renewal_has_the_page_connect_again() -> None:
    """The socket's token is no longer the current one; with the new cookie it goes on."""
    clock = Clock()
    master = InMemory(clock=clock.monotonic)
    async with Site(master, renew_every=60, expiry=3600) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            clock.now += 61
            await site.write(n=1)
            assert await closing(ws) == ENDED
        async with site.dial() as ws:
            await lives(ws)


# Failing stores.


class Moody(InMemory):
    """Memory that fails as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = 0
        self.looks = 0

    async def fetch(self, name: str, sid: str) -> Any:
        self.looks += 1
        if self.failing:
            self.failing -= 1
            raise OSError("no")
        return await super().fetch(name, sid)


async def test_a_store_that_comes_back_in_time_closes_nothing() -> None:
    """Two failed looks in a row are borne, again and again."""
    store = Moody()
    async with Site(store, {"every": 0.01}) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            for _ in range(3):
                store.failing = 2
                await until(lambda: store.failing == 0)
                looks = store.looks
                await until(lambda looks=looks: store.looks > looks)
            await lives(ws)


async def test_a_store_that_stays_away_closes_with_1011() -> None:
    """After three failed looks in a row nobody can say that the session is alive."""
    store = Moody()
    async with Site(store, {"every": 0.01}) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            store.failing = 1000

            assert await closing(ws) == (1011, "session unavailable")
        assert store.failing == 997


async def test_nobody_gets_in_before_the_first_look_succeeded() -> None:
    """A store that fails at the handshake lets nobody into the block."""
    store = Moody()
    async with Site(store, {"every": 0.01}) as site:
        await site.login("ann")
        store.failing = 1000
        async with site.dial() as ws:
            assert await closing(ws) == (1011, "session unavailable")
        assert site.entered == 0


# Users that are gone, and stamps that have changed.


class Accounts:
    """Users with passwords; the loader fails or hangs as it is told to."""

    def __init__(self) -> None:
        self.passwords = {"ann": "first", "bob": "first"}
        self.failing = 0
        self.hanging = False
        self.looks = 0

    async def load(self, name: str) -> str | None:
        self.looks += 1
        if self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            self.failing -= 1
            raise OSError("no")
        return name if name in self.passwords else None

    def stamp(self, name: str) -> str:
        return self.passwords[name]


def looking(accounts: Accounts, master: Any = None) -> Site:
    return Site(master, {"every": 0.02}, user_loader=accounts.load, session_stamp=accounts.stamp)


async def test_a_user_who_is_gone(shared_master: Any) -> None:
    """A deleted account closes its sockets by itself, and ends the session; others go on."""
    accounts = Accounts()
    async with looking(accounts, shared_master) as site:
        await site.login("ann")
        other = await site.open_browser()
        await site.login("bob", browser=other)
        async with site.dial() as ws, site.dial(browser=other) as theirs:
            await lives(ws)
            del accounts.passwords["ann"]

            assert await closing(ws) == ENDED
            await lives(theirs)
        assert not await site.auth.exists(site.sid())


async def test_a_visitor_whom_nobody_knows() -> None:
    """Where nobody is logged in no user can be gone: the socket lives as long as its session."""
    async with looking(Accounts()) as site:
        await site.write(cart=1)
        async with site.dial() as ws:
            await lives(ws)
            await site.logout()
            assert await closing(ws) == ENDED


async def test_a_stamp_that_has_changed(shared_master: Any) -> None:
    """A new password closes the sockets of the other sessions without any request of theirs."""
    accounts = Accounts()
    async with looking(accounts, shared_master) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            accounts.passwords["ann"] = "second"

            assert await closing(ws) == ENDED
        assert not await site.auth.exists(site.sid())


async def test_a_loader_that_recovers_closes_nothing() -> None:
    """Two failed looks in a row are borne, whatever it was that failed."""
    accounts = Accounts()
    async with looking(accounts) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            accounts.failing = 2
            await until(lambda: accounts.failing == 0)
            looks = accounts.looks
            await until(lambda: accounts.looks > looks + 1)
            await lives(ws)


async def test_a_loader_that_hangs_closes_with_1011() -> None:
    """Nobody knows whether the user is still there, so after three looks the socket goes."""
    accounts = Accounts()
    async with looking(accounts) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            site.auth.settings = replace(site.auth.settings, request_timeout=0.05)
            accounts.hanging = True

            assert await closing(ws) == (1011, "session unavailable")


async def test_each_look_is_one_read() -> None:
    """A look asks the store once and the loader once, and writes nothing."""
    accounts, store = Accounts(), Moody()
    async with looking(accounts, store) as site:
        await site.login("ann")
        record = await store.fetch("auth_session", site.sid())
        async with site.dial() as ws:
            await lives(ws)
            looks, asked = store.looks, accounts.looks
            await until(lambda: store.looks >= looks + 5)
            assert abs((accounts.looks - asked) - (store.looks - looks)) <= 1
        after = await store.fetch("auth_session", site.sid())
        assert (after.version, after.expires_at) == (record.version, record.expires_at)


class Distant(Moody):
    """One that waits, as on the network: else a watcher that spins would stop the test itself."""

    async def fetch(self, name: str, sid: str) -> Any:
        await asyncio.sleep(0)
        return await super().fetch(name, sid)


async def test_news_are_one_look_each() -> None:
    """News that end nothing cost one look, and then it waits again for more."""
    store = Distant()
    async with Site(store) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            for _ in range(3):
                looks = store.looks
                site.auth.runtime.hub.hear(None)
                await until(lambda looks=looks: store.looks > looks)
                await lives(ws)
                assert store.looks == looks + 1


# Nothing is left behind.


@pytest.mark.parametrize("path", ["/echo", "/wait"])
async def test_no_watcher_outlives_its_socket(shared_master: Any, path: str) -> None:
    """When the client goes first, its watcher goes, too."""
    async with Site(shared_master) as site:
        await site.login("ann")
        before = asyncio.all_tasks()
        async with site.dial(path):
            await until(lambda: site.entered == 1)
            assert site.watched == 1
        await until(lambda: site.left == 1 and site.watched == 0)
        await until(lambda: not {t for t in asyncio.all_tasks() - before if "guard" in repr(t)})


async def test_a_handler_that_returns_ends_the_watch() -> None:
    """A block that is left by itself closes as usual, with 1000."""
    site = Site()

    @site.app.websocket("/brief")
    async def brief(request: Request, ws: Websocket) -> None:
        async with watch(request, ws, session_name="auth_session"):
            await ws.send("bye")

    async with site:
        await site.login("ann")
        async with site.dial("/brief") as ws:
            assert await ws.recv() == "bye"
            assert (await closing(ws))[0] == 1000
        await until(lambda: site.watched == 0)


async def test_a_client_that_ignores_the_close_is_not_served() -> None:
    """The block is cancelled: what comes after the close frame is not heard."""
    async with Site() as site:
        await site.login("ann")
        async with site.dial() as ws:
            await lives(ws)
            ws.transport.pause_reading()
            await site.logout()
            await until(lambda: site.left == 1)
            ws.transport.write(b"\x81\x84\0\0\0\0more")
            ws.transport.resume_reading()
            assert await closing(ws) == ENDED
        assert site.heard == ["still there?"]


async def test_a_block_of_the_session_is_rolled_back() -> None:
    """A socket that is in the midst of a block writes nothing into the ended session."""
    site = Site()
    inside = asyncio.Event()

    @site.app.websocket("/slow")
    async def slow(request: Request, ws: Websocket) -> None:
        name = "auth_session"
        async with watch(request, ws, session_name=name), request.ctx.auth_session as sess:
            sess["late"] = True
            inside.set()
            await asyncio.Event().wait()

    async with site:
        await site.login("ann")
        async with site.dial("/slow") as ws:
            await inside.wait()
            await site.logout()
            assert await closing(ws) == ENDED
        await until(lambda: len(site.auth.runtime.locks) == 0)
        assert await site.data() == {}


@pytest.mark.parametrize("every", [0, -1, timedelta(0), float("nan")])
async def test_a_time_that_is_none_is_refused(every: Any) -> None:
    """`every` must be a time."""
    async with Site(watching={"every": every}) as site:
        await site.login("ann")
        async with site.dial() as ws:
            await closing(ws)
        assert [type(error).__name__ for error in site.failures] == ["SessionConfigError"]
