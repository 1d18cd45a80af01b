"""What only Postgres does: the table, its upgrade, the sweep, and what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import asyncpg
import pytest

from sanic_cookies.errors import SessionConfigError
from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.interfaces.postgres.interface import sql
from sanic_cookies.record import Draft, Limit, Outcome, RecordUnreadable
from sanic_cookies.testing import (
    InterfaceContract,
    LeaseContract,
    NewsContract,
    SweepContract,
    following,
    new_claim,
    new_draft,
)
from sanic_cookies.testing.news import listener
from sanic_cookies.token import Token
from stores import connected, opened, postgres, table

Connection = asyncpg.Connection
Step = Callable[[AsyncPG, Draft], Awaitable[Any]]

# As the older library's users made it by hand.
OLD_TABLE = """
CREATE TABLE {table} (
    created_at timestamp without time zone NOT NULL,
    expires_at timestamp without time zone,
    sid character varying,
    val character varying,
    CONSTRAINT {table}_pkey PRIMARY KEY (sid)
)
"""
PID = "SELECT pg_backend_pid()"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
LATER = datetime(2099, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the old columns have no zone
BATCH = 1000


@pytest.fixture
async def name(database: Connection) -> AsyncIterator[str]:
    async with table(database) as name:
        yield name


@pytest.fixture
async def interface(database_url: str, name: str) -> AsyncIterator[AsyncPG]:
    async with postgres(database_url, name) as interface:
        yield interface


async def columns(database: Connection, name: str) -> list[tuple[Any, ...]]:
    """Return what the catalogue says of a table's columns, in the order of their names."""
    rows = await database.fetch(
        "SELECT column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_name = $1 ORDER BY column_name",
        name,
    )
    return [tuple(row) for row in rows]


async def make_old_table(database: Connection, name: str) -> None:
    await database.execute(OLD_TABLE.replace("{table}", name))
    insert = f"INSERT INTO {name} (created_at, expires_at, sid, val) VALUES ($1, $2, $3, $4)"
    await database.execute(insert, LATER - timedelta(1), LATER, "old", '{"ключ": "\\u0000"}')
    await database.execute(insert, LATER - timedelta(1), LATER, "empty", None)


# The table


async def test_create_table_twice(interface: AsyncPG, database: Connection, name: str) -> None:
    """Making a table that is there changes nothing and loses nothing."""
    draft = new_draft()
    await interface.create(draft)
    before = await columns(database, name)
    await interface.create_table()

    assert await columns(database, name) == before
    assert await interface.fetch(draft.name, draft.sid) is not None


@pytest.mark.parametrize("old", [False, True])
async def test_the_table_is_made_by_all_at_once(
    database: Connection, database_url: str, old: bool
) -> None:
    """Workers that start together may each make the table, or upgrade it: none of them fails."""
    for _ in range(5):
        async with table(database) as name, AsyncExitStack() as open_ones:
            if old:
                await make_old_table(database, name)
            stores = [AsyncPG(database_url, table=name, min_size=1) for _ in range(6)]
            for store in stores:
                await open_ones.enter_async_context(opened(store))
            changes = (each.upgrade_table() if old else each.create_table() for each in stores)
            await asyncio.gather(*changes)
            draft = new_draft()
            assert await stores[0].create(draft)


async def test_a_table_that_is_there_keeps_nobody_waiting(
    interface: AsyncPG, database: Connection, name: str
) -> None:
    """Workers that start wait for no transaction that writes, and so nobody waits for them."""
    await interface.create(new_draft())
    async with database.transaction(), asyncio.timeout(10):
        await database.execute(f"UPDATE {name} SET version = version + 1")
        await interface.create_table()


@pytest.mark.parametrize(
    "bad",
    ["", "Sessions", "1st", "a b", 'a"b', "a;b", "a.b", "s" * 49, "sessions\n", "séance"],
)
async def test_bad_table_name_is_refused(bad: str) -> None:
    """A name that would have to be quoted is refused before it gets anywhere near SQL."""
    with pytest.raises(SessionConfigError):
        AsyncPG(table=bad)
    with pytest.raises(SessionConfigError):
        sql("create_table", bad)


@pytest.mark.parametrize(
    "injection",
    ["sessions; DROP TABLE victim", "sessions--", 'x" (a int); DROP TABLE victim; --', "x)/*"],
)
async def test_table_name_injects_nothing(database: Connection, injection: str) -> None:
    """SQL in the place of a table's name is refused and never run."""
    await database.execute("CREATE TABLE IF NOT EXISTS victim ()")
    with pytest.raises(SessionConfigError):
        AsyncPG(table=injection)

    assert await database.fetchval("SELECT to_regclass('victim')") == "victim"
    await database.execute("DROP TABLE victim")


@pytest.mark.parametrize("field", ["name", "sid", "user_key"])
async def test_values_inject_nothing(interface: AsyncPG, field: str) -> None:
    """What a client sends is a value and nothing else, quotes and placeholders included."""
    draft = new_draft(**{field: "'; DROP TABLE sessions; -- $1 {table} \\"})
    await interface.create(draft)
    record = await interface.fetch(draft.name, draft.sid)

    assert record is not None
    assert getattr(record, field) == getattr(draft, field)


async def test_dump_holds_no_secret(interface: AsyncPG, database: Connection, name: str) -> None:
    """Nothing that is stored in a session's life, rotation included, logs anybody in."""
    token = Token.generate()
    fresh = token.rotated()
    draft = new_draft(sid=token.sid, secret_hash=token.secret_hash, user_key="u1")
    await interface.create(draft)
    rotation = following(
        draft, rotated=True, secret_hash=fresh.secret_hash, previous_hash=token.secret_hash, grace=9
    )
    assert await interface.save(rotation) is Outcome.SAVED
    dump = repr(await database.fetch(f"SELECT * FROM {name}"))

    assert token.sid in dump
    for secret in (token.secret, fresh.secret):
        assert secret not in dump


# The upgrade


async def test_upgrade_gives_the_table_of_create(
    interface: AsyncPG, database: Connection, name: str, database_url: str
) -> None:
    """An upgraded table has the same columns, with the same types and defaults, as a new one."""
    async with table(database) as old:
        await make_old_table(database, old)
        async with opened(AsyncPG(database_url, table=old, sweep_every=0)) as upgraded:
            await upgraded.upgrade_table()

        assert await columns(database, old) == await columns(database, name)


async def test_upgrade_keeps_the_rows(database: Connection, name: str, database_url: str) -> None:
    """Old rows stay with their four values, however often the table is upgraded."""
    await make_old_table(database, name)
    async with opened(AsyncPG(database_url, table=name, sweep_every=0)) as interface:
        await interface.upgrade_table()
        await interface.upgrade_table()
        await interface.create_table()
    rows = await database.fetch(
        f"SELECT sid, val, created_at, expires_at FROM {name} ORDER BY sid DESC"
    )

    assert [row["sid"] for row in rows] == ["old", "empty"]
    assert [row["val"] for row in rows] == ['{"ключ": "\\u0000"}'.encode(), b""]
    for row in rows:
        assert row["expires_at"] == LATER.replace(tzinfo=UTC)
        assert row["created_at"] == (LATER - timedelta(1)).replace(tzinfo=UTC)


async def test_upgrade_finds_the_table_where_statements_do(
    database: Connection, database_url: str
) -> None:
    """A table that is not in the first schema of the path is upgraded like any."""
    async with table(database) as name:
        await make_old_table(database, name)
        await database.execute(f"CREATE SCHEMA first_{name}")
        path = {"server_settings": {"search_path": f"first_{name}, public"}}
        draft = new_draft()
        try:
            async with opened(AsyncPG(database_url, table=name, **path)) as store:
                await store.upgrade_table()
                assert await store.create(draft)
                record = await store.fetch(draft.name, draft.sid)
        finally:
            await database.execute(f"DROP SCHEMA first_{name}")

    assert record is not None
    assert record.payload == draft.payload


async def test_a_table_in_a_schema_of_its_own(
    database: Connection, name: str, database_url: str
) -> None:
    """The search path says in which schema the table is made, used and swept."""
    await database.execute(f"CREATE SCHEMA its_{name}")
    path, draft = {"server_settings": {"search_path": f"its_{name}"}}, new_draft()
    try:
        async with postgres(database_url, name, **path) as store:
            assert await store.create(draft)
            assert await store.commit(following(draft), "token", True) is Outcome.LOST
            assert await database.fetchval(f"SELECT sid FROM its_{name}.{name}") == draft.sid
            assert await store.delete(draft.name, draft.sid)
            assert await store.sweep() == 0
        assert await database.fetchval("SELECT to_regclass($1)", f"public.{name}") is None
    finally:
        await database.execute(f"DROP SCHEMA its_{name} CASCADE")


@pytest.mark.parametrize("session_name", ["", "session"])
async def test_old_row_opens_no_session(
    database: Connection, name: str, database_url: str, session_name: str
) -> None:
    """A row of the older library is nobody's session, and no step changes it."""
    await make_old_table(database, name)
    draft = new_draft(name=session_name, sid="old")
    async with opened(AsyncPG(database_url, table=name, sweep_every=0)) as interface:
        await interface.upgrade_table()
        before = await database.fetch(f"SELECT * FROM {name}")
        try:
            assert await interface.fetch(draft.name, draft.sid) is None
            assert await interface.acquire(draft.name, draft.sid, new_claim(draft)) is None
        except RecordUnreadable:
            assert session_name == ""
        await interface.touch(draft.name, draft.sid, 1, 60)
        await interface.sweep()

        assert await database.fetch(f"SELECT * FROM {name}") == before


class TestUpgradedTable(InterfaceContract, LeaseContract, NewsContract, SweepContract):
    """An upgraded table keeps the whole contract."""

    @pytest.fixture
    async def name(self, database: Connection) -> AsyncIterator[str]:
        async with table(database) as name:
            await make_old_table(database, name)
            yield name

    @pytest.fixture
    async def interface(self, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
        async with opened(AsyncPG(database_url, table=name, sweep_every=0)) as interface:
            await interface.upgrade_table()
            yield interface

    @pytest.fixture
    async def twin(self, interface: AsyncPG, database_url: str, name: str) -> AsyncIterator[Any]:
        async with opened(AsyncPG(database_url, table=name, sweep_every=0)) as twin:
            yield twin


# The sweep


async def fill(database: Connection, name: str, count: int) -> None:
    await database.execute(
        f"INSERT INTO {name} (name, sid, version, expires_at)"
        " SELECT 'session', n::text, 1, now() - interval '1 second' FROM generate_series(1, $1) n",
        count,
    )


async def test_sweep_goes_in_batches(database_url: str, database: Connection, name: str) -> None:
    """A large number of expired rows goes in several short statements, none left over."""
    statements: list[str] = []

    async def watch(connection: Connection) -> None:
        connection.add_query_logger(lambda query: statements.append(query.query))

    async with postgres(database_url, name, init=watch) as interface:
        await fill(database, name, 2 * BATCH + 5)
        statements.clear()

        assert await interface.sweep() == 2 * BATCH + 5
        assert len(statements) == 3
    assert await database.fetchval(f"SELECT count(*) FROM {name}") == 0


async def test_a_sweep_goes_through_its_rows_in_time(
    database_url: str, database: Connection, name: str
) -> None:
    """What batches have dropped, and others still see, is in the way of the next batch only."""
    rows, me = 5 * BATCH, {"application_name": name}
    async with postgres(database_url, name, max_size=1, server_settings=me) as interface:
        await database.execute(
            f"INSERT INTO {name} (name, sid, expires_at) SELECT 'session', n::text,"
            " now() - n * interval '1 s' FROM generate_series(1, $1) n",
            rows,
        )
        await database.execute(f"ANALYZE {name}")
        async with connected(database_url) as other, other.transaction(isolation="repeatable_read"):
            await other.fetch(f"SELECT FROM {name} LIMIT 1")  # as a dump does
            assert await interface.sweep() == rows
    # Its figures are told by a connection at its end.
    async with asyncio.timeout(30):
        alive = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
        while await database.fetchval(alive, name):
            pass
    query = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = $1"
    assert rows <= await database.fetchval(query, f"{name}_expires_at") <= 2 * rows


async def test_one_sweeps_at_a_time(interface: AsyncPG, database: Connection, name: str) -> None:
    """While another sweeps this table a sweep does nothing; afterwards it does its work."""
    await fill(database, name, 5)
    async with database.transaction():
        key = crc32(name.encode())
        assert await database.fetchval("SELECT pg_try_advisory_xact_lock($1)", key)

        assert await interface.sweep() == 0
    assert await interface.sweep() == 5


async def test_sweep_passes_over_locked_rows(
    interface: AsyncPG, database: Connection, name: str
) -> None:
    """A row that somebody works on is left for the next time; the sweep waits for nobody."""
    await fill(database, name, 5)
    async with database.transaction():
        await database.execute(f"SELECT FROM {name} WHERE sid = '3' FOR UPDATE")

        assert await asyncio.wait_for(interface.sweep(), 5) == 4
    assert await interface.sweep() == 1


async def test_expired_rows_go_by_themselves(
    database_url: str, database: Connection, name: str
) -> None:
    """An open interface sweeps on its own, and stops when it is closed."""
    async with opened(AsyncPG(database_url, table=name, sweep_every=0.02)) as interface:
        await interface.create_table()
        await fill(database, name, 5)
        async with asyncio.timeout(10):
            while await database.fetchval(f"SELECT count(*) FROM {name}"):
                pass


# What it is asked


async def commit(interface: AsyncPG, draft: Draft) -> Outcome:
    return await interface.commit(following(draft), "token", True)


async def acquire(interface: AsyncPG, draft: Draft) -> Any:
    return await interface.acquire(draft.name, draft.sid, new_claim(draft, token="token"))


STEPS: dict[str, Step] = {
    "fetch": lambda interface, draft: interface.fetch(draft.name, draft.sid),
    "create": lambda interface, draft: interface.create(new_draft()),
    "save": lambda interface, draft: interface.save(following(draft)),
    "acquire": acquire,
    "commit": commit,
    "touch": lambda interface, draft: interface.touch(draft.name, draft.sid, 1, 60),
    "renew": lambda interface, draft: interface.renew(draft.name, draft.sid, "token", 60),
    "release": lambda interface, draft: interface.release(draft.name, draft.sid, "token"),
    "delete": lambda interface, draft: interface.delete(draft.name, draft.sid),
}


@pytest.mark.parametrize("step", STEPS)
async def test_each_step_is_one_statement(database_url: str, name: str, step: str) -> None:
    """A step costs one round trip: no transaction around it, no reset after it."""
    statements: list[str] = []

    async def watch(connection: Connection) -> None:
        connection.add_query_logger(lambda query: statements.append(query.query))

    async with postgres(database_url, name, init=watch, max_size=1) as interface:
        draft = new_draft()
        await interface.create(draft)
        await acquire(interface, draft)
        statements.clear()
        await STEPS[step](interface, draft)
        await STEPS["fetch"](interface, draft)  # a reset would come with the next use at the latest

    assert len(statements) == 2, statements
    assert statements[1] == sql("fetch", name)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("step", ["acquire", "commit", "touch", "renew", "release"])
async def test_a_step_meets_a_write_where_transactions_are_strict(
    database: Connection, database_url: str, name: str, level: str, step: str
) -> None:
    """Who has waited for a row goes on with what it is by then, whatever is the default."""
    strict = {"server_settings": {"default_transaction_isolation": level}}
    async with postgres(database_url, name, **strict) as interface:
        draft = new_draft()
        await interface.create(draft)
        await acquire(interface, draft)
        async with connected(database_url) as other, asyncio.timeout(30):
            async with database.transaction():
                await database.execute(f"UPDATE {name} SET last_seen = now()")
                pid = await database.fetchval(PID)
                done = asyncio.create_task(STEPS[step](interface, draft))
                while not await other.fetchval(BLOCKED, pid):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0)
            await done


@pytest.fixture
async def hasty(database: Connection, name: str) -> AsyncIterator[str]:
    """Give a search path to a clock that goes on by a second each time it is asked."""
    schema = f"{name}_clock"
    await database.execute(
        f"CREATE SCHEMA {schema}; CREATE SEQUENCE {schema}.ticks;"
        f"CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$"
        f" SELECT pg_catalog.clock_timestamp() + nextval('{schema}.ticks') * interval '1 s' $$"
    )
    yield f"public, {schema}, pg_catalog"
    await database.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("left", range(9))
async def test_who_has_died_gets_no_other_lease(
    database: Connection, database_url: str, name: str, hasty: str, left: int, waits: bool
) -> None:
    """A lease that runs out while somebody asks for it is left as it is, or taken as a whole."""
    draft = new_draft()
    async with postgres(database_url, name, server_settings={"search_path": hasty}) as interface:
        await interface.create(draft)
        await database.execute(
            f"UPDATE {name} SET lease_token = 'dead', waiters = $2,"
            " lease_until = pg_catalog.clock_timestamp() + $1 * interval '1 s'",
            *(left, ["first"] if waits else []),
        )
        lease = f"SELECT lease_token, lease_until, cardinality(waiters) FROM {name}"
        before = await database.fetchrow(lease)
        await interface.acquire(draft.name, draft.sid, new_claim(draft))
        after = await database.fetchrow(lease)

    assert (after["lease_token"] == "dead") == (after["lease_until"] == before["lease_until"])


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_limit_holds_where_transactions_are_strict(
    database_url: str, name: str, level: str
) -> None:
    """Logins of one user at once keep to its limit, whatever is the default of transactions."""
    strict = {"server_settings": {"default_transaction_isolation": level}, "min_size": 6}
    async with postgres(database_url, name, **strict) as interface:
        for user in ("ann", "bob", "eve"):
            logins = (
                interface.admit(new_draft(user_key=user), None, Limit(2, evict=False))
                for _ in range(6)
            )
            outcomes = [admission.outcome for admission in await asyncio.gather(*logins)]

            assert outcomes.count(Outcome.SAVED) == 2
            assert outcomes.count(Outcome.FULL) == 4


async def test_given_pool_stays_open(database_url: str, name: str) -> None:
    """A pool that was given is used as it is and never closed."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        async with postgres(pool, name) as interface:
            await interface.create(new_draft())

        assert await pool.fetchval(f"SELECT count(*) FROM {name}") == 1


async def test_who_listens_is_connected_as_all_are(
    database: Connection, database_url: str, name: str
) -> None:
    """What is said of connections, as of TLS and password, holds for the one that listens, too."""
    said = {"server_settings": {"application_name": name}}
    async with postgres(database_url, name, max_size=3, **said) as interface:
        await listener(interface)
        query = "SELECT application_name FROM pg_stat_activity WHERE query LIKE $1"
        listening = await database.fetch(query, f"LISTEN %cookies_news_{name}%")

    assert [row[0] for row in listening] == [name]


async def test_repr_hides_the_password() -> None:
    """The URL, which may hold a password, is not shown."""
    assert "hunter2" not in repr(AsyncPG("postgresql://user:hunter2@127.0.0.1/db"))


async def test_sessions_of_a_user_are_found_by_the_index(
    database: asyncpg.Connection, name: str, database_url: str
) -> None:
    """Among many rows the sessions of a user are found by the index of users."""
    async with postgres(database_url, name) as interface:
        for user in range(3):
            await interface.create(new_draft(user_key=f"u{user}"))
    await database.execute(
        f"INSERT INTO {name} (name, sid, expires_at, user_key)"
        " SELECT 'other', 's' || n, now() + interval '1 day', 'x' || n"
        " FROM generate_series(1, 5000) AS n"
    )
    await database.execute(f"ANALYZE {name}")
    plan = await database.fetch("EXPLAIN " + sql("records_of", name), "contract", "u1")

    assert f"{name}_user_key" in " ".join(row[0] for row in plan)


async def test_a_session_that_becomes_another_users_is_not_ended(
    database: asyncpg.Connection, name: str, interface: AsyncPG, database_url: str
) -> None:
    """Whoever logs in, while room is made, in the session that is to go for it, keeps it."""
    oldest, newest = new_draft(user_key="ann"), new_draft(user_key="ann")
    await interface.create(oldest)
    transaction = database.transaction()
    await transaction.start()
    await database.execute(f"UPDATE {name} SET user_key = 'bob' WHERE sid = $1", oldest.sid)
    login = asyncio.create_task(interface.admit(newest, None, Limit(1, evict=True)))
    pid = await database.fetchval(PID)
    async with connected(database_url) as other, asyncio.timeout(30):
        while not await other.fetchval(BLOCKED, pid):  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0)
    await transaction.commit()

    assert (await login).ended == ()
    assert [each.sid for each in await interface.records_of("contract", "bob")] == [oldest.sid]
