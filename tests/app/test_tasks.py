"""Two tasks of one request: neither takes along, or loses, what the other one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lab import Failed, Lab, until
from sanic_cookies import InMemory, SessionDict, SessionInterrupted


def put(sess: SessionDict) -> None:
    sess["a"] = 1
    assert sess["a"] == 1


def take(sess: SessionDict) -> None:
    del sess["n"]
    assert "n" not in sess


def change_both(sess: SessionDict) -> None:
    take(sess)
    put(sess)


CHANGES = [(put, {"n": 0, "a": 1}), (take, {}), (change_both, {"a": 1})]


@pytest.mark.parametrize(("change", "left"), CHANGES)
@pytest.mark.parametrize("fails", [False, True])
async def test_a_change_while_another_task_waits_for_its_block(
    change: Callable[[SessionDict], None], left: dict[str, int], fails: bool
) -> None:
    """What one task changes while another waits for the lock is saved, whatever becomes of it."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def hold(sess: SessionDict) -> None:
        async with sess:
            sess["held"] = 1
            inside.set()
            await go.wait()

    async def block(sess: SessionDict) -> None:
        async with sess:
            sess["b"] = 1
            if fails:
                raise Failed

    async def body(sess: SessionDict) -> None:
        other = asyncio.create_task(block(sess))
        await until(lambda: lab.session.stats()["waiting"] == 1)
        change(sess)
        go.set()
        await asyncio.gather(other, return_exceptions=True)

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=0)
        held = asyncio.create_task(lab.do(hold))
        await inside.wait()
        await lab.do(body)
        await held
        both = {"held": 1} if fails else {"held": 1, "b": 1}
        assert await lab.stored() == {**left, **both}


class Slow(InMemory):
    """Takes its time to save; of which tests are told."""

    def __init__(self) -> None:
        super().__init__()
        self.saving, self.go = asyncio.Event(), asyncio.Event()

    async def save(self, draft: Any) -> Any:
        self.saving.set()
        await self.go.wait()
        return await super().save(draft)


async def beside_a_leaving_block(
    act: Callable[[SessionDict], object], left: dict[str, int]
) -> None:
    """Have one task act while another one's block is being stored; see what is stored then."""
    slow = Slow()

    async def block(sess: SessionDict) -> None:
        async with sess:
            sess["b"] = 1

    async def body(sess: SessionDict) -> None:
        other = asyncio.create_task(block(sess))
        await slow.saving.wait()
        assert sess["b"] == 1
        act(sess)
        slow.go.set()
        await other

    async with Lab(slow, warn_lock=False) as lab:
        await lab.put(n=0)
        await lab.do(body)
        assert await lab.stored() == {**left, "b": 1}


@pytest.mark.parametrize(("change", "left"), CHANGES)
async def test_a_change_while_another_task_leaves_its_block(
    change: Callable[[SessionDict], None], left: dict[str, int]
) -> None:
    """What one task changes while another one's block is being stored is saved after it."""
    await beside_a_leaving_block(change, left)


async def test_a_deletion_of_what_is_not_there() -> None:
    """A key that is not there cannot be deleted, while another task waits or not."""

    def delete(sess: SessionDict) -> None:
        with pytest.raises(KeyError):
            del sess["a"]

    await beside_a_leaving_block(delete, {"n": 0})


async def test_save_waits_for_another_tasks_block(master: Any) -> None:
    """`save()` stores nothing of a block that another task has open, which may yet fail."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def block(sess: SessionDict) -> None:
        async with sess:
            sess["b"] = 1
            inside.set()
            await go.wait()
            raise Failed

    async def body(sess: SessionDict) -> None:
        other = asyncio.create_task(block(sess))
        await inside.wait()
        saving = asyncio.create_task(sess.save())
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(Failed):
            await other
        await saving

    async with Lab(master, warn_lock=False) as lab:
        await lab.put(n=0)
        await lab.do(body)
        assert await lab.stored() == {"n": 0}


class SlowToBegin(Slow):
    """Takes its time to store a new session, too."""

    async def create(self, draft: Any) -> Any:
        self.saving.set()
        await self.go.wait()
        return await super().create(draft)


@pytest.mark.parametrize("store", [Slow, SlowToBegin], ids=["saved", "begun"])
@pytest.mark.parametrize("end", [SessionDict.destroy, SessionDict.reset])
async def test_a_session_that_is_ended_while_another_task_leaves_its_block(
    store: type[Slow], end: Callable[[SessionDict], None]
) -> None:
    """One task stores its block, one ends the session: it has ended with the response."""
    slow, sids = store(), []

    async def block(sess: SessionDict) -> None:
        async with sess:
            sess["b"] = 1
        sids.append(sess.presented)

    async def body(sess: SessionDict) -> None:
        other = asyncio.create_task(block(sess))
        await slow.saving.wait()
        end(sess)
        assert dict(sess) == {}
        slow.go.set()
        await other

    async with Lab(slow, warn_lock=False) as lab:
        if store is Slow:
            await lab.put(n=0)
        await lab.do(body)

        assert lab.browser.cookies == {}
        assert not await lab.session.exists(sids[0])


async def test_a_session_that_is_destroyed_while_another_task_waits_for_its_block() -> None:
    """The block is stored first, then the session ends: it was asked to with the response."""
    inside, go, sids = asyncio.Event(), asyncio.Event(), []

    async def hold(sess: SessionDict) -> None:
        async with sess:
            sids.append(sess.sid)
            inside.set()
            await go.wait()

    async def block(sess: SessionDict) -> None:
        async with sess:
            sess["b"] = 1

    async def body(sess: SessionDict) -> None:
        other = asyncio.create_task(block(sess))
        await until(lambda: lab.session.stats()["waiting"] == 1)
        sess.destroy()
        go.set()
        await other

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=0)
        held = asyncio.create_task(lab.do(hold))
        await inside.wait()
        await lab.do(body)
        await held

        assert lab.browser.cookies == {}
        assert not await lab.session.exists(sids[0])


@pytest.mark.parametrize("change", [None, SessionDict.clear])
async def test_a_session_that_is_destroyed_as_another_task_saves_it(change: Any) -> None:
    """Whoever saves is told that the session has ended, if it did in the tick before the write."""
    now, sids = asyncio.Event(), []

    async def destroy(sess: SessionDict) -> None:
        await now.wait()
        sess.destroy()

    async def body(sess: SessionDict) -> None:
        other = asyncio.create_task(destroy(sess))
        await asyncio.sleep(0)
        sids.append(sess.presented)
        async with sess:
            if change is None:
                sess["b"] = 1
            else:
                change(sess)
            now.set()
            if change is None:
                with pytest.raises(SessionInterrupted):
                    await sess.save()
            else:
                await sess.save()
        await other

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=0)
        await lab.do(body)

        assert lab.browser.cookies == {}
        assert not await lab.session.exists(sids[0])


@pytest.mark.parametrize("is_new", [False, True], ids=["known", "new"])
@pytest.mark.parametrize("writes", [False, True], ids=["looks", "writes"])
async def test_tasks_of_one_request_have_their_blocks_one_by_one(
    master: Any, is_new: bool, writes: bool
) -> None:
    """One task at a time is inside, in the order in which they came; who is cancelled is left out.

    A cancelled one neither enters nor lets anybody in before the block that it has waited for ends.
    """
    order: list[int] = []

    async def body(sess: SessionDict) -> list[str]:
        inside: set[int] = set()

        async def block(number: int) -> None:
            async with sess:
                inside.add(number)
                order.append(number)
                for _ in range(20):  # long enough for anybody who does not wait
                    await asyncio.sleep(0)
                    assert inside == {number}
                if writes:
                    sess["n"] = sess.get("n", 0) + 1
                inside.remove(number)

        tasks = [asyncio.create_task(block(number)) for number in range(6)]
        await until(lambda: order == [0])
        for cancelled in (tasks[1], tasks[3]):
            cancelled.cancel()
        async with asyncio.timeout(30):
            done = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(each).__name__ for each in done]

    async with Lab(master) as lab:
        if not is_new:
            await lab.put(n=0)
        none, cancelled = "NoneType", "CancelledError"
        assert await lab.do(body) == [none, cancelled, none, cancelled, none, none]
        assert order == [0, 2, 4, 5]
        assert (await lab.stored()).get("n", 0) == (4 if writes else 0)


async def test_who_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    """A task that is cancelled in the tick in which it may enter keeps no other one waiting."""
    entered: list[int] = []

    async def body(sess: SessionDict) -> None:
        async def block(number: int) -> None:
            async with sess:
                entered.append(number)

        async with sess:
            tasks = [asyncio.create_task(block(number)) for number in range(2)]
            await asyncio.sleep(0)  # they wait now
        tasks[0].cancel()  # whose turn has come, and who has not run since
        async with asyncio.timeout(5):
            await asyncio.wait(tasks)
        assert tasks[0].cancelled()

    async with Lab() as lab:
        await lab.put(n=0)
        await lab.do(body)
        assert entered == [1]
