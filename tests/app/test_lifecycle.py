"""How a session lives and ends: what Django's users know, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import redis.asyncio as redis_asyncio
from sanic import HTTPResponse, Request, text

from harness import Browser, set_cookies
from lab import Lab, until
from masters import SHARED, make_master
from sanic_cookies import (
    AsyncPG,
    InMemory,
    Redis,
    SessionDict,
    SessionError,
    SessionInterrupted,
)
from sanic_cookies.interfaces.postgres import table
from sanic_cookies.record import Draft, Outcome
from stores import connected

DAY = 24 * 3600


class Clock:
    """Epoch seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class ClockedLab(Lab):
    """A lab on memory whose store and whose session follow one injected clock."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.master = InMemory(clock=self.clock)
        super().__init__(self.master, clock=self.clock, **options)

    async def set_expiry(self, value: Any) -> list[str]:
        """Give the session of the browser a lifetime; return the Set-Cookie lines."""

        async def body(sess: SessionDict) -> None:
            async with sess:
                sess.set_expiry(value(self.clock) if callable(value) else value)

        response = await self.visit(body)
        assert response.status_code == 200
        return set_cookies(response)


async def look(sess: SessionDict) -> bool:
    async with sess:
        return bool(sess)


async def nothing(sess: SessionDict) -> None:
    pass


async def destroy(sess: SessionDict) -> None:
    async with sess:
        sess.destroy()


def max_age(lines: list[str]) -> str | None:
    (line,) = lines
    found = [part for part in line.split("; ") if part.startswith("Max-Age=")]
    return found[0].removeprefix("Max-Age=") if found else None


def later(seconds: float) -> Any:
    return lambda clock: datetime.fromtimestamp(clock() + seconds, UTC)


# set_expiry.


@pytest.mark.parametrize(
    ("value", "age", "idle"),
    [
        (100, "100", True),
        (100.0, "100", True),
        (timedelta(seconds=100), "100", False),
        (later(100), "100", False),
        (0, None, True),
        (None, "600", True),
    ],
    ids=["int", "float", "timedelta", "datetime", "0", "None"],
)
async def test_set_expiry(value: Any, age: str | None, idle: bool) -> None:
    """Seconds are idle time, moments are absolute, 0 ends with the browser, None is the policy."""
    lasts = 600 if value in (0, None) else 100
    async with ClockedLab(expiry=600) as lab:
        await lab.put(n=1)
        assert max_age(await lab.set_expiry(value)) == age
        lab.clock.now += lasts * 0.6
        assert await lab.do(look) is True
        lab.clock.now += lasts * 0.6

        assert await lab.do(look) is idle
        lab.clock.now += lasts * 1.1
        assert await lab.do(look) is False


@pytest.mark.parametrize("value", [datetime(2099, 1, 1), "60", [], True], ids=repr)  # noqa: DTZ001
async def test_set_expiry_refuses_what_it_does_not_know(value: Any) -> None:
    """A naive datetime and values of other kinds are refused, and nothing is written."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            sess.set_expiry(value)

    async with Lab() as lab:
        await lab.put(n=1)
        with pytest.raises(SessionError):
            await lab.do(body)

        assert await lab.stored() == {"n": 1}


@pytest.mark.parametrize("value", [-1, timedelta(seconds=-1), later(-1)], ids=["-1", "delta", "at"])
async def test_an_expiry_in_the_past_ends_the_session(value: Any) -> None:
    """A lifetime that is over deletes record and cookie at once."""
    async with ClockedLab() as lab:
        await lab.put(n=1)
        assert max_age(await lab.set_expiry(value)) == "0"

        assert (lab.browser.cookies, len(lab.master)) == ({}, 0)


@pytest.mark.parametrize("value", [0, 60, timedelta(seconds=60)], ids=["0", "60", "delta"])
async def test_expiry_can_be_asked(value: Any) -> None:
    """Age, date and browser-close tell what was set, in the block and in the next request."""
    expected = 600 if value == 0 else 60

    async def ask(sess: SessionDict) -> list[Any]:
        date = sess.get_expiry_date()
        assert date.tzinfo is not None
        return [sess.get_expiry_age(), date.timestamp(), sess.get_expire_at_browser_close()]

    async def body(sess: SessionDict) -> list[Any]:
        async with sess:
            sess["n"] = 1
            sess.set_expiry(value)
            return await ask(sess)

    async with ClockedLab(expiry=600, warn_lock=False) as lab:
        for each in (body, ask):
            age, date, browser_close = await lab.do(each)
            assert age == pytest.approx(expected, abs=1)
            assert date == pytest.approx(lab.clock() + expected, abs=1)
            assert browser_close is (value == 0)


async def test_unlocked_set_expiry_comes_with_the_response() -> None:
    """`set_expiry()` outside of a block is saved, and its cookie sent, with the response."""

    async def body(sess: SessionDict) -> None:
        sess.set_expiry(60)

    async with ClockedLab(warn_lock=False) as lab:
        await lab.put(n=1)
        response = await lab.visit(body)

        assert max_age(set_cookies(response)) == "60"
        lab.clock.now += 61
        assert await lab.stored() == {}


async def test_a_session_cookie_ends_with_the_browser() -> None:
    """`session_cookie=True` sends no Max-Age, and the store still forgets after the idle time."""
    async with ClockedLab(session_cookie=True, expiry=60) as lab:

        async def body(sess: SessionDict) -> bool:
            async with sess:
                sess["n"] = 1
                return sess.get_expire_at_browser_close()

        response = await lab.visit(body)
        assert response.json() is True
        assert max_age(set_cookies(response)) is None
        lab.clock.now += 61

        assert await lab.stored() == {}


@pytest.mark.parametrize("expiry", [60, None])
async def test_absolute_timeout_counts_from_creation(expiry: int | None) -> None:
    """However busy it is, a session ends `absolute_timeout` after it began."""
    async with ClockedLab(expiry=expiry, absolute_timeout=100) as lab:
        await lab.put(n=1)
        for _ in range(3):
            lab.clock.now += 30
            assert await lab.do(look) is True
        lab.clock.now += 11

        assert await lab.do(look) is False


async def put_for_long(lab: Lab) -> Browser:
    """Return another browser, whose session outlives the test."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            sess.set_expiry(600)

    browser = await lab.open_browser()
    await lab.do(body, browser=browser)
    return browser


async def test_the_stores_own_clock_ends_a_session(shared_master: Any) -> None:
    """Without a request the store forgets the session after its idle time, and no other."""
    async with Lab(shared_master, expiry=0.5) as lab:
        alive = await put_for_long(lab)
        await lab.put(n=1)
        sids = [each.cookies["session"].partition(".")[0] for each in (lab.browser, alive)]
        await asyncio.sleep(0.6)

        assert [await lab.stored(), await lab.stored(alive)] == [{}, {"n": 2}]
        assert [await lab.session.exists(sid) for sid in sids] == [False, True]


async def test_the_cookies_own_clock_ends_a_session(master: Any) -> None:
    """A cookie that the browser keeps longer than it should opens nothing."""
    async with Lab(master, expiry=0.5) as lab:
        await lab.put(n=1)
        await asyncio.sleep(0.6)

        assert await lab.stored() == {}


# Touch.


async def test_touch_is_throttled() -> None:
    """Max-Age is refreshed, and the expiry moved, only after a tenth of the idle time."""
    async with ClockedLab(expiry=100) as lab:
        await lab.put(n=1)
        lab.clock.now += 9
        assert set_cookies(await lab.visit(look)) == []
        lab.clock.now += 2
        assert max_age(set_cookies(await lab.visit(look))) == "100"
        assert set_cookies(await lab.visit(look)) == []
        lab.clock.now += 95

        assert await lab.do(look) is True


async def test_a_peek_touches_too() -> None:
    """Reading is use: a session that is only ever peeked at lives on."""
    async with ClockedLab(expiry=100) as lab:
        await lab.put(n=1)
        for _ in range(3):
            lab.clock.now += 60
            assert await lab.stored() == {"n": 1}


async def test_an_untouched_route_does_not_touch() -> None:
    """A route that never looks at the session does not prolong it and sets no header."""
    async with ClockedLab(expiry=100) as lab:
        await lab.put(n=1)
        lab.clock.now += 60
        response = await lab.visit(nothing)
        assert set_cookies(response) == []
        assert "vary" not in response.headers
        lab.clock.now += 60

        assert await lab.stored() == {}


async def test_a_touch_rewrites_no_data() -> None:
    """What moves the expiry leaves payload and version of the record alone."""
    async with ClockedLab(expiry=100) as lab:
        await lab.put(n=1)
        sid = lab.browser.cookies["session"].partition(".")[0]
        before = await lab.master.fetch("session", sid)
        lab.clock.now += 50
        await lab.stored()
        after = await lab.master.fetch("session", sid)

        assert before is not None
        assert after is not None
        assert (after.payload, after.version) == (before.payload, before.version)
        assert after.expires_at == pytest.approx(before.expires_at + 50)


async def test_save_every_request() -> None:
    """`save_every_request=True` moves expiry and cookie at each request that has a session."""
    async with ClockedLab(expiry=100, save_every_request=True) as lab:
        assert set_cookies(await lab.visit(nothing)) == []
        await lab.put(n=1)
        for body in (nothing, look):
            lab.clock.now += 1
            assert max_age(set_cookies(await lab.visit(body))) == "100"

        assert len(lab.master) == 1


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("middleware", [True, False])
async def test_save_every_request_without_a_look(
    tmp_path: Path, preload: bool, middleware: bool
) -> None:
    """`save_every_request=True` asks for no look at the session; files of a page are no use of it.

    Whether the session is read before the handler, or somebody looks at the response, is all one.
    """
    (tmp_path / "logo.svg").write_text("<svg/>")
    async with ClockedLab(expiry=100, save_every_request=True, preload=preload) as lab:
        lab.app.static("/files", tmp_path)

        @lab.app.get("/untouched", ctx_session_preload=preload)
        async def untouched(request: Request) -> HTTPResponse:
            return text("")

        if middleware:

            @lab.app.on_response
            async def see(request: Request, response: HTTPResponse) -> None: ...

        await lab.put(n=1)
        assert max_age(set_cookies(await lab.browser.get("/untouched"))) == "100"
        response = await lab.browser.get("/files/logo.svg")
        assert (response.status_code, set_cookies(response)) == (200, [])


# The end.


async def test_an_emptied_session_takes_its_cookie_along(master: Any) -> None:
    """When the last key goes, record and cookie go; each attribute of the cookie is repeated."""

    async def put(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 1

    async def empty(sess: SessionDict) -> None:
        async with sess:
            del sess["n"]

    options: dict[str, Any] = {"domain": "shop.example", "path": "/app", "samesite": "Strict"}
    async with Lab(master, host="shop.example", **options) as lab:
        (made,) = set_cookies(await lab.visit(put))
        copy = lab.browser.copy()
        (gone,) = set_cookies(await lab.visit(empty))

        assert gone.startswith("__Secure-session=; ")
        assert _attributes(gone) == _attributes(made)
        assert _attributes(gone) >= {"Domain=shop.example", "Path=/app", "Secure", "HttpOnly"}
        assert max_age([gone]) == "0"
        async with copy:
            assert await lab.stored(copy) == {}


async def test_exists(shared_master: Any) -> None:
    """`exists()` knows a public id while its session lives, and no other."""
    async with Lab(shared_master) as lab:
        await lab.put(n=1)
        sid = lab.browser.cookies["session"].partition(".")[0]
        assert await lab.session.exists(sid)
        assert not await lab.session.exists("A" * 22)
        assert not await lab.session.exists("no sid")
        await lab.do(destroy)

        assert not await lab.session.exists(sid)


async def test_clear_expired() -> None:
    """`clear_expired()` drops what has expired, says how much, and leaves the living alone."""
    async with ClockedLab(expiry=100) as lab:
        await lab.put(n=1)
        lab.clock.now += 60
        alive = await lab.open_browser()

        async def begin(sess: SessionDict) -> None:
            async with sess:
                sess["n"] = 2

        await lab.do(begin, browser=alive)
        lab.clock.now += 60

        assert await lab.session.clear_expired() == 1
        assert await lab.session.clear_expired() == 0
        assert await lab.stored(alive) == {"n": 2}


async def test_clear_expired_in_a_database(request: pytest.FixtureRequest) -> None:
    """`clear_expired()` deletes the rows of a table whose time is over."""
    master = AsyncPG(request.getfixturevalue("database_url"), table="cleared", sweep_every=0)
    await master.create_table()
    async with Lab(master, expiry=0.3) as lab:
        alive = await put_for_long(lab)
        assert await lab.session.clear_expired() == 0
        await lab.put(n=1)
        await asyncio.sleep(0.4)

        assert await lab.session.clear_expired() == 1
        assert await lab.stored(alive) == {"n": 2}


async def test_clear_expired_ends(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for a table that somebody keeps locked."""
    monkeypatch.setattr(table, "_BATCH_SECONDS", 0.2)
    master = AsyncPG(database_url, table="locked", sweep_every=0)
    await master.create_table()
    async with Lab(master, expiry=0.2) as lab, connected(database_url) as other:
        await lab.put(n=1)
        await asyncio.sleep(0.3)
        async with other.transaction():
            await other.execute("LOCK TABLE locked")
            async with asyncio.timeout(30):
                with pytest.raises(TimeoutError):
                    await lab.session.clear_expired()
        monkeypatch.undo()
        assert await lab.session.clear_expired() == 1


async def test_test_cookie(master: Any) -> None:
    """The test cookie works in the next request of a browser that keeps cookies, in no other."""

    async def leave(sess: SessionDict) -> None:
        async with sess:
            sess.set_test_cookie()

    async def check(sess: SessionDict) -> bool:
        async with sess:
            return sess.test_cookie_worked()

    async def delete(sess: SessionDict) -> None:
        async with sess:
            sess.delete_test_cookie()

    async with Lab(master) as lab:
        await lab.do(leave)
        assert await lab.do(check) is True
        assert await lab.do(check, browser=await lab.open_browser()) is False
        await lab.do(delete)

        assert await lab.do(check) is False
        assert lab.browser.cookies == {}


async def test_interrupted(master: Any) -> None:
    """A session that another request ended is not written: 409, no live cookie, never revived."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def late(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            inside.set()
            await go.wait()

    async def end(sess: SessionDict) -> None:
        await sess.end()

    async with Lab(master) as lab:
        await lab.put(n=1)
        async with lab.browser.copy() as other:
            pending = asyncio.create_task(lab.visit(late, browser=other))
            await inside.wait()
            await asyncio.wait_for(lab.do(end), 5)
            go.set()
            response = await pending

            assert response.status_code == 409
            assert [type(error) for error in lab.errors] == [SessionInterrupted]
            assert [line for line in set_cookies(response) if "Max-Age=0" not in line] == []
            assert await lab.stored(other) == {}
            assert await lab.stored() == {}


@pytest.mark.parametrize("change", [lambda sess: sess.rotate(), lambda sess: sess.set_expiry(9)])
async def test_interrupted_without_new_data(shared_master: Any, change: Any) -> None:
    """Rotating or prolonging a session that has ended is refused like writing to it."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def late(sess: SessionDict) -> None:
        async with sess:
            change(sess)
            inside.set()
            await go.wait()

    async def end(sess: SessionDict) -> None:
        await sess.end()

    async with Lab(shared_master) as lab:
        await lab.put(n=1)
        async with lab.browser.copy() as other:
            pending = asyncio.create_task(lab.visit(late, browser=other))
            await inside.wait()
            await lab.do(end)
            go.set()

            assert (await pending).status_code == 409
            assert await lab.stored(other) == {}


# Unreadable data.


class Packed:
    """Another codec: what it reads, the default one does not, and the other way round."""

    def encode(self, value: Any) -> bytes:
        return msgspec.msgpack.encode(value)

    def decode(self, payload: bytes) -> Any:
        return msgspec.msgpack.decode(payload)


async def test_unreadable_data(master: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A payload that does not decode: anonymous, a line in the security log, the record kept."""
    async with Lab(master) as old:
        await old.put(n=1)
        browser = old.browser.copy()
    async with Lab(master, codec=Packed()) as new, browser:
        reader = await new.open_browser()
        reader.cookies = dict(browser.cookies)
        with caplog.at_level(logging.WARNING, "sanic_cookies.security"):
            assert await new.stored(reader) == {}
            assert await new.do(look, browser=reader) is False
        lines = [each.getMessage() for each in caplog.records if "security" in each.name]
        assert any("unreadable" in line for line in lines)
        assert reader.cookies == browser.cookies
    async with Lab(master) as again:
        again.browser.cookies = dict(browser.cookies)

        assert await again.stored() == {"n": 1}


async def test_a_write_over_unreadable_data_begins_a_new_session(shared_master: Any) -> None:
    """Who writes without being able to read gets a new session; the record stays what it was."""

    async def write(sess: SessionDict) -> None:
        async with sess:
            sess["m"] = 2

    async with Lab(shared_master) as old:
        await old.put(n=1)
        cookies = dict(old.browser.cookies)
    async with Lab(shared_master, codec=Packed()) as new:
        new.browser.cookies = dict(cookies)
        await new.do(write)
        assert new.browser.cookies["session"][:22] != cookies["session"][:22]
        assert await new.stored() == {"m": 2}
    async with Lab(shared_master) as again:
        again.browser.cookies = dict(cookies)

        assert await again.stored() == {"n": 1}


async def test_a_key_of_the_wrong_type_in_redis(redis_url: str, caplog: Any) -> None:
    """A Redis key that holds something else: anonymous, a security line, the key untouched."""
    client = redis_asyncio.Redis.from_url(redis_url)
    async with Lab(Redis(redis_url, prefix="wrong:")) as lab:
        await lab.put(n=1)
        key = f"wrong:session:{_sid(lab.browser)}"
        await client.set(key, "something else")

        assert await lab.stored() == {}
        assert await lab.do(look) is False
        assert await client.get(key) == b"something else"
        assert any("unreadable" in record.getMessage() for record in caplog.records)
    await client.aclose()


async def test_a_broken_row_in_postgres(database_url: str, caplog: Any) -> None:
    """A row whose value is garbage: anonymous, a security line, the row untouched."""
    master = AsyncPG(database_url, table="broken")
    await master.create_table()
    connection = await asyncpg.connect(database_url)
    async with Lab(master) as lab:
        await lab.put(n=1)
        sid = _sid(lab.browser)
        await connection.execute("UPDATE broken SET val = $1 WHERE sid = $2", b"\xff{", sid)

        assert await lab.stored() == {}
        assert await lab.do(look) is False
        row = await connection.fetchrow("SELECT val FROM broken WHERE sid = $1", sid)
        assert row["val"] == b"\xff{"
        assert any("unreadable" in record.getMessage() for record in caplog.records)
    await connection.close()


# Headers.


async def _peek(sess: SessionDict) -> None:
    await sess.peek()


async def _in(sess: SessionDict) -> None:
    assert "n" not in sess


async def _len(sess: SessionDict) -> None:
    assert len(sess) == 0


async def _get(sess: SessionDict) -> None:
    sess.get("n")


async def _empty(sess: SessionDict) -> None:
    assert sess.is_empty


@pytest.mark.parametrize("use", [look, _peek, _in, _len, _get, _empty])
async def test_any_access_varies_by_cookie(use: Any) -> None:
    """Whoever looks at the session, `in` and `len` included, makes the response vary by cookie."""
    async with Lab(warn_lock=False) as lab:
        response = await lab.visit(use)

        assert response.status_code == 200
        assert response.headers["vary"] == "Cookie"


def _sid(browser: Browser) -> str:
    return browser.cookies["session"].partition(".")[0]


def _attributes(line: str) -> set[str]:
    return {part for part in line.split("; ")[1:] if not part.startswith("Max-Age=")}


async def lease_was_looked_after(sess: SessionDict) -> None:
    """Wait until the store was asked once more for a block's lease, where it has one."""
    hold = sess._hold
    due = inf if hold is None else hold._due
    if hold is not None and due < inf:
        await until(lambda: hold.lost or hold._due not in (due, inf))


@pytest.mark.parametrize("ends_itself", [False, True])
async def test_a_long_block_of_a_session_that_has_ended(
    shared_master: Any, ends_itself: bool
) -> None:
    """However long a block lasts, that its session has ended is no loss of its lock."""
    inside, ended = asyncio.Event(), asyncio.Event()

    async def late(sess: SessionDict) -> None:
        async with sess:
            if ends_itself:
                await sess.end()
            inside.set()
            await ended.wait()
            await lease_was_looked_after(sess)
            sess["n"] = 2

    async def end(sess: SessionDict) -> None:
        await sess.end()

    async with Lab(shared_master, lease=2.1) as lab:
        await lab.put(n=1)
        async with lab.browser.copy() as other:
            pending = asyncio.create_task(lab.visit(late, browser=other))
            await inside.wait()
            await lab.do(end)
            ended.set()

            assert (await pending).status_code == (200 if ends_itself else 409)
            assert await lab.stored(other) == ({"n": 2} if ends_itself else {})


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("changed", [False, True])
async def test_what_is_remembered_of_an_ended_session_opens_nothing(
    kind: str, changed: bool, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy of a session that has ended is none where it is the master, and no attack."""

    async def count(sess: SessionDict) -> int:
        async with sess:
            sess["n"] = sess.get("n", 0) + 1
            return int(sess["n"])

    async with make_master(kind, request) as master, Lab(master) as lab:
        await lab.put(n=1)
        sid = lab.browser.cookies["session"].partition(".")[0]
        assert await master.save(Draft.tombstone("session", sid, 60)) is Outcome.SAVED

        if changed:
            assert await lab.do(count) == 1
            assert lab.browser.cookies["session"].partition(".")[0] != sid
        else:
            assert await lab.stored() == {}
        ended = await master.fetch("session", sid)
        assert ended is not None
        assert ended.is_tombstone
        assert not [each for each in caplog.records if each.name == "sanic_cookies.security"]
