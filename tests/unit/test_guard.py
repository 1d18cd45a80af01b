"""The door to a store: deadlines, one error for all failures, and a memory of it for a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from sanic_cookies.errors import SessionNotSerializable, SessionStoreError
from sanic_cookies.interfaces import guard as guards
from sanic_cookies.interfaces.guard import Budget, Guard
from sanic_cookies.interfaces.memory.interface import InMemory
from sanic_cookies.record import Record, RecordUnreadable

SECRET = "redis://user:hunter2@10.0.0.7"


async def answer() -> Record | None:
    return None


async def hang() -> Record | None:
    await asyncio.Event().wait()
    return None


def failing(error: BaseException) -> Callable[[], Awaitable[Record | None]]:
    async def fail() -> Record | None:
        raise error

    return fail


class Store(InMemory):
    """A store that does as it is told, and counts who asks it."""

    def __init__(self, behaviour: Callable[[], Awaitable[Record | None]] = answer) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.calls = 0

    async def fetch(self, name: str, sid: str) -> Record | None:
        self.calls += 1
        return await self.behaviour()


class Clock:
    """How long a store is taken as down: until the test moves time on."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The guard's clock."""
    clock = Clock()
    monkeypatch.setattr(guards, "time", clock)
    return clock


def fetch(guard: Guard, budget: Budget | None = None) -> Any:
    return guard.call(guard.interface.fetch, "session", "sid", budget=budget or Budget(5))


async def down(store: Store, timeout: float = 0.005) -> Guard:
    """Return a guard whose store has just refused, and hangs from now on."""
    guard, store.behaviour = Guard(store, timeout), failing(ConnectionRefusedError())
    with pytest.raises(SessionStoreError):
        await fetch(guard)
    assert guard.is_down
    store.behaviour = hang
    return guard


def up_again(guard: Guard, clock: Clock) -> None:
    """Let so much time pass that the store may be asked again."""
    clock.now += guards.DOWN_SECONDS
    assert not guard.is_down


def test_a_store_is_taken_as_down_for_a_second() -> None:
    """Long enough to spare the requests of a busy server, short enough to come back quickly."""
    assert guards.DOWN_SECONDS == 1.0


async def test_an_answer_passes_through() -> None:
    """The store's answer is the guard's, and the time it took is charged to the request."""
    guard, budget = Guard(Store(), 2), Budget(60)

    assert await fetch(guard, budget) is None
    assert not guard.is_down
    assert 50 < budget.left < 60


async def test_no_call_takes_longer_than_its_deadline() -> None:
    """A store that hangs costs the deadline and not more; the error says which call it was."""
    guard, budget, began = Guard(Store(hang), 0.02), Budget(60), time.monotonic()

    with pytest.raises(SessionStoreError) as caught:
        await fetch(guard, budget)
    took = time.monotonic() - began

    assert 0.015 < took < 30
    assert 60 - took <= budget.left <= 60 - 0.015
    assert caught.value.detail == "Store.fetch: TimeoutError"
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize("left", [0.02, 0.0, -1.0])
async def test_a_request_waits_no_longer_than_its_budget(left: float) -> None:
    """What a request has left limits each of its calls, to nothing in the end."""
    guard, began = Guard(Store(hang), 60), time.monotonic()

    with pytest.raises(SessionStoreError):
        await fetch(guard, Budget(left))
    assert time.monotonic() - began < 30


@pytest.mark.usefixtures("clock")
async def test_while_a_store_is_down_the_answer_comes_at_once() -> None:
    """After a refusal nobody pays the deadline: the store is not even asked."""
    store = Store()
    guard = await down(store)
    budget = Budget(5)

    for _ in range(10):
        with pytest.raises(SessionStoreError) as caught:
            fetch(guard, budget).send(None)
        assert caught.value.detail == "Store is taken as down"
    assert store.calls == 1
    assert budget.left == 5


@pytest.mark.parametrize(
    ("error", "is_down"),
    [
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (ConnectionResetError(), False),
        (OSError(), False),
        (ValueError(), False),
        (KeyError("x"), False),
    ],
)
@pytest.mark.parametrize("wrapped", ["plain", "cause", "context"])
async def test_only_a_store_that_is_not_there_is_down(
    error: Exception, is_down: bool, wrapped: str
) -> None:
    """A refusal or a time-out means down, however it is wrapped; one cut connection does not."""
    outer: Exception = error
    if wrapped != "plain":
        outer = RuntimeError("driver")
        setattr(outer, f"__{wrapped}__", error)
    guard = Guard(Store(failing(outer)), 2)

    with pytest.raises(SessionStoreError) as caught:
        await fetch(guard)
    assert caught.value.__cause__ is outer
    assert guard.is_down is is_down


async def test_after_a_second_one_at_a_time_looks_whether_it_is_back(clock: Clock) -> None:
    """While somebody asks a store that was down, all others are still answered at once."""
    store = Store()
    guard = await down(store, timeout=60)
    up_again(guard, clock)
    go_on = asyncio.Event()

    async def slowly() -> None:
        await go_on.wait()

    store.behaviour = slowly
    probe = asyncio.create_task(fetch(guard))
    await asyncio.sleep(0)
    assert store.calls == 2
    for _ in range(5):
        with pytest.raises(SessionStoreError, match="not available"):
            fetch(guard).send(None)
    assert store.calls == 2

    go_on.set()
    await probe

    assert not guard.is_down
    await asyncio.gather(*(fetch(guard) for _ in range(5)))
    assert store.calls == 7


async def test_a_store_that_is_still_down_stays_so(clock: Clock) -> None:
    """A look that fails costs one request its deadline, and all are answered at once again."""
    store = Store()
    guard = await down(store)
    for calls in (2, 3):
        up_again(guard, clock)
        with pytest.raises(SessionStoreError):
            await fetch(guard)
        assert guard.is_down
        assert store.calls == calls


@pytest.mark.parametrize("error", [RecordUnreadable("x"), SessionNotSerializable("x")])
async def test_a_store_that_answers_is_back(error: Exception, clock: Clock) -> None:
    """An unreadable record is an answer: it passes unchanged, and the store is up."""
    store = Store()
    guard = await down(store)
    up_again(guard, clock)
    store.behaviour = failing(error)

    with pytest.raises(type(error)) as caught:
        await fetch(guard)
    assert caught.value is error
    assert not guard.is_down

    store.behaviour = answer
    await asyncio.gather(fetch(guard), fetch(guard))


async def test_a_cancelled_look_leaves_the_next_one_free(clock: Clock) -> None:
    """Whoever is cancelled while looking gives the look up, or nobody would ever ask again."""
    store = Store()
    guard = await down(store, timeout=60)
    up_again(guard, clock)
    probe = asyncio.create_task(fetch(guard))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    store.behaviour = answer

    assert await fetch(guard) is None
    assert not guard.is_down


async def test_a_cancellation_passes_and_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A request that is cancelled while it asks is cancelled; the store is not to blame."""
    guard, budget = Guard(Store(hang), 60), Budget(5)
    task = asyncio.create_task(fetch(guard, budget))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not guard.is_down
    assert budget.left < 5
    assert not caplog.records


async def test_nothing_of_the_drivers_text_is_logged_or_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A driver's text may hold an address, a statement or a value: only its class is told."""
    guard = Guard(Store(failing(OSError(SECRET))), 2)

    with pytest.raises(SessionStoreError) as caught:
        await fetch(guard)
    assert [(r.name, r.levelno, r.message) for r in caplog.records] == [
        ("sanic_cookies", logging.ERROR, "Store.fetch failed: OSError")
    ]
    assert caught.value.detail == "Store.fetch: OSError"
    assert SECRET not in str(caught.value) + repr(caught.value) + caplog.text
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__) == SECRET


async def test_a_cancelled_call_that_lingers_is_cancelled_and_not_late() -> None:
    """Whoever was cancelled before the deadline is told so, though the deadline ends the call."""

    async def linger() -> None:
        try:
            await hang()
        except asyncio.CancelledError:
            await hang()

    guard = Guard(Store(linger), 0.02)
    task = asyncio.create_task(fetch(guard))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not guard.is_down


def test_a_guard_serves_one_loop_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline belongs to the loop that runs, not to that of the first call."""
    monkeypatch.setattr(guards, "DOWN_SECONDS", 0.0)
    guard = Guard(Store(hang), 0.02)
    for _ in range(2):
        with pytest.raises(SessionStoreError) as caught:
            asyncio.run(fetch(guard))
        assert caught.value.detail == "Store.fetch: TimeoutError"


async def test_a_store_that_answers_after_its_deadline_leaves_no_cancellation() -> None:
    """An answer that comes all the same passes, and the request may go on waiting for others."""

    async def answer_late() -> Record | None:
        with suppress(asyncio.CancelledError):
            await hang()
        return None

    assert await fetch(Guard(Store(answer_late), 0.02)) is None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
