"""Two tasks of one request: neither takes along, or loses, what the other one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lab import Failed, Lab, until
from sanic_cookies import InMemory, SessionDict


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
