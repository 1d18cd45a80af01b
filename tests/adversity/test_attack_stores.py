"""Attacks on what is stored: a copied store, and what the time of an answer tells of it.

The thief has everything that the store holds, as the store gives it and in the spellings in which
it might be a cookie. None of it may open a session: only a hash of the secret is kept
(CVE-2019-16782).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import string
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from types import FrameType
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import redis.asyncio as redis_asyncio

from sanic_cookies import AsyncPG, InCookieEncrypted, InMemory, Redis
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.token import LENGTH, Token
from target import EMPTY, NOTHING, TREASURE, Target, cookie, everything
from wire import ask_many

_RUN = re.compile(rb"[\x21-\x7e]{8,}")


class Dump:
    """What a thief has: every value, as bytes."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values

    def spellings(self) -> Iterator[str]:
        """Give each value in each spelling that may be sent as a cookie."""
        for value in self.values:
            for part in {value, *_RUN.findall(value), *value.split(b":"), *value.split(b'"')}:
                yield from _spellings(part)

    def __contains__(self, secret: str) -> bool:
        return any(secret.encode() in value for value in self.values)


def _spellings(value: bytes) -> Iterator[str]:
    for text in (value.decode("latin-1"), value.decode("utf-8", "replace")):
        if len(text) < 4097 and text.isascii() and not set(text) & set("\r\n;\x00"):
            yield text
    yield value.hex()
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        yield encode(value).decode()
        yield encode(value).decode().rstrip("=")


def tokens_of(dump: Dump) -> Iterator[str]:
    """Give what looks like the halves of a token, put together in each way."""
    halves = {each for each in dump.spellings() if 20 <= len(each) <= 48}
    sids = sorted({each[:22] for each in halves if set(each) <= _URLSAFE})[:40]
    secrets = sorted({each[:43] for each in halves if len(each) >= 43})[:120]
    for sid in sids:
        for secret in secrets:
            yield f"{sid}.{secret}"


_URLSAFE = set(string.ascii_letters + string.digits + "-_")


async def of_redis(url: str, prefix: str) -> Dump:
    """Return every key, field and value, and the serialised form of each key."""
    client = redis_asyncio.from_url(url)
    values: list[bytes] = []
    try:
        async for key in client.scan_iter(match=f"{prefix}*"):
            values += [key, await client.dump(key)]
            read = {
                b"hash": client.hgetall,
                b"string": client.mget,
                b"set": client.smembers,
                b"zset": lambda key: client.zrange(key, 0, -1),
            }
            found = await read[await client.type(key)](key)
            values += chain.from_iterable(found.items()) if isinstance(found, dict) else found
            if isinstance(found, dict):  # the hashes, as a thief cuts them out of the record
                values += [found[b"r"][56:88], found[b"r"][88:120]]
    finally:
        await client.aclose()
    return Dump(values)


async def of_postgres(url: str, table: str) -> Dump:
    """Return every column of every row, and each row as text."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(f"SELECT *, t::text AS row FROM {table} t")
    finally:
        await connection.close()
    cells = [cell for row in rows for cell in row.values() if cell is not None]
    return Dump([each if isinstance(each, bytes) else str(each).encode() for each in cells])


def of_memory(master: InMemory) -> Dump:
    """Return every row, and every field of every row."""
    rows = [row for shelf in master._shelves.values() for row in shelf.rows.values()]
    fields = [field for row in rows for field in msgspec.msgpack.decode(row)]
    assert not rows or fields
    return Dump([each if isinstance(each, bytes) else str(each).encode() for each in rows + fields])


@pytest.fixture(params=["memory", "redis", "postgres"])
async def stolen(request: pytest.FixtureRequest) -> Any:
    """A store of each kind, and how to copy it."""
    if request.param == "memory":
        master: Any = InMemory()
        yield master, lambda: asyncio.sleep(0, of_memory(master))
    elif request.param == "redis":
        url, prefix = request.getfixturevalue("redis_url"), f"{uuid4().hex}:"
        yield Redis(url, prefix=prefix), lambda: of_redis(url, prefix)
    else:
        url, table = request.getfixturevalue("database_url"), f"t_{uuid4().hex}"
        master = AsyncPG(url, table=table)
        await master.create_table()
        try:
            yield master, lambda: of_postgres(url, table)
        finally:
            await master.close()
            connection = await asyncpg.connect(url)
            await connection.execute(f"DROP TABLE {table}")
            await connection.close()


async def test_nothing_in_a_copied_store_is_a_cookie(stolen: Any) -> None:
    """Every string of a dump, in every spelling, and every pair of them as a token: none opens."""
    master, copy = stolen
    async with Target(master, renew_every=0.001) as target:
        victims = [await target.victim() for _ in range(2)]
        await victims[0].get("/write", params={"more": "1"})  # so there is a former secret too
        dump: Dump = await copy()
        tried = sorted({*dump.spellings(), *tokens_of(dump)})
        for name in ("session", "auth_session"):
            assert any(f'"{TREASURE}"'.encode() in value for value in dump.values)
            for victim in victims:
                sid, _, secret = victim.cookies[name].partition(".")
                assert sid in dump
                assert secret not in dump
                assert victim.cookies[name] not in tried
            replies = await ask_many(
                target.url, "/peek", [cookie(**{name: each}) for each in tried]
            )
            opened = [
                value
                for value, reply in zip(tried, replies, strict=True)
                if reply.status != 200 or json.loads(reply.body) != EMPTY
            ]
            assert opened == []
        assert len(tried) > 1000
        assert sum(len(value) == LENGTH for value in tried) > 500
        assert await target.gains(cookie(**victims[1].cookies)) == everything()


async def test_revocations_hold_nothing_that_logs_in() -> None:
    """What a server remembers of sessions in cookies is no cookie, nor holds any data."""
    revocations = InMemory()
    async with Target(InCookieEncrypted(new_key(), revocations=revocations)) as target:
        victim = await target.victim()
        await victim.get("/write", params={"more": "1"})
        dump = of_memory(revocations)
        tried = sorted({*dump.spellings(), *tokens_of(dump)})
        assert len(tried) > 100
        assert TREASURE not in dump
        for name in ("session", "auth_session"):
            replies = await ask_many(
                target.url, "/peek", [cookie(**{name: each}) for each in tried]
            )
            assert {reply.body for reply in replies} == {replies[0].body}
            assert json.loads(replies[0].body) == EMPTY


# What the time of an answer tells.


class Counting(InMemory):
    """A store that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("fetch", "create", "save", "touch", "delete"):
            self.calls.append(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("path", ["/peek", "/block", "/guarded"])
async def test_a_stranger_costs_the_same_whether_the_sid_is_known_or_not(path: str) -> None:
    """A wrong secret and an unknown sid take the same steps, and no step that a guess adds to."""
    store = Counting()
    async with Target(store) as target:
        victim = await target.victim()
        sids = [each.partition(".")[0] for each in victim.cookies.values()]
        steps = []
        for known in (True, False):
            presented = {
                name: f"{sid if known else Token.generate().sid}.{Token.generate().secret}"
                for name, sid in zip(victim.cookies, sids, strict=True)
            }
            store.calls.clear()
            assert await target.sees(path, cookie(**presented)) in NOTHING
            steps.append(list(store.calls))
        assert steps[0] == steps[1]
        assert set(steps[0]) == {"fetch"}


class Steps:
    """Every call that the package makes while this is open, those of C among them, in order."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def __enter__(self) -> Steps:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, called: Any) -> None:
        if (
            frame.f_globals.get("__name__", "").startswith("sanic_cookies.")
            and "return" not in event
        ):
            name = called.__qualname__ if event == "c_call" else frame.f_code.co_qualname
            self.taken.append(name)


@pytest.mark.parametrize("path", ["/peek", "/block", "/guarded"])
async def test_how_much_of_a_secret_is_right_makes_no_difference_in_steps(path: str) -> None:
    """Guesses with none, half and all but one of a secret's characters make the same calls.

    Steps, since they tell more than time: the network and the loop add a thousand times what a
    comparison could tell, and a busy machine adds more.
    """
    # No clean-up, whose steps would be counted among those of the guess that it falls into.
    async with Target(InMemory(sweep_every=0)) as target:
        victim = await target.victim()
        rights = [each.split(".") for each in victim.cookies.values()]
        guesses: dict[str, Callable[[str], str]] = {
            "first": lambda secret: Token.generate().secret,
            "wrong": lambda secret: Token.generate().secret,
            "half": lambda secret: secret[:21] + Token.generate().secret[21:],
            "nearly": lambda secret: secret[:-1] + ("A" if secret[-1] != "A" else "E"),
        }
        steps = {}
        for name, guess in guesses.items():
            values = [f"{sid}.{guess(secret)}" for sid, secret in rights]
            presented = cookie(**dict(zip(victim.cookies, values, strict=True)))
            with Steps() as steps[name]:
                assert await target.sees(path, presented) in NOTHING

        assert "compare_digest" in steps["wrong"].taken
        assert steps["half"].taken == steps["wrong"].taken
        assert steps["nearly"].taken == steps["wrong"].taken
