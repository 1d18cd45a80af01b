"""Deadlines: one alarm of the loop for all calls of one length."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sanic_cookies.timers import Deadlines, timeout_awake


@asynccontextmanager
async def bounded(deadlines: Deadlines) -> AsyncIterator[None]:
    """Put the current task under a deadline, as a guard does."""
    task = asyncio.current_task(deadlines.loop) or deadlines.begin_anew()
    deadlines.running[task] = time.monotonic()
    if not deadlines.is_set:
        deadlines.set_alarm()
    try:
        yield
    finally:
        deadlines.running.pop(task, None)


async def call(deadlines: Deadlines, work: Awaitable[Any]) -> Any:
    async with bounded(deadlines):
        return await work


def begin(deadlines: Deadlines, work: Awaitable[Any] | None = None) -> asyncio.Task[Any]:
    return asyncio.create_task(call(deadlines, work or asyncio.Event().wait()))


async def test_they_end_in_the_order_in_which_they_began() -> None:
    """Each call that takes too long is cancelled once, the oldest first."""
    deadlines, ended = Deadlines(0.001), []
    tasks = [begin(deadlines) for _ in range(3)]
    for number, task in enumerate(tasks):
        task.add_done_callback(lambda _, number=number: ended.append(number))
    async with asyncio.timeout(30):
        await asyncio.wait(tasks)

    assert all(task.cancelled() for task in tasks)
    assert ended == [0, 1, 2]
    assert not deadlines.running


async def test_a_later_one_ends_in_a_time_of_its_own() -> None:
    """What begins later ends later, also if nobody begins after it."""
    deadlines = Deadlines(0.1)
    first = begin(deadlines)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    second = begin(deadlines)
    async with asyncio.timeout(30):
        await asyncio.wait([second])

    assert first.cancelled()
    assert time.monotonic() - began >= 0.098


async def test_one_that_begins_after_all_others_have_ended_is_cancelled_too() -> None:
    """The alarm is set anew as often as somebody begins."""
    deadlines = Deadlines(0.001)
    async with asyncio.timeout(30):
        for _ in range(2):
            await asyncio.wait([task := begin(deadlines)])
            assert task.cancelled()


async def test_a_call_that_has_ended_is_left_alone() -> None:
    """Who is back in time is not cancelled later, in whatever it does then."""
    deadlines, done = Deadlines(0.01), asyncio.Event()

    async def work() -> str:
        await call(deadlines, asyncio.sleep(0))
        await done.wait()
        return "done"

    task, slow = asyncio.create_task(work()), begin(deadlines)
    await asyncio.wait([slow])
    done.set()
    assert await task == "done"


async def test_one_that_ends_in_the_tick_in_which_it_is_due_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the call that has just ended is cut off, nor another that its task began at once."""
    deadlines, turn, go_on = Deadlines(0.001), asyncio.Event(), asyncio.Event()
    look = deadlines._look

    def look_late() -> None:
        turn.set()  # whoever waits for it is called in the same tick, before what `look` calls
        look()

    monkeypatch.setattr(Deadlines, "_look", lambda self: look_late())

    async def work() -> str:
        await call(deadlines, turn.wait())
        deadlines._seconds = 60
        await call(deadlines, go_on.wait())
        return "done"

    task = asyncio.create_task(work())
    await turn.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    go_on.set()
    assert await task == "done"


async def test_the_loop_has_one_alarm_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand calls ask the loop for one timer."""
    loop, asked = asyncio.get_running_loop(), []
    later = loop.call_later
    monkeypatch.setattr(
        loop, "call_later", lambda *args, **more: (asked.append(1), later(*args, **more))[1]
    )
    deadlines = Deadlines(60)
    for _ in range(1000):
        await call(deadlines, asyncio.sleep(0))
    assert len(asked) == 1
    assert not deadlines.running


def test_a_new_loop_begins_anew() -> None:
    """What was under way in a loop that runs no more is forgotten, and its alarm with it."""
    deadlines = Deadlines(0.001)

    async def leave() -> None:
        task = asyncio.current_task()
        assert task is not None
        deadlines.running[task] = time.monotonic()
        deadlines.set_alarm()

    async def stay() -> None:
        with pytest.raises(asyncio.CancelledError):
            await call(deadlines, asyncio.Event().wait())
        assert not deadlines.running

    asyncio.run(leave())
    asyncio.run(stay())


async def test_a_pause_of_the_process_is_no_time_of_the_other_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who stood still for longer than the whole time looks again before giving up."""
    loop = asyncio.get_running_loop()
    async with timeout_awake(10):
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + 11)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_time_awake_ends() -> None:
    """Who waits in vain is told so, and a cancellation from outside is nobody's timeout."""
    with pytest.raises(TimeoutError):
        async with timeout_awake(0.01):
            await asyncio.Event().wait()

    async def wait() -> None:
        async with timeout_awake(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
