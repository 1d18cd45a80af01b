"""The floors of the benchmark are what they say: locked sessions, which nobody gets by guessing."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Raw
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.load import exactly, request
from benchmarks.peers import (
    floor,
    floor_cookie,
    floor_lane,
    floor_memory,
    floor_postgres,
    floor_redis,
    floor_wire,
)
from benchmarks.peers.common import KEY
from benchmarks.peers.floor_lane import ASKED, Lane
from benchmarks.peers.floor_redis_py import Pool
from benchmarks.peers.floor_wire import Wire
from benchmarks.trips import counting
from floors import beside, connected
from harness import Browser, serve, set_cookies
from lab import until
from proxy import ToxicProxy

SHARED = ("redis", "redis-py", "postgres")
KINDS = ("memory", *SHARED)
COOKIES = ("aes-gcm", "fernet")
ALL = (*KINDS, *COOKIES)


@pytest.fixture(autouse=True)
def _apps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each app of these has the same name."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})


@pytest.fixture
def store(redis_url: str) -> Any:
    """A client beside the apps."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str) -> str:
    """Where the store of an app is; "" for none."""
    if kind not in SHARED:
        return ""
    found: str = request.getfixturevalue("database_url" if kind == "postgres" else "redis_url")
    return found


def make_app(kind: str, url: str) -> Sanic:
    """Return an app as the benchmark serves it."""
    Sanic._app_registry.clear()
    if kind == "memory":
        return floor_memory.make_app()
    if kind in COOKIES:
        return floor_cookie.make_app(kind)
    if kind == "postgres":
        return floor_postgres.make_app(url)
    return floor_redis.make_app(Wire(url) if kind == "redis" else Pool(url))


@asynccontextmanager
async def browsing(kind: str, url: str) -> AsyncIterator[Browser]:
    """Give a browser that has begun a session with an app."""
    async with serve(make_app(kind, url)) as site, Browser(site) as browser:
        await browser.get("/start")
        yield browser


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[ToxicProxy, str]]:
    """Give a proxy before a store, and where it is."""
    server = urlsplit(url)
    async with ToxicProxy(server.hostname or "", server.port or 0) as proxy:
        user, at, _ = server.netloc.rpartition("@")
        yield proxy, server._replace(netloc=f"{user}{at}{proxy.host}:{proxy.port}").geturl()


def sid_of(browser: Browser) -> str:
    """Return the public id of a browser's session."""
    return browser.cookies["sid"].partition(".")[0]


def once(deed: Callable[[], object], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that does something at its first call, and then what another does."""
    left = [deed]

    def both(given: Any) -> Any:
        if left:
            left.pop()()
        return then(given)

    return both


@pytest.mark.parametrize("kind", ALL)
async def test_it_does_what_the_other_apps_do(kind: str, url: str) -> None:
    """A session begins at none, each write adds one, and caches are told what they must know."""
    async with browsing(kind, url) as browser:
        begun = await browser.get("/start")
        answers = [await browser.get(f"/{path}") for path in ("read", "write", "write", "read")]
        browser.cookies |= {"a": "1", "z": "2"}
        among_others = await browser.get("/read")

    assert [each.text for each in answers] == ["0", "1", "2", "2"]
    assert among_others.text == "2"
    assert {each.headers["vary"] for each in answers} == {"Cookie"}
    for answer in (begun, *answers):
        cookies = set_cookies(answer)
        assert answer.headers.get("cache-control") == ("no-store" if cookies else None)
        assert all("HttpOnly" in each for each in cookies)
    changed = [begun, *answers[1:3]] if kind in COOKIES else [begun]
    assert [each for each in (begun, *answers) if set_cookies(each)] == changed


@pytest.mark.parametrize("kind", KINDS)
async def test_only_the_secret_opens_a_session(kind: str, url: str) -> None:
    """Neither a known id nor a token that was made up is let in, to read or to write."""
    async with browsing(kind, url) as browser:
        sid, _, secret = browser.cookies["sid"].partition(".")
        wrong = [f"{sid}.{'x' * 43}", f"{'x' * 22}.{secret}", f"{sid}.{secret}x", sid, ""]
        headers = [{"cookie": f"sid={each}"} for each in wrong]
        headers += [{"cookie": f"notsid={sid}.{secret}"}, {"x-cookie": f"sid={sid}.{secret}"}]
        own, browser.cookies = browser.cookies, {}
        found = [
            (await browser.get(path, headers=each)).status_code
            for each in headers
            for path in ("/read", "/write")
        ]
        browser.cookies = own
        kept = (await browser.get("/read")).text

    assert set(found) == {401}
    assert kept == "0"


async def test_a_session_in_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after its last write it is nobody's."""
    now = [0.0]
    monkeypatch.setattr(floor_memory, "monotonic", lambda: now[0])
    async with browsing("memory", "") as browser:
        found = []
        for now[0] in (3599.0, 7198.0, 10798.0):
            found.append((await browser.get("/write")).status_code)

    assert found == [200, 200, 401]


def sealed_by_hand(kind: str, purpose: bytes) -> str:
    """Return a cookie of a session with 7 in it, made with the key of the apps."""
    kept = b'{"n":7}'
    if kind == "fernet":
        return Fernet(KEY).encrypt(purpose + kept).decode()
    nonce = b"n" * floor_cookie.NONCE
    kept = (2**40).to_bytes(floor_cookie.EXPIRY) + kept
    cipher = AESGCM(urlsafe_b64decode(KEY))
    return urlsafe_b64encode(nonce + cipher.encrypt(nonce, kept, purpose)).decode()


@pytest.mark.parametrize("kind", COOKIES)
async def test_only_what_was_sealed_opens(kind: str) -> None:
    """Neither a cookie that was changed, nor one that was sealed for another purpose."""
    async with browsing(kind, "") as browser:
        value = browser.cookies["sid"]
        own = sealed_by_hand(kind, floor_cookie.PURPOSE)
        wrong = [
            f"{value[:at]}{'A' if value[at] != 'A' else 'B'}{value[at + 1 :]}" for at in (0, 50)
        ]
        wrong += [value[:-8], value[:43], sealed_by_hand(kind, b"mail"), "", "x" * 5000]
        found = []
        for browser.cookies["sid"] in (*wrong, own):
            found.append((await browser.get("/read")).status_code)

    assert found == [*[401] * len(wrong), 200]


@pytest.mark.parametrize("kind", COOKIES)
async def test_a_session_in_a_cookie_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after its last write it is worth nothing, whatever the browser keeps."""
    now = [1_000.5]
    monkeypatch.setattr(floor_cookie, "time", lambda: now[0])
    async with browsing(kind, "") as browser:
        found = []
        for now[0] in (4_599.0, 8_198.0, 11_798.0):
            found.append((await browser.get("/write")).status_code)

    assert found == [200, 200, 401]


@pytest.mark.parametrize("kind", COOKIES)
async def test_a_cookie_is_never_larger_than_browsers_take(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would drop it without a word, and the session with it."""
    monkeypatch.setattr(floor, "encode", lambda data: b"x" * 4000)
    async with browsing(kind, "") as browser:
        assert browser.cookies == {}


@pytest.mark.parametrize("kind", SHARED)
async def test_a_session_in_a_store_ends(kind: str, url: str) -> None:
    """It is nobody's an hour after its last write, and no lease stays behind a write."""
    async with browsing(kind, url) as browser, beside(url) as other:
        begun = (await other.look(sid_of(browser))).left
        await other.age(sid_of(browser), 1000)
        await browser.get("/write")
        written = await other.look(sid_of(browser))
        await other.age(sid_of(browser), 0)
        found = [(await browser.get(path)).status_code for path in ("/read", "/write")]

    assert 3590 < begun <= 3600
    assert 3590 < written.left <= 3600
    assert written.holder is None
    assert found == [401, 401]


@pytest.mark.parametrize("kind", ALL)
async def test_a_handler_that_fails_changes_nothing(
    kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed before an error is not kept, and the next one need not wait."""

    def fail() -> None:
        raise ValueError("it cannot be encoded")

    async with browsing(kind, url) as browser:
        monkeypatch.setattr(floor, "encode", once(fail, floor.encode))
        failed = await browser.get("/write")
        async with asyncio.timeout(floor_redis.LEASE_MS / 2000):
            written = await browser.get("/write")

    assert (failed.status_code, written.text) == (500, "1")


@pytest.mark.parametrize("kind", KINDS)
async def test_no_increment_is_lost(kind: str, url: str) -> None:
    """32 connections that want one session, of two processes where they share it, all count."""
    async with AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(serve(make_app(kind, url)))]
        if kind in SHARED:
            sites.append(await stack.enter_async_context(serve(make_app(kind, url))))
        browser = await stack.enter_async_context(Browser(sites[0]))
        await browser.get("/start")
        write = request("/write", f"sid={browser.cookies['sid']}")
        ports = [int(site.rpartition(":")[2]) for site in sites] * (32 // len(sites))
        clients = await asyncio.gather(*(exactly(port, [write], 4) for port in ports))
        kept = (await browser.get("/read")).text

    assert [(each.answered, each.failures) for each in clients] == [(4, 0)] * 32
    assert kept == "128"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handler_that_waits_is_alone(kind: str, url: str) -> None:
    """Whoever comes meanwhile gets the session as the handler has left it."""
    app, entered, go_on = make_app(kind, url), asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    @app.ctx.locked
    async def slow(request: Request, data: dict[str, Any]) -> HTTPResponse:
        data["n"] += 1
        entered.set()
        await go_on.wait()
        return text(str(data["n"]))

    async with serve(app) as site, Browser(site) as browser:
        await browser.get("/start")
        first = asyncio.create_task(browser.get("/slow"))
        await entered.wait()
        other = browser.copy()
        async with other:
            second = asyncio.create_task(other.get("/write"))
            meanwhile = (await browser.get("/read")).text  # and the write is under way by now
            go_on.set()
            answers = [(await each).text for each in (first, second)]

    assert (meanwhile, answers) == ("0", ["1", "2"])


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("lost", ["lease", "session"])
async def test_who_has_lost_what_it_held_writes_nothing(kind: str, lost: str, url: str) -> None:
    """A lease that has gone to another, or a session that has ended meanwhile, is left alone."""
    app = make_app(kind, url)

    async with beside(url) as other:

        @app.get("/robbed")
        @app.ctx.locked
        async def robbed(request: Request, data: dict[str, Any]) -> HTTPResponse:
            data["n"] += 1
            await (other.hold if lost == "lease" else other.end)(floor.presented(request)[0])
            return text("1")

        async with serve(app) as site, Browser(site) as browser:
            await browser.get("/start")
            answer = await browser.get("/robbed")
            kept = await other.look(sid_of(browser))

    assert answer.status_code == 503
    if lost == "lease":
        assert '"n":0' in (kept.data or "")
        assert kept.holder == "another"
    else:
        assert kept[:2] == (None, None)


@pytest.mark.parametrize("kind", SHARED)
async def test_a_lease_of_another_process_is_waited_for(
    kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it is held, but not for ever, and nobody without the secret gets to wait."""
    async with browsing(kind, url) as browser, beside(url) as other:
        await other.hold(sid_of(browser))
        with monkeypatch.context() as patch:
            patch.setattr(floor, "WAIT", 0.05)
            held = await browser.get("/write")
        thief = browser.copy()
        async with thief:
            thief.cookies["sid"] = f"{sid_of(browser)}.{'x' * 43}"
            refused = await thief.get("/write")
        waiting = asyncio.create_task(browser.get("/write"))
        await other.free(sid_of(browser))
        free = await waiting

    assert (held.status_code, refused.status_code, free.text) == (503, 401, "1")


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_a_read_is_one_trip_and_a_write_two(kind: str, url: str) -> None:
    """Else it would not be the least."""
    async with counting(url) as counter, browsing(kind, counter.address) as browser:
        trips = []
        for path in ("/read", "/write"):
            await browser.get(path)  # after which Postgres has parsed the statements
            before = counter.trips
            await browser.get(path)
            trips.append(counter.trips - before)

    assert trips == [1, 2]


async def test_turns_come_in_order_and_end() -> None:
    """First come, first served; one that gives up waiting lets nobody in too early."""
    turns, order = floor.Turns(), []

    async def visit(name: str) -> None:
        turn = await turns.take("sid")
        order.append(name)
        turns.give("sid", turn)

    first = await turns.take("sid")
    tasks = {}
    for name in "abc":
        tasks[name] = asyncio.create_task(visit(name))
        await asyncio.sleep(0)
    tasks["b"].cancel()
    await asyncio.wait([tasks["b"]])
    await asyncio.sleep(0)
    assert order == []

    turns.give("sid", first)
    await asyncio.gather(tasks["a"], tasks["c"])

    assert order == ["a", "c"]
    assert not turns._last


async def test_a_turn_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends with an error, and nothing stays of it once the holder has gone."""
    monkeypatch.setattr(floor, "WAIT", 0.01)
    turns = floor.Turns()
    holder = await turns.take("sid")

    with pytest.raises(TimeoutError):
        await turns.take("sid")
    turns.give("sid", holder)
    await until(lambda: not turns._last)


@pytest.mark.parametrize(
    ("kind", "harm"), [("redis", "cut"), ("redis", "forget"), ("postgres", "cut")]
)
async def test_the_wire_is_mended(kind: str, harm: str, url: str, store: Any) -> None:
    """A lost connection, or a Redis that has forgotten the scripts, costs what was under way."""
    async with proxied(url) as (proxy, address), browsing(kind, address) as browser:
        await browser.get("/write")
        if harm == "cut":
            proxy.cut()
        else:
            store.script_flush()
        async with asyncio.timeout(30):
            answers = [await browser.get("/write")]
            while answers[-1].status_code != 200:
                await asyncio.sleep(0.01)
                answers.append(await browser.get("/write"))

    assert {each.status_code for each in answers[:-1]} <= {503}
    assert answers[-1].text == "2"


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_a_silent_store_is_not_waited_for_for_ever(
    kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call has a deadline, and the connection that missed it is given up."""
    async with proxied(url) as (proxy, address), browsing(kind, address) as browser:
        await browser.get("/read")
        for module in (floor_wire, floor_lane):
            monkeypatch.setattr(module, "WAIT", 0.2)
        proxy.mute()
        silent = await browser.get("/read")

    assert silent.status_code == 503


async def test_who_asks_together_is_answered_apart(database_url: str) -> None:
    """Each by the row of its own, whatever their order; who has none, or has gone, harms nobody."""
    missed: list[Any] = []
    statement = f"SELECT n, a ->> 0 FROM {ASKED} WHERE a ->> 0 <> 'nothing' ORDER BY n DESC"
    lane = Lane(database_url, statement, lambda *args: missed.append(args))
    await lane.connect()
    first = lane.ask("first")
    await asyncio.sleep(0)  # on its way
    first.cancel()
    answers = [lane.ask(each) for each in ("a", "nothing", "never sent", "b")]
    answers[2].cancel()
    found = await asyncio.gather(*answers, return_exceptions=True)
    await lane.close()

    assert missed == [("first",)]
    assert [found[0][1], found[1], found[3][1]] == ["a", None, "b"]


async def seen(connection: Any, what: str, *args: Any) -> None:
    """Wait until another of Postgres's connections does what is said of it."""
    query = f"SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {what}"
    while not await connection.fetch(query, *args):  # noqa: ASYNC110 - it tells of no such event
        await asyncio.sleep(0.01)


async def test_a_lease_that_comes_too_late_is_given_up(database_url: str) -> None:
    """Who has gone while it was taken would keep all others out for as long as it lasts."""
    app, gone = make_app("postgres", database_url), asyncio.Event()

    @app.ctx.locked
    async def locked(request: Request, data: dict[str, Any]) -> HTTPResponse:
        return text("nobody gets here")

    @app.get("/impatient")
    async def impatient(request: Request) -> HTTPResponse:
        try:
            response: HTTPResponse = await locked(request)
            return response
        finally:
            gone.set()

    async with (
        serve(app) as site,
        Browser(site) as browser,
        connected(database_url) as holder,
        connected(database_url) as other,
    ):
        await browser.get("/start")
        await browser.get("/write")  # so that the server has parsed what gives up
        async with holder.transaction():
            now = await holder.fetchval("SELECT now()")
            await holder.execute("SELECT FROM floor WHERE sid = $1 FOR UPDATE", sid_of(browser))
            leaving = asyncio.create_task(browser.get("/impatient"))
            await seen(other, "query LIKE '%AS free%' AND wait_event_type = 'Lock'")
            leaving.cancel()
            await gone.wait()
            # What gives the lease up has come before it was taken.
            await seen(
                other, "query LIKE 'WITH held%' AND state = 'idle' AND query_start > $1", now
            )
        written = await browser.get("/write")

    assert written.text == "2"


async def test_two_processes_never_wait_for_each_other(database_url: str) -> None:
    """Whatever the order in which each of them is asked for the same sessions."""
    lanes = [Lane(database_url, floor_postgres.ACQUIRE) for _ in range(2)]
    create = Lane(database_url, floor_postgres.CREATE)
    for lane in (*lanes, create):
        await lane.connect()
    await create.execute(floor_postgres.TABLE)
    sids = [f"{number}:{id(create)}" for number in range(64)]
    await asyncio.gather(*(create.ask(sid, b"", Raw(b"{}")) for sid in sids))
    for _ in range(20):
        answers = [lanes[0].ask(sid, b"", "one") for sid in sids]
        answers += [lanes[1].ask(sid, b"", "another") for sid in reversed(sids)]
        found = await asyncio.gather(*answers)
        assert None not in found
    for lane in (*lanes, create):
        await lane.close()
