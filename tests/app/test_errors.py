"""What a client gets when something goes wrong: the status, and a body that tells nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from harness import set_cookies
from lab import Lab, down_meanwhile, until
from proxy import ToxicProxy
from sanic_cookies import (
    AsyncPG,
    InMemory,
    Redis,
    SessionDict,
    SessionError,
    SessionLockLost,
    SessionLockTimeout,
    SessionNotSerializable,
    SessionStoreError,
    SessionTooLarge,
)
from sanic_cookies.interfaces import guard
from sanic_cookies.testing import Faulty
from sanic_cookies.token import Token
from servers import RedisServer
from stores import table

SECRET = "hunter2"
CALL = 2.0  # what a call may take by default
PATIENCE = 10.0  # half of what it may take in a lab, and a wait in a queue is longer still
TELLTALES = (SECRET, "redis", "postgres", "asyncpg", "127.0.0.1", "Traceback", "EVALSHA", "sess[")


async def nothing(sess: SessionDict) -> None:
    pass


async def count(sess: SessionDict) -> None:
    async with sess:
        sess["n"] = sess.get("n", 0) + 1


def assert_fault(
    lab: Lab, response: httpx.Response, status: int, kind: type[SessionError], text: str
) -> None:
    """Check that a response is this error's, and shows nothing of store, token or data."""
    assert response.status_code == status
    assert type(lab.errors[-1]) is kind
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)
    assert set_cookies(response) == []
    shown = f"{response.text} {response.headers}"
    assert text in response.text
    for telltale in (*TELLTALES, *lab.browser.cookies.values()):
        assert telltale not in shown


class Holder:
    """A request that stays inside of its block until it is told to go."""

    def __init__(self, lab: Lab) -> None:
        self.inside, self.go = asyncio.Event(), asyncio.Event()
        self._lab = lab

    async def _body(self, sess: SessionDict) -> None:
        async with sess:
            sess["n"] = sess.get("n", 0) + 1
            self.inside.set()
            await self.go.wait()

    async def __aenter__(self) -> Holder:
        self.task = asyncio.create_task(self._lab.visit(self._body))
        await self.inside.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
        self.response = await self.task


# Locks.


async def test_lock_timeout(shared_master: Any) -> None:
    """Who waits longer than `lock_timeout` gets a 503, and the holder's work is saved."""
    async with Lab(shared_master, lock_timeout=0.2) as lab:
        await lab.put(n=0, password=SECRET)
        async with Holder(lab) as holder:
            began = time.monotonic()
            response = await lab.visit(count)

            assert 0.2 <= time.monotonic() - began < PATIENCE
            assert_fault(lab, response, 503, SessionLockTimeout, "busy")
        assert holder.response.status_code == 200
        assert await lab.stored() == {"n": 1, "password": SECRET}


async def test_max_waiters(shared_master: Any) -> None:
    """One more waiter than `max_waiters` is refused at once; those in the queue have their turn."""
    async with Lab(shared_master, max_waiters=1, lock_timeout=60) as lab:
        await lab.put(n=0)
        async with Holder(lab):
            waiting = asyncio.create_task(lab.visit(count))
            await until(lambda: lab.session.runtime.locks.waiting == 1)
            began = time.monotonic()
            response = await lab.visit(count)

            assert time.monotonic() - began < PATIENCE
            assert_fault(lab, response, 503, SessionLockTimeout, "busy")
        assert (await waiting).status_code == 200
        assert await lab.stored() == {"n": 2}


@pytest.mark.parametrize("known", [False, True], ids=["of nobody", "with a wrong secret"])
async def test_a_cookie_that_opens_nothing_waits_for_none_of_its_kind(known: bool) -> None:
    """However many requests bring it at once, each is anonymous, and no owner waits behind them."""
    store = Faulty(InMemory())
    async with Lab(store, max_waiters=1, lock_timeout=60) as lab:
        await lab.put(n=0)
        token = Token.generate()
        sid = lab.browser.cookies["session"].partition(".")[0] if known else token.sid

        async def forge() -> httpx.Response:
            browser = await lab.open_browser()
            browser.cookies["session"] = f"{sid}.{token.secret}"
            return await lab.visit(count, folder="/lazy/", browser=browser)

        store.hang("fetch")
        first = asyncio.create_task(forge())
        await until(lambda: len(lab.session.runtime.locks) == 1)

        assert [(await forge()).status_code for _ in range(2)] == [200, 200]
        owner = asyncio.create_task(lab.visit(count, folder="/lazy/"))
        await until(lambda: lab.session.runtime.locks.waiting == 1 if known else owner.done())
        store.heal()
        assert [(await each).status_code for each in (first, owner)] == [200, 200]


async def test_a_wrong_secret_waits_for_no_block() -> None:
    """Who knows no more than a public sid is anonymous at once, and stands in nobody's way."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def hold(sess: SessionDict) -> None:
        async with sess:
            inside.set()
            await go.wait()

    async with Lab(max_waiters=1, lock_timeout=60) as lab:
        await lab.put(n=0)
        held = asyncio.create_task(lab.do(hold))
        await inside.wait()
        stranger = await lab.open_browser()
        sid = lab.browser.cookies["session"].partition(".")[0]
        for _ in range(2):
            stranger.cookies["session"] = f"{sid}.{Token.generate().secret}"
            async with asyncio.timeout(20):
                await lab.do(count, folder="/lazy/", browser=stranger)
        assert await lab.stored(stranger) == {"n": 1}
        go.set()
        await held


async def test_max_hold(shared_master: Any) -> None:
    """A hold that outlasts `max_hold` is lost: others get in, and the late write is refused."""
    async with Lab(shared_master, max_hold=1.5, lease=1.5) as lab:
        await lab.put(n=0)
        async with Holder(lab) as holder:
            assert (await lab.visit(count)).status_code == 200
        assert_fault(lab, holder.response, 503, SessionLockLost, "could not be saved")

        assert await lab.stored() == {"n": 1}


# A store that is not there.


@asynccontextmanager
async def behind_proxy(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ToxicProxy, Any]]:
    """Give a proxy and an interface whose store is behind it."""
    is_redis = request.param == "redis"
    real = request.getfixturevalue("redis_url" if is_redis else "database_url")
    parts = urlsplit(real)
    async with ToxicProxy(parts.hostname or "", parts.port or 0) as proxy:
        user = parts.netloc.rpartition("@")[0]
        address = f"{user}@{proxy.host}:{proxy.port}" if user else f"{proxy.host}:{proxy.port}"
        url = parts._replace(netloc=address).geturl()
        if is_redis:
            # The time of a call decides how long it waits, not that of the connection.
            patient = "socket_connect_timeout=60&socket_timeout=60"
            yield proxy, Redis(f"{url}?{patient}", prefix="behind:")
        else:
            master = AsyncPG(url, table="behind")
            await master.create_table()
            yield proxy, master


@pytest.fixture(params=["redis", "postgres"])
async def behind(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ToxicProxy, Any]]:
    async with behind_proxy(request) as both:
        yield both


async def _recover(lab: Lab) -> None:
    """Ask until the store is let in again; it is taken as down for a second at most."""
    async with asyncio.timeout(30):
        while (await lab.visit(count)).status_code != 200:  # noqa: ASYNC110 - asking is the probe
            await asyncio.sleep(0.1)


async def test_a_store_that_refuses(behind: tuple[ToxicProxy, Any]) -> None:
    """While the store refuses: 503 on touch, 200 elsewhere; afterwards the same cookie works."""
    proxy, master = behind
    async with Lab(master) as lab:
        await lab.put(n=1, password=SECRET)
        cookies = dict(lab.browser.cookies)
        await proxy.stop()
        for _ in range(2):
            response = await lab.visit(count)
            assert_fault(lab, response, 503, SessionStoreError, "not available")
            assert (await lab.visit(nothing)).status_code == 200
        await proxy.start()
        await _recover(lab)

        assert lab.browser.cookies == cookies
        assert await lab.stored() == {"n": 2, "password": SECRET}


async def look(sess: SessionDict) -> int:
    return (await sess.peek())["n"]


@pytest.mark.parametrize("body", [count, look])
async def test_the_first_after_an_outage(
    behind: tuple[ToxicProxy, Any], body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long nobody has come, who does when the store is back is let in."""
    proxy, master = behind
    async with Lab(master) as lab:
        await lab.put(n=1)
        await proxy.stop()
        with down_meanwhile():
            assert_fault(lab, await lab.visit(body), 503, SessionStoreError, "not available")
        await proxy.start()
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + guard.DOWN_SECONDS)
        monkeypatch.setattr(guard, "time", clock)

        async def after_a_moment(sess: SessionDict) -> None:
            await asyncio.sleep(0)  # by then the store is being asked whether it is back
            await body(sess)

        assert (await lab.visit(after_a_moment)).status_code == 200


async def test_a_new_browser_and_a_store_that_refuses(behind: tuple[ToxicProxy, Any]) -> None:
    """A session that could not be stored is not sent: 503 and no cookie."""
    proxy, master = behind
    async with Lab(master) as lab:
        await proxy.stop()
        response = await lab.visit(count)

        assert_fault(lab, response, 503, SessionStoreError, "not available")
        await proxy.start()


async def test_a_hung_store(behind: tuple[ToxicProxy, Any]) -> None:
    """While the store hangs: an answer within 2 s, at once from then on; others stay fast."""
    proxy, master = behind
    async with Lab(master, patient=False) as lab:
        await lab.put(n=1)
        anonymous = await lab.open_browser()
        proxy.blackhole()
        with down_meanwhile():
            began = time.monotonic()
            response = await lab.visit(count)
            assert time.monotonic() - began < CALL + 2.5
            assert_fault(lab, response, 503, SessionStoreError, "not available")
            for body, browser, status in (
                (nothing, lab.browser, 200),
                (nothing, anonymous, 200),
                (count, lab.browser, 503),
            ):
                began = time.monotonic()
                assert (await lab.visit(body, browser=browser)).status_code == status
                assert time.monotonic() - began < CALL
        proxy.pass_through()
        proxy.cut()
        await _recover(lab)

        assert await lab.stored() == {"n": 2}


async def test_a_route_without_the_session_never_waits(behind: tuple[ToxicProxy, Any]) -> None:
    """A request without a cookie, or to a route without preload, never feels a hung store."""
    proxy, master = behind
    async with Lab(master) as lab:
        await lab.put(n=1)
        anonymous = await lab.open_browser()
        proxy.blackhole()
        for options in ({"browser": anonymous}, {"folder": "/lazy/"}):
            began = time.monotonic()
            assert (await lab.visit(nothing, **options)).status_code == 200
            assert time.monotonic() - began < PATIENCE


async def test_a_frozen_redis() -> None:
    """A Redis that is stopped in its tracks is answered for in time, and welcome back."""
    with RedisServer() as server:
        async with Lab(Redis(server.url)) as lab:
            await lab.put(n=1)
            server.pause()
            try:
                began = time.monotonic()
                response = await lab.visit(count)
                assert time.monotonic() - began < PATIENCE
                assert_fault(lab, response, 503, SessionStoreError, "not available")
            finally:
                server.resume()
            await _recover(lab)

            # The first request may have been carried out, only its answer came too late.
            assert (await lab.stored())["n"] in (2, 3)


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (None, "its table is not there: run 'sanic-cookies create-table', or await its create_"),
        ("sid text", "its table is an older one: run 'sanic-cookies create-table --upgrade', or"),
    ],
    ids=["no table", "an older one"],
)
async def test_a_table_that_was_forgotten(
    database_url: str, columns: str | None, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once how the table is made; clients get what they always get."""
    database = await asyncpg.connect(database_url)
    async with table(database) as name:
        if columns is not None:
            await database.execute(f"CREATE TABLE {name} ({columns})")
        async with Lab(AsyncPG(database_url, table=name, sweep_every=0)) as lab:
            for _ in range(2):
                response = await lab.visit(count)
                assert_fault(lab, response, 503, SessionStoreError, "not available")
    await database.close()

    hints = [each for each in caplog.messages if "its table" in each]
    assert len(hints) == 1
    assert hints[0].startswith(f"AsyncPG: {hint}")


# Values that cannot be stored.

CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [0, {1, 2}]}, "sess['x']['a'][1]"),
        (datetime(2026, 1, 1, tzinfo=UTC), "sess['x']"),
        ([float("nan")], "sess['x'][0]"),
        ({"a": float("inf")}, "sess['x']['a']"),
        ({"a": {1: "int"}}, "sess['x']['a'][1]"),
        ({"a": object()}, "sess['x']['a']"),
        (b"bytes", "sess['x']"),
        ("\ud800", "sess['x']"),
        ({"\ud800": 1}, "sess['x']"),
        (CIRCLE, "sess['x'][0]"),
    ],
    ids=[
        *("set", "date", "nan", "inf", "int key", "object", "bytes", "surrogate"),
        *("surrogate key", "circle"),
    ],
)
async def test_a_value_that_json_does_not_give_back(master: Any, value: Any, path: str) -> None:
    """Such a value is refused with the path of its place; what was stored stays."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            sess["x"] = value

    async with Lab(master) as lab:
        await lab.put(n=1, password=SECRET)
        response = await lab.visit(body)

        assert_fault(lab, response, 500, SessionNotSerializable, "cannot be stored")
        (error,) = lab.errors
        assert isinstance(error, SessionNotSerializable)
        assert error.path.startswith(path)
        assert await lab.stored() == {"n": 1, "password": SECRET}


async def test_a_tuple_comes_back_as_a_list(master: Any) -> None:
    """Tuples, nested ones too, are the one thing that may come back as something else."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["t"] = (1, {"a": (2, ())})

    async with Lab(master) as lab:
        await lab.do(body)

        assert await lab.stored() == {"t": [1, {"a": [2, []]}]}


async def test_too_large(shared_master: Any) -> None:
    """More than 64 KiB is refused before anything is stored; a little less is not."""

    def write(size: int) -> Any:
        async def body(sess: SessionDict) -> None:
            async with sess:
                sess["x"] = "x" * size

        return body

    async with Lab(shared_master) as lab:
        await lab.do(write(65_000))
        response = await lab.visit(write(65_536))

        assert_fault(lab, response, 500, SessionTooLarge, "too large")
        assert len((await lab.stored())["x"]) == 65_000


async def test_too_large_for_a_new_session(master: Any) -> None:
    """A first write that is too large makes no session and sends no cookie."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["x"] = "x" * 70_000

    async with Lab(master) as lab:
        response = await lab.visit(body)

        assert_fault(lab, response, 500, SessionTooLarge, "too large")


@pytest.mark.parametrize("master", ["in-cookie"], indirect=True)
async def test_too_large_for_a_cookie(master: Any) -> None:
    """The cookie that is sent never has more than 4096 bytes, name and value together."""

    def write(size: int) -> Any:
        async def body(sess: SessionDict) -> None:
            async with sess:
                sess["x"] = "x" * size

        return body

    async with Lab(master) as lab:
        best = 0
        for size in range(2000, 4000, 100):
            response = await lab.visit(write(size))
            if response.status_code == 200:
                (line,) = set_cookies(response)
                assert len(line.partition(";")[0]) - 1 <= 4096
                best = size
            else:
                assert_fault(lab, response, 500, SessionTooLarge, "too large")

        assert 2000 < best < 3900
        assert len((await lab.stored())["x"]) == best


@pytest.mark.parametrize("body", [nothing, count])
async def test_a_hung_store_that_may_take_longer_than_a_request(body: Any) -> None:
    """A `store_timeout` beyond a request's time keeps nobody from finding a store down."""
    faulty = Faulty(InMemory())
    lab = Lab(faulty, store_timeout=60)
    lab.session.settings = replace(lab.session.settings, request_timeout=1.5)
    async with lab:
        await lab.put(n=1)
        faulty.hang("fetch", times=None)
        assert not lab.session.runtime.store.is_down
        with down_meanwhile():
            await lab.visit(body, folder="/" if body is nothing else "/lazy/")
            assert lab.session.runtime.store.is_down
        faulty.heal()


async def test_what_a_request_has_spent_does_not_cut_its_block_short() -> None:
    """A block that was slow to read is saved, though the request has no time left for both."""
    faulty = Faulty(InMemory())
    lab = Lab(faulty, store_timeout=60)
    lab.session.settings = replace(lab.session.settings, request_timeout=2)
    async with lab:
        await lab.put(n=1)
        faulty.delay("fetch", 1.2)
        faulty.delay("save", 1.2)
        await lab.do(count, folder="/lazy/")
        assert await lab.stored() == {"n": 2}


async def test_a_save_within_a_block_has_the_time_that_is_left() -> None:
    """However often a block saves, its request waits for stores no longer than any other."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            for n in range(2, 4):
                sess["n"] = n
                await sess.save()

    faulty = Faulty(InMemory())
    lab = Lab(faulty, store_timeout=60)
    lab.session.settings = replace(lab.session.settings, request_timeout=1)
    async with lab:
        await lab.put(n=1)
        faulty.delay("save", 0.7, times=None)
        with pytest.raises(SessionStoreError):
            await lab.do(body)
