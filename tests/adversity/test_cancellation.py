"""A request that is cancelled, at whatever await, leaves nothing half done and nothing locked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest

from bare import bare_session, begin, request_with, value_of
from lab import Failed, until
from sanic_cookies import Session, SessionDict, SessionLockLost, SessionStoreError
from sanic_cookies.content import Identity
from sanic_cookies.interfaces import guard
from sanic_cookies.interfaces.base import Interface, SupportsLease
from sanic_cookies.record import Busy, Claim, Draft, Granted, Outcome
from sanic_cookies.session_dict import locker
from sanic_cookies.testing.faults import Faulty
from sanic_cookies.token import Credential

STEPS = 60


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a lease for the second time soon: hundreds of cancellations are waited for here."""
    monkeypatch.setattr(locker, "_RETURN_AGAIN", 0.02)


async def quiet(session: Session) -> None:
    """Wait until nothing is under way any more."""
    await session.runtime.background.drain(30)
    assert len(session.runtime.background) == 0
    assert len(session.runtime.locks) == 0


async def is_free(interface: Interface, token: Credential, within: float = 5) -> bool:
    """Say whether the session's lease can be had within so many seconds; it would last for ten."""
    if not isinstance(interface, SupportsLease):
        return True
    end, late = time.monotonic() + within, False
    claim = Claim("probe", 5, token.secret_hash)
    while not late:
        late = time.monotonic() > end  # known before the last try, which a pause may delay
        answer = await interface.acquire("session", token.sid, claim)
        if isinstance(answer, Granted) and answer.held:
            await interface.release("session", token.sid, "probe")
            return True
        await interface.turn("session", token.sid, "probe", 0.1)
    return False


async def step(times: int) -> None:
    """Let the loop go round so many times, with I/O."""
    for _ in range(times):
        await asyncio.sleep(0)


async def cancelled_after(work: Callable[[], object], steps: int) -> bool:
    """Run `work`, cancel it after so many rounds of the loop; say whether that came too late."""
    task = asyncio.ensure_future(work())  # type: ignore[call-overload]
    await step(steps)
    finished = bool(task.done())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return finished


async def test_cancelled_block_is_all_or_nothing(interface: Interface) -> None:
    """Cancelled at any await of enter, body or exit, a block has written all its data or none."""
    session = bare_session(interface)
    written, finished, steps = set(), False, -1
    # A busy machine takes more rounds of the loop for an answer than an idle one.
    while (steps := steps + 1) < STEPS or not finished:
        cookie = await begin(session, a=0, b=0)
        token = Credential.parse(cookie)
        assert token is not None

        async def block(cookie: str = cookie) -> None:
            async with request_with(session, cookie) as sess:
                sess["a"] += 1
                await asyncio.sleep(0)
                sess["b"] += 1

        finished = await cancelled_after(block, steps)
        await quiet(session)

        data = dict(await request_with(session, cookie).peek())
        assert data in ({"a": 0, "b": 0}, {"a": 1, "b": 1})
        written.add(data["a"])
        assert await is_free(interface, token)
    assert written == {0, 1}, "the steps did not reach from before the block to behind it"


async def test_cancelled_creation_leaves_no_half_record(interface: Interface) -> None:
    """A new session whose request is cancelled is there as a whole or not at all."""
    session = bare_session(interface)
    for steps in range(0, STEPS, 3):
        sess = request_with(session, None)

        async def block(sess: object = sess) -> None:
            async with sess:  # type: ignore[attr-defined]
                sess.update(a=1, b=1)  # type: ignore[attr-defined]

        await cancelled_after(block, steps)
        await quiet(session)

        value = value_of(sess)
        record = None if value is None else await interface.fetch("session", value.split(".")[0])
        if record is not None:
            assert dict(await request_with(session, value).peek()) == {"a": 1, "b": 1}


async def test_cancelled_waiter_is_passed_over(interface: Interface) -> None:
    """A waiter that is cancelled in its turn or before hands on what it got."""
    session = bare_session(interface)
    cookie = await begin(session, count=0)
    token = Credential.parse(cookie)
    assert token is not None

    async def increment() -> None:
        async with request_with(session, cookie) as sess:
            sess["count"] += 1

    for steps in range(STEPS):
        victims = [asyncio.create_task(increment()) for _ in range(4)]
        survivors = [asyncio.create_task(increment()) for _ in range(2)]
        await step(steps)
        for victim in victims:
            victim.cancel()
        await asyncio.wait_for(asyncio.gather(*survivors), 30)
        await asyncio.gather(*victims, return_exceptions=True)
        await quiet(session)
        assert await is_free(interface, token)


async def test_cancelled_logout_is_whole(interface: Interface) -> None:
    """A logout that is cancelled has ended the session in all interfaces or in none."""
    session = bare_session(interface)
    outcomes = set()
    for steps in range(0, STEPS, 2):
        cookie = await begin(session, a=1)
        await cancelled_after(request_with(session, cookie).end, steps)
        await quiet(session)
        outcomes.add(bool(await request_with(session, cookie).peek()))
    assert outcomes == {True, False}


@pytest.mark.parametrize("clients", [40])
async def test_cancellations_never_cross_sessions(interface: Interface, clients: int) -> None:
    """With one request in ten cancelled at random, nobody ever sees another one's data."""
    session = bare_session(interface, max_waiters=1000)
    cookies = [await begin(session, owner=number) for number in range(20)]

    async def client(seed: int) -> None:
        for turn in range(25):
            number = (seed * 7 + turn * 3) % len(cookies)
            task = asyncio.create_task(look(number))
            if (seed + turn) % 10 == 0:
                await step((seed * turn) % 9)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()  # an assertion that failed in it is this test's failure

    async def look(number: int) -> None:
        async with request_with(session, cookies[number]) as sess:
            assert sess["owner"] == number
            sess["seen"] = sess.get("seen", 0) + 1
        assert (await request_with(session, cookies[number]).peek())["owner"] == number

    await asyncio.gather(*map(client, range(clients)))
    await quiet(session)


class Unanswered:
    """A session whose next commit is carried out, and not answered before all is over."""

    def __init__(self, interface: Interface) -> None:
        self._store = Faulty(interface)
        self.session = bare_session(self._store)
        self._carried_out, self._late = asyncio.Event(), asyncio.Event()

    async def begin(self, error: Exception | None = None) -> None:
        """Begin a session, whose next commit is answered late, or raises `error`."""

        async def unanswered() -> None:
            self._carried_out.set()
            if error is not None:
                raise error
            await self._late.wait()

        self.cookie = await begin(self.session, n=0)
        self._store._add("commit", 1, 1, after=unanswered)

    async def carried_out(self) -> None:
        """Wait until the commit is carried out; say what was asked of the store if it never is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._carried_out.wait(), 30)
        assert self._carried_out.is_set(), self._store.calls

    def request(self) -> SessionDict:
        return request_with(self.session, self.cookie)

    def set(self, key: str, waiting: int = 0) -> asyncio.Task[None]:
        """Have a request of its own set `key`, and leave once so many others wait."""

        async def block() -> None:
            async with self.request() as sess:
                sess[key] = 1
                await self.queued(waiting)

        return asyncio.create_task(block())

    async def queued(self, number: int) -> None:
        await until(lambda: self.session.runtime.locks.waiting == number)

    def answer(self) -> None:
        """Have the store answer what it has kept to itself."""
        self._late.set()

    async def data(self) -> dict[str, int]:
        self.answer()
        await quiet(self.session)
        return dict(await self.request().peek())


async def test_who_comes_after_a_cancelled_write_gets_a_lease(interface: Interface) -> None:
    """A write that had given the lease back leaves it to nobody when it is made once more."""
    store = Unanswered(interface)
    await store.begin()
    first = store.set("a")
    await store.carried_out()
    second = store.set("b")
    await store.queued(1)
    first.cancel()
    await asyncio.wait_for(second, 30)

    assert await store.data() == {"n": 0, "a": 1, "b": 1}


async def test_a_cancelled_write_that_others_followed_is_no_lost_lock(
    interface: Interface, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that was made, and whose repetition finds another process's, alarms nobody.

    A line that nobody is woken by says what is not known.
    """
    caplog.set_level(logging.INFO, "sanic_cookies")
    store, elsewhere = Unanswered(interface), bare_session(interface)
    await store.begin()
    first = store.set("a")
    await store.carried_out()
    async with request_with(elsewhere, store.cookie) as sess:
        sess["b"] = 1
    first.cancel()
    await asyncio.wait([first])

    assert await store.data() == {"n": 0, "a": 1, "b": 1}
    assert store.session.stats()["locks_lost"] == 0
    assert [each for each in caplog.records if each.levelno > logging.INFO] == []
    assert "was cancelled as it wrote" in caplog.text


async def test_a_cancelled_write_keeps_no_lease_for_who_has_left(interface: Interface) -> None:
    """A write that had kept the lease for the next block gives it back if there is none."""
    store = Unanswered(interface)
    await store.begin()
    first, second = store.set("a", waiting=1), store.set("b")
    await store.carried_out()
    for task in (second, first):
        task.cancel()
        await asyncio.wait([task])

    assert await store.data() == {"n": 0, "a": 1}
    token = Credential.parse(store.cookie)
    assert token is not None
    assert await is_free(interface, token)


@pytest.mark.parametrize("rotates", [False, True], ids=["repeated", "shielded"])
async def test_who_catches_the_cancellation_can_enter_again(
    interface: Interface, rotates: bool
) -> None:
    """A block after a cancelled one is a block of its own: it waits, then it is saved.

    A plain write is made once more in the background, one with a new token goes on there.
    """
    store = Unanswered(interface)
    await store.begin()
    sess = store.request()

    async def visit() -> None:
        with suppress(asyncio.CancelledError):
            async with sess:
                sess["a"] = 1
                if rotates:
                    sess.rotate()
        async with sess:
            sess["b"] = 1

    task = asyncio.create_task(visit())
    await store.carried_out()
    task.cancel()
    await step(5)
    store.answer()
    await asyncio.wait_for(task, 30)

    store.cookie = value_of(sess)
    assert await store.data() == {"n": 0, "a": 1, "b": 1}


@pytest.mark.parametrize("cancelled", [True, False])
async def test_who_comes_after_a_save_without_answer_writes_upon_it(
    interface: Interface, cancelled: bool
) -> None:
    """A block whose `save()` was cancelled or failed hands on nothing that is not stored."""
    store = Unanswered(interface)
    await store.begin(None if cancelled else ConnectionError())
    sess = store.request()

    async def block() -> None:
        async with sess:
            sess["a"] = 1
            await store.queued(1)
            await sess.save()

    first, second = asyncio.create_task(block()), store.set("b")
    await store.carried_out()
    if cancelled:
        first.cancel()
        store.answer()
    with pytest.raises(asyncio.CancelledError if cancelled else SessionStoreError):
        await first
    await asyncio.wait_for(second, 30)

    assert await store.data() == {"n": 0, "a": 1, "b": 1}


async def save_and_go_on(sess: SessionDict, quiet: Callable[[], Awaitable[None]]) -> None:
    """Stay in the block whose `save()` is cancelled."""
    async with sess:
        sess["a"] = 1
        with suppress(asyncio.CancelledError):
            await sess.save()
        sess["b"] = 1


async def save_and_come_again(sess: SessionDict, quiet: Callable[[], Awaitable[None]]) -> None:
    """Leave the block whose `save()` is cancelled, and enter another one."""
    with suppress(asyncio.CancelledError):
        async with sess:
            sess["a"] = 1
            await sess.save()
    async with sess:
        sess["b"] = 1
        await quiet()


async def save_and_end(sess: SessionDict, quiet: Callable[[], Awaitable[None]]) -> None:
    """End the session whose `save()` is cancelled."""
    with suppress(asyncio.CancelledError):
        async with sess:
            sess["a"] = 1
            await sess.save()
    await sess.end()
    await quiet()


async def leave_and_end(sess: SessionDict, quiet: Callable[[], Awaitable[None]]) -> None:
    """End the session whose block is cancelled as it ends."""
    with suppress(asyncio.CancelledError):
        async with sess:
            sess["a"] = 1
    await sess.end()
    await quiet()


ENDS = [save_and_end, leave_and_end]


@pytest.mark.parametrize("visit", [save_and_go_on, save_and_come_again, *ENDS])
@pytest.mark.parametrize("is_new", [False, True])
async def test_who_catches_the_cancellation_of_a_write_can_go_on(
    interface: Interface, visit: Callable[..., Awaitable[None]], is_new: bool
) -> None:
    """Whatever becomes of a write that was cancelled, nothing is decided beside it."""
    store = Faulty(interface)
    session = bare_session(store)
    cookie = None if is_new else await begin(session, n=0)
    sess = request_with(session, cookie)
    writing = "create" if is_new else "commit"
    calls, is_there = store.calls[writing], asyncio.Event()
    store.hang(writing)

    async def saved() -> None:
        is_there.set()
        await session.runtime.background.drain(30)

    task = asyncio.create_task(visit(sess, saved))
    await until(lambda: store.calls[writing] > calls)
    task.cancel()
    with suppress(TimeoutError):  # it may well be that it waits for what hangs
        await asyncio.wait_for(is_there.wait(), 0.3)
    store.heal()
    await asyncio.wait_for(task, 30)
    await quiet(session)

    value = value_of(sess)
    data = dict(await request_with(session, value or cookie).peek())
    if visit in ENDS:
        assert (data, value) == ({}, None)
    else:
        assert data.get("b") == 1
        assert visit is save_and_come_again or data["a"] == 1
        token = Credential.parse(value or "")
        assert token is not None
        assert await is_free(interface, token)


def rotate(sess: SessionDict) -> None:
    sess.rotate()


def log_in(sess: SessionDict) -> None:
    sess.become(Identity("ada", since=0.0), keep_data=True)


def live_longer(sess: SessionDict) -> None:
    sess.set_expiry(timedelta(days=300))


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("ask", [rotate, log_in, live_longer])
async def test_a_save_does_not_swallow_what_other_tasks_ask_for_meanwhile(
    interface: Interface, ask: Callable[[SessionDict], None], is_new: bool
) -> None:
    """What another task of the request asks for beside a `save()` is done at the block's end."""
    store = Faulty(interface)
    session = bare_session(store)
    cookie = None if is_new else await begin(session, n=0)
    sess, tokens = request_with(session, cookie), []
    writing = "create" if is_new else "commit"
    calls = store.calls[writing]
    store.hang(writing)

    async def block() -> None:
        async with sess:
            sess["a"] = 1
            await sess.save()
            tokens.append(value_of(sess))

    task = asyncio.create_task(block())
    await until(lambda: store.calls[writing] > calls)
    ask(sess)
    store.heal()
    await asyncio.wait_for(task, 30)
    await quiet(session)

    if ask is live_longer:
        assert sess.expires_at is not None
        assert sess.expires_at - time.time() > timedelta(days=200).total_seconds()
    else:
        assert value_of(sess) not in (None, *tokens)


@pytest.mark.parametrize("ask", [rotate, log_in])
async def test_a_write_that_fails_behind_its_block_asks_for_nothing(
    interface: Interface, ask: Callable[[SessionDict], None]
) -> None:
    """What a block asked for that was cancelled in its `save()` is not asked for by the request."""
    store = Faulty(interface)
    session = bare_session(store, store_timeout=0.5)
    sess = request_with(session, await begin(session, n=0))
    store.hang("commit")

    async def block() -> None:
        async with sess:
            ask(sess)
            await sess.save()

    task = asyncio.create_task(block())
    await until(lambda: store.calls["commit"] > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    store.heal()
    await quiet(session)

    assert not sess.is_modified
    assert not sess.needs_closing


def as_it_is(sess: SessionDict) -> None:
    pass


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("ask", [as_it_is, rotate])
async def test_what_fails_after_a_save_that_was_cut_short_is_undone_as_a_whole(
    interface: Interface, ask: Callable[[SessionDict], None], inner: bool
) -> None:
    """A block, or an inner one, whose `save()` is cancelled destroys nothing if it then fails."""
    store = Faulty(interface)
    session = bare_session(store)
    sess = request_with(session, await begin(session, n=0))
    store.hang("commit")

    async def spoil() -> None:
        sess["b"] = 1
        sess.destroy()
        await sess.outlast()  # a write that is under way
        raise Failed

    async def block() -> None:
        async with sess:
            sess["a"] = 1
            ask(sess)
            with suppress(asyncio.CancelledError):
                await sess.save()
            if not inner:
                await spoil()
            with suppress(Failed):
                async with sess:
                    await spoil()
            assert dict(sess) == {"n": 0, "a": 1}

    task = asyncio.create_task(block())
    await until(lambda: store.calls["commit"] > 0)
    for _ in range(2):  # by a timeout, and by its client, say
        task.cancel()
        await step(5)
    store.heal()
    with suppress(Failed):
        await asyncio.wait_for(task, 30)
    if sess.needs_closing:
        await sess.close(404)
    await quiet(session)

    assert dict(await sess.peek()) == {"n": 0, "a": 1}
    assert dict(await request_with(session, value_of(sess)).peek()) == {"n": 0, "a": 1}


async def test_a_lease_that_was_left_to_a_superseded_token_goes_back(interface: Interface) -> None:
    """A token whose grace ends while it waits begins anew, and keeps nobody out of the session."""
    grace = 0.3
    session = bare_session(interface, renew_every=0.001, rotation_grace=grace)
    old = await begin(session, n=0)
    new: str | None = old
    while new == old:  # it takes a millisecond until a new one is due
        async with request_with(session, old) as first:
            first["n"] += 1
        new = value_of(first)
    late, latest = request_with(session, old), Credential.parse(new or "")

    async def come_late() -> None:
        async with late:
            assert dict(late) == {}
            assert latest is not None
            assert await is_free(interface, latest)
            late["n"] = 1

    async with request_with(session, old) as holder:
        waiting = asyncio.create_task(come_late())
        await until(lambda: session.runtime.locks.waiting == 1)
        await asyncio.sleep(grace)  # by the store's clock
        holder["n"] += 1
    await waiting

    assert latest is not None
    assert session.stats()["passed_on"] == 1
    assert late.sid != latest.sid
    assert await is_free(interface, latest)
    await quiet(session)


async def test_who_is_cancelled_at_an_unreadable_session_locks_nobody_out(
    interface: Interface,
) -> None:
    """Cancelled as it gives an unreadable session back, a request keeps neither lock nor lease."""
    faulty = Faulty(interface)
    session = bare_session(faulty)
    cookie = await begin(session, n=0)
    token = Credential.parse(cookie)
    assert token is not None
    junk = Draft("session", token.sid, 2, token.secret_hash, b"no payload of ours", 60)
    assert await interface.save(junk) is Outcome.SAVED
    faulty.delay("release", 0.1)

    async def block() -> None:
        async with request_with(session, cookie):
            pass

    task = asyncio.create_task(block())
    await until(lambda: faulty.calls["release"] == 1)
    task.cancel()
    await asyncio.wait([task])

    assert await is_free(interface, token)
    await quiet(session)


async def test_who_has_lost_the_lease_writes_no_more(interface: Interface) -> None:
    """A block whose `save()` was refused is refused at its end, too; the one who has it writes."""
    session, elsewhere = bare_session(interface), bare_session(interface)
    cookie = await begin(session, n=0)
    sess = request_with(session, cookie)

    with pytest.raises(SessionLockLost):
        async with sess:
            assert sess._lease is not None
            assert isinstance(interface, SupportsLease)
            await interface.release("session", sess._lease.sid, sess._lease.token)
            async with request_with(elsewhere, cookie) as other:
                sess["n"] = 1
                with pytest.raises(SessionLockLost):
                    await sess.save()
                other["n"] = 2
                with pytest.raises(SessionLockLost):
                    await sess.save()
            sess["n"] = 3

    assert dict(await request_with(session, cookie).peek()) == {"n": 2}


async def test_who_outstays_max_hold_leaves_the_lease(interface: Interface) -> None:
    """A block that has lasted for too long keeps other processes out no longer than its own."""
    session = bare_session(interface, lease=6, max_hold=6)
    cookie = await begin(session, n=0)
    token = Credential.parse(cookie)
    assert token is not None

    with pytest.raises(SessionLockLost):
        async with request_with(session, cookie) as sess:
            async with asyncio.timeout(30):
                while session.stats()["locked"]:  # noqa: ASYNC110 - time is the subject
                    await asyncio.sleep(0.01)
            assert await is_free(interface, token, within=3)
            sess["n"] = 1


async def test_who_is_overtaken_leaves_the_lease(interface: Interface) -> None:
    """A block that is refused since somebody has written without a lease keeps nobody waiting."""
    session = bare_session(interface)
    cookie = await begin(session, n=0)
    token = Credential.parse(cookie)
    assert token is not None

    with pytest.raises(SessionLockLost):
        async with request_with(session, cookie) as sess:
            stored = await interface.fetch("session", token.sid)
            assert stored is not None
            draft = Draft("session", token.sid, 2, token.secret_hash, stored.payload, 60)
            assert await interface.save(draft) is Outcome.SAVED
            sess["n"] = 1

    assert await is_free(interface, token)


async def test_who_is_overtaken_leaves_no_record(interface: Interface) -> None:
    """A block whose `save()` finds a newer record does not leave its own to who comes next."""
    session = bare_session(interface)
    cookie = await begin(session, n=0)
    token = Credential.parse(cookie)
    assert token is not None

    async def next_one() -> None:
        async with request_with(session, cookie) as sess:
            sess["b"] = 1

    with pytest.raises(SessionLockLost):
        async with request_with(session, cookie) as sess:
            waiting = asyncio.create_task(next_one())
            await until(lambda: session.runtime.locks.waiting == 1)
            stored = await interface.fetch("session", token.sid)
            assert stored is not None
            draft = Draft("session", token.sid, 2, token.secret_hash, stored.payload, 60)
            assert await interface.save(draft) is Outcome.SAVED
            sess["n"] = 1
            with pytest.raises(SessionLockLost):
                await sess.save()
    await asyncio.wait_for(waiting, 30)

    assert dict(await request_with(session, cookie).peek()) == {"n": 0, "b": 1}


async def test_who_cannot_destroy_leaves_the_lease(interface: Interface) -> None:
    """A block that fails to end its session keeps nobody waiting for it."""
    store = Faulty(interface)
    session = bare_session(store)
    cookie = await begin(session, n=0)
    token = Credential.parse(cookie)
    assert token is not None
    store.fail("delete")

    with pytest.raises(SessionStoreError):
        async with request_with(session, cookie) as sess:
            sess.destroy()

    assert await is_free(interface, token)


async def test_a_rotation_waits_for_a_save_that_succeeds(interface: Interface) -> None:
    """What a failed `save()` was asked to do is done by the next write of the block."""
    store = Faulty(interface)
    session = bare_session(store)
    cookie = await begin(session, n=0)
    store.fail("delete")
    sess = request_with(session, cookie)

    async with sess:
        sess.clear()
        sess.rotate()
        with pytest.raises(SessionStoreError):
            await sess.save()
        sess["n"] = 1

    assert value_of(sess) not in (None, cookie)
    assert dict(await request_with(session, value_of(sess)).peek()) == {"n": 1}


async def test_who_only_looked_leaves_the_lease_to_the_next(interface: Interface) -> None:
    """A block that wrote nothing hands its lease on, and that is good for the next one's write."""
    session = bare_session(interface)
    cookie = await begin(session, n=0)

    async def write() -> None:
        async with request_with(session, cookie) as sess:
            sess["n"] += 1

    async with request_with(session, cookie) as sess:
        writing = asyncio.create_task(write())
        await until(lambda: session.runtime.locks.waiting == 1)
        assert sess["n"] == 0
    await asyncio.wait_for(writing, 30)

    assert session.stats()["passed_on"] == 1
    assert dict(await request_with(session, cookie).peek()) == {"n": 1}


async def test_who_has_saved_keeps_the_lock(interface: Interface) -> None:
    """A block is as locked behind a `save()` as before, for other processes too."""
    session = bare_session(interface)
    cookie = await begin(session, n=0)
    token = Credential.parse(cookie)
    assert token is not None
    assert isinstance(interface, SupportsLease)

    async with request_with(session, cookie) as sess:
        sess["n"] = 1
        await sess.save()
        answer = await interface.acquire("session", token.sid, Claim("probe", 5, token.secret_hash))
        assert isinstance(answer, Busy)
        await interface.release("session", token.sid, "probe")
        sess["n"] = 2

    assert await is_free(interface, token)
    assert dict(await request_with(session, cookie).peek()) == {"n": 2}


async def test_who_has_saved_hands_on_nothing_that_changed_since(interface: Interface) -> None:
    """A token that a block replaces behind its `save()` opens nothing to who has waited with it."""
    session = bare_session(interface)
    cookie = await begin(session, n=0)
    late = request_with(session, cookie)

    async def look() -> dict[str, int]:
        async with late:
            return dict(late)

    async with request_with(session, cookie) as sess:
        waiting = asyncio.create_task(look())
        await until(lambda: session.runtime.locks.waiting == 1)
        sess["n"] = 1
        await sess.save()
        sess.rotate()

    assert await asyncio.wait_for(waiting, 30) == {}


async def test_who_does_not_know_what_is_stored_writes_no_more(interface: Interface) -> None:
    """A block whose `save()` had no answer is refused at its end, and told so."""
    store = Faulty(interface)
    session = bare_session(store)
    cookie = await begin(session, n=0)

    with pytest.raises(SessionLockLost):
        async with request_with(session, cookie) as sess:
            sess["a"] = 1
            store.lose_reply("commit")
            with pytest.raises(SessionStoreError):
                await sess.save()
            sess["b"] = 1

    assert dict(await request_with(session, cookie).peek()) == {"n": 0, "a": 1}


async def test_who_waits_for_another_process_is_counted_and_asks_seldom(
    interface: Interface,
) -> None:
    """A block that another process keeps waiting is one wait, and does not ask again and again."""
    store = Faulty(interface)
    session, elsewhere = bare_session(store), bare_session(interface)
    cookie = await begin(session, n=0)

    async def count() -> None:
        async with request_with(session, cookie) as sess:
            sess["n"] += 1

    await count()
    assert session.stats()["lock_waits"] == 0
    asked = store.calls["acquire"]
    async with request_with(elsewhere, cookie) as sess:
        waiting = asyncio.create_task(count())
        await until(lambda: store.calls["turn"] > 0)
        sess["n"] += 1
        await sess.save()
        await step(100)
    await asyncio.wait_for(waiting, 30)

    assert session.stats()["lock_waits"] == 1
    assert store.calls["acquire"] <= asked + 3
    assert dict(await request_with(session, cookie).peek()) == {"n": 3}


async def test_a_request_begins_no_block_that_it_has_no_time_to_save(
    interface: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five seconds two are left to the end of a block: the third of these is not begun."""
    store, now = Faulty(interface), time.monotonic()
    session = bare_session(store, store_timeout=2)
    sess = request_with(session, await begin(session, n=0))

    async def take_a_second() -> None:
        nonlocal now
        now += 1

    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: now))
    for operation in ("acquire", "commit"):
        store._add(operation, 1, None, before=take_a_second)

    for _ in range(2):
        async with sess:
            sess["n"] += 1
    with pytest.raises(SessionStoreError):
        await sess.__aenter__()
    store.heal()
    await quiet(session)

    assert (await sess.peek())["n"] == 2
