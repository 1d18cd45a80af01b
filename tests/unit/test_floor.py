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
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.load import exactly, request
from benchmarks.peers import floor, floor_cookie, floor_memory, floor_redis, floor_wire
from benchmarks.peers.common import KEY
from benchmarks.peers.floor_redis_py import Pool
from benchmarks.peers.floor_wire import Wire
from benchmarks.trips import counting
from harness import Browser, serve, set_cookies
from lab import until
from proxy import ToxicProxy

KINDS = ("memory", "redis", "redis-py")
ALL = (*KINDS, "cookie")
SHARED = ("redis", "redis-py")


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


def make_app(kind: str, url: str) -> Sanic:
    """Return an app as the benchmark serves it."""
    Sanic._app_registry.clear()
    if kind in ("memory", "cookie"):
        return (floor_memory if kind == "memory" else floor_cookie).make_app()
    return floor_redis.make_app(Wire(url) if kind == "redis" else Pool(url))


@asynccontextmanager
async def browsing(kind: str, url: str) -> AsyncIterator[Browser]:
    """Give a browser that has begun a session with an app."""
    async with serve(make_app(kind, url)) as site, Browser(site) as browser:
        await browser.get("/start")
        yield browser


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[ToxicProxy, str]]:
    """Give a proxy before Redis, and where it is."""
    server = urlsplit(url)
    async with ToxicProxy(server.hostname or "", server.port or 6379) as proxy:
        yield proxy, f"redis://{proxy.host}:{proxy.port}/0"


def key_of(browser: Browser, kind: str = "") -> str:
    """Return the key in Redis of a browser's session, or of its lease."""
    return f"floor:{kind}{browser.cookies['sid'].partition('.')[0]}"


def once(deed: Callable[[], object], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that does something at its first call, and then what another does."""
    left = [deed]

    def both(given: Any) -> Any:
        if left:
            left.pop()()
        return then(given)

    return both


@pytest.mark.parametrize("kind", ALL)
async def test_it_does_what_the_other_apps_do(kind: str, redis_url: str) -> None:
    """A session begins at none, each write adds one, and caches are told what they must know."""
    async with browsing(kind, redis_url) as browser:
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
    changed = [begun, *answers[1:3]] if kind == "cookie" else [begun]
    assert [each for each in (begun, *answers) if set_cookies(each)] == changed


@pytest.mark.parametrize("kind", KINDS)
async def test_only_the_secret_opens_a_session(kind: str, redis_url: str) -> None:
    """Neither a known id nor a token that was made up is let in, to read or to write."""
    async with browsing(kind, redis_url) as browser:
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


async def test_only_what_was_sealed_opens() -> None:
    """Neither a cookie that was changed, nor one that was sealed for another purpose."""
    async with browsing("cookie", "") as browser:
        value = browser.cookies["sid"]
        cipher, nonce = AESGCM(urlsafe_b64decode(KEY)), b"n" * floor_cookie.NONCE
        kept = (2**40).to_bytes(floor_cookie.EXPIRY) + b'{"n":7}'
        other = urlsafe_b64encode(nonce + cipher.encrypt(nonce, kept, b"mail")).decode()
        own = urlsafe_b64encode(nonce + cipher.encrypt(nonce, kept, floor_cookie.PURPOSE)).decode()
        wrong = [
            f"{value[:at]}{'A' if value[at] != 'A' else 'B'}{value[at + 1 :]}" for at in (0, 50)
        ]
        wrong += [value[:-8], value[:43], other, "", "x" * 5000]
        found = []
        for browser.cookies["sid"] in (*wrong, own):
            found.append((await browser.get("/read")).status_code)

    assert found == [*[401] * len(wrong), 200]


async def test_a_session_in_a_cookie_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after its last write it is worth nothing, whatever the browser keeps."""
    now = [1_000.5]
    monkeypatch.setattr(floor_cookie, "time", lambda: now[0])
    async with browsing("cookie", "") as browser:
        found = []
        for now[0] in (4_599.0, 8_198.0, 11_799.0):
            found.append((await browser.get("/write")).status_code)

    assert found == [200, 200, 401]


async def test_a_cookie_is_never_larger_than_browsers_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would drop it without a word, and the session with it."""
    monkeypatch.setattr(floor, "encode", lambda data: b"x" * 4000)
    async with browsing("cookie", "") as browser:
        assert browser.cookies == {}


@pytest.mark.parametrize("kind", SHARED)
async def test_a_session_in_redis_ends(kind: str, redis_url: str, store: Any) -> None:
    """Redis forgets it an hour after its last write, and no lease stays behind a write."""
    async with browsing(kind, redis_url) as browser:
        begun = store.ttl(key_of(browser))
        store.expire(key_of(browser), 1000)
        await browser.get("/write")

        assert begun == store.ttl(key_of(browser)) == 3600
        assert not store.exists(key_of(browser, "lease:"))


@pytest.mark.parametrize("kind", ALL)
async def test_a_handler_that_fails_changes_nothing(
    kind: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed before an error is not kept, and the next one need not wait."""

    def fail() -> None:
        raise ValueError("it cannot be encoded")

    async with browsing(kind, redis_url) as browser:
        monkeypatch.setattr(floor, "encode", once(fail, floor.encode))
        failed = await browser.get("/write")
        async with asyncio.timeout(floor_redis.LEASE_MS / 2000):
            written = await browser.get("/write")

    assert (failed.status_code, written.text) == (500, "1")


@pytest.mark.parametrize("kind", KINDS)
async def test_no_increment_is_lost(kind: str, redis_url: str) -> None:
    """32 connections that want one session, of two processes where they share it, all count."""
    async with AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(serve(make_app(kind, redis_url)))]
        if kind in SHARED:
            sites.append(await stack.enter_async_context(serve(make_app(kind, redis_url))))
        browser = await stack.enter_async_context(Browser(sites[0]))
        await browser.get("/start")
        write = request("/write", f"sid={browser.cookies['sid']}")
        ports = [int(site.rpartition(":")[2]) for site in sites] * (32 // len(sites))
        clients = await asyncio.gather(*(exactly(port, [write], 4) for port in ports))
        kept = (await browser.get("/read")).text

    assert [(each.answered, each.failures) for each in clients] == [(4, 0)] * 32
    assert kept == "128"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handler_that_waits_is_alone(kind: str, redis_url: str) -> None:
    """Whoever comes meanwhile gets the session as the handler has left it."""
    app, entered, go_on = make_app(kind, redis_url), asyncio.Event(), asyncio.Event()

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
async def test_who_has_lost_what_it_held_writes_nothing(
    kind: str, lost: str, redis_url: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that has gone to another, or a session that has ended meanwhile, is left alone."""
    async with browsing(kind, redis_url) as browser:
        key, lease = key_of(browser), key_of(browser, "lease:")
        deeds: dict[str, Callable[[], object]] = {
            "lease": lambda: store.set(lease, "another", ex=60),
            "session": lambda: store.delete(key),
        }
        monkeypatch.setattr(floor, "decode", once(deeds[lost], floor.decode))
        answer = await browser.get("/write")
        kept, holder = store.get(key), store.get(lease)

    assert answer.status_code == 503
    if lost == "lease":
        assert b'"n":0' in kept
        assert holder == b"another"
    else:
        assert (kept, holder) == (None, None)


@pytest.mark.parametrize("kind", SHARED)
async def test_a_lease_of_another_process_is_waited_for(
    kind: str, redis_url: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it is held, but not for ever, and nobody without the secret gets to wait."""
    monkeypatch.setattr(floor, "WAIT", 0.05)
    async with browsing(kind, redis_url) as browser:
        store.set(key_of(browser, "lease:"), "another", ex=60)
        held = await browser.get("/write")
        thief = browser.copy()
        async with thief:
            thief.cookies["sid"] = f"{browser.cookies['sid'].partition('.')[0]}.{'x' * 43}"
            refused = await thief.get("/write")
        store.delete(key_of(browser, "lease:"))
        free = await browser.get("/write")

    assert (held.status_code, refused.status_code, free.text) == (503, 401, "1")


async def test_a_read_is_one_trip_and_a_write_two(redis_url: str) -> None:
    """Else it would not be the least."""
    async with counting(redis_url) as counter, browsing("redis", counter.address) as browser:
        trips = []
        for path in ("/read", "/write"):
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


@pytest.mark.parametrize("harm", ["cut", "forget"])
async def test_the_wire_is_mended(harm: str, redis_url: str, store: Any) -> None:
    """A lost connection, or a Redis that has forgotten the scripts, costs what was under way."""
    async with proxied(redis_url) as (proxy, address), browsing("redis", address) as browser:
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
    assert answers[-1].text == "1"


async def test_a_silent_redis_is_not_waited_for_for_ever(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call has a deadline, and the connection that missed it is given up."""
    monkeypatch.setattr(floor_wire, "WAIT", 0.2)
    async with (
        proxied(redis_url) as (proxy, address),
        browsing("redis", address) as browser,
    ):
        proxy.mute()
        silent = await browser.get("/read")

    assert silent.status_code == 503
