"""Figures that the documentation states: no lost update, and the round trips of each way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import redis.asyncio as redis_asyncio
from sanic import HTTPResponse, Request, text

from auth_lab import AuthLab
from lab import Lab
from sanic_cookies import AsyncPG, Redis, SessionDict

INCREMENTS = 200
SIGNED_IN = 20


async def test_200_concurrent_increments(shared_master: Any) -> None:
    """200 requests that increment one session at once give exactly 200."""

    async def increment(sess: SessionDict) -> None:
        async with sess:
            n = sess["n"]
            await asyncio.sleep(0)
            sess["n"] = n + 1

    async with Lab(shared_master, max_waiters=256, lock_timeout=60) as lab:
        await lab.put(n=0)
        replies = await asyncio.gather(*(lab.visit(increment) for _ in range(INCREMENTS)))

        assert [reply.status_code for reply in replies] == [200] * INCREMENTS
        assert await lab.stored() == {"n": INCREMENTS}
        assert len(lab.session.runtime.locks) == 0


class CountingRedis(redis_asyncio.Redis):
    """A client that counts the commands which it sends."""

    commands = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.commands += 1
        return await super().execute_command(*args, **options)


@asynccontextmanager
async def counted(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Any]]:
    """Give an interface and a function that returns the number of its round trips so far."""
    if kind == "redis":
        client = CountingRedis.from_url(request.getfixturevalue("redis_url"))
        yield Redis(client, prefix=f"{uuid4().hex}:"), lambda: client.commands
        await client.aclose()
        return
    queries: list[str] = []

    async def watch(connection: Any) -> None:
        connection.add_query_logger(lambda record: queries.append(record.query))

    url, table = request.getfixturevalue("database_url"), f"t_{uuid4().hex}"
    master = AsyncPG(url, table=table, sweep_every=0, max_size=1, init=watch)
    await master.create_table()
    yield master, lambda: len(queries)
    await master.close()
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


async def untouched(sess: SessionDict) -> None:
    pass


async def peek(sess: SessionDict) -> None:
    for _ in range(3):
        await sess.peek()


async def locked(sess: SessionDict) -> None:
    async with sess:
        sess["n"] = sess.get("n", 0) + 1


async def locked_read(sess: SessionDict) -> None:
    async with sess:
        sess.get("n")


async def unlocked_write(sess: SessionDict) -> None:
    sess["n"] = sess["n"] + 1


async def unlocked_read(sess: SessionDict) -> None:
    assert sess["n"]


@pytest.mark.parametrize("kind", ["redis", "postgres"])
@pytest.mark.parametrize(
    ("use", "preload", "expected"),
    [
        (untouched, False, 0),
        (peek, False, 1),
        (peek, True, 1),
        (locked, False, 2),
        (locked, True, 3),
        (locked_read, False, 2),
        (unlocked_read, True, 1),
        (unlocked_write, True, 3),
    ],
)
async def test_round_trips(
    use: Any, preload: bool, expected: int, kind: str, request: pytest.FixtureRequest
) -> None:
    """Each way to use a session costs exactly the round trips that are promised."""
    async with (
        counted(kind, request) as (master, trips),
        Lab(master, preload=preload, warn_lock=False) as lab,
    ):
        await lab.do(locked)
        await lab.do(use)
        before = trips()
        await lab.do(use)

        assert trips() - before == expected


@pytest.mark.parametrize("kind", ["redis", "postgres"])
@pytest.mark.parametrize("use", [untouched, peek, locked_read])
async def test_an_anonymous_request_asks_nothing(
    use: Any, kind: str, request: pytest.FixtureRequest
) -> None:
    """Without a cookie, or with one of another shape, the store is not asked at all."""
    async with counted(kind, request) as (master, trips), Lab(master) as lab:
        before = trips()
        await lab.do(use)
        lab.browser.cookies = {"session": "malformed"}
        await lab.do(use)

        assert trips() == before


# Logins.


async def log_in(lab: AuthLab) -> None:
    """Log in; a session that is there gets another token."""
    await lab.login("ann")


async def guarded(lab: AuthLab) -> None:
    """Read on a route for which one has to be logged in."""
    assert (await lab.browser.get("/guarded")).status_code == 200


async def listing(lab: AuthLab) -> None:
    """List where the user is signed in."""
    assert len(await lab.auth.sessions_of("ann")) == SIGNED_IN


async def log_out(lab: AuthLab) -> None:
    """Log out."""
    assert (await lab.logout()).status_code == 200


async def everywhere(lab: AuthLab) -> None:
    """End all sessions of the user."""
    assert await lab.auth.logout_everywhere("ann") == SIGNED_IN


def guarded_lab(master: Any, **options: Any) -> AuthLab:
    """Return a lab with a route for which one has to be logged in."""
    lab = AuthLab(master, **options)

    @lab.app.get("/guarded")
    @lab.auth.login_required()
    async def handler(request: Request) -> HTTPResponse:
        return text(str(await lab.auth.current_user()))

    return lab


@pytest.mark.parametrize("kind", ["redis", "postgres"])
@pytest.mark.parametrize(
    ("use", "options", "expected"),
    [
        (log_in, {"preload": False}, (2, 2)),
        (log_in, {"preload": True}, (3, 3)),
        # On Redis a step; on Postgres a transaction: BEGIN, lock, list, write, COMMIT. After it
        # the lease goes back.
        (log_in, {"preload": False, "max_sessions": 99}, (3, 7)),
        (guarded, {"preload": False}, (1, 1)),
        (guarded, {"preload": True}, (1, 1)),
        (listing, {}, (1, 1)),
        (log_out, {"preload": False}, (2, 2)),
        (log_out, {"preload": True}, (2, 2)),
        # On Postgres all are ended by one statement.
        (everywhere, {}, (1 + SIGNED_IN, 2)),
    ],
)
async def test_round_trips_of_logins(
    use: Any, options: Any, expected: tuple[int, int], kind: str, request: pytest.FixtureRequest
) -> None:
    """Each step of a login's life costs exactly the round trips that are promised."""
    async with counted(kind, request) as (master, trips), guarded_lab(master, **options) as lab:
        for _ in range(SIGNED_IN):
            lab.browser.cookies = {}
            await lab.login("ann")
        before = trips()
        await use(lab)

        assert trips() - before == expected[kind == "postgres"]


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_round_trips_of_a_first_login(kind: str, request: pytest.FixtureRequest) -> None:
    """Who comes without a session is logged in by one step."""
    async with counted(kind, request) as (master, trips), guarded_lab(master) as lab:
        before = trips()
        await log_in(lab)

        assert trips() - before == 1
