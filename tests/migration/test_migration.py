"""Sessions that the older libraries' own code has written, taken over on real servers.

`old_sessions.json` was written by that code; see `make_fixtures.py`.
"""

from __future__ import annotations

import asyncio
import json as plain_json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import redis.asyncio
from sanic import Request, Sanic, Websocket, json
from websockets.asyncio.client import connect

from harness import Browser, make_app, serve, set_cookies
from proxy import ToxicProxy
from sanic_cookies import AuthSession, InCookieEncrypted, InMemory, Redis, Session
from sanic_cookies.errors import SessionConfigError
from sanic_cookies.interfaces.redis.scripts import COMMIT
from sanic_cookies.migration import Migration, OldCookie, OldPostgres, OldRedis
from sanic_cookies.migration.upgrade import MARK_SECONDS, _derived
from sanic_cookies.testing import FakeClock, Faulty
from servers import HOST, RedisServer
from stores import KEY

OLD = plain_json.loads((Path(__file__).parent / "old_sessions.json").read_text("utf-8"))
DATA, LOGIN = OLD["data"], OLD["login"]
FUTURE = datetime.now(UTC) + timedelta(days=30)
KINDS = ["sanic_cookies_redis", "sanic_session_redis", "sanic_cookies_postgres", "fernet"]


class Site:
    """An app that takes old sessions over, and the old store behind it."""

    def __init__(self, source: Any, master: Any = None, auth: Any = None, **options: Any) -> None:
        self.app: Sanic[Any, Any] = make_app()
        self.master = InMemory() if master is None else master
        self.auth = AuthSession(self.app, self.master, warn_lock=False, **(auth or {}))
        migration = {"until": FUTURE, "logins": True, **options}
        self.migration = Migration(self.auth, [source], **migration)
        self.app.add_route(self.look, "/")
        self.app.add_route(self.write, "/write")
        self.app.add_route(self.login, "/login")
        self.app.add_route(self.out, "/out")
        self.app.add_route(self.fresh, "/fresh")
        self.app.add_websocket_route(self.socket, "/socket")

    async def look(self, request: Request) -> Any:
        sess = request.ctx.auth_session
        return json({**dict(await sess.peek()), "user": await self.auth.current_user(request)})

    async def write(self, request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            sess["count"] = sess.get("count", 0) + 1
            return json(sess["count"])

    async def login(self, request: Request) -> Any:
        await self.auth.login_user(request, LOGIN["current_user"])
        return json("in")

    async def out(self, request: Request) -> Any:
        await self.auth.logout_user(request)
        return json("out")

    async def socket(self, request: Request, ws: Websocket) -> None:
        await ws.send(plain_json.dumps(dict(await request.ctx.auth_session.peek())))

    async def fresh(self, request: Request) -> Any:
        return json(await self.auth.is_fresh(request, 10**6))


class Past:
    """An old store of one kind: its source, and the cookies of a visitor and of a user."""

    def __init__(self, source: Any, cookies: list[str], count: Any) -> None:
        self.source, self.cookies, self.count = source, cookies, count


@pytest.fixture(params=KINDS)
async def past(request: pytest.FixtureRequest) -> AsyncIterator[Past]:
    """What each of the older libraries had stored."""
    kind, prefix = request.param, f"{uuid4().hex}:"
    if kind == "fernet":
        source = OldCookie(OLD["key"], "SESSION", clock=lambda: OLD["made_at"] + 60)
        yield Past(source, [f'"{each}"' for each in OLD["sanic_cookies_cookie"]], None)
    elif kind.endswith("redis"):
        async with redis.asyncio.from_url(request.getfixturevalue("redis_url")) as client:
            for call in OLD[kind]:
                key = prefix + call["key"].removeprefix("session:")
                await client.set(key, call["value"], ex=call["seconds"])

            async def count() -> int:
                return len(await client.keys(prefix + "*"))

            cookies = [call["key"].removeprefix("session:") for call in OLD[kind]]
            yield Past(OldRedis(client, "SESSION", prefix=prefix), cookies, count)
    else:
        url, table = request.getfixturevalue("database_url"), f"old_{uuid4().hex}"
        pool = await asyncpg.create_pool(url, min_size=0, max_size=2)
        # As the older README has it.
        await pool.execute(
            f"CREATE TABLE {table} (created_at timestamp without time zone NOT NULL, expires_at "
            "timestamp without time zone, sid character varying, val character varying, PRIMARY "
            "KEY (sid))"
        )
        for call in OLD[kind]:
            sid, val, _ = call["values"]
            end = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=30)
            statement = call["statement"].replace("sessions", table)
            await pool.execute(statement, sid, val, end)

        async def count() -> int:
            return int(await pool.fetchval(f"SELECT count(*) FROM {table}"))

        cookies = [call["values"][0] for call in OLD[kind]]
        yield Past(OldPostgres(pool, "SESSION", table=table), cookies, count)
        await pool.execute(f"DROP TABLE {table}")
        await pool.close()


def with_cookie(url: str, value: str) -> Browser:
    browser = Browser(url)
    browser.cookies["SESSION"] = value
    return browser


async def test_data_are_taken_over(past: Past) -> None:
    """The first request shows what was stored, sets our cookie and takes the old one away."""
    site = Site(past.source)
    async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
        response = await browser.get("/")

        assert response.json() == {**DATA, "user": None}
        assert list(browser.cookies) == ["auth_session"]
        assert sorted(line.partition("=")[0] for line in set_cookies(response)) == [
            "SESSION",
            "auth_session",
        ]
        assert (await browser.get("/write")).json() == 1
        assert (await browser.get("/")).json() == {**DATA, "count": 1, "user": None}
        assert site.migration.upgraded == 1


async def test_a_session_that_is_not_preloaded_is_taken_over(past: Past) -> None:
    """With `preload=False`, and no check of its own, an app still looks for old sessions."""
    app = make_app()
    session = Session(app, preload=False, warn_lock=False)
    Migration(session, [past.source], until=FUTURE)

    @app.get("/")
    async def look(request: Request) -> Any:
        return json(dict(await request.ctx.session.peek()))

    async with serve(app) as url, with_cookie(url, past.cookies[0]) as browser:
        assert (await browser.get("/")).json() == DATA


async def test_a_handshake_leaves_it_to_the_next_page(past: Past) -> None:
    """What cannot set a cookie takes nothing over: the browser would be left with a dead id."""
    site = Site(past.source)
    async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
        headers = {"cookie": f"SESSION={past.cookies[0]}"}
        async with connect(
            url.replace("http", "ws") + "/socket", additional_headers=headers, proxy=None
        ) as ws:
            assert await ws.recv() == "{}"
        assert site.migration.upgraded == 0
        assert (await browser.get("/")).json() == {**DATA, "user": None}


async def test_what_is_too_large_is_left_where_it_is(past: Past) -> None:
    """A session that could not be saved here is none, and stays where it was."""
    site = Site(past.source, auth={"max_bytes": 10})
    async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
        assert (await browser.get("/")).json() == {"user": None}
        assert past.count is None or await past.count() == len(past.cookies)


async def test_old_cookie_is_dead_afterwards(past: Past) -> None:
    """After the grace the old cookie opens nothing, and after a logout at no time at all."""
    clock = FakeClock()
    site = Site(past.source, InMemory(clock=clock.monotonic))
    async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
        await browser.get("/")
        if past.count is not None:
            assert await past.count() == len(past.cookies) - 1
        clock.forward(20)
        async with with_cookie(url, past.cookies[0]) as thief:
            assert (await thief.get("/")).json() == {"user": None}
        await browser.get("/out")
        async with with_cookie(url, past.cookies[0]) as thief:
            response = await thief.get("/")
            assert response.json() == {"user": None}
            assert set_cookies(response) == []


async def test_logout_at_once_is_final(past: Past) -> None:
    """A logout within the grace ends the session for the old cookie too."""
    site = Site(past.source)
    async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
        await browser.get("/")
        await browser.get("/out")
        async with with_cookie(url, past.cookies[0]) as thief:
            assert (await thief.get("/")).json() == {"user": None}


async def test_simultaneous_first_requests_all_work(past: Past) -> None:
    """A page that asks for many things at once: each sees the session, one gets the new cookie."""
    site = Site(past.source)
    async with serve(site.app) as url:
        browsers = [with_cookie(url, past.cookies[0]) for _ in range(12)]
        responses = await asyncio.gather(*(each.get("/write") for each in browsers))

        assert sorted(each.json() for each in responses) == list(range(1, 13))
        assert [bool(set_cookies(each)) for each in responses].count(True) == 1
        [winner] = [each for each in browsers if "auth_session" in each.cookies]
        assert (await winner.get("/")).json() == {**DATA, "count": 12, "user": None}
        assert site.migration.upgraded == 1
        for browser in browsers:
            await browser.__aexit__()


async def test_simultaneous_requests_of_two_processes(redis_url: str, past: Past) -> None:
    """The same holds for several apps on one store, as several workers have it."""
    prefix = f"{uuid4().hex}:"
    sites = [Site(past.source, Redis(redis_url, prefix=prefix)) for _ in range(2)]
    async with serve(sites[0].app) as one, serve(sites[1].app) as two:
        browsers = [with_cookie([one, two][n % 2], past.cookies[0]) for n in range(12)]
        responses = await asyncio.gather(*(each.get("/write") for each in browsers))

        assert sorted(each.json() for each in responses) == list(range(1, 13))
        assert sum(site.migration.upgraded for site in sites) == 1
        for browser in browsers:
            await browser.__aexit__()


@pytest.mark.parametrize("past", KINDS[:1] + KINDS[2:], indirect=True)
async def test_login_is_taken_over_if_wanted(past: Past) -> None:
    """Who was logged in stays so, is listed, is remembered if they wanted, and never fresh."""
    site = Site(past.source)
    async with serve(site.app) as url, with_cookie(url, past.cookies[1]) as browser:
        response = await browser.get("/")

        assert response.json() == {"current_user": LOGIN["current_user"], "seen": 2} | {
            "user": LOGIN["current_user"]
        }
        [line] = [each for each in set_cookies(response) if each.startswith("auth_session=")]
        assert "Max-Age=" in line
        [info] = await site.auth.sessions_of({"id": 5})
        assert info.remembered
        assert (await browser.get("/fresh")).json() is False


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_a_user_who_is_gone_is_not_taken_over(past: Past) -> None:
    """The session of a user whom the loader does not know any more is nobody's, and stays."""
    site = Site(past.source, auth={"user_loader": lambda user: None})
    async with serve(site.app) as url, with_cookie(url, past.cookies[1]) as browser:
        assert (await browser.get("/")).json() == {"user": None}
        assert await past.count() == len(past.cookies)


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_nothing_lives_longer_by_it(past: Past) -> None:
    """What had a minute left has a minute left: data unless they are used, a login in any case."""
    site = Site(past.source)
    async with serve(site.app) as url:
        for number in (0, 1):
            await past.source._client.expire(past.source._prefix + past.cookies[number], 60)
            async with with_cookie(url, past.cookies[number]) as browser:
                await browser.get("/")
                sid = browser.cookies["auth_session"].partition(".")[0]
                record = await site.master.fetch("auth_session", sid)
                assert record.expires_at - record.now <= 60
                assert number == 0 or record.deadline - record.now <= 60


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
@pytest.mark.parametrize("action", ["evict_oldest", "refuse"])
async def test_login_counts_into_the_limit(past: Past, action: str) -> None:
    """A user gets no more sessions by old ones than by logins: the oldest goes, or none comes."""
    user, count = LOGIN["current_user"], await past.count()
    site = Site(past.source, auth={"max_sessions": 1, "on_max_sessions": action})
    async with (
        serve(site.app) as url,
        Browser(url) as first,
        with_cookie(url, past.cookies[1]) as second,
    ):
        await first.get("/login")
        taken_over = await second.get("/")

        evicts = action == "evict_oldest"
        assert taken_over.json()["user"] == (user if evicts else None)
        assert (await first.get("/")).json()["user"] == (None if evicts else user)
        assert len(await site.auth.sessions_of(user)) == 1
        assert await past.count() == (count - 1 if evicts else count)
        if not evicts:
            assert set_cookies(taken_over) == []
            await first.get("/out")  # when there is room, it comes
            assert (await second.get("/")).json()["user"] == user


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_login_is_not_taken_over_by_itself(past: Past) -> None:
    """Without `logins=True` the data come over, and nobody is logged in by them."""
    site = Site(past.source, logins=False)
    async with serve(site.app) as url, with_cookie(url, past.cookies[1]) as browser:
        assert (await browser.get("/")).json() == {"seen": 2, "user": None}
        assert await site.auth.sessions_of({"id": 5}) == []


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_nothing_is_made_of_what_is_no_old_session(past: Past) -> None:
    """Unknown and malformed ids, two cookies of the name, and our own cookie beside the old one."""
    site, longer = Site(past.source), past.cookies[0] + "0"
    # Something is there under an id that is too long, and is not to be found by it.
    await past.source._client.set(past.source._prefix + longer, plain_json.dumps(DATA), ex=60)
    async with serve(site.app) as url:
        for value in (longer, "0" * 32, "x" * 32, "0" * 31, "../" + "0" * 29, "", "A" * 32):
            async with with_cookie(url, value) as browser:
                response = await browser.get("/")
                assert response.json() == {"user": None}
                assert set_cookies(response) == []
        twins = f"SESSION={past.cookies[0]}; SESSION={past.cookies[0]}"
        async with Browser(url) as browser:
            answer = await browser.get("/", headers={"cookie": twins})
            assert answer.json() == {"user": None}
            assert (await browser.get("/write")).json() == 1
            browser.cookies["SESSION"] = past.cookies[0]
            assert (await browser.get("/write")).json() == 2

        assert await past.count() == len(past.cookies) + 1


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_after_the_deadline_nothing_happens(past: Past) -> None:
    """From `until` on old cookies are strangers."""
    site = Site(past.source, until=datetime.now(UTC) - timedelta(seconds=1))
    async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
        assert (await browser.get("/")).json() == {"user": None}
    assert await past.count() == len(past.cookies)


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
@pytest.mark.parametrize("operation", ["create", "save", "fetch"])
async def test_failing_store_loses_nothing(past: Past, operation: str) -> None:
    """A store that fails in the middle is a 503, and the next request with the old cookie works."""
    for nth in (1, 2, 3):
        store = Faulty(InMemory())
        site = Site(past.source, store)
        store.fail(operation, nth=nth)
        async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
            first = await browser.get("/")
            if first.status_code == 503:
                assert set_cookies(first) == []
            else:
                assert first.json() == {**DATA, "user": None}
            assert (await browser.get("/")).json() == {**DATA, "user": None}
        # For the next round as it was.
        await past.source._client.set(
            past.source._prefix + past.cookies[0], plain_json.dumps(DATA), ex=60
        )


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_lost_reply_of_the_new_secret(past: Past, redis_server: RedisServer) -> None:
    """Who is taken over when a reply of the store is lost gets the new cookie all the same."""
    async with ToxicProxy(HOST, redis_server.port) as proxy:
        store = Redis(f"redis://{HOST}:{proxy.port}", prefix=f"{uuid4().hex}:")
        site = Site(past.source, store, auth={"rotation_grace": 0})
        async with serve(site.app) as url, with_cookie(url, past.cookies[0]) as browser:
            lost = proxy.cut_after(COMMIT.sha.encode())
            assert (await browser.get("/")).json() == {**DATA, "user": None}
            assert lost.is_set()
            assert (await browser.get("/")).json() == {**DATA, "user": None}


class Standstill(OldRedis):
    """A source whose reader stands still after it has read."""

    def __init__(self, inside: OldRedis) -> None:
        super().__init__(inside._client, "SESSION", prefix=inside._prefix)
        self.reached, self.resume, self.waits = asyncio.Event(), asyncio.Event(), True

    async def read(self, value: str) -> Any:
        old = await super().read(value)
        if self.waits:
            self.waits = False
            self.reached.set()
            await self.resume.wait()
        return old


@pytest.mark.parametrize("past", KINDS[:1], indirect=True)
async def test_request_that_stood_still_revives_nothing(past: Past) -> None:
    """Read before another request took it over, created after its logout: that is no session."""
    source = Standstill(past.source)
    site = Site(source)
    async with serve(site.app) as url:
        slow, browser = (with_cookie(url, past.cookies[0]) for _ in range(2))
        waiting = asyncio.ensure_future(slow.get("/"))
        await asyncio.wait_for(source.reached.wait(), 10)
        assert (await browser.get("/")).json() == {**DATA, "user": None}
        await browser.get("/out")
        source.resume.set()

        assert (await waiting).json() == {"user": None}
        assert "auth_session" not in slow.cookies
        assert (
            await site.master.fetch("auth_session", _derived("auth_session", past.cookies[0]).sid)
            is None
        )
        await slow.__aexit__()
        await browser.__aexit__()


async def test_unreadable_old_session_is_left_alone(redis_url: str) -> None:
    """What is not the JSON of an object is no session, and stays for whoever looks into it."""
    prefix = f"{uuid4().hex}:"
    async with redis.asyncio.from_url(redis_url) as client:
        site = Site(OldRedis(client, "SESSION", prefix=prefix))
        async with serve(site.app) as url:
            for text in ("[1]", "{", "\x80abc", "", "null", '{"a":' * 5000):
                await client.set(prefix + "a" * 32, text, ex=60)
                async with with_cookie(url, "a" * 32) as browser:
                    assert (await browser.get("/")).json() == {"user": None}
                assert await client.exists(prefix + "a" * 32)


async def test_public_host_gets_a_public_cookie(redis_url: str) -> None:
    """Over https the new cookie has its prefix, and the old one is taken away as it was set."""
    prefix = f"{uuid4().hex}:"
    async with redis.asyncio.from_url(redis_url) as client:
        await client.set(prefix + "a" * 32, '{"n":1}', ex=60)
        source = OldRedis(client, "session", prefix=prefix, domain="shop.example")
        site = Site(source)
        async with serve(site.app) as url, Browser(url, host="shop.example") as browser:
            browser.cookies["session"] = "a" * 32
            lines = {each.partition("=")[0]: each for each in set_cookies(await browser.get("/"))}

            assert "Secure" in lines["__Host-auth_session"]
            assert "Domain=shop.example; Max-Age=0" in lines["session"]


def test_nonsense_is_refused() -> None:
    """What cannot work is said at construction."""
    app = make_app()
    session, source = Session(app), OldRedis("redis://127.0.0.1:1", "SESSION")
    sealed = Session(make_app(), InCookieEncrypted(KEY))
    for wrong in (
        lambda: Migration(session, [source], until=datetime.now()),  # noqa: DTZ005
        lambda: Migration(session, [source], until=FUTURE, logins=True),
        lambda: Migration(Session(), [source], until=FUTURE),
        lambda: Migration(sealed, [source], until=FUTURE),
        lambda: OldPostgres("postgresql://x", "SESSION", table="a; DROP"),
    ):
        with pytest.raises(SessionConfigError):
            wrong()
    assert MARK_SECONDS > 60
