"""Timers of one length: one alarm of the loop for all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sanic_cookies.timers import Timers, timeout_awake

SECONDS = 0.001


class Bell:
    """Is rung by timers, and says when."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.news = asyncio.Event()

    def ring(self, name: str) -> None:
        self.rung.append(name)
        self.news.set()

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(10):
            while self.rung != list(names):
                self.news.clear()
                await self.news.wait()


async def test_they_end_in_the_order_in_which_they_began() -> None:
    """Each timer calls back once, the oldest first."""
    bell, timers = Bell(), Timers(SECONDS)
    for name in "abc":
        timers.start(lambda name=name: bell.ring(name))

    await bell.until("a", "b", "c")
    assert not timers.waiting


async def test_one_that_begins_while_another_waits_is_rung_too() -> None:
    """The alarm is set anew as long as anybody waits."""
    bell, timers = Bell(), Timers(SECONDS)
    timers.start(lambda: (bell.ring("a"), timers.start(lambda: bell.ring("b"))))
    await bell.until("a", "b")


async def test_a_later_one_ends_in_a_time_of_its_own() -> None:
    """What begins later ends later, also if nobody begins after it."""
    loop, bell, timers = asyncio.get_running_loop(), Bell(), Timers(0.1)
    timers.start(lambda: bell.ring("first"))
    await asyncio.sleep(0.05)
    began = loop.time()
    timers.start(lambda: bell.ring("second"))
    await bell.until("first", "second")

    assert loop.time() - began >= 0.099


async def test_a_cancelled_one_never_calls_back() -> None:
    """A timer that was cancelled is forgotten, also when it is cancelled twice."""
    bell, timers = Bell(), Timers(SECONDS)
    cancelled = timers.start(lambda: bell.ring("cancelled"))
    timers.start(lambda: bell.ring("kept"))
    cancelled.cancel()
    cancelled.cancel()
    assert len(timers.waiting) == 1
    await bell.until("kept")


async def test_one_cancelled_in_the_tick_in_which_it_is_due_does_not_call_back() -> None:
    """A callback may cancel the next: a deadline must not hit a call that has just ended."""
    bell, timers = Bell(), Timers(SECONDS)
    timers.start(lambda: (second.cancel(), bell.ring("first")))
    second = timers.start(lambda: bell.ring("second"))
    timers.start(lambda: bell.ring("third"))
    await bell.until("first", "third")


async def test_a_callback_that_fails_spares_the_others() -> None:
    """What one callback raises goes to the loop's handler, and the rest is called."""
    bell, timers, failures = Bell(), Timers(SECONDS), []
    asyncio.get_running_loop().set_exception_handler(lambda loop, told: failures.append(told))
    timers.start(lambda: 1 / 0)
    timers.start(lambda: bell.ring("after"))
    await bell.until("after")
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


async def test_the_loop_has_one_alarm_for_all(monkeypatch: Any) -> None:
    """A thousand waits ask the loop for one timer."""
    loop, asked = asyncio.get_running_loop(), []
    at = loop.call_at
    monkeypatch.setattr(
        loop, "call_at", lambda *args, **more: (asked.append(1), at(*args, **more))[1]
    )
    timers = Timers(60)
    started = [timers.start(lambda: None) for _ in range(1000)]
    assert len(asked) == 1
    for timer in started:
        timer.cancel()
    assert not timers.waiting


def test_a_new_loop_begins_anew() -> None:
    """What was waited for in a loop that runs no more is forgotten."""
    timers, bells = Timers(SECONDS), []

    async def leave() -> None:
        timers.start(lambda: bells.append("of the former loop"))

    async def stay() -> None:
        bell = Bell()
        timers.start(lambda: bell.ring("here"))
        await bell.until("here")

    asyncio.run(leave())
    asyncio.run(stay())
    assert not bells


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
