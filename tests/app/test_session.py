"""The block, `peek`, and what is decided at a block's end, as a client sees it."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from sanic import Request, json, text

from auth_lab import Clock
from harness import Browser, make_app, serve, set_cookies
from lab import Failed, Lab, failing_block, until
from sanic_cookies import (
    InCookieEncrypted,
    InMemory,
    Session,
    SessionDict,
    SessionInterrupted,
    SessionLockTimeout,
    SessionNotLoaded,
    SessionStoreError,
)
from sanic_cookies.session_dict.state import SessionState
from sanic_cookies.testing import Faulty


class Watched(InMemory):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = 0

    async def fetch(self, name: str, sid: str) -> Any:
        self.reads += 1
        return await super().fetch(name, sid)

    async def create(self, draft: Any) -> bool:
        self.writes += 1
        return await super().create(draft)

    async def save(self, draft: Any) -> Any:
        self.writes += 1
        return await super().save(draft)


async def put_n(sess: SessionDict) -> None:
    async with sess:
        sess["n"] = 1 + sess["n"]


async def rotate_it(sess: SessionDict) -> None:
    async with sess:
        sess.rotate()


async def live_short(sess: SessionDict) -> None:
    async with sess:
        sess.set_expiry(timedelta(seconds=500))


async def whole(interface: InMemory, sid: str) -> dict[str, Any]:
    """Return what an interface has of a session, with times from now on, and not its own past."""
    record = await interface.fetch("session", sid)
    assert record is not None
    ends = {"expires_at", "deadline", "previous_until"}
    return {
        # Roughly: what is left of a grace is counted by this machine's clock, which goes on.
        name: round(max(value - record.now, 0.0) / 8) if name in ends else value
        for name, value in structs.asdict(record).items()
        if name not in ("now", "created_at", "last_seen", "rotated_at")
    }


async def live_as_ever(sess: SessionDict) -> None:
    async with sess:
        sess.set_expiry(None)


# The block.


async def test_a_block_saves(master: Any) -> None:
    """What a block leaves is what the next request reads, types and order included."""
    values = {"n": 1, "text": "é\0", "none": None, "yes": True, "half": 0.5, "deep": {"a": [{}]}}
    async with Lab(master) as lab:
        await lab.put(**values)

        assert list((await lab.stored()).items()) == list(values.items())


async def test_a_nested_change_is_saved(master: Any) -> None:
    """Changing what stands inside a value counts as a change of the session."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["cart"].append("tea")
            assert sess.is_modified

    async with Lab(master) as lab:
        await lab.put(cart=[])
        await lab.do(body)

        assert await lab.stored() == {"cart": ["tea"]}


async def test_an_unchanged_session_is_never_written() -> None:
    """A block that only reads, or writes what was there already, makes no write."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = sess["n"]
            assert not sess.is_modified

    master = Watched()
    async with Lab(master) as lab:
        await lab.put(n=1)
        before = master.writes
        for _ in range(3):
            await lab.do(body)

        assert master.writes == before


async def test_a_look_creates_nothing(master: Any) -> None:
    """A block without a write stores nothing and sets no cookie."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            assert sess.get("n") is None

    async with Lab(master) as lab:
        response = await lab.visit(body)

        assert (response.status_code, set_cookies(response)) == (200, [])


@pytest.mark.parametrize("error", [Failed, asyncio.CancelledError])
async def test_an_exception_rolls_back(master: Any, error: type[BaseException]) -> None:
    """An exception in the block leaves the store as it was and goes on unchanged."""

    def change(sess: SessionDict) -> None:
        sess["n"] = 2
        sess["deep"].append(1)
        del sess["gone"]

    async def body(sess: SessionDict) -> None:
        raised = error()
        with pytest.raises(error) as caught:
            await failing_block(sess, change, raised)
        assert caught.value is raised
        assert not sess.is_locked()

    async with Lab(master) as lab:
        await lab.put(n=1, deep=[], gone=1)
        await lab.do(body)

        assert await lab.stored() == {"n": 1, "deep": [], "gone": 1}


async def test_an_exception_creates_nothing() -> None:
    """A new session whose block fails is neither stored nor sent."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 1
            raise Failed

    master = InMemory()
    async with Lab(master) as lab:
        response = await lab.visit(body)

        assert (response.status_code, set_cookies(response), len(master)) == (500, [], 0)


async def test_a_failing_inner_block_takes_back_only_its_own() -> None:
    """An exception that ends at an inner block's edge keeps what the outer block did."""

    def change(sess: SessionDict) -> None:
        sess["list"].append("inner")
        sess["inner"] = 1
        sess.rotate()

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["list"] = ["outer"]
            with pytest.raises(Failed):
                await failing_block(sess, change)
            sess["after"] = 1

    async with Lab() as lab:
        await lab.put(first=1)
        cookies = dict(lab.browser.cookies)
        await lab.do(body)

        assert await lab.stored() == {"first": 1, "list": ["outer"], "after": 1}
        assert lab.browser.cookies == cookies


async def test_a_destroy_in_a_failing_inner_block_is_taken_back() -> None:
    """A session that was destroyed in an inner block that failed lives on."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            with pytest.raises(Failed):
                await failing_block(sess, SessionDict.destroy)
            sess["n"] += 1

    async with Lab() as lab:
        await lab.put(n=1)
        await lab.do(body)

        assert await lab.stored() == {"n": 2}


async def test_a_destroy_in_a_failing_block_is_taken_back() -> None:
    """A session that was destroyed in a block that failed lives on."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess.destroy()
            raise Failed

    async with Lab() as lab:
        await lab.put(n=1)
        response = await lab.visit(body)

        assert set_cookies(response) == []
        assert await lab.stored() == {"n": 1}


async def test_what_is_changed_back_behind_a_save_is_saved(master: Any) -> None:
    """A block's end compares with what was saved last, not with what the block began with."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            for n in (2, 3, 1):
                await sess.save()
                sess["n"] = n

    async with Lab(master) as lab:
        await lab.put(n=1)
        await lab.do(body)
        assert await lab.stored() == {"n": 1}


async def test_what_a_save_has_merged_is_not_merged_again(master: Any) -> None:
    """What was changed without the lock is saved once, whatever becomes of the block after it."""

    async def body(sess: SessionDict) -> None:
        sess["n"] = 2
        with pytest.raises(Failed):
            async with sess:
                await sess.save()
                raise Failed
        if master.__class__ is not InCookieEncrypted:
            await lab.do(put_n, browser=other)

    async with Lab(master, warn_lock=False) as lab, await lab.open_browser() as other:
        await lab.put(n=1)
        other.cookies = dict(lab.browser.cookies)
        await lab.do(body)
        assert await lab.stored() == {"n": 2 if master.__class__ is InCookieEncrypted else 3}


async def test_every_request_is_saved_once() -> None:
    """With `save_every_request` a block that has written is enough."""
    master = Watched()
    async with Lab(master, save_every_request=True) as lab:
        await lab.put(n=1)
        before = master.writes
        await lab.do(put_n)
        assert master.writes == before + 1


async def test_save_keeps_what_is_there_so_far(master: Any) -> None:
    """An exception after `save()` takes back only what came after it."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            await sess.save()
            assert sess.is_locked()
            sess["n"] = 3
            raise Failed

    async with Lab(master) as lab:
        await lab.put(n=1)
        response = await lab.visit(body)

        assert response.status_code == 500
        assert await lab.stored() == {"n": 2}


async def test_save_makes_a_new_session(master: Any) -> None:
    """`save()` in the first block of a browser stores the session and sends the cookie."""

    async def body(sess: SessionDict) -> str | None:
        async with sess:
            sess["n"] = 1
            await sess.save()
            sess["n"] = 2
            return sess.sid

    async with Lab(master) as lab:
        sid = await lab.do(body)

        assert sid is not None
        assert await lab.stored() == {"n": 2}


# Who is inside.


async def test_one_request_at_a_time(shared_master: Any) -> None:
    """Two requests that read, wait and write lose nothing: the second waits for the first."""
    inside, go = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def first(sess: SessionDict) -> None:
        async with sess:
            inside.set()
            await go.wait()
            sess["n"] += 1
            order.append("first")

    async def second(sess: SessionDict) -> None:
        async with sess:
            sess["n"] += 1
            order.append("second")

    async with Lab(shared_master) as lab:
        await lab.put(n=0)
        one = asyncio.create_task(lab.do(first))
        await inside.wait()
        two = asyncio.create_task(lab.do(second))
        await until(lambda: lab.session.runtime.locks.waiting == 1)
        go.set()
        await asyncio.gather(one, two)

        assert await lab.stored() == {"n": 2}
        assert order == ["first", "second"]
        assert len(lab.session.runtime.locks) == 0


async def test_the_sessions_of_two_browsers_do_not_wait_for_each_other() -> None:
    """A lock belongs to one session: another browser's request passes."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def slow(sess: SessionDict) -> None:
        async with sess:
            inside.set()
            await go.wait()

    async def quick(sess: SessionDict) -> None:
        async with sess:
            sess["n"] += 1

    async with Lab() as lab:
        await lab.put(n=1)
        other = await lab.open_browser()

        async def begin(sess: SessionDict) -> None:
            async with sess:
                sess["n"] = 1

        await lab.do(begin, browser=other)
        held = asyncio.create_task(lab.do(slow))
        await inside.wait()
        await asyncio.wait_for(lab.do(quick, browser=other), 5)
        go.set()
        await held

        assert await lab.stored(other) == {"n": 2}


async def test_a_request_may_enter_again(master: Any) -> None:
    """A block inside a block of the same task sees and keeps the same data."""

    async def body(sess: SessionDict) -> None:
        async with sess as outer:
            outer["n"] = 1
            async with sess as inner:
                assert inner is outer
                inner["n"] += 1
            assert sess.is_locked()
            outer["n"] += 1

    async with Lab(master) as lab:
        await lab.do(body)

        assert await lab.stored() == {"n": 3}


async def test_two_tasks_of_one_request_take_turns(master: Any) -> None:
    """A block in a second task of the same request waits for the first one's end."""
    order: list[str] = []

    async def add(sess: SessionDict, name: str) -> None:
        async with sess:
            n = sess.get("n", 0)
            order.append(name)
            await asyncio.sleep(0)
            sess["n"] = n + 1
            order.append(name)

    async def body(sess: SessionDict) -> None:
        await asyncio.gather(*(add(sess, name) for name in "abc"))

    async with Lab(master) as lab:
        await lab.do(body)

        assert await lab.stored() == {"n": 3}
        assert order == [*"aabbcc"]


async def test_a_second_task_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A task that its own request's block waits for gets `SessionLockTimeout`; the log says why."""

    async def body(sess: SessionDict) -> None:
        async with sess:

            async def other() -> None:
                async with sess:
                    raise Failed

            with pytest.raises(SessionLockTimeout):
                await asyncio.create_task(other())
            sess["n"] = 1

    async with Lab(lock_timeout=0.1) as lab:
        await lab.do(body)

        assert await lab.stored() == {"n": 1}
        assert lab.session.stats()["lock_timeouts"] == 1
    assert "a block must not wait for tasks that want one of their own" in caplog.text


async def test_a_block_is_handed_to_its_tasks() -> None:
    """Tasks that a block waits for may use its session: it is locked for them, too."""

    async def add(sess: SessionDict, name: str) -> None:
        await asyncio.sleep(0)
        sess[name] = sess.is_locked()

    async def body(sess: SessionDict) -> None:
        async with sess:
            await asyncio.gather(add(sess, "a"), add(sess, "b"))

    async with Lab() as lab:
        await lab.do(body)

        assert await lab.stored() == {"a": True, "b": True}


async def test_is_locked_sees_this_request_and_others() -> None:
    """`is_locked()` is true inside of the block, and for a request that looks on from outside."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def holder(sess: SessionDict) -> list[bool]:
        seen = [sess.is_locked()]
        async with sess:
            seen.append(sess.is_locked())
            inside.set()
            await go.wait()
        return [*seen, sess.is_locked()]

    async def onlooker(sess: SessionDict) -> bool:
        return sess.is_locked()

    async with Lab() as lab:
        await lab.put(n=1)
        held = asyncio.create_task(lab.do(holder))
        await inside.wait()

        assert await lab.do(onlooker) is True
        assert await lab.do(onlooker, browser=await lab.open_browser()) is False
        go.set()
        assert await held == [False, True, False]
        assert await lab.do(onlooker) is False


# Peek.


async def test_peek_needs_no_lock() -> None:
    """`peek()` answers while another request is inside, with what was last saved."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def holder(sess: SessionDict) -> None:
        async with sess:
            sess["n"] = 2
            inside.set()
            await go.wait()

    async with Lab() as lab:
        await lab.put(n=1)
        held = asyncio.create_task(lab.do(holder))
        await inside.wait()

        assert await asyncio.wait_for(lab.stored(), 5) == {"n": 1}
        go.set()
        await held
        assert await lab.stored() == {"n": 2}


async def test_peek_is_read_only_and_read_once(master: Any) -> None:
    """What `peek()` gives cannot be set, is never saved, and is one read for the request."""

    async def body(sess: SessionDict) -> None:
        view: Any = await sess.peek()
        with pytest.raises(TypeError):
            view["n"] = 2
        view["deep"].append(1)
        assert dict(await sess.peek()) == dict(view)
        async with sess:
            assert sess["deep"] == []

    async with Lab(master) as lab:
        await lab.put(n=1, deep=[])
        await lab.do(body)

        assert await lab.stored() == {"n": 1, "deep": []}


async def test_peek_in_a_block_shows_the_block() -> None:
    """`peek()` inside of a block shows what the block has done so far."""

    async def body(sess: SessionDict) -> int:
        async with sess:
            sess["n"] = 2
            return (await sess.peek())["n"]

    async with Lab() as lab:
        assert await lab.do(body) == 2


async def test_peek_of_nothing_is_empty() -> None:
    """`peek()` of an anonymous request is empty and leaves no trace."""
    master = InMemory()
    async with Lab(master) as lab:
        assert await lab.stored() == {}
        assert (lab.browser.cookies, len(master)) == ({}, 0)


# Preload.


async def test_preload_reads_once() -> None:
    """With a cookie a preloaded route reads once, without one never."""
    master = Watched()

    async def nothing(sess: SessionDict) -> None:
        pass

    async with Lab(master) as lab:
        await lab.do(nothing)
        assert master.reads == 0
        await lab.put(n=1)
        before = master.reads
        await lab.do(nothing)

        assert master.reads == before + 1


async def test_what_is_not_preloaded(tmp_path: Any) -> None:
    """Static files, OPTIONS, and routes and sessions that opted out read nothing."""
    (tmp_path / "file.txt").write_text("static")
    master = Watched()
    app = make_app()
    Session(app, master_interface=master)
    app.static("/static", tmp_path)

    @app.get("/write")
    async def write(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return text("")

    @app.get("/out", ctx_session_preload=False)
    async def out(request: Request) -> Any:
        return text("")

    @app.options("/write")
    async def options(request: Request) -> Any:
        return text("")

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/write")
        before = master.reads
        assert (await browser.get("/static/file.txt")).text == "static"
        assert (await browser.get("/out")).status_code == 200
        assert (await browser.request("OPTIONS", "/write")).status_code == 200

        assert master.reads == before


@pytest.mark.parametrize(("options", "folder"), [({"preload": False}, "/"), ({}, "/lazy/")])
async def test_without_preload(options: dict[str, Any], folder: str) -> None:
    """Unread, a plain read raises `SessionNotLoaded`, a plain write is merged, `load()` reads."""

    async def write(sess: SessionDict) -> None:
        sess["b"] = 2
        for read in (lambda: sess["a"], lambda: len(sess), lambda: list(sess), lambda: "a" in sess):
            with pytest.raises(SessionNotLoaded, match=r"async with .*peek\(\).*preload"):
                read()
        assert sess["b"] == 2
        assert "b" in sess

    async def read(sess: SessionDict) -> dict[str, Any]:
        await sess.load()
        return dict(sess)

    async with Lab(warn_lock=False, **options) as lab:
        await lab.put(a=1)
        await lab.do(write, folder=folder)

        assert await lab.do(read, folder=folder) == {"a": 1, "b": 2}


async def test_without_preload_a_peek_is_a_load() -> None:
    """After `peek()` a plain read has what it needs."""

    async def body(sess: SessionDict) -> int:
        await sess.peek()
        return sess["n"]

    async with Lab(warn_lock=False, preload=False) as lab:
        await lab.put(n=1)

        assert await lab.do(body) == 1


# Ways to go on, and to end.


@pytest.mark.parametrize("way", ["rotate", "refresh_sid", "cycle_key"])
async def test_a_rotation_replaces_the_token(master: Any, way: str) -> None:
    """After a rotation the data are there under a new cookie, and the former one is dead."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            getattr(sess, way)()

    async with Lab(master, rotation_grace=0) as lab:
        await lab.put(n=1)
        thief = lab.browser.copy()
        await lab.do(body)

        assert thief.cookies != lab.browser.cookies
        assert await lab.stored() == {"n": 1}
        async with thief:
            assert await lab.stored(thief) == {}


async def test_a_rotation_keeps_the_public_id() -> None:
    """`sid` is the same before and after a rotation: only the secret half changes."""
    sids = []

    async def body(sess: SessionDict) -> None:
        async with sess:
            sids.append(sess.sid)
            sess.rotate()
        sids.append(sess.sid)

    async with Lab() as lab:
        await lab.put(n=1)
        before = lab.browser.cookies["session"].partition(".")
        await lab.do(body)
        after = lab.browser.cookies["session"].partition(".")

        assert {before[0], after[0]} == {*sids}
        assert before[2] != after[2]


async def test_an_unlocked_rotation_happens_with_the_response() -> None:
    """`rotate()` outside of a block gives the new token at the end of the request."""

    async def body(sess: SessionDict) -> None:
        sess.rotate()

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=1)
        before = dict(lab.browser.cookies)
        await lab.do(body)

        assert lab.browser.cookies != before
        assert await lab.stored() == {"n": 1}


async def test_a_reset_session_ends(master: Any) -> None:
    """`reset()` with nothing after it deletes record and cookie."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess.reset()
            assert dict(sess) == {}

    async with Lab(master) as lab:
        await lab.put(n=1)
        copy = lab.browser.copy()
        await lab.do(body)

        assert lab.browser.cookies == {}
        async with copy:
            assert await lab.stored(copy) == {}


async def test_a_reset_session_that_is_written_again_stays(master: Any) -> None:
    """What is written after `reset()` is all that the session holds."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess.reset()
            sess["m"] = 2

    async with Lab(master) as lab:
        await lab.put(n=1)
        await lab.do(body)

        assert await lab.stored() == {"m": 2}


@pytest.mark.parametrize("way", ["destroy", "flush"])
@pytest.mark.parametrize("locked", [True, False])
async def test_a_destroyed_session_is_gone(master: Any, way: str, locked: bool) -> None:
    """`destroy()` deletes record and cookie, in a block and outside of one."""

    async def body(sess: SessionDict) -> None:
        if locked:
            async with sess:
                getattr(sess, way)()
        else:
            getattr(sess, way)()

    async with Lab(master, warn_lock=False) as lab:
        await lab.put(n=1)
        copy = lab.browser.copy()
        await lab.do(body)

        assert lab.browser.cookies == {}
        async with copy:
            assert await lab.stored(copy) == {}


async def test_a_session_that_ends_under_a_block_is_none_any_more(shared_master: Any) -> None:
    """Behind a `SessionInterrupted` its request sees no session, and its browser keeps none."""

    async def body(sess: SessionDict) -> list[Any]:
        with pytest.raises(SessionInterrupted):
            async with sess:
                sess.rotate()
                await sess.save()
                await lab.session.master_interface.delete("session", sess.sid or "")
                sess["n"] = 2
        return [dict(await sess.peek()), sess.sid]

    async with Lab(shared_master) as lab:
        await lab.put(n=1)
        response = await lab.visit(body)
        assert response.json() == [{}, None]
        assert all("Max-Age=0" in line for line in set_cookies(response))
        assert lab.session.stats()["interrupted"] == 1


@pytest.mark.parametrize("folder", ["/", "/lazy/"])
@pytest.mark.parametrize("locked", [True, False])
async def test_a_write_after_destroy_begins_a_new_session(folder: str, locked: bool) -> None:
    """Writing after `destroy()` begins a session with another sid and only the new data."""

    async def body(sess: SessionDict) -> None:
        if locked:
            async with sess:
                sess.destroy()
                sess["m"] = 2
        else:
            sess.destroy()
            sess["m"] = 2

    master = InMemory()
    async with Lab(master, warn_lock=False) as lab:
        await lab.put(n=1)
        before = _sid(lab.browser)
        await lab.do(body, folder=folder)

        assert _sid(lab.browser) != before
        assert await lab.stored() == {"m": 2}
        assert len(master) == 1
        assert not await lab.session.exists(before)


async def test_a_write_after_destroy_with_a_renewed_token() -> None:
    """So it does with a token that `renew_every` has just replaced, whose browser gets the new."""
    clock = Clock()

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess.destroy()
            sess["m"] = 2

    master = InMemory(clock=clock.monotonic)
    async with Lab(master, clock=clock.epoch, renew_every=60) as lab:
        await lab.put(n=1)
        clock.now += 61
        async with await lab.open_browser() as late:
            late.cookies = dict(lab.browser.cookies)
            await lab.put(n=2)
            await lab.do(body, browser=late)

            assert await lab.stored(late) == {"m": 2}
            assert await lab.stored() == {}


async def test_a_store_that_has_no_room_for_a_session_fails() -> None:
    """A session that no id was free for was not stored, and nobody is told that it was."""

    class Taken(InMemory):
        async def create(self, draft: Any) -> bool:
            return False

    async with Lab(Taken()) as lab:
        with pytest.raises(SessionStoreError):
            await lab.put(n=1)
        assert lab.browser.cookies == {}


# What others keep.


@pytest.mark.parametrize("before", [put_n, rotate_it, live_short])
@pytest.mark.parametrize("last", [put_n, rotate_it, live_as_ever])
@pytest.mark.parametrize("renewed", [False, True], ids=["", "renewed"])
async def test_an_interface_that_has_missed_a_write_is_whole_after_the_next(
    before: Any, last: Any, renewed: bool
) -> None:
    """Whatever a write changes, an added interface has the session of the master after it."""
    clock = Clock()
    master, other = (InMemory(clock=clock.monotonic) for _ in range(2))
    faulty = Faulty(other)
    lab = Lab(master, clock=clock.epoch, renew_every=60, absolute_timeout=1000)
    lab.session.add_interface(faulty)
    async with lab:
        await lab.put(n=0)
        clock.now += 61 if renewed else 1
        for operation in ("save", "touch"):
            faulty.fail(operation, times=None)
        await lab.do(before)
        clock.now += 1
        faulty.heal()
        await lab.do(last)

        sid = _sid(lab.browser)
        assert await whole(other, sid) == await whole(master, sid)


# What can be asked.


async def test_what_a_new_session_says_of_itself() -> None:
    """Before it is stored a session is new and has no id and no times; afterwards it has."""

    async def body(sess: SessionDict) -> None:
        assert (sess.accessed, sess.is_new, sess.is_modified) == (False, True, False)
        async with sess:
            assert (sess.accessed, sess.is_new, sess.is_empty) == (True, True, True)
            assert [sess.sid, sess.created_at, sess.last_seen, sess.expires_at] == [None] * 4
            sess["n"] = 1
            assert (sess.is_modified, sess.is_empty, sess.is_new) == (True, False, True)
        assert not sess.is_new
        assert not sess.is_modified
        assert sess.sid is not None

    async with Lab(warn_lock=False) as lab:
        await lab.do(body)


async def test_what_a_stored_session_says_of_itself(shared_master: Any) -> None:
    """A stored session knows its public id, and its times by the store's clock."""

    async def body(sess: SessionDict) -> list[Any]:
        async with sess:
            assert (sess.is_new, sess.is_empty, sess.is_modified) == (False, False, False)
            return [sess.sid, sess.created_at, sess.last_seen, sess.expires_at]

    async with Lab(shared_master, expiry=600) as lab:
        await lab.put(n=1)
        sid, created, seen, expires = await lab.do(body)

        assert sid == _sid(lab.browser)
        assert await lab.session.exists(sid)
        assert created == pytest.approx(time.time(), abs=30)
        assert seen == pytest.approx(created, abs=1)
        assert expires == pytest.approx(seen + 600, abs=1)


async def test_it_is_a_full_mapping(master: Any) -> None:
    """Everything that a `MutableMapping` can do works, and is saved."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            assert sess == {"a": 1, "b": 2, "c": 3}
            assert (len(sess), list(sess), "a" in sess, "x" in sess) == (
                3,
                ["a", "b", "c"],
                True,
                False,
            )
            assert (sess.get("a"), sess.get("x"), sess.get("x", 0)) == (1, None, 0)
            assert list(sess.items()) == [("a", 1), ("b", 2), ("c", 3)]
            assert (list(sess.keys()), list(sess.values())) == (["a", "b", "c"], [1, 2, 3])
            with pytest.raises(KeyError):
                sess["x"]
            with pytest.raises(KeyError):
                del sess["x"]
            assert (sess.pop("a"), sess.pop("x", 9)) == (1, 9)
            assert sess.setdefault("b", 5) == 2
            assert sess.setdefault("d", []) == []
            sess["d"].append(4)
            del sess["b"]
            sess.update({"e": 5}, f=6)
            assert sess.popitem()[0] in "cdef"

    async with Lab(master) as lab:
        await lab.put(a=1, b=2, c=3)
        await lab.do(body)

        assert await lab.stored() == {"d": [4], "e": 5, "f": 6}


async def test_clear_ends_the_session() -> None:
    """`clear()` leaves nothing worth a record."""

    async def body(sess: SessionDict) -> None:
        async with sess:
            sess.clear()
            assert sess.is_empty

    master = InMemory()
    async with Lab(master) as lab:
        await lab.put(a=1)
        await lab.do(body)

        assert (lab.browser.cookies, len(master)) == ({}, 0)


async def test_repr_shows_no_contents() -> None:
    """`repr` and `str` show name, state and public id: no data, no secret."""

    async def body(sess: SessionDict) -> list[str]:
        async with sess:
            return [repr(sess), str(sess), f"{sess}"]

    async with Lab() as lab:
        await lab.put(password="hunter2")
        sid, _, secret = lab.browser.cookies["session"].partition(".")
        for shown in await lab.do(body):
            assert sid in shown
            assert secret not in shown
            assert "hunter2" not in shown
            assert "password" not in shown


async def test_a_dump_of_its_attributes_shows_no_secret() -> None:
    """What tools show of an object when an error is reported lets nobody in."""

    async def body(sess: SessionDict) -> list[str]:
        async with sess:
            sess["n"] = 2
            sess.rotate()
            async with sess:
                await sess.save()
                return [repr(getattr(sess, name)) for name in SessionState.__slots__]

    async with Lab() as lab:
        await lab.put(n=1)
        former = lab.browser.cookies["session"].partition(".")[2]
        dumped = await lab.do(body)
        latter = lab.browser.cookies["session"].partition(".")[2]

    assert former != latter
    assert [each for each in dumped if former in each or latter in each] == []


async def test_two_requests_of_a_new_browser_get_two_sessions() -> None:
    """Without a cookie nothing is shared: each first request makes its own session."""
    app = make_app()
    Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = sess.get("n", 0) + 1
        return json(sess.sid)

    async with serve(app) as url, Browser(url) as one, Browser(url) as two:
        sids = {(await browser.get("/")).json() for browser in (one, two)}

        assert len(sids) == 2
        assert (await one.get("/")).json() in sids


def _sid(browser: Browser) -> str:
    return browser.cookies["session"].partition(".")[0]
