"""What only Redis does: scripts, keys that are not ours, and what it is asked."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from secrets import token_hex
from typing import Any

import pytest
import redis.asyncio

from sanic_cookies.interfaces import Redis
from sanic_cookies.record import Draft, Granted, Limit, Outcome, RecordUnreadable
from sanic_cookies.testing import following, new_claim, new_draft
from sanic_cookies.token import Token
from stores import opened

Step = Callable[[Redis, Draft], Awaitable[Any]]


@pytest.fixture
def prefix() -> str:
    """How the keys of this test begin, and those of no other."""
    return f"{token_hex(8)}:"


@pytest.fixture
async def interface(redis_url: str, prefix: str) -> AsyncIterator[Redis]:
    async with opened(Redis(redis_url, prefix=prefix)) as interface:
        yield interface


class Slow(redis.asyncio.Redis):
    """A client of somebody's own, which can be held up before a command that a test counts."""

    before_next: Callable[[], Awaitable[object]] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await super().execute_command(*args, **options)
        then, self.before_next = self.before_next, None
        if then is not None:
            await then()
        return reply


async def commit(interface: Redis, draft: Draft) -> Outcome:
    return await interface.commit(following(draft), "token", True)


async def acquire(interface: Redis, draft: Draft) -> Any:
    return await interface.acquire(draft.name, draft.sid, new_claim(draft, token="token"))


STEPS: dict[str, Step] = {
    "fetch": lambda interface, draft: interface.fetch(draft.name, draft.sid),
    "create": lambda interface, draft: interface.create(draft),
    "save": lambda interface, draft: interface.save(following(draft)),
    "acquire": acquire,
    "commit": commit,
    "touch": lambda interface, draft: interface.touch(draft.name, draft.sid, 1, 60),
    "renew": lambda interface, draft: interface.renew(draft.name, draft.sid, "token", 60),
    "release": lambda interface, draft: interface.release(draft.name, draft.sid, "token"),
    "delete": lambda interface, draft: interface.delete(draft.name, draft.sid),
}


def by_a_client(step: Step) -> Step:
    """Take a step with a client that is used as it is, over which each is a script."""

    async def taken(interface: Redis, draft: Draft) -> Any:
        async with (
            Slow.from_url(str(interface._url)) as client,
            opened(Redis(client, prefix=interface._prefix)) as by_client,
        ):
            return await step(by_client, draft)

    return taken


BY_CLIENT = {f"{name} by a client": by_a_client(step) for name, step in STEPS.items()}
READS_OR_WRITES = [name for name in STEPS if name != "delete"]


@pytest.mark.parametrize("name", STEPS)
async def test_scripts_survive_a_lost_cache(
    interface: Redis, client: redis.asyncio.Redis, name: str
) -> None:
    """A server that has forgotten the scripts is given them again, and the step succeeds."""
    first, second = new_draft(), new_draft()
    for draft in (first, second):
        await interface.create(draft)
        granted = await acquire(interface, draft)
        assert granted.held is True
    before = await STEPS[name](interface, first)
    await client.script_flush()
    after = await STEPS[name](interface, second)

    assert type(after) is type(before)
    if not isinstance(before, Granted) and name != "fetch":
        assert after == before


# A field as we write it; spoilt in one place it makes a record that nobody can read.
RECORD = struct.pack("<7d32s32sdI", *[1.0] * 6, 0.0, b"x" * 32, b"", 1.0, 0)
NOWHEN = [struct.pack("<d", number) for number in (math.nan, math.inf)]


@pytest.mark.parametrize("name", [*READS_OR_WRITES, "fetch by a client", "commit by a client"])
async def test_key_of_another_type_is_unreadable(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, name: str
) -> None:
    """A key that holds something else is an unreadable record, and stays as it is."""
    draft = new_draft()
    key = f"{prefix}{draft.name}:{draft.sid}"
    await client.rpush(key, "a", "b")

    with pytest.raises(RecordUnreadable):
        await {**STEPS, **BY_CLIENT}[name](interface, draft)
    assert await client.lrange(key, 0, -1) == [b"a", b"b"]


@pytest.mark.parametrize("name", ["fetch", "fetch by a client", "acquire"])
@pytest.mark.parametrize(
    "fields",
    [
        {"b": b"text", "foreign": b"1"},
        {"r": RECORD},
        {"r": b"text", "b": b"x"},
        {"r": RECORD[:-1], "b": b"\0x"},
        {"r": NOWHEN[0] + RECORD[8:], "b": b"x"},
        {"r": RECORD[:16] + NOWHEN[1] + RECORD[24:], "b": b"x"},
        {"r": RECORD[:-4] + b"\2\0\0\0=\xff", "b": b"x"},
    ],
    ids=["one", "another", "text", "short", "no number", "no end", "no user"],
)
async def test_foreign_hash_is_unreadable(
    interface: Redis,
    client: redis.asyncio.Redis,
    prefix: str,
    name: str,
    fields: dict[str, bytes],
) -> None:
    """A hash that we have not written is an unreadable record, and stays as it is."""
    draft = new_draft()
    key = f"{prefix}{draft.name}:{draft.sid}"
    await client.hset(key, mapping=fields)

    with pytest.raises(RecordUnreadable):
        await {**STEPS, **BY_CLIENT}[name](interface, draft)
    expected = {name.encode(): value for name, value in fields.items()}
    assert await client.hgetall(key) == expected


async def test_record_of_another_length_is_unreadable(
    interface: Redis, client: redis.asyncio.Redis, prefix: str
) -> None:
    """A record whose user is longer than it says is unreadable."""
    draft = new_draft()
    await client.hset(f"{prefix}{draft.name}:{draft.sid}", mapping={"r": RECORD + b"=", "b": b"x"})

    with pytest.raises(RecordUnreadable):
        await interface.fetch(draft.name, draft.sid)


@pytest.mark.parametrize("name", [None, *READS_OR_WRITES])
async def test_every_key_expires(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, name: str | None
) -> None:
    """After whatever step, no key stays for ever."""
    draft = new_draft(ttl=600)
    await interface.create(draft)
    if name is not None:
        await acquire(interface, draft)
        await STEPS[name](interface, draft)

    keys = [each async for each in client.scan_iter(f"{prefix}*")]
    assert len(keys) == 1
    assert await client.ttl(keys[0]) > 0


@pytest.mark.parametrize("lifetimes", [(600, 5000), (5000, 600)])
async def test_index_lives_as_long_as_its_longest_session(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, lifetimes: tuple[int, int]
) -> None:
    """The index of a user goes by itself, when the last session in it must have ended."""
    for lifetime in lifetimes:
        await interface.create(new_draft(user_key="ann", lifetime=lifetime, ttl=300))

    [index] = [each async for each in client.scan_iter(f"{prefix}*:user:*")]
    assert 4900 < await client.ttl(index) <= 5000
    assert b"ann" not in index


async def index_of(client: redis.asyncio.Redis, prefix: str) -> str:
    """Return the key of the only index."""
    [index] = [each async for each in client.scan_iter(f"{prefix}*:user:*")]
    return str(index.decode())


USES: dict[str, Step] = {
    "touch": lambda interface, draft: interface.touch(draft.name, draft.sid, 1, 5000),
    "save": lambda interface, draft: interface.save(following(draft, ttl=5000)),
    "commit": lambda interface, draft: interface.commit(following(draft, ttl=5000), "token", True),
}


async def test_index_of_sessions_without_an_end_expires(
    interface: Redis, client: redis.asyncio.Redis, prefix: str
) -> None:
    """Without an absolute end, too, an index stays no longer than a session that nobody uses."""
    for ttl in (5000, 300):
        await interface.create(new_draft(user_key="ann", ttl=ttl))

    assert 4900 < await client.ttl(await index_of(client, prefix)) <= 5000


@pytest.mark.parametrize("name", USES)
async def test_index_lives_on_with_a_session_in_use(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, name: str
) -> None:
    """Each use that prolongs a session without an absolute end prolongs its user's index."""
    draft = new_draft(user_key="ann", ttl=300)
    await interface.create(draft)
    await acquire(interface, draft)
    index = await index_of(client, prefix)
    assert await client.ttl(index) <= 300

    assert await USES[name](interface, draft) in (True, Outcome.SAVED)

    assert 4900 < await client.ttl(index) <= 5000


@pytest.mark.parametrize("name", USES)
async def test_lost_index_comes_back_with_use(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, name: str
) -> None:
    """A session whose user's index was lost is listed again once it is used."""
    drafts = [new_draft(user_key="ann", age=age) for age in (20, 10)]
    for draft in drafts:
        await interface.create(draft)
        await acquire(interface, draft)
    await client.delete(await index_of(client, prefix))
    assert await interface.records_of("contract", "ann") == []

    for draft in reversed(drafts):
        assert await USES[name](interface, draft) in (True, Outcome.SAVED)

    found = [record.sid for record in await interface.records_of("contract", "ann")]
    assert found == [draft.sid for draft in drafts]


async def test_step_without_record_leaves_no_key(
    interface: Redis, client: redis.asyncio.Redis, prefix: str
) -> None:
    """No step but a create makes a key."""
    draft = new_draft()
    for name in READS_OR_WRITES:
        if name != "create":
            await STEPS[name](interface, draft)

            assert [each async for each in client.scan_iter(f"{prefix}*")] == []


async def test_dump_holds_no_secret(
    interface: Redis, client: redis.asyncio.Redis, prefix: str
) -> None:
    """Nothing that is stored in a session's life, rotation included, logs anybody in."""
    token = Token.generate()
    fresh = token.rotated()
    draft = new_draft(sid=token.sid, secret_hash=token.secret_hash, user_key="u1")
    await interface.create(draft)
    await acquire(interface, draft)
    rotation = following(
        draft, rotated=True, secret_hash=fresh.secret_hash, previous_hash=token.secret_hash, grace=9
    )
    assert await interface.commit(rotation, "token", True) is Outcome.SAVED
    dump = b""
    async for each in client.scan_iter(f"{prefix}*"):
        is_index = await client.type(each) == b"zset"
        content = await (client.zrange(each, 0, -1) if is_index else client.hgetall(each))
        dump += each + repr(content).encode()

    assert token.sid.encode() in dump
    assert token.secret.encode() not in dump
    assert fresh.secret.encode() not in dump


@pytest.mark.parametrize("name", STEPS)
async def test_each_step_is_one_command(
    interface: Redis, client: redis.asyncio.Redis, redis_url: str, name: str
) -> None:
    """A step is one script, as the server itself counts them."""
    draft = new_draft()
    await interface.create(draft)
    await acquire(interface, draft)
    commands = []
    async with (
        redis.asyncio.from_url(redis_url) as watcher,
        watcher.monitor() as monitor,
    ):
        await client.echo("begin")
        await STEPS[name](interface, draft)
        await client.echo("end")
        async for seen in monitor.listen():
            # What a script does inside of the server costs no round trip.
            if seen["client_type"] != "lua":
                commands.append(seen["command"])
            if commands[-1] == "ECHO end":
                break

    ours = [
        command.partition(" ")[0] for command in commands[commands.index("ECHO begin") + 1 : -1]
    ]
    # A read needs no script; the two go in one piece (see `test_a_read_is_one_round_trip`).
    assert ours == (["HMGET", "TIME"] if name == "fetch" else ["EVALSHA"])


async def test_repr_hides_the_password() -> None:
    """The URL, which may hold a password, is not shown."""
    assert "hunter2" not in repr(Redis("redis://user:hunter2@127.0.0.1:6379"))


async def test_given_client_stays_open(client: redis.asyncio.Redis) -> None:
    """A client that was given is used as it is and never closed."""
    async with opened(Redis(client)) as interface:
        await interface.create(new_draft())

    assert await client.ping() is True
    assert client.connection_pool._available_connections[0].is_connected


@pytest.mark.parametrize("name", ["fetch", "fetch by a client", "acquire", "commit"])
async def test_hash_of_somebody_else_is_unreadable(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, name: str
) -> None:
    """A hash with none of our fields is an unreadable record and stays as it is: no free sid."""
    draft = new_draft()
    key = f"{prefix}{draft.name}:{draft.sid}"
    await client.hset(key, "foreign", "1")

    with pytest.raises(RecordUnreadable):
        await {**STEPS, **BY_CLIENT}[name](interface, draft)
    assert await interface.create(draft) is False
    assert await client.hgetall(key) == {b"foreign": b"1"}


@pytest.mark.parametrize("name", READS_OR_WRITES)
async def test_another_type_is_unreadable_without_scripts(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, name: str
) -> None:
    """A key of another type is unreadable also for a server that has lost our scripts."""
    draft = new_draft()
    await client.rpush(f"{prefix}{draft.name}:{draft.sid}", "a")
    await client.script_flush()

    with pytest.raises(RecordUnreadable):
        await STEPS[name](interface, draft)


async def test_list_hides_nobody_when_others_mend_it_meanwhile(
    interface: Redis, redis_url: str, prefix: str
) -> None:
    """Of a user with very many sessions all are found, whatever leaves the index meanwhile."""
    drafts = [new_draft(user_key="ann", age=1000 - number) for number in range(250)]
    for draft in drafts:
        await interface.create(draft)

    async def end_some() -> None:
        for draft in drafts[:60]:
            await interface.delete(draft.name, draft.sid)
        assert len(await interface.records_of("contract", "ann")) == 190

    async with Slow.from_url(redis_url) as client, opened(Redis(client, prefix=prefix)) as slow:
        client.before_next = end_some
        found = {record.sid for record in await slow.records_of("contract", "ann")}

    assert found >= {draft.sid for draft in drafts[60:]}


@pytest.mark.parametrize("again", [False, True])
async def test_index_of_who_comes_and_goes_stays_short(
    interface: Redis, client: redis.asyncio.Redis, prefix: str, again: bool
) -> None:
    """However often a user has logged in and out, the index does not name all that ever were."""
    for number in range(300):
        draft = new_draft(user_key=None if again else "ann")
        await interface.create(draft)
        if again:  # a login into a session that is there
            login = following(draft, user_key="ann", rotated=True, age=number)
            assert await interface.save(login) is Outcome.SAVED
        await interface.delete(draft.name, draft.sid)

    # By chance, but this one is good: each login adds one and looks at two.
    assert await client.zcard(await index_of(client, prefix)) < 50


async def test_a_strange_key_keeps_nobody_from_logging_in(
    interface: Redis, client: redis.asyncio.Redis, prefix: str
) -> None:
    """A key that holds something else is not one of the user's sessions, and counts as none."""
    former, login = new_draft(user_key="ann", age=10), new_draft(user_key="ann")
    await interface.create(former)
    await client.set(f"{prefix}{former.name}:{former.sid}", "something else")

    admission = await interface.admit(login, None, Limit(1, evict=False))

    assert admission.outcome is Outcome.SAVED
    assert [each.sid for each in await interface.records_of("contract", "ann")] == [login.sid]
