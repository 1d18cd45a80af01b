"""Handlers that catch what a block raises, and go on: what it has not done is as if never asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from lab import Failed, Lab
from sanic_cookies import InMemory, SessionDict
from sanic_cookies.errors import (
    SessionLockTimeout,
    SessionNotSerializable,
    SessionStoreError,
    SessionTooLarge,
)
from sanic_cookies.testing import Faulty


def put_object(sess: SessionDict) -> None:
    sess["m"] = object()


def put_much(sess: SessionDict) -> None:
    sess["m"] = "m" * 1000


@pytest.mark.parametrize(
    ("put", "error"), [(put_object, SessionNotSerializable), (put_much, SessionTooLarge)]
)
async def test_a_refused_block_leaves_the_unlocked_change(
    master: Any, put: Callable[[SessionDict], None], error: type[Exception]
) -> None:
    """What was changed without the lock is saved, though a block with it in was refused."""

    async def body(sess: SessionDict) -> Any:
        sess["a"] = 1
        with pytest.raises(error):
            async with sess:
                put(sess)
        return sess["a"]

    async with Lab(master, warn_lock=False, max_bytes=500) as lab:
        await lab.put(n=0)
        assert await lab.do(body) == 1
        assert await lab.stored() == {"n": 0, "a": 1}


async def test_a_refused_block_ends_nothing(master: Any) -> None:
    """A session that a block has destroyed lives on if the block is refused."""

    async def body(sess: SessionDict) -> None:
        with pytest.raises(SessionNotSerializable):
            async with sess:
                sess.destroy()
                sess["m"] = object()

    async with Lab(master) as lab:
        await lab.put(n=0)
        await lab.do(body)
        assert await lab.stored() == {"n": 0}


async def test_an_unlocked_change_that_cannot_be_saved_is_told() -> None:
    """Who catches the refusal of what was changed without the lock gets it with the response."""

    async def body(sess: SessionDict) -> None:
        put_object(sess)
        with pytest.raises(SessionNotSerializable):
            async with sess:
                sess["a"] = 1

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=0)
        assert (await lab.visit(body)).status_code == 500
        assert await lab.stored() == {"n": 0}


async def test_a_block_that_was_not_stored_leaves_the_unlocked_change() -> None:
    """What was changed without the lock is tried once more after a block that the store failed."""
    faulty = Faulty(InMemory())

    async def body(sess: SessionDict) -> None:
        sess["a"] = 1
        faulty.fail("save")
        with pytest.raises(SessionStoreError):
            async with sess:
                sess["b"] = 1

    async with Lab(faulty, warn_lock=False) as lab:
        await lab.put(n=0)
        await lab.do(body)
        assert await lab.stored() == {"n": 0, "a": 1}


async def test_an_unlocked_change_is_seen_after_a_lock_timeout() -> None:
    """A block that did not get its lock has taken no unlocked change along."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def hold(sess: SessionDict) -> None:
        async with sess:
            inside.set()
            await go.wait()

    async def body(sess: SessionDict) -> Any:
        sess["a"] = 1
        del sess["n"]
        with pytest.raises(SessionLockTimeout):
            async with sess:
                sess["b"] = 1
        go.set()
        return dict(sess)

    async with Lab(warn_lock=False, lock_timeout=0.1) as lab:
        await lab.put(n=0, m=0)
        held = asyncio.create_task(lab.do(hold))
        await inside.wait()
        assert await lab.do(body) == {"a": 1, "m": 0}
        await held
        assert await lab.stored() == {"a": 1, "m": 0}


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_request_sees_of_a_session_that_it_has_destroyed(fails: bool) -> None:
    """It is a new one at once, without id and data; after a block that fails it is the old one."""

    async def body(sess: SessionDict) -> None:
        sid = sess.sid
        with suppress(Failed):
            async with sess:
                sess.destroy()
                assert (sess.is_new, sess.sid, sess.presented, dict(sess)) == (True, None, None, {})
                assert repr(sess) == "<SessionDict session new sid=->"
                if fails:
                    raise Failed
        assert sess.sid == (sid if fails else None)
        assert await sess.peek() == ({"n": 1} if fails else {})

    async with Lab() as lab:
        await lab.put(n=1)
        await lab.do(body)
        assert await lab.stored() == ({"n": 1} if fails else {})


async def test_a_session_that_is_ended_twice() -> None:
    """`end()` says that there was one to end, also where `destroy()` had asked for it before."""

    async def body(sess: SessionDict) -> None:
        sess.destroy()
        assert [await sess.end(), await sess.end()] == [True, False]

    async with Lab() as lab:
        await lab.put(n=1)
        await lab.do(body)
        assert lab.browser.cookies == {}
