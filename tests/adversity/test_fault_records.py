"""Records that are not what was written: nobody gets a 500, nobody is locked out, nothing is lost.

Whatever stands in a session's place, its user is anonymous there, may begin a new session at once,
and the security log has a line; what was found is left as it is, for whoever looks into it.
"""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
import pytest
import redis.asyncio
from sanic import json as answer

from harness import set_cookies
from lab import Lab
from sanic_cookies import AsyncPG, AuthSession, Redis, SessionDict

_NAN = struct.pack("<d", math.nan)
DEEP = b"[" * 100_000
PAYLOADS = {
    "empty": b"",
    "truncated JSON": b'{"v":1,"d":{"n":',
    "text": b"hello",
    "no mapping": b"[1,2]",
    "no format": b'{"d":{"n":1}}',
    "format of the future": b'{"v":2,"d":{"n":1}}',
    "data of another type": b'{"v":1,"d":[1]}',
    "identity of another shape": b'{"v":1,"d":{},"i":["ann"]}',
    "identity of other types": b'{"v":1,"d":{},"i":["ann","x",0,0,0,0,0,0,0,0]}',
    "lifetime of another shape": b'{"v":1,"d":{},"l":{}}',
    "extra of another type": b'{"v":1,"d":{},"x":[1]}',
    "msgpack": msgspec.msgpack.encode({"v": 1, "d": {"n": 1}}),
    "pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01n\x94K\x01s.",
    "no UTF-8": b'{"v":1,"d":{"n":"\xff"}}',
    "NUL": b"\0" * 40,
    "10 MB of noise": b"\xf1" * 10_000_000,
    "10 MB cut off": b'{"v":1,"d":{"n":"' + b"x" * 10_000_000,
    "nested too deeply": DEEP,
    "NaN": b'{"v":1,"d":{"n":NaN}}',
}
# What is done to the hash of a session; each value for a field, None to take the field away, a
# number of bytes and what stands there to spoil it.
FIELDS: dict[str, dict[str, str | bytes | tuple[int, bytes] | None]] = {
    "no record": {"r": None},
    "record is text": {"r": "vcsog" * 40},
    "record cut off": {"r": b"\0" * 131},
    "no payload": {"b": None},
    "no version": {"r": (120, _NAN)},
    "no number": {"r": (24, _NAN)},
    "time is endless": {"r": (0, struct.pack("<d", math.inf))},
    "deadline is endless": {"r": (16, struct.pack("<d", -math.inf))},
    "end of the grace is endless": {"r": (40, struct.pack("<d", math.inf))},
    "user is no text": {"r": (128, struct.pack("<I", 3) + b"=\xff\xfe")},
    "end of the lease is text": {"l": "x.y", "lu": "later"},
    "line is noise": {"l": b"\xff\0 %d"},
    "line of spaces": {"l": b"   "},
}
# The lease does not belong to the record: whoever comes just takes it.
HARMLESS = {"end of the lease is text", "line is noise", "line of spaces"}
ROWS = {
    "time before all times": "created_at = '-infinity'",
    "last use after all times": "last_seen = 'infinity'",
    "no end": "expires_at = 'infinity', deadline = 'infinity'",
    "version of a tombstone": f"version = {2**62}",
    "version below all": "version = -5",
    "no hash": "secret_hash = ''",
    "short hash": "secret_hash = '\\x00'",
    "queue is noise": "waiters = ARRAY['', NULL, 'x y']",
}


@dataclass
class Found:
    """A session whose record was spoilt: the app, and how to see the record itself."""

    lab: Lab
    sid: str
    log: pytest.LogCaptureFixture

    def suspicious(self) -> list[str]:
        """Return the lines of the security log."""
        return [r.getMessage() for r in self.log.records if r.name == "sanic_cookies.security"]


async def peek(sess: SessionDict) -> dict[str, Any]:
    return dict(await sess.peek())


async def count(sess: SessionDict) -> int:
    async with sess:
        sess["n"] = sess.get("n", 0) + 1
        return int(sess["n"])


async def plainly(sess: SessionDict) -> Any:
    sess["m"] = 1
    return sess.get("n")


async def is_anonymous(found: Found) -> None:
    """Look at, lock and write the session: always anonymous; the last begins a new one."""
    lab = found.lab
    former = dict(lab.browser.cookies)
    look = await lab.visit(peek)
    assert (look.status_code, look.json(), set_cookies(look)) == (200, {}, [])
    looked = len(found.suspicious())
    begun = await lab.visit(count, folder="/lazy/")  # where nothing is read before the lock
    assert (begun.status_code, begun.json()) == (200, 1)
    assert len(found.suspicious()) > looked
    assert lab.browser.cookies != former
    assert await lab.stored() == {"n": 1}
    lines = found.suspicious()
    assert lines
    assert {line.partition(" sid=")[0] for line in lines} == {
        "session: unreadable record, kept as it is"
    }
    lab.browser.cookies = former
    written = await lab.visit(plainly)
    assert (written.status_code, written.json()) == (200, None)
    assert not [record for record in found.log.records if record.levelno >= logging.ERROR]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
async def in_redis(redis_url: str, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Found]:
    async with Lab(Redis(redis_url, prefix="spoilt:"), warn_lock=False) as lab:
        await lab.put(n=7)
        yield Found(lab, lab.browser.cookies["session"].partition(".")[0], caplog)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def in_postgres(
    database: asyncpg.Connection, database_url: str, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Found]:
    master = AsyncPG(database_url, table="spoilt", sweep_every=0)
    await master.create_table()
    async with Lab(master, warn_lock=False) as lab:
        await lab.put(n=7)
        yield Found(lab, lab.browser.cookies["session"].partition(".")[0], caplog)
    await database.execute("DROP TABLE spoilt")


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
async def test_payload_in_redis(
    in_redis: Found, client: redis.asyncio.Redis, payload: bytes
) -> None:
    """Whatever the payload is, its user is anonymous and the record stays as it is."""
    key = f"spoilt:session:{in_redis.sid}"
    await client.hset(key, "b", payload)

    await is_anonymous(in_redis)

    assert await client.hget(key, "b") == payload


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
async def test_payload_in_postgres(
    in_postgres: Found, database: asyncpg.Connection, payload: bytes
) -> None:
    """Whatever the payload is, its user is anonymous and the row stays as it is."""
    await database.execute("UPDATE spoilt SET val = $1", payload)

    await is_anonymous(in_postgres)

    query = "SELECT val FROM spoilt WHERE sid = $1"
    assert await database.fetchval(query, in_postgres.sid) == payload


@pytest.mark.parametrize("name", FIELDS)
async def test_field_in_redis(in_redis: Found, client: redis.asyncio.Redis, name: str) -> None:
    """A field that is missing or makes no sense locks nobody out and breaks no request."""
    key = f"spoilt:session:{in_redis.sid}"
    for field, value in FIELDS[name].items():
        if isinstance(value, tuple):
            (start, spoilt), stored = value, await client.hget(key, field)
            value = stored[:start] + spoilt + stored[start + len(spoilt) :]
        await (client.hdel(key, field) if value is None else client.hset(key, field, value))
    before = await kept(client, key)
    if name in HARMLESS:
        assert await in_redis.lab.do(count) == 8
        assert await in_redis.lab.stored() == {"n": 8}
        return

    await is_anonymous(in_redis)

    assert await kept(client, key) == before


async def kept(client: redis.asyncio.Redis, key: str) -> dict[bytes, bytes]:
    """Return what a hash holds but the lease: who knows the secret takes it to look."""
    found = await client.hgetall(key)
    return {field: value for field, value in found.items() if not field.startswith(b"l")}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("SET", ['{"a":']),
        ("LPUSH", ["1"]),
        ("SADD", ["1"]),
        ("ZADD", ["1", "a"]),
        ("XADD", ["*", "a", "1"]),
        ("HSET", ["a", "1"]),
        ("SET", ["x" * 10_000_000]),
    ],
    ids=["text", "list", "set", "sorted set", "stream", "another hash", "10 MB"],
)
async def test_key_of_another_type_in_redis(
    in_redis: Found, client: redis.asyncio.Redis, command: str, arguments: list[str]
) -> None:
    """A key that holds something else altogether is treated the same, and stays."""
    key = f"spoilt:session:{in_redis.sid}"
    await client.delete(key)
    await client.execute_command(command, key, *arguments)
    before = await client.dump(key)

    await is_anonymous(in_redis)

    assert await client.dump(key) == before


@pytest.mark.parametrize("name", ROWS)
async def test_row_in_postgres(in_postgres: Found, database: asyncpg.Connection, name: str) -> None:
    """A row with values that cannot be breaks no request and locks nobody out."""
    await database.execute(f"UPDATE spoilt SET {ROWS[name]}")

    for body in (peek, count, plainly, count):
        response = await in_postgres.lab.visit(body)
        assert response.status_code == 200, response.text
    assert (await in_postgres.lab.stored())["m"] == 1


@pytest.mark.parametrize("store", ["redis", "postgres"])
async def test_nobody_is_logged_in_by_a_spoilt_record(
    store: str, redis_url: str, database_url: str
) -> None:
    """A guard answers 401, and the same browser logs in again at once."""
    master: Any
    if store == "redis":
        master = Redis(redis_url, prefix="spoilt-auth:")
    else:
        master = AsyncPG(database_url, table="spoilt_auth", sweep_every=0)
        await master.create_table()
    lab = Lab(master)
    auth = AuthSession(lab.app, master)

    @lab.app.get("/login")
    async def login(request: Any) -> Any:
        await auth.login_user(request, "ann")
        return await me(request)

    @lab.app.get("/me")
    @auth.login_required()
    async def me(request: Any) -> Any:
        return answer(await auth.current_user(request))

    async with lab:
        assert (await lab.browser.get("/login")).json() == "ann"
        await spoil(master, lab.browser.cookies["auth_session"].partition(".")[0])
        assert (await lab.browser.get("/me")).status_code == 401
        assert (await lab.browser.get("/login")).json() == "ann"
        assert (await lab.browser.get("/me")).json() == "ann"


async def spoil(master: Any, sid: str) -> None:
    """Put an admin into the payload, in the way of somebody who knows half of the format."""
    payload = json.dumps({"v": 1, "d": {"current_user": "admin"}, "i": "admin"}).encode()
    if isinstance(master, Redis):
        await master._client.hset(f"spoilt-auth:auth_session:{sid}", "b", payload)
    else:
        pool = await master._pool.connected()
        await pool.execute("UPDATE spoilt_auth SET val = $1", payload)
