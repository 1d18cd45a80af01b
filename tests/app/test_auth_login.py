"""Logging in: who is seen where, what becomes of the former token and of the anonymous data."""

from __future__ import annotations

import asyncio
import json as stdlib_json
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from sanic import Request
from sanic.exceptions import SanicException

from auth_lab import AuthLab, Clock, Pause
from harness import set_cookies
from lab import Failed
from sanic_cookies import InMemory, SessionInterrupted, SessionNotSerializable
from sanic_cookies.testing import Faulty

USERS = [
    "ann",
    0,
    "",
    False,
    True,
    [],
    {},
    1.5,
    {"id": 7, "roles": ["a"]},
    [None],
    "\0",
    "x" * 5000,
]


@pytest.fixture
async def lab(master: Any) -> AsyncIterator[AuthLab]:
    """A lab over each kind of interface."""
    async with AuthLab(master) as lab:
        yield lab


@pytest.fixture
async def shared_lab(shared_master: Any) -> AsyncIterator[AuthLab]:
    """A lab over each kind of interface that keeps sessions on the server."""
    async with AuthLab(shared_master) as lab:
        yield lab


# Who is seen.


async def test_login_is_seen_everywhere(lab: AuthLab) -> None:
    """After a login every way to ask names the user, in its own request and in later ones."""

    async def ask(request: Request) -> list[Any]:
        sess = request.ctx.auth_session
        seen = [await lab.auth.current_user(request), await lab.auth.current_user()]
        seen.append((await sess.peek())["current_user"])
        async with sess:
            seen += [sess["current_user"], sess.get("current_user")]
            seen += [await lab.auth.current_user(request), await lab.auth.current_user()]
            assert "current_user" in sess
            assert list(sess) == ["current_user"]
        return seen

    async def log_in(request: Request) -> list[Any]:
        await lab.auth.login_user(request, {"id": 1})
        return await ask(request)

    assert await lab.do(log_in) == [{"id": 1}] * 7
    assert await lab.do(ask) == [{"id": 1}] * 7


async def test_nobody_is_seen_before(lab: AuthLab) -> None:
    """Without a login nobody is seen anywhere, and asking stores nothing."""

    async def ask(request: Request) -> None:
        sess = request.ctx.auth_session
        assert await lab.auth.current_user() is None
        assert "current_user" not in await sess.peek()
        async with sess:
            assert "current_user" not in sess
            assert sess.get("current_user") is None
            with pytest.raises(KeyError):
                sess["current_user"]

    response = await lab.visit(ask)
    assert response.status_code == 200, lab.errors
    assert set_cookies(response) == []
    assert response.headers["vary"] == "Cookie"


async def test_login_inside_an_open_block_counts_at_once(lab: AuthLab) -> None:
    """A login inside an open block is seen in the block, and stored with it."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            await lab.auth.login_user(request, "ann")
            assert await lab.auth.current_user() == "ann"
            assert sess["current_user"] == "ann"
            sess["cart"] = 1

    await lab.do(body)
    assert await lab.data() == {"current_user": "ann", "cart": 1}


async def test_login_is_rolled_back_with_its_block(lab: AuthLab) -> None:
    """A login inside a block that fails has not happened: no user, no cookie."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session:
            await lab.auth.login_user(request, "ann")
            raise SanicException("no", status_code=400)

    response = await lab.visit(body)
    assert response.status_code == 400
    assert set_cookies(response) == []
    assert await lab.user() is None


async def test_auth_key_renames_the_key(master: Any) -> None:
    """`auth_key` is the key that shows the user, and "current_user" is ordinary data then."""
    async with AuthLab(master, auth_key="who") as lab:
        await lab.login("ann")
        await lab.write(current_user="data")
        assert await lab.data() == {"who": "ann", "current_user": "data"}
        assert await lab.user() == "ann"


@pytest.mark.parametrize("user", USERS, ids=lambda user: stdlib_json.dumps(user)[:12])
async def test_any_json_value_is_a_user(shared_lab: AuthLab, user: Any) -> None:
    """Any JSON value but None is a user, and comes back as it was, of the same type."""
    await shared_lab.login(user)
    assert stdlib_json.dumps(await shared_lab.user()) == stdlib_json.dumps(user)


async def test_none_is_refused(lab: AuthLab) -> None:
    """None means nobody, so it cannot log in."""
    with pytest.raises(TypeError, match="None means nobody"):
        await lab.do(lambda request: lab.auth.login_user(request, None))
    assert lab.browser.cookies == {}


async def test_what_json_cannot_give_back_is_refused(lab: AuthLab) -> None:
    """A user that would come back as something else is refused, and nothing is stored."""
    with pytest.raises(SessionNotSerializable):
        await lab.do(lambda request: lab.auth.login_user(request, {1: "one"}))
    assert lab.browser.cookies == {}


# Data are no identity.


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("locked", [True, False])
async def test_data_log_nobody_in(master: Any, locked: bool, preload: bool) -> None:
    """A handler that writes `sess["current_user"]` logs nobody in, and does not read it back."""

    async def forge(request: Request) -> None:
        sess = request.ctx.auth_session
        if locked:
            async with sess:
                sess["current_user"] = "admin"
                assert "current_user" not in sess
                assert sess.get("current_user") is None
        else:
            sess["current_user"] = "admin"
        assert await lab.auth.current_user() is None
        assert "current_user" not in await sess.peek()

    async with AuthLab(master, preload=preload, warn_lock=False) as lab:
        await lab.write(kept=1)
        await lab.do(forge)
        assert await lab.user() is None
        assert await lab.data() == {"kept": 1}


async def test_a_blind_write_is_not_believed_either() -> None:
    """What was written before anything was read is not read back as the user."""

    async def forge(request: Request) -> None:
        sess = request.ctx.auth_session
        sess["current_user"], sess["other"] = "admin", 1
        assert sess["other"] == 1
        for look in (lambda: sess["current_user"], lambda: "current_user" in sess):
            with pytest.raises(SanicException, match="not loaded"):
                look()

    async with AuthLab(preload=False, warn_lock=False) as lab:
        await lab.write(kept=1)
        await lab.do(forge)
        assert await lab.user() is None


async def test_a_plain_session_knows_no_user(lab: AuthLab) -> None:
    """In a plain `Session` the key "current_user" is data like any other."""

    async def body(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["current_user"] = "admin"
            return sess["current_user"]

    assert await lab.do(body) == "admin"
    assert await lab.user() is None


async def test_data_of_a_login_are_kept_beside_the_user(lab: AuthLab) -> None:
    """A value written under the user's key changes nobody's identity."""
    await lab.login("ann")
    await lab.write(current_user="admin", cart=1)
    assert await lab.user() == "ann"
    assert await lab.data() == {"current_user": "ann", "cart": 1}


# The token.


@pytest.mark.parametrize("again", ["ann", "bob"])
async def test_login_rotates_always(lab: AuthLab, again: str) -> None:
    """Each login sends one new cookie, for a first login, another user and the same one again."""
    await lab.write(seen=1)
    seen = [lab.browser.cookies[lab.cookie]]
    for user in ("ann", again):
        response = await lab.login(user)
        assert len(set_cookies(response)) == 1
        seen.append(lab.browser.cookies[lab.cookie])
        assert await lab.user() == user
    assert len(set(seen)) == 3


async def _log_in(lab: AuthLab, request: Request) -> None:
    await lab.auth.login_user(request, "ann")


async def _rotate(lab: AuthLab, request: Request) -> None:
    request.ctx.auth_session.rotate()


@pytest.mark.parametrize("limit", [None, 5], ids=["", "limit"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("ask", [_log_in, _rotate])
async def test_one_login_is_one_token_and_one_event(
    shared_master: Any, ask: Any, before: bool, limit: int | None
) -> None:
    """A login, or `rotate()`, whose `save()` is cut short in an inner block is done just once."""
    pause, faulty = Pause(), Faulty(shared_master)
    told: list[str] = []

    async def body(request: Request) -> None:
        sess, handler = request.ctx.auth_session, asyncio.current_task()
        assert handler is not None

        async def cut_short() -> None:
            await pause.reached.wait()
            handler.cancel()
            for _ in range(5):  # who is cancelled goes on, as far as it may
                await asyncio.sleep(0)
            pause.resume.set()

        async with sess:
            sess["kept"] = True
            await ask(lab, request)
            cutting = asyncio.create_task(cut_short())
            with suppress(asyncio.CancelledError):
                async with sess:
                    await sess.save()
            handler.uncancel()
            sess["later"] = True
        await cutting

    async with AuthLab(faulty, max_sessions=limit) as lab:
        if before:
            await lab.write(cart=1)

        for group in ("record", "user"):

            @lab.app.signal(f"session.{group}.<event>")
            async def tell(event: str, **context: Any) -> None:
                told.append(event)

        for write in ("create", "commit", "save", "admit"):
            if hasattr(faulty, write):
                faulty._add(write, 1, 1, before=pause.wait)
        response = await lab.visit(body)
        assert response.status_code == 200, lab.errors
        await lab.auth.runtime.background.drain(30)
        assert (await lab.data())["later"]
    begun = "rotated" if before else "created"
    news = [each for each in told if each not in ("loaded", "saved")]
    assert sorted(news) == sorted([begun] if ask is _rotate else [begun, "login"])


@pytest.mark.parametrize("before", ["anonymous", "same user", "other user"])
async def test_the_former_token_is_dead_at_once(lab: AuthLab, before: str) -> None:
    """After a login the former token reads nothing and writes nothing, whoever had it."""
    await lab.write(cart="old")
    if before != "anonymous":
        await lab.login("ann" if before == "same user" else "bob", reset_session=False)
    thief = await lab.thief()
    await lab.login("ann", reset_session=False)
    assert await lab.user(thief) is None
    assert await lab.data(thief) == {}
    response = await lab.write(browser=thief, cart="stolen")
    assert response.status_code == 409
    assert set_cookies(response) == []
    assert await lab.data() == {"cart": "old", "current_user": "ann"}


async def test_the_sid_stays_with_the_record(shared_lab: AuthLab) -> None:
    """A login replaces the secret in place: the public id, and so one record, stay."""
    lab = shared_lab
    await lab.write(cart=1)
    sid, _, secret = lab.browser.cookies[lab.cookie].partition(".")
    await lab.login()
    new_sid, _, new_secret = lab.browser.cookies[lab.cookie].partition(".")
    assert (new_sid == sid, new_secret == secret) == (True, False)
    assert await lab.auth.exists(sid)


async def test_the_former_token_is_dead_on_other_interfaces_too() -> None:
    """An added interface that becomes the master does not know the former token either."""
    first, second = InMemory(), InMemory()
    async with AuthLab(first) as lab, AuthLab(second) as other:
        other.browser.cookies = lab.browser.cookies
        await lab.write(cart=1)
        assert await other.data() == {}
    async with AuthLab(second) as other:
        lab = AuthLab(first)
        lab.auth.add_interface(second)
        async with lab:
            await lab.write(cart=1)
            other.browser.cookies = dict(lab.browser.cookies)
            assert await other.data() == {"cart": 1}
            await lab.login("ann", reset_session=False)
            assert await other.data() == {}
            assert (await other.write(cart="stolen")).status_code == 409
            other.browser.cookies = dict(lab.browser.cookies)
            assert await other.data() == {"cart": 1, "current_user": "ann"}


@pytest.mark.parametrize("preload", [True, False])
async def test_a_request_in_flight_stays_anonymous(master: Any, preload: bool) -> None:
    """A request that came before the login sees nobody in its block, and cannot write or send."""
    pause = Pause()

    async def overtaken(request: Request) -> None:
        await pause.wait()
        async with request.ctx.auth_session as sess:
            assert await lab.auth.current_user() is None
            assert dict(sess) == {}
            sess["cart"] = "stale"

    async with AuthLab(master, preload=preload) as lab:
        await lab.write(cart="old")
        tab = await lab.thief()
        running = asyncio.create_task(lab.visit(overtaken, browser=tab))
        await pause.reached.wait()
        await lab.login("ann", reset_session=False)
        pause.resume.set()
        response = await running
        assert [type(error) for error in lab.errors] == [SessionInterrupted]
        assert response.status_code == 409
        assert set_cookies(response) == []
        assert await lab.data() == {"cart": "old", "current_user": "ann"}


async def test_a_login_waits_for_the_lock_and_ends_its_holder(shared_lab: AuthLab) -> None:
    """A login waits while another request is inside, and takes over what that one stored."""
    lab, pause = shared_lab, Pause()

    async def hold(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["cart"] = 2
            await pause.wait()

    await lab.write(cart=1)
    tab = await lab.thief()
    running = asyncio.create_task(lab.visit(hold, browser=tab))
    await pause.reached.wait()
    login = asyncio.create_task(lab.login("ann", reset_session=False))
    pause.resume.set()
    assert (await running).status_code == 200
    await login
    assert await lab.data() == {"cart": 2, "current_user": "ann"}
    assert await lab.data(tab) == {}


@pytest.mark.parametrize("again", ["ann", "bob"])
async def test_a_superseded_token_is_reported_after_the_grace(
    again: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After `rotation_grace` a superseded token is anonymous, may begin anew, and is logged."""
    clock = Clock()
    master = InMemory(clock=clock.monotonic)
    async with AuthLab(master, clock=clock.epoch, rotation_grace=15) as lab:
        await lab.login("ann")
        thief = await lab.thief()
        token = thief.cookies[lab.cookie]
        await lab.login(again)
        clock.now += 14.9
        assert await lab.user(thief) is None
        assert _security(caplog) == []
        clock.now += 0.2
        assert await lab.user(thief) is None
        (line,) = _security(caplog)
        assert "superseded token" in line
        assert token.partition(".")[2] not in line
        assert (await lab.write(browser=thief, own=1)).status_code == 200
        assert await lab.data(thief) == {"own": 1}
        assert await lab.data() == {"current_user": again}


async def test_a_superseded_token_is_reported_by_each_store(
    master: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Each store judges the grace by its own clock; without grace the report comes at once."""
    async with AuthLab(master, rotation_grace=0) as lab:
        await lab.login()
        thief = await lab.thief()
        await lab.login()
        assert await lab.user(thief) is None
        assert ["superseded token" in line for line in _security(caplog)] == [True]


def _security(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "sanic_cookies.security"]


async def test_a_login_with_a_superseded_token_begins_a_session(shared_lab: AuthLab) -> None:
    """Who proves who they are is logged in, also while the browser still has the former token."""
    lab = shared_lab
    await lab.login("ann")
    late = await lab.thief()
    await lab.login("ann")
    await lab.login("bob", browser=late)
    assert await lab.user(late) == "bob"
    assert await lab.user() == "ann"
    assert late.cookies[lab.cookie].partition(".")[0] != lab.sid()


@pytest.mark.parametrize("reset", [True, False])
async def test_a_login_with_a_renewed_token_begins_a_session(
    shared_master: Any, reset: bool
) -> None:
    """So does a login that comes while the browser gets its next token; the others go on."""
    async with AuthLab(shared_master, renew_every=0.01, lock_timeout=5) as lab:
        await lab.write(cart=1)
        await asyncio.sleep(0.05)  # the store's own clock
        late = await lab.thief()
        await lab.write(seen=1)
        assert late.cookies != lab.browser.cookies

        await lab.login("ann", browser=late, reset_session=reset)
        kept = {} if reset else {"cart": 1, "seen": 1}
        assert await lab.data(late) == {**kept, "current_user": "ann"}
        assert late.cookies[lab.cookie].partition(".")[0] != lab.sid()
        assert (await lab.write(cart=2)).status_code == 200
        assert await lab.data() == {"cart": 2, "seen": 1}


async def test_such_a_login_lives_no_longer() -> None:
    """Its times count from the login, which begins its session, not from the former one's begin."""
    clock = Clock()
    master = InMemory(clock=clock.monotonic)
    async with AuthLab(master, clock=clock.epoch, renew_every=60) as lab:
        await lab.write(cart=1)
        clock.now += 3000
        late = await lab.thief()
        await lab.write(cart=2)
        await lab.login("ann", browser=late)

        record = await master.fetch(lab.auth.name, late.cookies[lab.cookie].partition(".")[0])
        assert record is not None
        assert record.deadline is not None
        assert record.deadline - record.now == pytest.approx(24 * 3600, abs=1)
        clock.now += 901
        assert not await lab.do(lab.auth.is_fresh, browser=late)


async def test_such_a_login_that_is_undone(shared_master: Any) -> None:
    """A block that fails leaves the session as it was, to be read with the former token."""

    async def fail(request: Request) -> None:
        async with request.ctx.auth_session:
            await lab.auth.login_user(request, "ann")
            raise Failed

    async def body(request: Request) -> Any:
        with suppress(Failed):
            await fail(request)
        return dict(await request.ctx.auth_session.peek())

    async with AuthLab(shared_master, renew_every=0.01, lock_timeout=5) as lab:
        await lab.write(cart=1)
        await asyncio.sleep(0.05)  # the store's own clock
        late = await lab.thief()
        await lab.write(cart=2)
        cookies = dict(late.cookies)
        assert await lab.do(body, browser=late) == {"cart": 2}
        assert late.cookies == cookies
        assert (await lab.write(cart=3)).status_code == 200


# What the anonymous session held.


@pytest.mark.parametrize("reset", [True, False])
async def test_anonymous_data(lab: AuthLab, reset: bool) -> None:
    """A login drops what the anonymous session held, unless `reset_session=False`."""
    await lab.write(cart=1)
    await lab.login(**({} if reset else {"reset_session": False}))
    assert await lab.data() == {"current_user": "ann", **({} if reset else {"cart": 1})}


async def test_data_written_in_the_same_block_are_dropped_too(lab: AuthLab) -> None:
    """What the open block wrote before the login is anonymous data as well."""

    async def body(request: Request) -> None:
        async with request.ctx.auth_session as sess:
            sess["before"] = 1
            await lab.auth.login_user(request, "ann")
            sess["after"] = 1

    await lab.do(body)
    assert await lab.data() == {"current_user": "ann", "after": 1}


# The key of the index.


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("ann", "ann"),
        ("", ""),
        (0, "0"),
        (False, "false"),
        ({"id": 7}, "7"),
        ({"user_id": "u", "id": 7}, "u"),
        ({"name": "ann"}, None),
        ("x" * 256, f"sha256:{sha256(b'x' * 256).hexdigest()}"),
        ("sha256:0", f"sha256:{sha256(b'sha256:0').hexdigest()}"),  # or it could name another one
    ],
)
async def test_user_key_by_default(user: Any, key: str | None) -> None:
    """The record keeps the value itself as its user's key, or its "user_id" or "id"."""
    master = InMemory()
    async with AuthLab(master) as lab:
        await lab.login(user)
        assert await _stored_key(lab) == key


@pytest.mark.parametrize(("made", "key"), [("m:ann", "m:ann"), (7, "7"), (None, None)])
async def test_user_key_of_ones_own(shared_master: Any, made: Any, key: str | None) -> None:
    """`user_key` makes the key from the user; numbers are written as text."""
    async with AuthLab(shared_master, user_key=lambda user: made) as lab:
        await lab.login("ann")
        assert await _stored_key(lab) == key


async def test_user_key_changes_with_the_user(shared_lab: AuthLab) -> None:
    """The record's key is nobody's before a login, and follows each further one."""
    lab = shared_lab
    await lab.write(cart=1)
    keys = [await _stored_key(lab)]
    for user in ("ann", "bob", {"name": "no key"}):
        await lab.login(user)
        keys.append(await _stored_key(lab))
    assert keys == [None, "ann", "bob", None]


async def _stored_key(lab: AuthLab) -> str | None:
    record = await lab.auth.master_interface.fetch(lab.auth.name, lab.sid())
    assert record is not None
    key: str | None = record.user_key
    return key
