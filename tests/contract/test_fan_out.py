"""One master and others, seen as one: who is read, who is written, and what a failure does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from proxy import ToxicProxy
from sanic_cookies.background import Background
from sanic_cookies.cookies import MAX_COOKIE_BYTES
from sanic_cookies.errors import SessionStoreError
from sanic_cookies.interfaces import InCookieEncrypted, InMemory, Redis, guard
from sanic_cookies.interfaces import fan_out as fan_outs
from sanic_cookies.interfaces import others as followers
from sanic_cookies.interfaces.bound import BoundFanOut
from sanic_cookies.interfaces.fan_out import FanOut
from sanic_cookies.interfaces.guard import Budget
from sanic_cookies.interfaces.others import OTHER_SECONDS, OnError
from sanic_cookies.record import TOMBSTONE_VERSION, Draft, Granted, Outcome
from sanic_cookies.testing import Faulty, following, new_claim, new_draft
from servers import HOST, RedisServer
from stores import KEY, opened, postgres, table

PATIENCE = 60.0  # where time is not the subject: a machine may stand still


def budget() -> Budget:
    return Budget(PATIENCE)


def fan_out(master: Any, *others: Any, on_error: OnError = "log") -> FanOut:
    return FanOut(master, others, timeout=PATIENCE, on_error=on_error, background=Background())


def others_have(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Give added interfaces so many seconds for a call, in place of one."""
    for module in (fan_outs, followers):
        monkeypatch.setattr(module, "OTHER_SECONDS", seconds)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    others_have(monkeypatch, PATIENCE)


class Gate(InMemory):
    """A store whose saves wait at a gate, so that a test decides in which order they arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: dict[int, asyncio.Event] = {}
        self.gates: dict[int, asyncio.Event] = {}

    def shut(self, version: int) -> None:
        """Hold back the save of this version until `gates[version]` is set."""
        self.arrived[version], self.gates[version] = asyncio.Event(), asyncio.Event()

    async def save(self, draft: Draft) -> Outcome:
        if draft.version in self.gates:
            self.arrived[draft.version].set()
            await self.gates[draft.version].wait()
        return await super().save(draft)


@dataclass
class Pair:
    """A fan-out of two, and the two themselves."""

    fan: FanOut
    master: Any
    other: Any

    async def both(self, draft: Draft) -> list[Any]:
        """Return what each of them holds."""
        return [await each.fetch(draft.name, draft.sid) for each in (self.master, self.other)]


@pytest.fixture(params=["memory+redis", "redis+postgres", "redis+cookie"])
async def pair(
    request: pytest.FixtureRequest,
    redis_url: str,
    database_url: str,
    database: asyncpg.Connection,
) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stores = []
        for kind in request.param.split("+"):
            if kind == "memory":
                stores.append(await enter(opened(InMemory())))
            elif kind == "redis":
                stores.append(await enter(opened(Redis(redis_url))))
            elif kind == "postgres":
                stores.append(await enter(postgres(database_url, await enter(table(database)))))
            else:
                stores.append(InCookieEncrypted(KEY))
        shared = fan_out(*stores)
        fan = BoundFanOut(shared, "contract", "session")
        for place, suffix in shared.suffixes.items():
            fan.bind(place, suffix, None, lambda: MAX_COOKIE_BYTES)
        yield Pair(fan, *fan.interfaces)


# Who is read and who is written


async def test_reads_come_from_the_master_only(pair: Pair) -> None:
    """What only an added interface has, or has newer, is not read."""
    draft = new_draft(payload=b"master")
    await pair.other.create(draft)
    assert await pair.fan.fetch(draft.name, draft.sid, budget()) is None
    assert await pair.fan.acquire(draft.name, draft.sid, new_claim(draft), budget()) is None

    await pair.master.create(draft)
    await pair.other.save(following(draft, payload=b"other"))
    record = await pair.fan.fetch(draft.name, draft.sid, budget())
    granted = await pair.fan.acquire(draft.name, draft.sid, new_claim(draft), budget())
    assert record is not None
    assert isinstance(granted, Granted)
    assert record.payload == granted.record.payload == b"master"


async def test_writes_reach_both(pair: Pair) -> None:
    """A session that is created, committed and saved is the same in all of them."""
    draft = new_draft(payload=b"1", user_key="u1", lifetime=5000)
    assert await pair.fan.create(draft, budget()) is True
    assert [record.payload for record in await pair.both(draft)] == [b"1", b"1"]

    claim = new_claim(draft)
    await pair.fan.acquire(draft.name, draft.sid, claim, budget())
    commit = following(draft, payload=b"2", rotated=True, secret_hash=b"h" * 32)
    assert await pair.fan.commit(commit, claim.token, True, budget()) is Outcome.SAVED
    save = replace(commit, version=3, payload=b"3", rotated=False)
    assert await pair.fan.commit(save, None, False, budget()) is Outcome.SAVED

    for record in await pair.both(draft):
        assert (record.version, record.payload, record.secret_hash) == (3, b"3", b"h" * 32)
        assert (record.user_key, record.deadline is None) == ("u1", False)


async def test_write_brings_the_session_to_an_interface_that_lacks_it(pair: Pair) -> None:
    """An interface that was added later gets a session with its next write."""
    draft = new_draft()
    await pair.master.create(draft)
    write = following(draft, payload=b"new")

    assert await pair.fan.commit(write, None, False, budget()) is Outcome.SAVED
    assert [record.payload for record in await pair.both(draft)] == [b"new", b"new"]


async def test_refused_write_stays_with_the_master(pair: Pair) -> None:
    """What the master has refused, for whatever reason, is written nowhere."""
    draft, taken = new_draft(), new_draft(version=5)
    save = pair.fan.commit
    await pair.master.create(taken)

    assert await save(draft, None, False, budget()) is Outcome.GONE
    assert await pair.other.fetch(draft.name, draft.sid) is None
    assert await pair.fan.create(replace(taken, secret_hash=b"x" * 32), budget()) is False
    assert await save(taken, None, False, budget()) is Outcome.STALE
    assert await pair.other.fetch(taken.name, taken.sid) is None


async def test_lost_commit_stays_with_the_master(redis_url: str) -> None:
    """Who has lost the master's lease writes nothing anywhere."""
    other = InMemory()
    async with opened(Redis(redis_url)) as master:
        fan, draft = fan_out(master, other), new_draft()
        await fan.create(draft, budget())

        assert await fan.commit(following(draft), "foreign", True, budget()) is Outcome.LOST
    assert (await other.fetch(draft.name, draft.sid)).version == 1


async def test_touch_reaches_both(pair: Pair) -> None:
    """A use is written down in all of them, so that none forgets the session early."""
    draft = new_draft(ttl=60)
    await pair.fan.create(draft, budget())
    await pair.fan.touch(draft.name, draft.sid, 1, 7200, budget())

    for record in await pair.both(draft):
        assert 7100 < record.expires_at - record.now <= 7200.1


async def test_delete_reaches_both(pair: Pair) -> None:
    """An ended session is gone from the master, and a late write finds its tombstone elsewhere."""
    draft = new_draft()
    await pair.fan.create(draft, budget())
    assert await pair.fan.delete(draft.name, draft.sid, budget()) is True
    assert await pair.fan.delete(draft.name, draft.sid, budget()) is False

    in_master, in_other = await pair.both(draft)
    assert in_master is None
    assert in_other is None or (in_other.is_tombstone, in_other.payload) == (True, b"")
    assert await pair.fan.commit(following(draft), None, False, budget()) is Outcome.GONE


async def test_tombstone_of_a_former_other_is_no_session(pair: Pair) -> None:
    """An added interface that becomes the master opens no session that had ended before."""
    draft = new_draft()
    await pair.fan.create(draft, budget())
    await pair.fan.delete(draft.name, draft.sid, budget())
    promoted = fan_out(pair.other)

    assert await promoted.fetch(draft.name, draft.sid, budget()) is None
    granted = await promoted.acquire(draft.name, draft.sid, new_claim(draft), budget())
    assert granted is None or (isinstance(granted, Granted) and not granted.held)


# Order


async def test_master_is_written_first() -> None:
    """While the master has not answered, no other interface is written."""
    master, other = Gate(), InMemory()
    fan, draft = fan_out(master, other), new_draft()
    await fan.create(draft, budget())
    master.shut(2)
    write = asyncio.ensure_future(fan.commit(following(draft), None, False, budget()))
    await master.arrived[2].wait()

    assert (await other.fetch(draft.name, draft.sid)).version == 1
    master.gates[2].set()
    assert await write is Outcome.SAVED
    assert (await other.fetch(draft.name, draft.sid)).version == 2


async def test_others_are_written_at_once() -> None:
    """No added interface waits for another."""
    slow, fast = Gate(), Gate()
    fan, draft = fan_out(InMemory(), slow, fast), new_draft()
    await fan.create(draft, budget())
    for gate in (slow, fast):
        gate.shut(2)
    write = asyncio.ensure_future(fan.commit(following(draft), None, False, budget()))
    async with asyncio.timeout(PATIENCE / 2):  # before the deadline of the slow one
        await asyncio.gather(slow.arrived[2].wait(), fast.arrived[2].wait())

    for gate in (slow, fast):
        gate.gates[2].set()
    assert await write is Outcome.SAVED


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_late_write_does_not_go_back(known: bool) -> None:
    """A write that reaches an added interface after a newer one changes nothing there."""
    master, other = InMemory(), Gate()
    fan, draft = fan_out(master, other), new_draft(payload=b"1")
    await master.create(draft)
    if known:
        await other.create(draft)
    other.shut(2)
    second = following(draft, payload=b"2")
    late = asyncio.ensure_future(fan.commit(second, None, False, budget()))
    await other.arrived[2].wait()
    third = following(second, payload=b"3")
    assert await fan.commit(third, None, False, budget()) is Outcome.SAVED
    other.gates[2].set()

    assert await late is Outcome.SAVED
    assert (await other.fetch(draft.name, draft.sid)).payload == b"3"


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_late_write_does_not_resurrect(known: bool) -> None:
    """A write that reaches an added interface after the delete finds a tombstone."""
    master, other = InMemory(), Gate()
    fan, draft = fan_out(master, other), new_draft()
    await master.create(draft)
    if known:
        await other.create(draft)
    other.shut(2)
    late = asyncio.ensure_future(fan.commit(following(draft), None, False, budget()))
    await other.arrived[2].wait()
    await fan.delete(draft.name, draft.sid, budget())
    other.gates[2].set()
    await late

    assert (await other.fetch(draft.name, draft.sid)).version == TOMBSTONE_VERSION


# Failures: a real Redis behind a bad network


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[ToxicProxy]:
    async with ToxicProxy(HOST, redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: ToxicProxy) -> AsyncIterator[Redis]:
    # Not the connection itself decides how long a silent server is waited for.
    patient = "socket_connect_timeout=60&socket_timeout=60"
    async with opened(Redis(f"redis://{HOST}:{proxy.port}?{patient}")) as interface:
        yield interface


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "misses writes" in text]


async def test_failing_other_is_logged_once_and_healed(
    far: Redis, proxy: ToxicProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests succeed without an added interface; it is named once, and gets the next write."""
    master = InMemory()
    fan, draft = fan_out(master, far), new_draft()
    await fan.create(draft, budget())
    proxy.refuse()
    with caplog.at_level(logging.ERROR, "sanic_cookies"):
        for version in range(2, 6):
            write = replace(draft, version=version)
            assert await fan.commit(write, None, False, budget()) is Outcome.SAVED

    assert len(complaints(caplog)) == 1
    assert "Redis" in complaints(caplog)[0]
    proxy.pass_through()
    assert (await far.fetch(draft.name, draft.sid)).version == 1
    await fan.commit(replace(draft, version=6, payload=b"6"), None, False, budget())
    assert (await far.fetch(draft.name, draft.sid)).payload == b"6"


async def test_each_failing_other_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Of two added interfaces of one class that fail, neither is silent for the other's sake."""
    first, second = Faulty(InMemory()), Faulty(InMemory())
    fan, draft = fan_out(InMemory(), first, second), new_draft()
    await fan.create(draft, budget())
    with caplog.at_level(logging.ERROR, "sanic_cookies"):
        for version, failing in enumerate((first, second, first), start=2):
            failing.fail("save")
            write = replace(draft, version=version)
            assert await fan.commit(write, None, False, budget()) is Outcome.SAVED

    assert len(complaints(caplog)) == 2


async def test_failing_other_raises_by_choice(far: Redis, proxy: ToxicProxy) -> None:
    """With "raise" a failing added interface is an error, after the master has been written."""
    master, third = InMemory(), InMemory()
    fan, draft = fan_out(master, far, third, on_error="raise"), new_draft()
    await fan.create(draft, budget())
    proxy.refuse()

    with pytest.raises(SessionStoreError):
        await fan.commit(following(draft), None, False, budget())
    for store in (master, third):
        assert (await store.fetch(draft.name, draft.sid)).version == 2


async def test_master_down_leaves_the_others(far: Redis, proxy: ToxicProxy) -> None:
    """When the master does not answer, nothing is written anywhere else."""
    other = InMemory()
    fan, draft, new = fan_out(far, other), new_draft(), new_draft()
    await fan.create(draft, budget())
    proxy.refuse()

    for step in (
        fan.create(new, budget()),
        fan.commit(following(draft), None, False, budget()),
        fan.touch(draft.name, draft.sid, 1, 60, budget()),
        fan.delete(draft.name, draft.sid, budget()),
    ):
        with pytest.raises(SessionStoreError):
            await step
    assert await other.fetch(new.name, new.sid) is None
    record = await other.fetch(draft.name, draft.sid)
    assert (record.version, record.is_tombstone) == (1, False)
    assert record.expires_at - record.now > 3000


async def test_failed_delete_is_repeated(far: Redis, proxy: ToxicProxy) -> None:
    """An added interface that misses a delete gets it later, without any further request."""
    background = Background()
    fan = FanOut(InMemory(), [far], timeout=PATIENCE, on_error="log", background=background)
    draft = new_draft()
    await fan.create(draft, budget())
    proxy.refuse()

    assert await fan.delete(draft.name, draft.sid, budget()) is True
    assert len(background) == 1
    proxy.pass_through()
    await background.drain(10)
    assert (await far.fetch(draft.name, draft.sid)).is_tombstone


@pytest.mark.parametrize("most", [0, 1000])
async def test_what_another_still_holds_is_told(
    far: Redis,
    proxy: ToxicProxy,
    most: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A delete that is not repeated to its end, or not at all, leaves a line that names it."""
    monkeypatch.setattr(followers, "MAX_RETRIES_UNDER_WAY", most)
    background, draft = Background(), new_draft()
    fan = FanOut(InMemory(), [far], timeout=PATIENCE, on_error="log", background=background)
    await fan.create(draft, budget())
    proxy.refuse()
    await fan.delete(draft.name, draft.sid, budget())
    await background.drain(0)

    line = f"contract: Redis still holds a session that has ended: sid={draft.sid}"
    assert [each.message for each in caplog.records].count(line) == 1


async def test_hanging_other_costs_a_second_once(
    far: Redis, proxy: ToxicProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An added interface that hangs delays one write by its time, and the next ones not at all.

    Its time is a second; here it is three, so that it differs from a pause of the machine.
    """
    assert OTHER_SECONDS == 1.0
    others_have(monkeypatch, 3.0)
    monkeypatch.setattr(guard, "DOWN_SECONDS", PATIENCE)
    fan, draft = fan_out(InMemory(), far), new_draft()
    await fan.create(draft, budget())
    proxy.blackhole()
    began = time.monotonic()
    await fan.commit(following(draft), None, False, budget())
    first = time.monotonic()
    await fan.commit(replace(draft, version=3), None, False, budget())
    second = time.monotonic()

    assert 2.9 < first - began < PATIENCE / 2
    assert second - first < 2.9


async def test_hanging_other_costs_the_request_no_budget(
    far: Redis, proxy: ToxicProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that an added interface takes is not charged to what the master may take."""
    others_have(monkeypatch, 3.0)
    fan, draft = fan_out(InMemory(), far), new_draft()
    await fan.create(draft, budget())
    proxy.blackhole()
    spent = Budget(PATIENCE)
    await fan.commit(following(draft), None, False, spent)

    assert spent.left > PATIENCE - 2.5
