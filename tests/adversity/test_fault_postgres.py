"""What happens to Postgres alone: poolers, time-outs of its own, pools that others hold."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count as count_from
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from fault_lab import SLACK, check_refusal, count, nothing, peek, recovered
from faults import TABLE, TERMINATE, PostgresSite, refused
from lab import Lab
from proxy import ToxicProxy
from sanic_cookies import AsyncPG, SessionDict
from sanic_cookies.record import Admission, Claim, Draft, Granted, Limit, Outcome
from sanic_cookies.testing import following, new_claim, new_draft
from sanic_cookies.testing.news import listener
from servers import PostgresServer
from stores import opened


@pytest.fixture
async def site(broken_postgres: PostgresServer) -> AsyncIterator[PostgresSite]:
    async with PostgresSite(broken_postgres) as opened:
        yield opened


async def test_each_step_on_another_backend(site: PostgresSite) -> None:
    """No step depends on a connection: behind a transaction pooler each may have another one."""
    # A connection that has carried out one statement is replaced: no two share a backend.
    master = site.master(statement_cache_size=0, max_queries=1)

    async def nested(sess: SessionDict) -> None:
        async with sess:
            sess["n"] += 1
            await sess.save()
            sess["m"] = sess.get("m", 0) + 1

    async with Lab(master, max_waiters=100) as lab:
        await lab.put(n=0)
        await asyncio.gather(*(lab.visit(nested) for _ in range(10)))
        await lab.visit(count)

        assert await lab.stored() == {"n": 11, "m": 10}


@asynccontextmanager
async def greeting_like_a_pooler(site: PostgresSite) -> AsyncIterator[int]:
    """Pass all on to the server, but for the process id that it greets with; gives the port."""
    relays: list[asyncio.Task[Any]] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            # BackendKeyData: "K", the length, the process id, a secret.
            head, key, rest = data.partition(b"K\x00\x00\x00\x0c")
            writer.write(head + key + b"\x7f\x00\x00\x01" + rest[4:] if key else data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = urlsplit(site.url)
        behind, before = await asyncio.open_connection(place.hostname, place.port)
        relays.append(asyncio.create_task(copy(behind, writer)))
        relays.append(asyncio.create_task(copy(reader, before)))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*relays), 10)


@pytest.mark.parametrize("cache", [None, 0])
async def test_a_pooler_is_noticed(
    site: PostgresSite, cache: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A pooler without the option that it needs is warned of, and nothing else."""
    options = {} if cache is None else {"statement_cache_size": cache}
    place = urlsplit(site.url)
    async with greeting_like_a_pooler(site) as port:
        netloc = place.netloc.replace(f":{place.port}", f":{port}")
        async with opened(AsyncPG(place._replace(netloc=netloc).geturl(), **options)):
            pass
    async with opened(AsyncPG(site.url)):
        pass

    warned = [each.message for each in caplog.records if each.name == "sanic_cookies"]
    assert len(warned) == (cache is None)
    assert all("statement_cache_size=0" in each for each in warned)


async def test_no_transaction_waits_for_a_handler(site: PostgresSite) -> None:
    """A block holds no transaction: a server that ends idle ones at once disturbs nobody."""
    await site.admin.execute("ALTER ROLE app SET idle_in_transaction_session_timeout = '50ms'")
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'"

    async def body(sess: SessionDict) -> int:
        async with sess:
            sess["n"] = 2
            await asyncio.sleep(0.2)
            return int(await site.admin.fetchval(query))

    try:
        async with Lab(site.master()) as lab:
            await lab.put(n=1)
            assert await lab.do(body) == 0
            assert await lab.stored() == {"n": 2}
    finally:
        await site.admin.execute("ALTER ROLE app RESET idle_in_transaction_session_timeout")


@asynccontextmanager
async def guest(site: PostgresSite) -> AsyncIterator[str]:
    """Give the URL of a user who may read and write the rows of the table, and no more."""
    await site.admin.execute("CREATE ROLE guest LOGIN")
    await site.admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO guest")
    try:
        yield site.url.replace("//app@", "//guest@")
    finally:
        await site.admin.execute("DROP OWNED BY guest; DROP ROLE guest")


async def test_user_with_the_least_rights(site: PostgresSite) -> None:
    """Who may read and write rows, and make no table, has all that sessions need."""
    async with guest(site) as url, opened(AsyncPG(url, table=TABLE, sweep_every=0)) as interface:
        await interface.create_table()  # as each worker may, whoever has made it
        first, second = new_draft(user_key="ann"), new_draft(user_key="ann")
        hearing = await listener(interface, first.name)
        assert await interface.create(first)
        claim = new_claim(first)
        assert isinstance(await interface.acquire(first.name, first.sid, claim), Granted)
        write = following(first, user_key="ann")
        assert await interface.commit(write, claim.token, release=True) is Outcome.SAVED
        assert (await interface.admit(second, None, Limit(1, evict=True))).ended == (first.sid,)
        assert await hearing.next() == first.sid
        assert await interface.touch(second.name, second.sid, 1, 600.0)
        assert [each.sid async for each in interface.records()] == [second.sid]
        assert (await interface.census()).sessions == 1
        assert await interface.sweep() == 0
        assert await interface.delete(second.name, second.sid)


async def test_a_pool_that_others_hold(site: PostgresSite) -> None:
    """A given pool whose connections the application keeps: 503 in time, and on they go."""
    pool = await asyncpg.create_pool(site.url, min_size=1, max_size=2)
    async with Lab(AsyncPG(pool, table=TABLE, sweep_every=0), store_timeout=2.0) as lab:
        await lab.put(n=1)
        async with pool.acquire(), pool.acquire():
            began = time.monotonic()
            check_refusal(await lab.visit(count), lab.browser.cookies)
            assert time.monotonic() - began < 4 + SLACK
            assert (await lab.visit(nothing)).status_code == 200
        await recovered(lab)
        assert await lab.stored() == {"n": 2}
    await pool.close()


@asynccontextmanager
async def silent_standby(
    site: PostgresSite, write: Callable[[], Awaitable[Any]]
) -> AsyncIterator[Any]:
    """Have commits wait for a standby that never answers, as for a disk that takes very long.

    It gives the write that waits since then; that ends when the standby is given up.
    """
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await site.admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await site.admin.execute("SELECT pg_reload_conf()")
    writes = [asyncio.ensure_future(write())]
    try:
        async with asyncio.timeout(20):
            while not await site.admin.fetchval(waiting):
                if writes[-1].done():  # the server had not yet read its settings
                    writes.append(asyncio.ensure_future(write()))
        yield writes[-1]
    finally:
        await site.admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await site.admin.execute("SELECT pg_reload_conf()")
        await asyncio.gather(*writes)


async def test_locks_wait_for_no_disk(site: PostgresSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is taken and given up, alone and among others, while writes wait for a standby."""
    master = site.master()
    async with opened(master):
        drafts = [new_draft() for _ in range(10)]
        for draft in drafts:
            await master.create(draft)
        claims = [new_claim(draft) for draft in drafts]
        number = count_from(2)

        async def lock(draft: Draft, claim: Claim) -> None:
            granted = await master.acquire(draft.name, draft.sid, claim)
            assert isinstance(granted, Granted)
            assert granted.held
            await master.release(draft.name, draft.sid, claim.token)

        async def write() -> None:
            assert await master.save(following(drafts[0], version=next(number))) is Outcome.SAVED

        async with silent_standby(site, write) as written:
            async with asyncio.timeout(20):
                await asyncio.gather(*map(lock, drafts[2:], claims[2:]))
                monkeypatch.setattr(master._joiner, "ask", master._joiner.ask_alone)
                await lock(drafts[1], claims[1])
            assert not written.done()


async def test_a_clean_up_that_fails_goes_on(
    site: PostgresSite, caplog: pytest.LogCaptureFixture
) -> None:
    """A clean-up that meets an error says so in one line, and the next one does the work."""
    async with Lab(site.master(sweep_every=0.1)) as lab:
        await lab.put(n=1)
        await site.admin.execute(f"UPDATE {TABLE} SET expires_at = now() - interval '1 hour'")
        await site.admin.execute(f"REVOKE DELETE ON {TABLE} FROM app")
        async with refused(site):
            await line(caplog, "clean-up of AsyncPG failed")
        await site.admin.execute(f"GRANT ALL ON {TABLE} TO app")
        async with asyncio.timeout(10):
            while await site.admin.fetchval(f"SELECT count(*) FROM {TABLE}"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await lab.visit(peek)).json() == {}
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def line(caplog: pytest.LogCaptureFixture, text: str) -> Any:
    """Wait for an error of ours that begins so."""
    async with asyncio.timeout(10):
        while True:
            for record in caplog.records:
                if record.levelno >= logging.ERROR and record.getMessage().startswith(text):
                    assert record.exc_info is None
                    return record
            await asyncio.sleep(0.02)


async def test_a_table_that_is_altered_while_in_use(site: PostgresSite) -> None:
    """A migration that adds a column, or an index, is not noticed by those who use the table."""
    async with Lab(site.master()) as lab:
        await lab.put(n=1)
        for change in (
            f"ALTER TABLE {TABLE} ADD COLUMN tenant text",
            f"CREATE INDEX ON {TABLE} (tenant)",
            f"ALTER TABLE {TABLE} DROP COLUMN tenant",
            f"VACUUM FULL {TABLE}",
        ):
            await site.admin.execute(change)
            assert (await lab.visit(count)).status_code == 200, change
        assert await lab.stored() == {"n": 5}


@pytest.mark.parametrize("crowd", [1, 20])
async def test_a_server_that_takes_no_writes_any_more_is_left(
    site: PostgresSite, crowd: int
) -> None:
    """Connections to what has become a standby are replaced: others may lead to what has not."""
    async with Lab(site.master(), max_waiters=crowd) as lab:
        await lab.put(n=0)
        await site.admin.execute("ALTER ROLE app SET default_transaction_read_only = on")
        try:
            await site.admin.execute(TERMINATE)
            refused = await asyncio.gather(*(lab.visit(count) for _ in range(crowd)))
        finally:
            # Who connects from now on comes to a server that takes writes.
            await site.admin.execute("ALTER ROLE app RESET default_transaction_read_only")
        assert {each.status_code for each in refused} == {503}
        await recovered(lab)
        for _ in range(20):
            assert (await lab.visit(count)).status_code == 200


async def test_started_while_no_server_takes_writes(site: PostgresSite) -> None:
    """A server starts in the middle of a fail-over, and has its sessions after it."""
    await site.admin.execute("ALTER ROLE app SET default_transaction_read_only = on")
    draft = new_draft()
    try:
        async with opened(site.master(target_session_attrs="read-write")) as master:
            await site.admin.execute("ALTER ROLE app RESET default_transaction_read_only")
            assert await master.create(draft)
    finally:
        await site.admin.execute("ALTER ROLE app RESET default_transaction_read_only")


async def test_started_before_a_pooler_that_waits(database_url: str) -> None:
    """What lets clients in and answers nothing, as a paused pooler, keeps no server waiting."""
    parts = urlsplit(database_url)
    async with ToxicProxy(parts.hostname or "", parts.port or 0) as proxy:

        async def pause(connection: Any) -> None:
            proxy.blackhole()

        user = parts.netloc.rpartition("@")[0]
        netloc = f"{user}@{proxy.host}:{proxy.port}" if user else f"{proxy.host}:{proxy.port}"
        master = AsyncPG(parts._replace(netloc=netloc).geturl(), init=pause)
        async with asyncio.timeout(10):
            await master.open()
            await master.close()


async def blocked(site: PostgresSite) -> None:
    """Wait until the app waits for somebody's lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while not await site.admin.fetchval(query):
            await asyncio.sleep(0.01)
            # Within a transaction the server shows what it has shown before.
            await site.admin.execute("SELECT pg_stat_clear_snapshot()")


async def test_a_login_whose_connection_is_cut(site: PostgresSite) -> None:
    """A login within a limit is repeated as any step is, if its connection is cut."""
    old, new = new_draft(user_key="ann"), new_draft(user_key="ann")
    async with opened(site.master()) as master:
        await master.create(old)
        async with site.admin.transaction():
            await site.admin.execute(f"SELECT FROM {TABLE} WHERE sid = $1 FOR UPDATE", old.sid)
            login = asyncio.create_task(master.admit(new, None, Limit(1, evict=True)))
            await blocked(site)
            await site.admin.execute(TERMINATE)
        assert await login == Admission(Outcome.SAVED, (old.sid,))


async def test_a_login_whose_last_reply_is_lost(site: PostgresSite) -> None:
    """A login that was committed, and did not hear of it, has been let in."""
    draft = new_draft(user_key="ann")
    async with opened(site.master()) as master:
        lost = site.proxy.cut_after(b"COMMIT")
        admission = await master.admit(draft, None, Limit(1, evict=True))
        assert lost.is_set()
        assert admission.outcome is Outcome.SAVED
        assert [each.sid for each in await master.records_of(draft.name, "ann")] == [draft.sid]


async def test_a_login_where_no_writes_are_taken_any_more(site: PostgresSite) -> None:
    """A login, too, leaves a server that has become a standby, and says what it has suffered."""
    async with opened(site.master()) as master:
        await site.admin.execute("ALTER ROLE app SET default_transaction_read_only = on")
        try:
            await site.admin.execute(TERMINATE)
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await master.admit(new_draft(user_key="ann"), None, Limit(1, evict=True))
        finally:
            await site.admin.execute("ALTER ROLE app RESET default_transaction_read_only")
        admission = await master.admit(new_draft(user_key="ann"), None, Limit(1, evict=True))
        assert admission.outcome is Outcome.SAVED


async def test_a_login_in_a_deadlock_with_somebody_else(site: PostgresSite) -> None:
    """Whom the server stops because others lock rows in another order tries once more."""
    drafts = sorted((new_draft(user_key="ann") for _ in range(2)), key=lambda draft: draft.sid)
    lock = f"SELECT FROM {TABLE} WHERE sid = $1 FOR UPDATE"
    await site.admin.execute("ALTER ROLE app SET deadlock_timeout = '500ms'")
    try:
        async with opened(site.master()) as master:
            for draft in drafts:
                await master.create(draft)
            async with site.admin.transaction():
                await site.admin.execute("SET LOCAL deadlock_timeout = '1min'")
                await site.admin.execute(lock, drafts[1].sid)
                login = asyncio.create_task(
                    master.admit(new_draft(user_key="ann"), None, Limit(1, evict=True))
                )
                await blocked(site)
                await site.admin.execute(lock, drafts[0].sid)
            assert (await login).outcome is Outcome.SAVED
    finally:
        await site.admin.execute("ALTER ROLE app RESET deadlock_timeout")


async def test_a_row_that_is_no_record_hides_none(site: PostgresSite) -> None:
    """Of a user's rows one has a time that cannot be: the others are listed, and can be ended."""
    broken, sound = new_draft(user_key="ann"), new_draft(user_key="ann")
    async with opened(site.master()) as master:
        for draft in (broken, sound):
            await master.create(draft)
        await site.admin.execute(
            f"UPDATE {TABLE} SET expires_at = 'infinity' WHERE sid = $1", broken.sid
        )
        records = await master.records_of(sound.name, "ann")
        assert [each.sid for each in records] == [sound.sid]


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_server_that_gives_no_more_connections(site: PostgresSite, limit: int) -> None:
    """What goes by statements of its own takes a connection that lies ready for joined ones."""
    await site.admin.execute(f"ALTER ROLE app CONNECTION LIMIT {limit}")
    drafts = [new_draft() for _ in range(20)]
    try:
        async with opened(site.master()) as master:
            for draft in drafts:
                assert await master.create(draft)
                # These are joined, by as many connections as there are.
                await asyncio.gather(
                    *(master.fetch(each.name, each.sid) for each in drafts),
                    *(master.acquire(each.name, each.sid, new_claim(each)) for each in drafts),
                )
                assert await master.touch(draft.name, draft.sid, 1, 60.0)
            assert await master.delete(draft.name, draft.sid)
    finally:
        await site.admin.execute("ALTER ROLE app CONNECTION LIMIT -1")
