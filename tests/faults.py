"""Faults of a store, and how to cause each of them on a real server.

A `Site` is a store of one test's own with a proxy before it. An injector is an async context
manager: the fault is there inside of it, and mended behind it. `OUTAGES` is the table of those
that concern every request; what is tested with it stands in `test_fault_outages.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg
import redis.asyncio
from redis.exceptions import RedisError

from proxy import ToxicProxy
from sanic_cookies import AsyncPG, Redis
from servers import HOST, PostgresServer, RedisServer, free_port

PREFIX = "site:"
TABLE = "site"
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'app' AND pid <> pg_backend_pid()
"""
NO_SPACE = f"""
    CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device'
        USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER no_space BEFORE INSERT OR UPDATE ON {TABLE}
    FOR EACH ROW EXECUTE FUNCTION no_space()
"""


class RedisSite:
    """A Redis behind a proxy, and an administrator's connection that does not pass it."""

    kind = "redis"
    settings: ClassVar[dict[str, str]] = {}

    def __init__(self, server: RedisServer) -> None:
        self.server, self.proxy = server, ToxicProxy(HOST, server.port)

    async def __aenter__(self) -> RedisSite:
        await self.proxy.start()
        self.admin = redis.asyncio.from_url(self.server.url)
        await self.admin.execute_command("REPLICAOF", "NO", "ONE")
        await self.admin.flushall()
        await self.admin.execute_command("ACL", "SETUSER", "admin", "on", "nopass", "~*", "+@all")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.admin.aclose()
        await self.proxy.stop()

    async def reconnect(self) -> None:
        """Connect the administrator anew, after the server was away."""
        await self.admin.aclose()
        self.admin = redis.asyncio.from_url(self.server.url)

    @property
    def url(self) -> str:
        """What leads through the proxy."""
        return f"redis://{HOST}:{self.proxy.port}/0"

    def master(self, **options: Any) -> Redis:
        """Return an interface that reaches the store through the proxy."""
        return Redis(self.url, prefix=PREFIX, **options)

    def near(self) -> Redis:
        """Return an interface that reaches the store directly."""
        return Redis(self.server.url, prefix=PREFIX)

    async def connections(self) -> int:
        """Return how many connections the server has, the administrator's own left out."""
        return len(await self.admin.client_list()) - 1

    async def configure(self, **values: object) -> None:
        """Set server settings; their names with "_" for "-"."""
        for name, value in values.items():
            await self.admin.config_set(name.replace("_", "-"), str(value))


class PostgresSite:
    """A Postgres behind a proxy; sessions belong to `app`, who is no superuser."""

    kind = "postgres"

    def __init__(self, server: PostgresServer) -> None:
        self.server, self.proxy = server, ToxicProxy(HOST, server.port)

    async def __aenter__(self) -> PostgresSite:
        await self.proxy.start()
        self.admin = await asyncpg.connect(self.server.url)
        await self.admin.execute(f"DROP TABLE IF EXISTS {TABLE}")
        with suppress(asyncpg.DuplicateObjectError):
            await self.admin.execute("CREATE ROLE app LOGIN; GRANT ALL ON SCHEMA public TO app")
        near = self.near()
        await near.create_table()
        await near.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.admin.close(timeout=5)
        await self.proxy.stop()

    @property
    def url(self) -> str:
        """What leads through the proxy."""
        return f"postgresql://app@{HOST}:{self.proxy.port}/postgres"

    def master(self, **options: Any) -> AsyncPG:
        """Return an interface that reaches the store through the proxy."""
        return AsyncPG(self.url, table=TABLE, **{"sweep_every": 0, **options})

    def near(self) -> AsyncPG:
        """Return an interface that reaches the store directly."""
        url = f"postgresql://app@{HOST}:{self.server.port}/postgres"
        return AsyncPG(url, table=TABLE, sweep_every=0)

    async def connections(self) -> int:
        """Return how many connections the app has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
        return int(await self.admin.fetchval(query))

    async def reconnect(self) -> None:
        """Connect the administrator anew, after the server was away."""
        self.admin.terminate()
        self.admin = await asyncpg.connect(self.server.url)


Site = RedisSite | PostgresSite
Injector = Callable[[Any], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Outage:
    """A row of the table.

    Attributes:
        name: What happens.
        faults: The numbers of the fault table that it shows.
        inject: Causes and mends it.
        reads: Status of a request that looks at its session.
        writes: Status of one that locks or writes it.
        reads_at_first: Of one that looks before anything has failed; 0 for that of all who look.
        hangs: Calls end by their deadline only; they may have been carried out.
        keeps: The sessions are still there afterwards.
        says: The error that the log names.
    """

    name: str
    faults: str
    inject: Injector
    reads: int = 503
    writes: int = 503
    reads_at_first: int = 0
    hangs: bool = False
    keeps: bool = True
    says: str = ""

    def __str__(self) -> str:
        return self.name


# Faults of the network: the same for every store.


@asynccontextmanager
async def refused(site: Site) -> AsyncIterator[None]:
    """Nobody listens any more."""
    await site.proxy.stop()
    try:
        yield
    finally:
        await site.proxy.start()


@asynccontextmanager
async def reset(site: Site) -> AsyncIterator[None]:
    """Connections are accepted and cut, as by a balancer without a server behind it."""
    site.proxy.refuse()
    try:
        yield
    finally:
        site.proxy.pass_through()


@asynccontextmanager
async def black_hole(site: Site) -> AsyncIterator[None]:
    """Everything is accepted and nothing answered; old connections stay silent afterwards."""
    site.proxy.blackhole()
    try:
        yield
    finally:
        site.proxy.pass_through()


@asynccontextmanager
async def too_slow(site: Site) -> AsyncIterator[None]:
    """Every answer comes, but after its deadline."""
    site.proxy.latency(3.0)
    try:
        yield
    finally:
        site.proxy.pass_through()


@asynccontextmanager
async def slow(site: Site) -> AsyncIterator[None]:
    """Every answer takes 100 ms."""
    site.proxy.latency(0.1)
    try:
        yield
    finally:
        site.proxy.pass_through()


@asynccontextmanager
async def cut(site: Site) -> AsyncIterator[None]:
    """Each connection is cut while it lies idle; new ones are welcome."""
    site.proxy.cut()
    yield


# Faults of the server's process.


@asynccontextmanager
async def frozen(site: Site) -> AsyncIterator[None]:
    """Stop the process by SIGSTOP: the system accepts connections for it, nothing answers."""
    await asyncio.to_thread(site.server.pause)
    try:
        yield
    finally:
        await asyncio.to_thread(site.server.resume)


@asynccontextmanager
async def killed(site: Site) -> AsyncIterator[None]:
    """End the process by SIGKILL, as the system does when memory runs out; start it afterwards."""
    await asyncio.to_thread(site.server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(site.server.start)
        await site.reconnect()


# Faults of Redis itself.


def setting(**values: object) -> Injector:
    """Have Redis run with other settings for a while."""

    @asynccontextmanager
    async def inject(site: RedisSite) -> AsyncIterator[None]:
        names = [name.replace("_", "-") for name in values]
        before = {name: (await site.admin.config_get(name))[name] for name in names}
        await site.configure(**values)
        try:
            yield
        finally:
            await site.configure(**before)

    return inject


def replica(stale: bool) -> Injector:
    """Make Redis the replica of a master that is not there."""

    @asynccontextmanager
    async def inject(site: RedisSite) -> AsyncIterator[None]:
        await site.configure(replica_serve_stale_data="yes" if stale else "no")
        await site.admin.execute_command("REPLICAOF", HOST, free_port())
        try:
            yield
        finally:
            await site.admin.execute_command("REPLICAOF", "NO", "ONE")
            await site.configure(replica_serve_stale_data="yes")

    return inject


@asynccontextmanager
async def disk_full(site: RedisSite) -> AsyncIterator[None]:
    """Redis cannot write its snapshot, and so takes no more writes (MISCONF)."""
    # A directory in the file's place: not even root can write the file then.
    place = site.server.directory / "in_the_way"
    (place / "file").mkdir(parents=True, exist_ok=True)
    site.server.account.own(place)
    await site.configure(dir=site.server.directory, dbfilename="in_the_way", save="3600 1")
    await site.admin.set("unsaved", 1)
    await site.admin.bgsave()
    while (await site.admin.info("persistence"))["rdb_last_bgsave_status"] != "err":  # noqa: ASYNC110 - another process decides
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        await site.configure(dbfilename="dump.rdb", save="")


@asynccontextmanager
async def paused(site: RedisSite) -> AsyncIterator[None]:
    """Redis holds all commands back, as a fail-over by hand has it do."""
    await site.admin.execute_command("CLIENT", "PAUSE", 3000, "ALL")
    try:
        yield
    finally:
        await site.admin.ping()  # nobody can end such a pause early, so this waits for its end


@asynccontextmanager
async def writes_paused(site: RedisSite) -> AsyncIterator[None]:
    """Redis holds all commands back that write."""
    await site.admin.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        yield
    finally:
        await site.admin.execute_command("CLIENT", "UNPAUSE")


@asynccontextmanager
async def busy(site: RedisSite) -> AsyncIterator[None]:
    """Somebody's endless script keeps Redis busy: it answers BUSY to everything."""
    await site.configure(lua_time_limit=50)
    async with redis.asyncio.from_url(site.server.url) as other:
        endless = asyncio.create_task(other.eval("while true do end", 0))
        while True:
            try:
                await site.admin.ping()
            except RedisError:
                break
        try:
            yield
        finally:
            await site.admin.execute_command("SCRIPT", "KILL")
            await asyncio.gather(endless, return_exceptions=True)
    await site.configure(lua_time_limit=5000)


@asynccontextmanager
async def forbidden(site: RedisSite) -> AsyncIterator[None]:
    """Take the right to do anything from the user that the app connects as."""
    async with redis.asyncio.from_url(site.server.url, username="admin", password="x") as admin:
        await admin.execute_command("ACL", "SETUSER", "default", "-@all")
        try:
            yield
        finally:
            await admin.execute_command("ACL", "SETUSER", "default", "+@all")


@asynccontextmanager
async def clients_killed(site: RedisSite) -> AsyncIterator[None]:
    """Redis closes its clients' connections, and forgets their scripts."""
    await site.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await site.admin.script_flush()
    yield


@asynccontextmanager
async def full_house(site: RedisSite) -> AsyncIterator[None]:
    """Redis has as many clients as it takes, and the app has lost its own connections."""
    before = (await site.admin.config_get("maxclients"))["maxclients"]
    site.proxy.cut()
    while await site.connections():  # noqa: ASYNC110 - another process decides
        await asyncio.sleep(0.01)
    await site.configure(maxclients=1)
    try:
        yield
    finally:
        await site.configure(maxclients=before)


@asynccontextmanager
async def flushed(site: RedisSite) -> AsyncIterator[None]:
    """Somebody empties Redis."""
    await site.admin.flushall()
    yield


# Faults of Postgres itself.


def ruled(rule: str, undo: str) -> Injector:
    """Have an administrator run some SQL, and other SQL to mend it."""

    @asynccontextmanager
    async def inject(site: PostgresSite) -> AsyncIterator[None]:
        await site.admin.execute(rule)
        try:
            yield
        finally:
            await site.admin.execute(undo)

    return inject


@asynccontextmanager
async def read_only(site: PostgresSite) -> AsyncIterator[None]:
    """Make all new transactions read-only, as on a standby."""
    await site.admin.execute("ALTER ROLE app SET default_transaction_read_only = on")
    await site.admin.execute(TERMINATE)
    try:
        yield
    finally:
        await site.admin.execute("ALTER ROLE app RESET default_transaction_read_only")
        await site.admin.execute(TERMINATE)


def locked(statement: str) -> Injector:
    """Have a transaction of somebody else lock the table, or the session's row."""

    @asynccontextmanager
    async def inject(site: PostgresSite) -> AsyncIterator[None]:
        async with site.admin.transaction():
            await site.admin.execute(statement)
            yield

    return inject


@asynccontextmanager
async def too_many(site: PostgresSite) -> AsyncIterator[None]:
    """The app has lost its connections and may open no other."""
    await site.admin.execute("ALTER ROLE app CONNECTION LIMIT 0")
    await site.admin.execute(TERMINATE)
    try:
        yield
    finally:
        await site.admin.execute("ALTER ROLE app CONNECTION LIMIT -1")


OUTAGES: dict[str, list[Outage]] = {
    "redis": [
        Outage("refused", "F1", refused),
        Outage("reset", "F1", reset),
        Outage("killed, back empty", "F1 F7", killed, keeps=False),
        Outage("emptied", "F7", flushed, reads=200, writes=200, keeps=False),
        Outage("frozen", "F5", frozen, hangs=True, says="TimeoutError"),
        Outage("black hole", "F5", black_hole, hangs=True, says="TimeoutError"),
        Outage("too slow", "F4 F5", too_slow, hangs=True, says="TimeoutError"),
        Outage("slow", "F4", slow, reads=200, writes=200),
        Outage("paused", "F4 F5", paused, hangs=True, says="TimeoutError"),
        # A read is no script, so it is held back only behind a write on the same connection.
        Outage(
            *("writes paused", "F4 F5", writes_paused),
            reads_at_first=200,
            hangs=True,
            says="TimeoutError",
        ),
        Outage("connections cut", "F21", cut, reads=200, writes=200),
        Outage("clients killed, scripts lost", "F8 F21", clients_killed, reads=200, writes=200),
        Outage("no more clients", "F6", full_house, says="ConnectionError"),
        Outage("read-only replica", "F22", replica(stale=True), reads=200, says="ReadOnlyError"),
        Outage("replica without data", "F22", replica(stale=False), says="MasterDownError"),
        Outage(
            "no replicas",
            "F22",
            setting(min_replicas_to_write=1),
            reads=200,
            says="ReplicasMissingError",
        ),
        Outage("memory full", "F22", setting(maxmemory=1), reads=200, says="OutOfMemoryError"),
        Outage("disk full", "F22", disk_full, reads=200, says="SnapshotFailedError"),
        Outage("busy with a script", "F5", busy, says="BusyScriptError"),
        Outage("rights taken away", "F22", forbidden, says="NoPermissionError"),
    ],
    "postgres": [
        Outage("refused", "F1", refused),
        Outage("reset", "F1", reset),
        Outage("killed", "F1", killed),
        Outage("emptied", "F7", ruled(f"TRUNCATE {TABLE}", "SELECT"), 200, 200, keeps=False),
        Outage("frozen", "F5", frozen, hangs=True, says="TimeoutError"),
        Outage("black hole", "F5", black_hole, hangs=True, says="TimeoutError"),
        Outage("too slow", "F4 F5", too_slow, hangs=True, says="TimeoutError"),
        Outage("slow", "F4", slow, reads=200, writes=200),
        Outage("connections cut", "F21", cut, reads=200, writes=200),
        Outage("backends terminated", "F21", ruled(TERMINATE, "SELECT"), 200, 200),
        Outage("table locked", "F5", locked(f"LOCK TABLE {TABLE}"), hangs=True),
        Outage("no more connections", "F6", too_many, says="TooManyConnectionsError"),
        Outage("read-only", "F22", read_only, reads=200, says="ReadOnlySQLTransactionError"),
        Outage(
            "disk full",
            "F22",
            ruled(NO_SPACE, f"DROP TRIGGER no_space ON {TABLE}; DROP FUNCTION no_space()"),
            reads=200,
            says="DiskFullError",
        ),
        Outage(
            "table away",
            "F22",
            ruled(f"ALTER TABLE {TABLE} RENAME TO away", f"ALTER TABLE away RENAME TO {TABLE}"),
            says="UndefinedTableError",
        ),
        Outage(
            "rights taken away",
            "F22",
            ruled(f"REVOKE UPDATE, INSERT ON {TABLE} FROM app", f"GRANT ALL ON {TABLE} TO app"),
            reads=200,
            says="InsufficientPrivilegeError",
        ),
    ],
}
