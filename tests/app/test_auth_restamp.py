"""Stamps that are made with a key, while the key is changed: sessions move on to the newest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sanic import Request

from auth_lab import AuthLab, Clock, Pause
from lab import until
from sanic_cookies import InCookieEncrypted, InMemory
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.record import Record


class Keys:
    """What stamps are made with, the newest first, and a password."""

    def __init__(self) -> None:
        self.keys = ["old"]
        self.password = "first"

    def stamps(self, user: object) -> list[str]:
        return [f"{key}:{self.password}" for key in self.keys]

    def add(self, key: str) -> None:
        """Make stamps with `key` from now on, and still accept the others."""
        self.keys.insert(0, key)

    def retire(self) -> None:
        """Accept nothing any more but the newest."""
        del self.keys[1:]


@pytest.fixture
def keys() -> Keys:
    """One key, and a user's password."""
    return Keys()


async def settled(lab: AuthLab) -> None:
    """Wait for what the requests have left behind."""
    await until(lambda: len(lab.auth.runtime.background) == 0)


async def record(lab: AuthLab) -> Record:
    """Return what the store has of the browser's session."""
    found = await lab.auth.master_interface.fetch("auth_session", lab.sid())  # type: ignore[union-attr]
    assert found is not None
    return found


async def test_reading_is_enough(master: Any, keys: Keys) -> None:
    """A session that was only read since the key was added outlives the former key."""
    async with AuthLab(master, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        idle = await lab.open_browser()
        await lab.login("ann", browser=idle)
        keys.add("new")
        assert await lab.user() == "ann"
        await settled(lab)
        keys.retire()

        assert await lab.user() == "ann"
        assert await lab.user(idle) is None


async def test_data_and_token_stay(keys: Keys) -> None:
    """Nobody gains rights, so the token is the same; what the session holds is, too."""
    clock = Clock()
    options = {"session_stamp": keys.stamps, "renew_every": 60}
    async with AuthLab(InMemory(clock=clock.monotonic), **options) as lab:
        await lab.login("ann")
        await lab.write(cart=[1])
        before = await record(lab)
        keys.add("new")
        clock.now += 61  # the next write by a request would renew the token
        await lab.user()
        await settled(lab)
        keys.retire()

        after = await record(lab)
        assert after.version > before.version
        assert after.secret_hash == before.secret_hash
        assert await lab.data() == {"current_user": "ann", "cart": [1]}


async def test_a_reader_does_not_wait_for_the_lock(shared_master: Any, keys: Keys) -> None:
    """While another request is inside, readers are answered; the stamp is written after it."""
    pause = Pause()

    async def hold(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["cart"] = 1
            await pause.wait()

    async with AuthLab(shared_master, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        holding = asyncio.create_task(lab.visit(hold, browser=await lab.thief()))
        await pause.reached.wait()
        keys.add("new")
        for _ in range(5):
            assert await lab.user() == "ann"
        before = (await record(lab)).version
        assert not holding.done()
        await until(lambda: lab.auth.runtime.locks.waiting > 0)
        assert lab.auth.runtime.locks.waiting == 1  # one writes for all of them
        pause.resume.set()
        assert (await holding).status_code == 200
        await settled(lab)

        assert (await record(lab)).version == before + 2
        keys.retire()
        assert await lab.data() == {"current_user": "ann", "cart": 1}


async def test_a_logout_meanwhile_is_final(shared_master: Any, keys: Keys) -> None:
    """A session that ends while its stamp waits to be written stays ended."""
    pause = Pause()

    async def hold(request: Request) -> None:
        async with request.ctx.auth_session:
            await pause.wait()

    async with AuthLab(shared_master, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        sid, thief = lab.sid(), await lab.thief()
        holding = asyncio.create_task(lab.visit(hold, browser=await lab.thief()))
        await pause.reached.wait()
        keys.add("new")
        await lab.user()
        await lab.logout()
        pause.resume.set()
        await holding
        await settled(lab)

        assert not await lab.auth.exists(sid)
        assert await lab.user(thief) is None


async def test_a_new_password_meanwhile_is_not_undone(shared_master: Any, keys: Keys) -> None:
    """What waits to be written is the stamp of the former password: it opens nothing."""
    pause = Pause()

    async def hold(request: Request) -> None:
        async with request.ctx.auth_session:
            await pause.wait()

    async with AuthLab(shared_master, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        holding = asyncio.create_task(lab.visit(hold, browser=await lab.thief()))
        await pause.reached.wait()
        keys.add("new")
        await lab.user()
        keys.password = "second"
        pause.resume.set()
        await holding
        await settled(lab)

        assert await lab.user() is None


async def test_a_refreshed_stamp_is_not_overwritten(shared_master: Any, keys: Keys) -> None:
    """The session that changes the password goes on, whatever a reader of before has found."""
    pause = Pause()

    async def change(request: Request) -> None:
        await lab.auth.current_user(request)
        async with request.ctx.auth_session:
            await pause.wait()
            keys.password = "second"
            await lab.auth.refresh_stamp(request)

    async with AuthLab(shared_master, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        reader = await lab.thief()
        changing = asyncio.create_task(lab.visit(change))
        await pause.reached.wait()
        keys.add("new")
        assert await lab.user(reader) == "ann"
        pause.resume.set()
        assert (await changing).status_code == 200
        await settled(lab)

        assert await lab.user() == "ann"


class Moody(InMemory):
    """Memory that refuses writes as long as it is told to."""

    refuses = False

    async def save(self, draft: Any) -> Any:
        if self.refuses:
            raise OSError("no")
        return await super().save(draft)


async def test_a_store_that_fails_is_asked_again(keys: Keys) -> None:
    """A reader does not notice that the stamp could not be written; the next one tries again."""
    store = Moody()
    async with AuthLab(store, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        keys.add("new")
        store.refuses = True
        assert await lab.user() == "ann"
        await settled(lab)
        store.refuses = False
        await until(lambda: not lab.auth.runtime.store.is_down)
        assert await lab.user() == "ann"
        await settled(lab)
        keys.retire()
        assert await lab.user() == "ann"


class Deaf(InMemory):
    """Memory that answers so many reads, and then no more."""

    answers = 1_000_000

    async def fetch(self, name: str, sid: str) -> Any:
        self.answers -= 1
        if self.answers < 0:
            raise OSError("no")
        return await super().fetch(name, sid)


async def test_a_cookie_that_cannot_be_sealed_anew_is_no_error(keys: Keys) -> None:
    """In a cookie the response has to carry it; the reader is answered if that fails."""
    revocations = Deaf()
    async with AuthLab(
        InCookieEncrypted(new_key(), revocations=revocations), session_stamp=keys.stamps
    ) as lab:
        await lab.login("ann")
        before = revocations.answers
        assert await lab.user() == "ann"
        revocations.answers = before - revocations.answers  # as many as reading takes
        keys.add("new")
        assert await lab.user() == "ann"
        assert revocations.answers < 0
        revocations.answers = 1_000_000
        assert await lab.user() == "ann"
        keys.retire()
        assert await lab.user() == "ann"


async def test_the_newest_is_written_once(shared_master: Any, keys: Keys) -> None:
    """A session that keeps the newest already is not written."""
    async with AuthLab(shared_master, session_stamp=keys.stamps) as lab:
        await lab.login("ann")
        keys.add("new")
        await lab.user()
        await settled(lab)
        before = await record(lab)
        for _ in range(3):
            await lab.user()
        await settled(lab)

        assert (await record(lab)).version == before.version
