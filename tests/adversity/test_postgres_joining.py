"""Statements that carry several requests: what one of them suffers, the others do not feel."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from proxy import ToxicProxy
from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.interfaces.postgres import joining, lane
from sanic_cookies.record import Claim, Draft, Granted, Outcome, Record
from sanic_cookies.testing import following, new_claim, new_draft
from stores import opened, postgres, table

Connection = asyncpg.Connection
Ask = Callable[[Draft], Awaitable[Any]]

WORKER = Path(__file__).with_name("joining_worker.py")
APPLICATION = "joining-tests"
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND application_name = $1
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    """A connection of the test's own, on which it locks what the interface wants."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def onlooker(database_url: str) -> AsyncIterator[Connection]:
    """A connection that sees who waits, and ends others."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def name(onlooker: Connection) -> AsyncIterator[str]:
    async with table(onlooker) as name:
        yield name


@pytest.fixture
async def interface(database_url: str, name: str) -> AsyncIterator[AsyncPG]:
    settings = {"application_name": APPLICATION}
    async with postgres(database_url, name, server_settings=settings) as interface:
        yield interface


@pytest.fixture
async def drafts(interface: AsyncPG) -> list[Draft]:
    """Sessions whose payload names them, so that a foreign answer shows."""
    drafts = [new_draft(payload=f"owner {number}".encode()) for number in range(30)]
    for draft in drafts:
        await interface.create(draft)
    return drafts


@asynccontextmanager
async def locked(database: Connection, name: str) -> AsyncIterator[None]:
    """Lock the table, so that every statement of others stays on its way."""
    async with database.transaction():
        await database.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        yield


async def on_their_way(onlooker: Connection, number: int) -> None:
    """Wait until so many statements of the interface wait for a lock."""
    async with asyncio.timeout(20):
        while await onlooker.fetchval(WAITING, APPLICATION) < number:
            pass


def asks(interface: AsyncPG, step: str) -> Ask:
    """Return a function that does a step for a session and checks that the answer is its own."""

    async def fetch(draft: Draft) -> None:
        own(draft, await interface.fetch(draft.name, draft.sid))

    async def acquire(draft: Draft) -> None:
        granted = await interface.acquire(draft.name, draft.sid, new_claim(draft))
        assert isinstance(granted, Granted)
        own(draft, granted.record)

    async def commit(draft: Draft) -> None:
        assert await interface.commit(following(draft), held(draft).token, True) is Outcome.SAVED

    async def release(draft: Draft) -> None:
        await interface.release(draft.name, draft.sid, held(draft).token)

    return {"fetch": fetch, "acquire": acquire, "commit": commit, "release": release}[step]


def held(draft: Draft) -> Claim:
    """Return the claim by which a test holds a session."""
    return new_claim(draft, token=f"token of {draft.sid}")


def own(draft: Draft, record: Record | None) -> None:
    assert record is not None
    assert (record.sid, record.payload) == (draft.sid, draft.payload)


async def hold_all(interface: AsyncPG, drafts: list[Draft]) -> None:
    for draft in drafts:
        granted = await interface.acquire(draft.name, draft.sid, held(draft))
        assert isinstance(granted, Granted)


STEPS = pytest.mark.parametrize("step", ["fetch", "acquire", "commit", "release"])


@STEPS
async def test_cancelled_requests_take_nobody_with_them(
    interface: AsyncPG, database: Connection, onlooker: Connection, drafts: list[Draft], step: str
) -> None:
    """Some of a statement's callers are cancelled, on the way and before: the others get theirs."""
    if step in ("commit", "release"):
        await hold_all(interface, drafts)
    ask, name = asks(interface, step), interface._table
    async with locked(database, name):
        first = [asyncio.create_task(ask(draft)) for draft in drafts[:10]]
        await on_their_way(onlooker, 1)
        rest = [asyncio.create_task(ask(draft)) for draft in drafts[10:]]
        await asyncio.sleep(0)
        for task in (*first[1::3], *rest[1::3]):
            task.cancel()
        await asyncio.sleep(0)
    answers = await asyncio.gather(*first, *rest, return_exceptions=True)

    for number, answer in enumerate(answers):
        cancelled = number % 3 == 1 if number < 10 else (number - 10) % 3 == 1
        assert isinstance(answer, asyncio.CancelledError) if cancelled else answer is None, answer
    # Nothing is left of it: everybody is served again, each with his own.
    await asyncio.gather(*(asks(interface, "fetch")(draft) for draft in drafts))


@STEPS
async def test_killed_backend_in_the_middle(
    interface: AsyncPG, database: Connection, onlooker: Connection, drafts: list[Draft], step: str
) -> None:
    """The server ends all connections while statements are on their way: each is repeated."""
    if step in ("commit", "release"):
        await hold_all(interface, drafts)
    ask = asks(interface, step)
    async with locked(database, interface._table):
        tasks = [asyncio.create_task(ask(draft)) for draft in drafts]
        await on_their_way(onlooker, 1)
        await onlooker.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            APPLICATION,
        )
    await asyncio.gather(*tasks)


async def test_locked_row_keeps_only_its_own_waiting(
    interface: AsyncPG, database: Connection, onlooker: Connection, drafts: list[Draft]
) -> None:
    """Rows that a foreign transaction holds delay who asks for them, and nobody else."""
    blocked, free = drafts[:4], drafts[4:]
    acquire = asks(interface, "acquire")
    transaction = database.transaction()
    await transaction.start()
    for draft in blocked:
        await database.execute(
            f"SELECT FROM {interface._table} WHERE sid = $1 FOR UPDATE", draft.sid
        )
    # Two that come alone, and go by a statement that waits, so both usual lanes are stuck ...
    waiting = []
    for number, draft in enumerate(blocked[:2]):
        waiting.append(asyncio.create_task(acquire(draft)))
        await on_their_way(onlooker, number + 1)
    # ... and two in the midst of others.
    waiting += [asyncio.create_task(acquire(draft)) for draft in blocked[2:]]
    async with asyncio.timeout(20):
        await asyncio.gather(*map(acquire, free))

    assert not any(task.done() for task in waiting)
    await transaction.rollback()
    await asyncio.gather(*waiting)


async def test_deadline_of_one_is_not_that_of_the_others(
    interface: AsyncPG, database: Connection, onlooker: Connection, drafts: list[Draft]
) -> None:
    """Who has little time left leaves; the statement and those who have more go on."""
    fetch = asks(interface, "fetch")
    async with locked(database, interface._table):
        lone = [asyncio.create_task(fetch(draft)) for draft in drafts[:2]]
        await on_their_way(onlooker, 1)
        patient = [asyncio.create_task(fetch(draft)) for draft in drafts[2:10]]
        for draft in drafts[10:]:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await fetch(draft)
    await asyncio.gather(*lone, *patient)


@pytest.mark.parametrize(
    ("grace", "stuck"), [(0.05, 3600.0), (3600.0, 0.05)], ids=["cut", "another lane"]
)
async def test_hung_connections_are_replaced(
    database_url: str, name: str, monkeypatch: pytest.MonkeyPatch, grace: float, stuck: float
) -> None:
    """Connections that hang are cut when nobody waits for them; till then others go beside them."""
    monkeypatch.setattr(lane, "GRACE_SECONDS", grace)
    monkeypatch.setattr(joining, "STUCK_SECONDS", stuck)
    parts = urlsplit(database_url)
    async with ToxicProxy(parts.hostname or "", parts.port or 0) as proxy:
        user = parts.netloc.rpartition("@")[0]
        netloc = f"{user}@127.0.0.1:{proxy.port}" if user else f"127.0.0.1:{proxy.port}"
        async with postgres(urlunsplit(parts._replace(netloc=netloc)), name) as interface:
            drafts = [new_draft() for _ in range(20)]
            for draft in drafts:
                await interface.create(draft)
            await asyncio.gather(*(interface.fetch(draft.name, draft.sid) for draft in drafts))
            proxy.blackhole()
            tasks = []
            for half in (drafts[:10], drafts[10:]):  # one for each of the usual lanes
                tasks += [
                    asyncio.create_task(interface.fetch(each.name, each.sid)) for each in half
                ]
                _, pending = await asyncio.wait(tasks, timeout=0.2)
                assert len(pending) == len(tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            proxy.pass_through()  # but what was connected before stays silent

            async with asyncio.timeout(20):
                records = await asyncio.gather(
                    *(interface.fetch(draft.name, draft.sid) for draft in drafts)
                )

    assert [record and record.sid for record in records] == [draft.sid for draft in drafts]


async def test_paused_server_goes_on(
    interface: AsyncPG, drafts: list[Draft], request: pytest.FixtureRequest, database_url: str
) -> None:
    """A server that stops for a while and goes on answers who still waits, each with its own."""
    server = request.getfixturevalue("postgres_server")
    if server.url != database_url:
        pytest.skip("DATABASE_URL names a server that is not ours to pause")
    fetch = asks(interface, "fetch")
    server.pause()
    try:
        tasks = [asyncio.create_task(fetch(draft)) for draft in drafts]
        await asyncio.wait(tasks, timeout=0.3)
        assert not any(task.done() for task in tasks)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks[::2])
    finally:
        server.resume()
    await asyncio.gather(*tasks[1::2])
    await asyncio.gather(*map(fetch, drafts))


async def test_no_foreign_answer_among_10000(interface: AsyncPG, drafts: list[Draft]) -> None:
    """Of 10,000 interleaved requests, one in five cancelled at random, none sees another's data."""
    rng, seen = random.Random(11), 0
    fetch = asks(interface, "fetch")

    async def client(turns: int) -> None:
        nonlocal seen
        for _ in range(turns):
            draft = rng.choice(drafts)
            task = asyncio.create_task(use(draft))
            if rng.random() < 0.2:
                for _ in range(rng.randrange(12)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
                seen += 1

    async def use(draft: Draft) -> None:
        if rng.random() < 0.5:
            await fetch(draft)
            return
        claim = new_claim(draft)
        answer = await interface.acquire(draft.name, draft.sid, claim)
        if isinstance(answer, Granted):
            own(draft, answer.record)
        await interface.release(draft.name, draft.sid, claim.token)

    await asyncio.gather(*(client(250) for _ in range(40)))

    assert seen > 7000


def test_two_loops(database_url: str) -> None:
    """One interface serves on one loop after another, in whatever thread they are."""
    interface, drafts = AsyncPG(database_url, table="two_loops", sweep_every=0), []

    async def make() -> None:
        await interface.create_table()
        drafts.extend([new_draft(payload=f"owner {n}".encode()) for n in range(20)])
        await asyncio.gather(*map(interface.create, drafts))
        await asyncio.gather(*(asks(interface, "fetch")(draft) for draft in drafts))
        await interface._pool.close()  # the interface itself learns nothing of this loop's end

    async def use() -> None:
        await asyncio.gather(*(asks(interface, "fetch")(draft) for draft in drafts))
        await interface.close()

    def in_turns() -> None:
        asyncio.run(make())
        asyncio.run(use())
        asyncio.run(use())

    thread = threading.Thread(target=in_turns)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    asyncio.run(use())


async def test_close_leaves_nothing(
    database_url: str, name: str, onlooker: Connection, database: Connection
) -> None:
    """After `close` no task is left and no connection, even if statements were on their way."""
    tasks_before = asyncio.all_tasks()
    settings = {"application_name": f"{APPLICATION}-closed"}
    interface = AsyncPG(database_url, table=name, sweep_every=0, server_settings=settings)
    async with opened(interface):
        await interface.create_table()
        drafts = [new_draft() for _ in range(20)]
        await asyncio.gather(*map(interface.create, drafts))
        async with locked(database, name):
            tasks = [asyncio.create_task(interface.fetch(d.name, d.sid)) for d in drafts]
            await asyncio.wait(tasks, timeout=0.2)
            await interface.close()
            left = {task.get_name() for task in asyncio.all_tasks()}
            assert "sanic_cookies.postgres" not in left
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(answer is None or isinstance(answer, Exception | Record) for answer in answers)

    async with asyncio.timeout(20):
        if remaining := asyncio.all_tasks() - tasks_before:
            await asyncio.wait(remaining)
        while await onlooker.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
            settings["application_name"],
        ):
            pass


async def test_given_pool_is_not_kept(
    database_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a pool that was given no connection is kept between two requests, nor from others."""
    monkeypatch.setattr(lane, "KEEP_SECONDS", 3600.0)
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool,
        postgres(pool, name) as interface,
    ):
        drafts = [new_draft() for _ in range(20)]
        for draft in drafts:
            await interface.create(draft)
        await asyncio.gather(*(interface.fetch(draft.name, draft.sid) for draft in drafts))

        async with asyncio.timeout(20), pool.acquire(), pool.acquire():
            pass  # all that there are
        async with asyncio.timeout(20), pool.acquire():
            await asyncio.gather(*(interface.fetch(draft.name, draft.sid) for draft in drafts))


async def test_overlapping_batches_never_deadlock(
    interface: AsyncPG, onlooker: Connection, drafts: list[Draft]
) -> None:
    """Processes that lock, write and free the same sessions in other orders never deadlock."""
    database = await onlooker.fetchval("SELECT current_database()")
    count = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1"
    before = await onlooker.fetchval(count, database)
    url, sids = interface._pool.url, [draft.sid for draft in drafts]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, WORKER, str(url), interface._table, str(seed), *sids),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for seed in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    increments = sum(int(output) for output, _ in outputs)
    records = [await interface.fetch(draft.name, draft.sid) for draft in drafts]

    assert [process.returncode for process in processes] == [0] * 3
    assert increments > 500
    assert sum(record.version - 1 for record in records if record is not None) == increments
    assert await onlooker.fetchval(count, database) == before
