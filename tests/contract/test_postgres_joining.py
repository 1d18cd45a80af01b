"""Joined statements say and do what the plain ones do, for each session by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.interfaces.postgres import joining
from sanic_cookies.interfaces.postgres.queue import Queue
from sanic_cookies.record import Busy, Draft, Granted, Outcome, RecordUnreadable
from sanic_cookies.testing import (
    InterfaceContract,
    LeaseContract,
    NewsContract,
    SweepContract,
    following,
    new_claim,
    new_draft,
)
from stores import postgres, table

Connection = asyncpg.Connection
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND application_name = $1
"""
STATEMENTS = ("fetch", "acquire", "commit", "release", "touch", "delete")


@pytest.fixture
async def name(database: Connection) -> AsyncIterator[str]:
    async with table(database) as name:
        yield name


@pytest.fixture
async def interface(database_url: str, name: str) -> AsyncIterator[AsyncPG]:
    async with postgres(database_url, name) as interface:
        yield interface


@pytest.fixture
def joined_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every request carried by a joined statement, also where it is the only one."""
    monkeypatch.setattr(Queue, "take_only", lambda *_: False)


@pytest.mark.usefixtures("joined_only")
class TestJoinedContract(InterfaceContract, LeaseContract, NewsContract, SweepContract):
    """The joined statements keep the whole contract."""

    @pytest.fixture
    async def twin(self, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
        async with postgres(database_url, name) as interface:
            yield interface


# The same as the plain statements

MINE, OTHERS = "p.mine", "p.others"
LEASES = [
    (lease, until, last, waiters)
    for (lease, until), last, waiters in product(
        [(None, 0), (MINE, 9), (MINE, -9), (OTHERS, 9), (OTHERS, -9)],
        [None, MINE],
        [[], [MINE], ["p.a", MINE], ["p.a", "p.b"]],
    )
]
HASH, PREVIOUS = b"current", b"previous"
HASHES = [(HASH, 9, True), (PREVIOUS, 9, True), (PREVIOUS, 9, False), (PREVIOUS, -9, True)]
ASKED: dict[str, list[tuple[Any, ...]]] = {
    "fetch": [()],
    "acquire": [(MINE, 30.0, "label", HASH), (MINE, 30.0, "label", PREVIOUS)],
    "release": [(MINE,)],
    "touch": [(3, 600.0), (2, 600.0)],
    "delete": [()],
    "commit": [
        (version, payload, 60.0, renew, lifetime, user, token, release, 20.0, *secrets)
        for version, (payload, renew, lifetime, user), token, release, secrets in product(
            [2, 3, 4],
            [(b"new", True, 99.0, "u"), (None, False, None, None), (b"old", True, None, "u")],
            [MINE, None],
            [True, False],
            [
                (b"x", False, b"", 0.0, False),
                (b"another", True, HASH, 30.0, True),
                (HASH, True, b"", 0.0, False),
            ],
        )
        if token is not None or not release
    ],
}
FILL = """
    INSERT INTO {table} (name, sid, version, secret_hash, val, expires_at, previous_hash,
        previous_until, previous_reads, lease_token, lease_until, lease_label, last_token, waiters)
    VALUES ('contract', $1, 3, 'current', 'old', now() + $2::int * interval '1 s', 'previous',
        now() + $3::int * interval '1 s', $4, $5, now() + $6::int * interval '1 s', 'holder', $7,
        $8)
"""


async def differences(
    database: Connection, interface: AsyncPG, name: str, step: str, states: list[Any]
) -> list[Any]:
    """Ask for twins, one by the plain statement, the other by the joined; return what differs."""
    asked = [(state, args) for state in states for args in ASKED[step]]
    for number, (state, _) in enumerate(asked):
        for twin in "ab":
            await database.execute(FILL.replace("{table}", name), f"{twin}{number}", *state)
    joiner = interface._joiner
    plain = [
        await joiner.ask_alone(step, ("contract", f"a{number}", *args))
        for number, (_, args) in enumerate(asked)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joiner, "ask_alone", None)  # whoever is sent to ask alone fails
        joined = await asyncio.gather(
            *(
                joiner.ask(step, ("contract", f"b{number}", *args))
                for number, (_, args) in enumerate(asked)
            )
        )
    found = []
    for number, case in enumerate(asked):
        rows = [await stored(database, name, f"{twin}{number}") for twin in "ab"]
        answers = [answer(step, row) for row in (plain[number], joined[number])]
        if not alike(rows[0], rows[1]) or not alike(answers[0], answers[1]):
            found.append((case, rows, answers))
    await database.execute(f"TRUNCATE {name}")
    return found


async def stored(database: Connection, name: str, sid: str) -> list[Any]:
    row = await database.fetchrow(f"SELECT * FROM {name} WHERE sid = $1", sid)
    return [
        value.timestamp() if hasattr(value, "timestamp") else value
        for column, value in ({} if row is None else row).items()
        if column != "sid"
    ]


def answer(step: str, row: Any) -> list[Any]:
    """Return what of a row the caller looks at."""
    if row is None or step == "release":
        return []
    if step == "commit":
        return [row[0]]
    return [v for k, v in row.items() if k not in ("n", "passed_over")]


def alike(a: list[Any], b: list[Any]) -> bool:
    """Whether two rows are the same, but for a moment between them."""
    return len(a) == len(b) and all(
        abs(x - y) < 5 if isinstance(x, float) and isinstance(y, float) else x == y
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.usefixtures("joined_only")
@pytest.mark.parametrize("step", STATEMENTS)
async def test_joined_is_as_plain(
    database: Connection, interface: AsyncPG, name: str, step: str
) -> None:
    """Whatever state a row is in, a joined statement answers and writes what the plain one does."""
    states = [
        (expires, until, reads, lease, lease_until, last, waiters)
        for expires in (99, -1)
        for lease, lease_until, last, waiters in LEASES
        for _, until, reads in (HASHES if step == "acquire" else HASHES[:1])
    ]
    for first in range(0, len(states), 30):
        assert not await differences(database, interface, name, step, states[first : first + 30])


async def test_each_gets_its_own(interface: AsyncPG) -> None:
    """Of many simultaneous requests each gets the record of its own session, and writes its own."""
    drafts = [new_draft(payload=str(number).encode()) for number in range(100)]
    for draft in drafts:
        await interface.create(draft)

    async def use(draft: Draft) -> None:
        record = await interface.fetch(draft.name, draft.sid)
        assert record is not None
        assert record.payload == draft.payload
        claim = new_claim(draft)
        granted = await interface.acquire(draft.name, draft.sid, claim)
        assert isinstance(granted, Granted)
        assert granted.held
        assert (granted.record.sid, granted.record.payload) == (draft.sid, draft.payload)
        written = following(draft, payload=draft.payload + b"!")
        assert await interface.commit(written, claim.token, True) is Outcome.SAVED
        record = await interface.fetch(draft.name, draft.sid)
        assert record is not None
        assert record.payload == written.payload

    await asyncio.gather(*map(use, drafts))


async def test_few_statements_for_many(database_url: str, name: str) -> None:
    """Requests that come together cost a few statements, and none that was not ours.

    A question to the catalogue (asyncpg asks for types that it does not know) would not survive a
    transaction pooler.
    """
    queries: list[str] = []

    async def watch(connection: Connection) -> None:
        connection.add_query_logger(lambda query: queries.append(query.query))

    async with postgres(database_url, name, init=watch, statement_cache_size=0) as interface:
        drafts = [new_draft() for _ in range(60)]
        claims = [new_claim(draft) for draft in drafts]
        await interface.open()
        queries.clear()
        await asyncio.gather(*map(interface.create, drafts))
        await asyncio.gather(*(interface.fetch(draft.name, draft.sid) for draft in drafts))
        await asyncio.gather(
            *(
                interface.acquire(draft.name, draft.sid, claim)
                for draft, claim in zip(drafts, claims, strict=True)
            )
        )
        await asyncio.gather(
            *(
                interface.commit(following(draft), claim.token, True)
                for draft, claim in zip(drafts, claims, strict=True)
            )
        )
        logins = [following(following(draft), rotated=True, secret_hash=HASH) for draft in drafts]
        await asyncio.gather(*map(interface.save, logins))
        await asyncio.gather(*(interface.touch(each.name, each.sid, 3, 60.0) for each in logins))
        await asyncio.gather(*(interface.delete(draft.name, draft.sid) for draft in drafts))

        steps = interface._joiner.steps.values()
        assert set(queries) <= {text for step in steps for text in (step.plain, step.joined)}
        assert len(queries) <= 21


@pytest.mark.usefixtures("joined_only")
async def test_new_and_repeated_among_others(interface: AsyncPG, database: Connection) -> None:
    """Sessions that begin together have each its own; one that is there, or was, its own answer."""
    new = [
        new_draft(payload=payload or b"", user_key=text, version=7, age=60.0, lifetime=5000.0)
        for text, payload in product(TEXTS, PAYLOADS)
    ]
    there, expired = new_draft(), new_draft(ttl=0.0)
    other = replace(there, secret_hash=HASH)
    for draft in (there, expired):
        await interface.create(draft)
    again = replace(expired, ttl=60.0)
    made = await asyncio.gather(*map(interface.create, [*new[:40], there, other, again, *new[40:]]))

    assert made == [True] * 41 + [False] + [True] * (len(new) - 39)
    for draft in (*new, there, again):
        record = await interface.fetch(draft.name, draft.sid)
        assert record is not None
        assert (record.secret_hash, record.payload) == (draft.secret_hash, draft.payload)
        assert (record.version, record.user_key) == (draft.version, draft.user_key)
        assert round(record.now - record.created_at, -1) == draft.age
        lifetime = None if record.deadline is None else round(record.deadline - record.now, -1)
        assert lifetime == draft.lifetime
        assert round(record.expires_at - record.now, -1) == round(draft.ttl, -1)


async def test_one_session_has_one_holder(interface: AsyncPG) -> None:
    """Simultaneous claims for one session, among those for others, make one holder."""
    draft, others = new_draft(), [new_draft() for _ in range(20)]
    for each in (draft, *others):
        await interface.create(each)
    claims = [new_claim(draft) for _ in range(5)]
    answers = await asyncio.gather(
        *(interface.acquire(draft.name, draft.sid, claim) for claim in claims),
        *(interface.acquire(each.name, each.sid, new_claim(each)) for each in others),
    )
    held = [isinstance(answer, Granted) and answer.held for answer in answers]

    assert sum(held[:5]) == 1
    assert all(held[5:])


async def test_no_step_waits_for_another(
    database_url: str, database: Connection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps that are asked for in the same turn of the loop are on their way at once."""
    monkeypatch.setattr(joining, "STUCK_SECONDS", 3600.0)
    settings = {"application_name": name}
    async with (
        postgres(database_url, name, server_settings=settings) as interface,
        asyncpg.create_pool(database_url, min_size=1, max_size=1) as onlooker,
    ):
        drafts = [new_draft() for _ in range(6)]
        for draft in drafts:
            await interface.create(draft)
        async with database.transaction():
            await database.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
            asked = [interface.fetch(draft.name, draft.sid) for draft in drafts]
            asked += [interface.release(draft.name, draft.sid, "token") for draft in drafts]
            tasks = [asyncio.create_task(each) for each in asked]
            async with asyncio.timeout(20):
                while await onlooker.fetchval(WAITING, name) < 2:
                    pass
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("step", "bad"),
    [
        ("acquire", {"label": "\0"}),
        ("acquire", {"label": "\ud800"}),
        ("acquire", {"seconds": 1e300}),
        ("acquire", {"seconds": float("nan")}),
        ("commit", {"ttl": float("nan"), "renew": True}),
        ("commit", {"lifetime": float("inf"), "renew": True}),
        ("commit", {"user_key": "\0"}),
        ("commit", {"version": 2**70}),
        ("commit", {"rotated": True, "grace": float("nan")}),
        ("touch", {"ttl": float("nan")}),
        ("create", {"ttl": float("nan")}),
        ("create", {"user_key": "\0"}),
    ],
)
async def test_bad_request_fails_alone(interface: AsyncPG, step: str, bad: dict[str, Any]) -> None:
    """A request that the server, or the driver, refuses does nothing to those that came with it."""
    drafts = [new_draft() for _ in range(12)]
    claims = [new_claim(draft) for draft in drafts]
    if step != "create":
        for draft in drafts:
            await interface.create(draft)
    if step == "commit":
        for draft, claim in zip(drafts, claims, strict=True):
            await interface.acquire(draft.name, draft.sid, claim)

    async def ask(number: int) -> Any:
        draft, changes = drafts[number], bad if number == 5 else {}
        if step == "create":
            return await interface.create(replace(draft, **changes))
        if step == "touch":
            ttl = replace(draft, **changes).ttl
            return await interface.touch(draft.name, draft.sid, draft.version, ttl)
        if step == "acquire":
            return await interface.acquire(draft.name, draft.sid, new_claim(draft, **changes))
        written = following(draft, **changes)
        return await interface.commit(written, claims[number].token, True)

    answers = await asyncio.gather(*map(ask, range(12)), return_exceptions=True)

    assert isinstance(answers.pop(5), Exception)
    for answer in answers:
        assert answer in (True, Outcome.SAVED) or (isinstance(answer, Granted) and answer.held)


TEXTS = ["", "null", '"', "\\", "[1,2]", "\\u0000", "a\nb\x1f\x01", "ключ \N{GRINNING FACE}", None]
PAYLOADS = [b"", b"\0", None, bytes(range(256)), b"[]", "ключ".encode(), b"x" * 70_000]


async def test_values_arrive_as_they_are(
    interface: AsyncPG, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a text or a payload holds, each session gets its own, and nothing of another's."""
    monkeypatch.setattr(interface._joiner, "ask_alone", None)  # who is sent to ask alone fails
    pairs = list(product(TEXTS, PAYLOADS))
    drafts = [new_draft(payload=b"old") for _ in pairs]
    for draft in drafts:
        await interface.create(draft)
    written = [
        following(draft, user_key=text, payload=payload)
        for draft, (text, payload) in zip(drafts, pairs, strict=True)
    ]
    claims = [
        new_claim(draft, label=text or "-") for draft, (text, _) in zip(drafts, pairs, strict=True)
    ]
    await asyncio.gather(
        *(
            interface.acquire(draft.name, draft.sid, claim)
            for draft, claim in zip(drafts, claims, strict=True)
        )
    )
    outcomes = await asyncio.gather(
        *(
            interface.commit(draft, claim.token, False, 30.0)
            for draft, claim in zip(written, claims, strict=True)
        )
    )
    records = await asyncio.gather(*(interface.fetch(each.name, each.sid) for each in written))
    busy = await asyncio.gather(
        *(interface.acquire(each.name, each.sid, new_claim(each)) for each in drafts)
    )

    assert set(outcomes) == {Outcome.SAVED}
    found = [(record.user_key, record.payload) for record in records if record is not None]
    assert found == [(text, b"old" if payload is None else payload) for text, payload in pairs]
    assert [each.label for each in busy if isinstance(each, Busy)] == [c.label for c in claims]


async def test_unreadable_row_fails_alone(
    interface: AsyncPG, database: Connection, name: str
) -> None:
    """A row that is no record raises where it was asked for, and nowhere else."""
    drafts = [new_draft() for _ in range(12)]
    for draft in drafts:
        await interface.create(draft)
    await database.execute(
        f"UPDATE {name} SET secret_hash = '', version = 0 WHERE sid = $1", drafts[5].sid
    )

    answers = await asyncio.gather(
        *(interface.fetch(draft.name, draft.sid) for draft in drafts), return_exceptions=True
    )

    assert isinstance(answers.pop(5), RecordUnreadable)
    assert all(answer is not None and not isinstance(answer, BaseException) for answer in answers)


async def test_expired_and_unknown_among_others(interface: AsyncPG) -> None:
    """Sessions that are expired, unknown or a stranger's get their answers beside the live ones."""
    live, expired, unknown = new_draft(), new_draft(ttl=0.0), new_draft()
    await interface.create(live)
    await interface.create(expired)
    stranger = new_claim(live, secret_hash=b"wrong" * 6)
    for _ in range(2):
        answers = await asyncio.gather(
            *(interface.acquire(each.name, each.sid, new_claim(each)) for each in (live, expired)),
            interface.acquire(unknown.name, unknown.sid, new_claim(unknown)),
            *(interface.acquire(unknown.name, unknown.sid, new_claim(unknown)) for _ in range(9)),
        )
        assert answers[0] is not None
        assert answers[1:] == [None] * 11
    answer = await interface.acquire(live.name, live.sid, stranger)
    assert isinstance(answer, Granted)
    assert not answer.held


@pytest.mark.parametrize("step", [*STATEMENTS, "create"])
async def test_plans_keep_to_the_primary_key(
    interface: AsyncPG, database: Connection, name: str, step: str
) -> None:
    """A plan that was made for the empty table, and is kept, scans no table that has grown."""
    joined = interface._joiner.steps[step]
    types = ", ".join(["bytea"] * len(joined.pack([])))
    nothing = ", ".join(["'[]'"] * len(joined.pack([])))
    await database.execute("SET plan_cache_mode = force_generic_plan")
    await database.execute(f"PREPARE joined ({types}) AS {joined.joined}")
    rows = await database.fetch(f"EXPLAIN EXECUTE joined ({nothing})")
    await database.execute("DEALLOCATE joined")
    plan = "\n".join(row[0] for row in rows)

    assert f"{name}_pkey" in plan
    assert "Seq Scan" not in plan
    assert "Hash" not in plan
