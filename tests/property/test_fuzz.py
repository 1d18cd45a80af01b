"""Cookie headers that nobody should send: never a 5xx, a record, a lock, or memory that stays.

Most go through the parser and the session in process, one in ten over a real socket to a real
server. `make fuzz` tries a million with a seed of the day; `FUZZ_SEED` repeats a run.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from sanic import Request, Sanic, json
from sanic.compat import Header

from fuzzed_cookies import Fuzzer
from harness import make_app, serve
from sanic_cookies import AuthSession, InCookieEncrypted, InMemory, Session, cookies
from sanic_cookies.exchange import Exchange
from sanic_cookies.session_dict import SessionDict
from stores import KEY
from wire import ask

COUNT = int(os.environ.get("FUZZ_COUNT", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "5"))
CONNECTIONS = 8
HOST = b"shop.example"  # not this machine, so cookies are named __Host-...
LOGGED = 200  # bytes of a log line at most
GROWTH = 16 * 2**20  # bytes of RSS, however many headers came; allocators keep some
TRACED = 64 * 2**10  # bytes that Python objects may have grown by


class Shop:
    """An app whose only handler looks at the session in each way that only reads."""

    def __init__(self, kind: str) -> None:
        self.app: Sanic[Any, Any] = make_app()
        self.records = InMemory()
        master: Any = self.records
        if kind == "sealed":
            master = InCookieEncrypted(KEY, revocations=self.records)
        self.session = Session(self.app, master, warn_lock=False)
        # Of a lower layer of names, so that both look at each request.
        self.auth = AuthSession(self.app, master)
        self.app.add_route(self._look, "/")
        self.app.add_route(self._begin, "/begin", ctx_session_preload=False)

    async def _look(self, request: Request) -> Any:
        sess: SessionDict = request.ctx.session
        shown = dict(await sess.peek())
        async with sess:
            assert dict(sess) == shown
        return json([shown, await self.auth.current_user(request)])

    async def _begin(self, request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return json([])


@asynccontextmanager
async def open_shop(kind: str) -> AsyncIterator[tuple[Shop, str, Fuzzer]]:
    """Serve a shop in which some sessions are there to be found."""
    print(f"FUZZ_SEED={SEED} FUZZ_COUNT={COUNT}")  # shown when a test fails
    shop = Shop(kind)
    async with serve(shop.app) as url:
        pairs = []
        for _ in range(4):
            reply = await ask(url, "/begin", host=HOST.decode())
            [line] = reply.set_cookies
            pairs.append(line.partition(";")[0].encode().split(b"=", 1))
        name = pairs[0][0]
        assert name == b"__Host-session"
        yield shop, url, Fuzzer(SEED, name, [value for _, value in pairs])


def make_session(shop: Shop, header: bytes) -> SessionDict:
    """Return the session of a request with this header, as Sanic would hand it to us."""
    head = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\n" + header
    request = Request(b"/", Header({"host": HOST.decode()}), "1.1", "GET", None, shop.app, head)  # type: ignore[arg-type]
    return shop.session.make(Exchange(request))


class Counter(logging.Filter):
    """Counts the library's log lines, remembers the longest, and lets none of them through."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.longest, self.worst = 0, "", logging.NOTSET

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        self.count += 1
        self.worst = max(self.worst, record.levelno)
        self.longest = max(self.longest, text, key=len)
        return False


@pytest.fixture
def counter() -> Iterator[Counter]:
    """Counts what is logged; a million lines kept for a report would be memory that stays."""
    counter = Counter()
    loggers = [logging.getLogger(name) for name in ("sanic_cookies", "sanic_cookies.security")]
    for logger in loggers:
        logger.addFilter(counter)
    yield counter
    for logger in loggers:
        logger.removeFilter(counter)


def rss() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def look(shop: Shop, fuzzer: Fuzzer) -> None:
    """Look at one session in process."""
    header = fuzzer.header()
    sess = make_session(shop, header)
    shown = dict(await sess.peek())
    assert shown in ({}, {"n": 1})
    assert not shown or fuzzer.opens(header), header
    if fuzzer.random.random() < 0.1:
        async with sess:
            assert dict(sess) == shown


@pytest.mark.parametrize("kind", ["tokens", "sealed"])
async def test_no_header_does_harm_in_process(kind: str, counter: Counter) -> None:
    """Whatever a Cookie header holds, looking at the session neither fails nor leaves anything."""
    async with open_shop(kind) as (shop, _, fuzzer):
        before, count = len(shop.records), COUNT * 9 // 20
        for _ in range(count // 10):
            await look(shop, fuzzer)
        size = rss()
        for _ in range(count - count // 10):
            await look(shop, fuzzer)
        grown = rss() - size
        print(f"{kind}: {count} headers, RSS {grown / 2**10:+.0f} KiB, {counter.count} log lines")

        assert grown < GROWTH
        _assert_nothing_left(shop, before, counter, count)
        assert await _traced_growth(shop, fuzzer) < TRACED


async def _traced_growth(shop: Shop, fuzzer: Fuzzer) -> int:
    """Return by how many bytes Python's objects grow over some thousand headers.

    But for the last headers themselves, whose number is bounded: a test of its own says so.
    """
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(2):
            for _ in range(500):
                await look(shop, fuzzer)
            cookies._remembered.cache_clear()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return sizes[1] - sizes[0]


def _assert_nothing_left(shop: Shop, before: int, counter: Counter, count: int) -> None:
    assert len(shop.records) == before
    for session in (shop.session, shop.auth):
        assert len(session.runtime.locks) == 0
        assert session.runtime.locks.waiting == 0
    # One line of a fixed text for what may be an attack, never two; and nothing that is an error.
    assert counter.count <= count
    assert len(counter.longest) < LOGGED, counter.longest
    assert counter.worst <= logging.WARNING


@pytest.mark.parametrize("kind", ["tokens", "sealed"])
async def test_no_header_does_harm_over_a_socket(kind: str, counter: Counter) -> None:
    """Whatever a browser sends as its cookies, the server answers, and never with a 5xx."""
    async with open_shop(kind) as (shop, url, fuzzer):
        before, count = len(shop.records), COUNT // 20
        statuses: dict[int, int] = {}
        await asyncio.gather(
            *(_converse(url, fuzzer, count // CONNECTIONS, statuses) for _ in range(CONNECTIONS))
        )
        print(f"{kind}: {count} headers over sockets, answers by status: {statuses}")

        assert set(statuses) <= {200, 400, 413}
        assert statuses[200] > count // 2
        _assert_nothing_left(shop, before, counter, 2 * count)  # two sessions look at each


async def _converse(url: str, fuzzer: Fuzzer, count: int, statuses: dict[int, int]) -> None:
    """Send requests over one connection, and over another whenever the server has closed it."""
    address = urlsplit(url)
    reader = writer = None
    for _ in range(count):
        header = fuzzer.header()
        if reader is None or writer is None:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\n" + header + b"\r\n\r\n")
        status, body, ends = await asyncio.wait_for(_read_reply(reader), 60)
        statuses[status] = statuses.get(status, 0) + 1
        assert b'"n"' not in body or fuzzer.opens(header), header
        if ends:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            reader = writer = None
    if writer is not None:
        writer.close()
        await writer.wait_closed()


async def _read_reply(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status, _, fields = head.partition(b"\r\n")
    values = dict(line.split(b": ", 1) for line in fields.split(b"\r\n") if b": " in line)
    body = await reader.readexactly(int(values.get(b"content-length", b"0")))
    return int(status.split()[1]), body, values.get(b"connection") == b"close"
