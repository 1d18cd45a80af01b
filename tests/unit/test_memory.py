"""`InMemory`: its clock, and a clean-up that is thorough, gentle and never stops by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from samples import Clock, a_draft
from sanic_cookies.interfaces.memory import shelf
from sanic_cookies.interfaces.memory.interface import InMemory
from sanic_cookies.record import Outcome, Record
from sanic_cookies.token import Token

SWEEP = "sanic_cookies.sweep"


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def store(clock: Clock) -> InMemory:
    return InMemory(clock=clock)


def planned(store: InMemory) -> int:
    """Return how many looks at records the clean-up has planned."""
    return sum(
        len(sids)
        for shelf in store._shelves.values()
        for planned in shelf._due.values()
        for sids in planned
    )


def sweepers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == SWEEP]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a task that a real timer wakes."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


async def fetch(store: InMemory, sid: str) -> Record | None:
    return await store.fetch("session", sid)


async def test_expiry_is_judged_to_the_moment(store: InMemory, clock: Clock) -> None:
    """A record is there until its last moment and gone at it, whether or not a clean-up ran."""
    draft = a_draft(ttl=60)
    await store.create(draft)
    clock.forward(59.999)
    assert await fetch(store, draft.sid) is not None
    clock.forward(0.001)

    assert await fetch(store, draft.sid) is None
    assert await store.save(a_draft(sid=draft.sid, version=2)) is Outcome.GONE
    assert not await store.delete("session", draft.sid)


async def test_the_clean_up_forgets_what_has_expired_and_nothing_else(
    store: InMemory, clock: Clock
) -> None:
    """Of many it takes those whose time has been over for a second, and says how many."""
    drafts = [a_draft(ttl=ttl) for ttl in range(1, 101)]
    for draft in drafts:
        await store.create(draft)
    clock.forward(42)

    assert await store.sweep() == 41
    assert len(store) == planned(store) == 59
    assert [await fetch(store, draft.sid) is not None for draft in drafts] == [
        draft.ttl > 42 for draft in drafts
    ]
    assert await store.sweep() == 0
    clock.forward(60)
    assert await store.sweep() == 59
    assert len(store) == planned(store) == 0


async def test_a_session_that_moved_on_is_kept_and_looked_at_again(
    store: InMemory, clock: Clock
) -> None:
    """Touched or saved before its end it survives the clean-up, until its new end."""
    touched, saved, left = a_draft(ttl=10), a_draft(ttl=10), a_draft(ttl=10)
    for draft in (touched, saved, left):
        await store.create(draft)
    clock.forward(5)
    await store.touch("session", touched.sid, 1, 60)
    await store.save(a_draft(sid=saved.sid, version=2, ttl=60))
    clock.forward(6)

    assert await store.sweep() == 1
    assert planned(store) == 2
    clock.forward(60)
    assert await store.sweep() == 2
    assert planned(store) == 0


async def test_a_session_whose_life_was_shortened_is_forgotten_in_time(
    store: InMemory, clock: Clock
) -> None:
    """The clean-up does not wait for an end that was planned before."""
    draft = a_draft(ttl=1000)
    await store.create(draft)
    await store.save(a_draft(sid=draft.sid, version=2, ttl=5))
    clock.forward(6)

    assert await store.sweep() == 1
    assert len(store) == 0
    clock.forward(1000)
    assert await store.sweep() == 0
    assert planned(store) == 0


async def test_plans_do_not_pile_up(store: InMemory, clock: Clock) -> None:
    """A session whose expiry goes up and down for ever is planned for a few seconds only."""
    draft = a_draft(ttl=50)
    await store.create(draft)
    for version in range(2, 2000):
        await store.save(a_draft(sid=draft.sid, version=version, ttl=(50, 5)[version % 2]))
        clock.forward(0.1)
        await store.sweep()

    assert planned(store) <= 60
    assert len(store) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.integers(0, 4), st.integers(1, 30)),
        st.tuples(st.just("save"), st.integers(0, 4), st.integers(1, 30)),
        st.tuples(st.just("touch"), st.integers(0, 4), st.integers(1, 30)),
        st.tuples(st.just("delete"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("forward"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("sweep"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
async def test_whatever_happens_what_lives_is_kept_and_what_is_over_is_forgotten(
    steps: list[tuple[str, int, int]],
) -> None:
    """Against a plain table of ends: the store agrees at each step, and is empty in the end."""
    clock = Clock(0.0)
    store, ends, version = InMemory(clock=clock), dict[str, float](), dict[str, int]()
    for name, number, ttl in steps:
        sid = f"{number:022}"
        alive = ends.get(sid, 0) > clock.now
        if name == "create":
            assert await store.create(a_draft(sid=sid, ttl=ttl)) is not alive
            if not alive:
                ends[sid], version[sid] = clock.now + ttl, 1
        elif name == "save" and alive:
            version[sid] += 1
            draft = a_draft(sid=sid, version=version[sid], ttl=ttl)
            assert await store.save(draft) is Outcome.SAVED
            ends[sid] = clock.now + ttl
        elif name == "touch" and alive:
            await store.touch("session", sid, version[sid], ttl)
            ends[sid] = clock.now + ttl
        elif name == "delete":
            assert await store.delete("session", sid) is alive
            ends.pop(sid, None)
        elif name == "forward":
            clock.forward(number)
        elif name == "sweep":
            await store.sweep()
            assert len(store) <= sum(end > clock.now - 1 for end in ends.values())
        for each, end in ends.items():
            assert (await fetch(store, each) is not None) is (end > clock.now)
    clock.forward(100)
    await store.sweep()

    assert len(store) == planned(store) == 0


async def test_no_scheduled_clean_up() -> None:
    """`sweep_every=0` is none, as for Postgres, and not one after the other without a pause."""
    store = InMemory(sweep_every=0)
    await store.open()
    assert sweepers() == []
    await store.close()


async def test_a_clean_up_gives_way_after_each_slice(
    store: InMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two slices the loop turns, so others are served while much is forgotten."""
    monkeypatch.setattr(shelf, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(shelf, "_SLICE_CHECK", 10)
    for _ in range(1000):
        await store.create(a_draft(ttl=1))
    clock.forward(5)
    sizes = []

    async def watch() -> None:
        while len(store):
            sizes.append(len(store))
            await asyncio.sleep(0)

    await asyncio.gather(store.sweep(), watch())

    assert sizes == list(range(990, 0, -10))


async def test_sessions_made_during_a_clean_up_are_safe(
    store: InMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is created, touched or deleted between two slices is kept, kept and gone."""
    monkeypatch.setattr(shelf, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(shelf, "_SLICE_CHECK", 1)
    for _ in range(100):
        await store.create(a_draft(ttl=1))
    clock.forward(5)
    made = []

    async def go_on() -> None:
        for _ in range(50):
            made.append(a_draft(ttl=60))
            await store.create(made[-1])
            await asyncio.sleep(0)
        await store.delete("session", made.pop().sid)

    dropped, _ = await asyncio.gather(store.sweep(), go_on())

    assert dropped == 100
    assert len(store) == len(made) == 49


async def test_a_read_costs_the_same_however_many_there_are(store: InMemory) -> None:
    """A fetch looks at one record: nothing else in the store is asked for anything."""
    wanted = a_draft()
    await store.create(wanted)
    looked = []

    class Spy(dict[str, bytes]):
        def get(self, key: str, default: Any = None) -> Any:
            looked.append(key)
            return super().get(key, default)

        def __iter__(self) -> Any:
            raise AssertionError("a read went through all records")

        values = items = keys = __iter__

    shelf = store._shelves["session"]
    shelf.rows = Spy(shelf.rows)
    assert await fetch(store, wanted.sid) is not None
    assert looked == [wanted.sid]


@pytest.mark.parametrize(("start", "stop"), [("open", "close"), ("init", "kill")])
async def test_the_clean_up_runs_between_open_and_close(
    store: InMemory, clock: Clock, start: str, stop: str
) -> None:
    """It starts with the server and stops with it, under both names; both may be called twice."""
    store = InMemory(sweep_every=0.001, clock=clock)
    await store.create(a_draft(ttl=1))
    assert sweepers() == []

    await getattr(store, start)()
    await getattr(store, start)()
    assert len(sweepers()) == 1
    clock.forward(5)
    await until(lambda: len(store) == 0)

    await getattr(store, stop)()
    await getattr(store, stop)()
    assert sweepers() == []


async def test_sessions_stay_when_the_clean_up_stops(store: InMemory) -> None:
    """Closing forgets nothing; opened again, it goes on."""
    draft = a_draft()
    await store.open()
    await store.create(draft)
    await store.close()
    assert await fetch(store, draft.sid) is not None

    await store.open()
    assert len(sweepers()) == 1
    await store.close()


async def test_an_exception_does_not_stop_the_clean_up(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """One clean-up that fails is logged, and the next one comes."""

    class Moody(InMemory):
        failures = 0

        async def sweep(self) -> int:
            if self.failures < 2:
                self.failures += 1
                raise ValueError("mood")
            return await super().sweep()

    store = Moody(sweep_every=0.001, clock=clock)
    await store.create(a_draft(ttl=1))
    clock.forward(5)
    await store.open()
    await until(lambda: len(store) == 0)
    await store.close()

    assert store.failures == 2
    assert [(r.name, r.levelname) for r in caplog.records] == [("sanic_cookies", "ERROR")] * 2


def test_it_can_be_opened_in_one_loop_after_another() -> None:
    """A server that is started again has a new loop; the clean-up starts there anew."""
    store = InMemory()

    async def start() -> int:
        await store.open()
        return len(sweepers())

    assert asyncio.run(start()) == 1
    assert asyncio.run(start()) == 1
    asyncio.run(store.close())


async def test_a_jump_of_the_wall_clock_expires_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the clock of the machine logs nobody out, and nobody in again."""
    clock = signature(InMemory).parameters["clock"].default
    assert clock is time.monotonic  # the default was bound at import: no patch below reaches it
    store = InMemory()
    lasting, over = a_draft(ttl=60), a_draft(ttl=0.0)
    await store.create(lasting)
    await store.create(over)
    real = time.time
    for jump in (10**6, -(10**6)):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)

        assert await fetch(store, lasting.sid) is not None
        assert await fetch(store, over.sid) is None
        assert await store.sweep() <= 1


async def test_times_are_shown_as_epoch_seconds() -> None:
    """What a handler sees as creation and expiry is comparable with `time.time()`."""
    store, draft = InMemory(), a_draft(ttl=60)
    await store.create(draft)
    record = await fetch(store, draft.sid)

    assert record is not None
    assert abs(record.created_at - time.time()) < 5
    assert record.expires_at == record.created_at + 60


async def test_nothing_of_the_contents_is_shown(store: InMemory) -> None:
    """Its `repr` counts sessions and shows none."""
    draft = a_draft(payload=b"hunter2")
    await store.create(draft)

    assert repr(store) == "<InMemory sessions=1>"


async def test_a_taken_id_is_refused_and_a_repeated_creation_is_not(store: InMemory) -> None:
    """Asked again with the same secret, after a lost reply, creation says yes; with another, no."""
    token = Token.generate()
    draft = a_draft(token, payload=b"first")
    assert await store.create(draft)
    assert await store.create(draft)
    assert not await store.create(a_draft(token.rotated(), payload=b"second"))
    record = await fetch(store, token.sid)

    assert record is not None
    assert record.payload == b"first"


async def test_an_older_write_is_stale(store: InMemory) -> None:
    """A version that is not newer than what is stored changes nothing."""
    draft = a_draft(version=5, payload=b"five")
    await store.create(draft)
    for version in (1, 5):
        late = a_draft(sid=draft.sid, version=version, payload=b"late")
        assert await store.save(late) is Outcome.STALE
    record = await fetch(store, draft.sid)

    assert record is not None
    assert (record.version, record.payload) == (5, b"five")


async def test_a_touch_of_another_version_does_nothing(store: InMemory, clock: Clock) -> None:
    """Who read an older record must not move the expiry of a newer one."""
    draft = a_draft(version=5, ttl=60)
    await store.create(draft)
    before = await fetch(store, draft.sid)
    clock.forward(1)
    await store.touch("session", draft.sid, 4, 600)
    await store.touch("session", Token.generate().sid, 5, 600)
    after = await fetch(store, draft.sid)

    assert before is not None
    assert after is not None
    assert (after.expires_at, after.last_seen) == (before.expires_at, before.last_seen)


MOVES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, "", "ada", "bob"])))


@given(MOVES, st.integers(0, 4))
async def test_whoever_has_a_session_its_user_finds_it(
    moves: list[tuple[int, str | None]], ended: int
) -> None:
    """However often sessions change hands, each user finds his own, one or many, and no other."""
    store, owner, version = InMemory(clock=Clock(0.0)), dict[str, str | None](), 0
    for number, user in moves:
        sid, version = f"{number:022}", version + 1
        draft = a_draft(sid=sid, version=version, user_key=user)
        assert await store.create(draft) or await store.save(draft) is Outcome.SAVED
        owner[sid] = user
    await store.delete("session", f"{ended:022}")
    owner.pop(f"{ended:022}", None)

    for user in ("", "ada", "bob"):
        found = {record.sid for record in await store.records_of("session", user)}
        assert found == {sid for sid, each in owner.items() if each == user}
    users = {user for user in owner.values() if user is not None}
    assert store._shelf("session")._users.keys() == users


async def test_many_that_end_at_once_are_all_forgotten(
    store: InMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans for one second are kept in several pieces when there are many; none is overlooked."""
    monkeypatch.setattr(shelf, "_MOST_IN_ONE", 10)
    drafts = [a_draft(ttl=5) for _ in range(95)]
    for draft in drafts:
        await store.create(draft)
    await store.touch("session", drafts[0].sid, 1, 60)
    [pieces] = store._shelves["session"]._due.values()
    assert max(map(len, pieces)) == 10
    clock.forward(6)

    assert await store.sweep() == 94
    assert len(store) == planned(store) == 1


async def test_what_comes_back_is_what_was_stored(store: InMemory, clock: Clock) -> None:
    """A record survives being bytes, whatever is in its fields."""
    draft = a_draft(payload=bytes(range(256)), ttl=1e9, lifetime=30.5, age=2.0, user_key="Ада")
    await store.create(draft)
    changes = {"rotated": True, "secret_hash": b"new", "previous_hash": b"old", "grace": 15.0}
    save = a_draft(sid=draft.sid, version=2**53, previous_reads=True, user_key="", **changes)
    assert await store.save(save) is Outcome.SAVED
    clock.forward(7)

    expected = Record.begun(draft, store._epoch).updated(save, store._epoch)
    assert await fetch(store, draft.sid) == replace(expected, now=store._epoch + 7)


def test_an_empty_store_is_true() -> None:
    """`store or InMemory()` keeps the store that was given, whatever it holds."""
    store = InMemory()

    assert len(store) == 0
    assert (store or InMemory()) is store
