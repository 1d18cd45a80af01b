"""Work that outlives the request which began it: finished, not lost, waited for."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from sanic_cookies.background import Background


class Work:
    """A piece of work that waits until it is told to go on, and remembers how it ended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began, self.go_on = asyncio.Event(), asyncio.Event()
        self.error = error
        self.end = "never began"

    async def __call__(self) -> str:
        self.began.set()
        try:
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
        except asyncio.CancelledError:
            self.end = "cancelled"
            raise
        self.end = "finished"
        return "result"


async def test_settling_gives_the_result() -> None:
    """Undisturbed, `settle` is an await."""
    background, work = Background(), Work()
    work.go_on.set()

    assert await background.settle(work()) == "result"
    assert len(background) == 0


async def test_a_cancelled_caller_leaves_at_once_and_the_work_goes_on() -> None:
    """Who awaits is cancelled as it must be; the work that was begun is finished by itself."""
    background, work = Background(), Work()
    caller = asyncio.create_task(background.settle(work()))
    await work.began.wait()
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.end == "never began"
    assert len(background) == 1

    work.go_on.set()
    await background.drain(5)

    assert work.end == "finished"
    assert len(background) == 0


async def test_work_is_begun_even_if_the_caller_is_cancelled_in_that_tick() -> None:
    """A cancellation between handing over and the first step does not stop the work."""
    background, work = Background(), Work()
    caller = asyncio.create_task(background.settle(work()))
    await asyncio.sleep(0)
    caller.cancel()
    work.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await background.drain(5)

    assert work.end == "finished"


async def test_settling_passes_the_failure_on() -> None:
    """Whoever awaits gets the very error that the work ended with."""
    background, error = Background(), ValueError("why")
    work = Work(error)
    work.go_on.set()

    with pytest.raises(ValueError, match="why") as caught:
        await background.settle(work())
    assert caught.value is error


async def test_a_failure_that_nobody_awaits_is_logged_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has the error's class, and Python has nothing left to complain about."""
    caplog.set_level(logging.DEBUG)
    background = Background()
    work = Work(ValueError("secret"))
    work.go_on.set()
    background.spawn(work())
    await background.drain(5)
    gc.collect()

    assert [(r.name, r.message) for r in caplog.records if "asyncio" not in r.name] == [
        ("sanic_cookies", "background work ended with ValueError")
    ]
    assert "never retrieved" not in caplog.text


async def test_a_task_is_kept_though_nobody_else_knows_it() -> None:
    """The event loop holds tasks weakly; here none is lost to the garbage collector."""
    background, works = Background(), [Work() for _ in range(50)]
    for work in works:
        background.spawn(work())
    await asyncio.gather(*(work.began.wait() for work in works))
    gc.collect()

    assert len(background) == 50

    for work in works:
        work.go_on.set()
    await background.drain(5)

    assert {work.end for work in works} == {"finished"}
    assert len(background) == 0


async def test_draining_cancels_what_is_late() -> None:
    """Nothing outlives the drain: after its time-out, what is left is cancelled and awaited."""
    background, late, quick = Background(), Work(), Work()
    quick.go_on.set()
    background.spawn(late())
    background.spawn(quick())
    await background.drain(0.005)

    assert (late.end, quick.end) == ("cancelled", "finished")
    assert len(background) == 0


async def test_draining_waits_for_what_the_work_begins() -> None:
    """Work that begins other work is not over: what a failure leaves to be done is done, too."""
    background, second = Background(), Work()

    async def first() -> None:
        await asyncio.sleep(0)
        background.spawn(second())
        asyncio.get_running_loop().call_later(0.02, second.go_on.set)

    background.spawn(first())
    await background.drain(5)

    assert second.end == "finished"
    assert len(background) == 0


async def test_draining_cancels_what_is_begun_too_late() -> None:
    """What cancelled work begins in its turn outlives the drain as little."""
    background, second, began = Background(), Work(), asyncio.Event()

    async def first() -> None:
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            background.spawn(second())
            await asyncio.sleep(0)

    background.spawn(first())
    await began.wait()
    async with asyncio.timeout(30):
        await background.drain(0.005)

    assert second.end == "cancelled"
    assert len(background) == 0


async def test_draining_nothing_is_done_at_once() -> None:
    """With no work there is nothing to wait for."""
    with pytest.raises(StopIteration):
        Background().drain(60).send(None)


def test_tasks_of_another_loop_are_left_alone() -> None:
    """A drain in a new loop does not wait for tasks of one that is gone."""
    background = Background()

    async def begin() -> None:
        background.spawn(asyncio.sleep(60))

    async def end() -> None:
        async with asyncio.timeout(30):
            await background.drain(1)

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first.run_until_complete(begin())
        second.run_until_complete(end())
        assert len(background) == 1
        first.run_until_complete(background.drain(0))
        assert len(background) == 0
    finally:
        first.close()
        second.close()
