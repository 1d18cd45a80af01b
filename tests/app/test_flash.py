"""Messages for the next page: kept until they are read, and read once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sanic import Request, Websocket, json, redirect
from websockets.asyncio.client import connect

from auth_lab import AuthLab
from harness import Browser, make_app, serve, set_cookies
from lab import Failed
from sanic_cookies import (
    AuthSession,
    SessionConfigError,
    SessionNotSerializable,
    SessionTooLarge,
    flash,
    get_flashes,
)

MANY = 7  # twice that is still less than may wait for a session


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


async def leave(lab: AuthLab, message: Any, *category: str, **options: Any) -> Any:
    """Leave a message in a request of its own; give its response."""
    return await lab.visit(lambda request: flash(request, message, *category), **options)


async def read(lab: AuthLab, *category: str, **options: Any) -> Any:
    """Read the messages in a request of its own."""
    return await lab.do(lambda request: get_flashes(request, *category), **options)


async def put(lab: AuthLab, **values: Any) -> None:
    """Store values in the session in which the messages are."""

    async def body(request: Request) -> None:
        async with request.ctx.session as sess:
            sess.update(values)

    await lab.do(body)


async def stored(lab: AuthLab) -> Any:
    """Return what that session holds."""

    async def body(request: Request) -> dict[str, Any]:
        return dict(await request.ctx.session.peek())

    return await lab.do(body)


async def in_a_tab(lab: AuthLab, call: Any, *args: Any) -> Any:
    """Do something over a connection of its own, with the same cookies."""
    async with lab.browser.copy() as tab:
        return await call(lab, *args, browser=tab)


async def test_a_message_is_shown_once(lab: AuthLab) -> None:
    """What one request leaves, the next that asks is given, and no other."""
    await leave(lab, "Saved.")

    assert await read(lab) == [["message", "Saved."]]
    assert await read(lab) == []


async def test_a_message_waits(lab: AuthLab) -> None:
    """Requests that do not ask leave it where it is, whatever they write."""
    await leave(lab, "Saved.")
    await put(lab, n=1)
    await put(lab, n=2)
    assert await stored(lab) == {"n": 2}

    assert await read(lab) == [["message", "Saved."]]
    assert await stored(lab) == {"n": 2}


async def test_it_works_across_a_redirect(master: Any) -> None:
    """The usual way: a form is posted, answered by a redirect, and the page shows the message."""
    lab = AuthLab(master)

    @lab.app.post("/save")
    async def save(request: Request) -> Any:
        await flash(request, "Saved.")
        return redirect("/show")

    @lab.app.get("/show")
    async def show(request: Request) -> Any:
        return json(await get_flashes(request))

    async with lab:
        answer = await lab.browser.post("/save")
        shown = await lab.browser.get(answer.headers["location"])

        assert (answer.status_code, shown.json()) == (302, [["message", "Saved."]])
        assert (await lab.browser.get("/show")).json() == []


async def test_messages_come_in_their_order_by_category(lab: AuthLab) -> None:
    """Those of another category go on waiting; all come in the order they were left."""
    for message, category in [("a", "info"), ("b", "error"), ("c", "info"), ("d", "error")]:
        await leave(lab, message, category)

    assert await read(lab, "warning") == []
    assert await read(lab, "error") == [["error", "b"], ["error", "d"]]
    assert await read(lab, "error") == []
    assert await read(lab) == [["info", "a"], ["info", "c"]]


@pytest.mark.parametrize("message", ["", 0, None, False, ["a"], {"text": "hello", "n": [1.5]}])
async def test_any_json_value_is_a_message(lab: AuthLab, message: Any) -> None:
    """A message need not be a text; what Python calls false is one, too."""
    await leave(lab, message)

    assert await read(lab) == [["message", message]]


@pytest.mark.parametrize("message", [{1, 2}, object(), {1: "a"}, float("nan")])
async def test_what_json_cannot_keep_is_refused(lab: AuthLab, message: Any) -> None:
    """A message that would come back as something else raises, and those that wait stay."""
    await leave(lab, "Saved.")
    assert (await leave(lab, message)).status_code == 500
    assert isinstance(lab.errors[-1], SessionNotSerializable)

    assert await read(lab) == [["message", "Saved."]]


async def test_messages_that_nobody_reads_do_not_grow_for_ever() -> None:
    """`max_bytes` counts them, too; those that are there stay."""
    async with AuthLab(max_bytes=100) as lab:
        there = {"session_name": "auth_session"}
        await lab.do(lambda request: flash(request, "x" * 50, **there))
        answer = await lab.visit(lambda request: flash(request, "y" * 50, **there))

        assert answer.status_code == 500
        assert isinstance(lab.errors[-1], SessionTooLarge)
        shown = await lab.do(lambda request: get_flashes(request, **there))
        assert shown == [["message", "x" * 50]]


@pytest.mark.parametrize("category", [(), ("error",)])
async def test_reading_begins_nothing(lab: AuthLab, category: tuple[str, ...]) -> None:
    """Who has no session gets none by asking; the answer only varies by cookie."""
    response = await lab.visit(lambda request: get_flashes(request, *category))

    assert response.json() == []
    assert set_cookies(response) == []
    assert response.headers["vary"] == "Cookie"


async def test_without_messages_nothing_is_locked_or_written(shared_lab: AuthLab) -> None:
    """A page that asks in vain waits for no lock."""
    await put(shared_lab, n=1)
    inside, resume = asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> None:
        async with request.ctx.session:
            inside.set()
            await resume.wait()

    async with shared_lab.browser.copy() as tab:
        holding = asyncio.create_task(shared_lab.visit(hold, browser=tab))
        await inside.wait()
        blocks = shared_lab.session.stats()["blocks"]

        assert await read(shared_lab) == []
        assert shared_lab.session.stats()["blocks"] == blocks
        resume.set()
        assert (await holding).status_code == 200


async def test_the_users_data_stay_apart(lab: AuthLab) -> None:
    """Messages are no keys of the session, and no key of the session is a message."""
    named = {"_flashes": ["mine"], "flash": [["error", "mine"]], "x": {"flash": 1}}
    await put(lab, **named)
    assert await read(lab) == []

    await leave(lab, "Saved.")
    assert await stored(lab) == named
    assert await read(lab) == [["message", "Saved."]]
    assert await stored(lab) == named


async def test_reading_the_last_leaves_no_empty_session(shared_lab: AuthLab) -> None:
    """A session that held nothing but messages ends with them."""
    await leave(shared_lab, "Saved.")
    assert shared_lab.browser.cookies

    await read(shared_lab)
    assert shared_lab.browser.cookies == {}


# At once.


async def test_of_many_at_once_one_shows_it(shared_lab: AuthLab) -> None:
    """Each message is given to exactly one of the requests that ask at the same time."""
    for n in range(3):
        await leave(shared_lab, n)

    answers = await asyncio.gather(*(in_a_tab(shared_lab, read) for _ in range(MANY)))
    shown = Counter(message for answer in answers for _, message in answer)
    assert shown == {0: 1, 1: 1, 2: 1}


async def test_of_many_left_at_once_none_is_lost(shared_lab: AuthLab) -> None:
    """All messages that are left at the same time are there afterwards."""
    await put(shared_lab, n=1)
    await asyncio.gather(*(in_a_tab(shared_lab, leave, n) for n in range(MANY)))

    assert sorted(message for _, message in await read(shared_lab)) == list(range(MANY))


async def test_left_and_read_at_once(shared_lab: AuthLab) -> None:
    """While some leave and others read, each message is shown once in the end."""
    await put(shared_lab, n=1)
    await leave(shared_lab, "first")
    jobs = [in_a_tab(shared_lab, leave, n) for n in range(MANY)]
    jobs += [in_a_tab(shared_lab, read) for _ in range(MANY)]
    answers = await asyncio.gather(*jobs)

    shown = [message for answer in answers[MANY:] for _, message in answer]
    shown += [message for _, message in await read(shared_lab)]
    assert Counter(shown) == Counter(["first", *range(MANY)])


# Blocks, logins, other sessions.


async def test_inside_a_block(lab: AuthLab) -> None:
    """In an open block both just work, and see each other."""

    async def body(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = 1
            await flash(request, "a")
            await flash(request, "b", "error")
            return [await get_flashes(request, "error"), await get_flashes(request, "error")]

    assert await lab.do(body) == [[["error", "b"]], []]
    assert await read(lab) == [["message", "a"]]
    assert await stored(lab) == {"n": 1}


async def test_what_is_rolled_back_was_not_shown(lab: AuthLab) -> None:
    """If the block fails, messages left in it are gone, and those read in it wait again."""
    await leave(lab, "before")

    async def body(request: Request) -> None:
        async with request.ctx.session:
            assert await get_flashes(request) == [("message", "before")]
            await flash(request, "inside")
            raise Failed

    assert (await lab.visit(body)).status_code == 500
    assert await read(lab) == [["message", "before"]]


async def test_unlocked_changes_and_messages_meet(lab: AuthLab) -> None:
    """Plain writes of the same request are merged, and cost no message."""
    await leave(lab, "before")

    async def body(request: Request) -> Any:
        with pytest.warns(RuntimeWarning, match="without its lock"):
            request.ctx.session["n"] = 1
        with pytest.warns(RuntimeWarning, match="before this block"):
            await flash(request, "after")
        return await get_flashes(request, "none of this")

    assert await lab.do(body) == []
    assert await read(lab) == [["message", "before"], ["message", "after"]]
    assert await stored(lab) == {"n": 1}


async def test_clearing_the_data_keeps_messages(lab: AuthLab) -> None:
    """`clear()` empties the user's data; `reset()` and `flush()` end all that there was."""
    await put(lab, n=1)
    await leave(lab, "Your cart is empty.")
    for how, left in [("clear", [["message", "Your cart is empty."]]), ("reset", [])]:

        async def body(request: Request, how: str = how) -> None:
            async with request.ctx.session as sess:
                getattr(sess, how)()

        await lab.do(body)
        assert await read(lab) == left
        await leave(lab, "Your cart is empty.")


@pytest.mark.parametrize("keep", [True, False])
async def test_a_login_drops_what_it_drops_of_the_data(master: Any, keep: bool) -> None:
    """Messages of the anonymous session go with its data; one left after the login is shown."""
    app = AuthLab(master)

    async def body(request: Request) -> None:
        await flash(request, "before", session_name="auth_session")
        await app.auth.login_user(request, "ann", reset_session=not keep)
        await flash(request, "Hello Ann.", session_name="auth_session")

    async with app:
        await app.do(body)
        shown = await app.do(lambda request: get_flashes(request, session_name="auth_session"))

        assert shown == [["message", "before"]] * keep + [["message", "Hello Ann."]]
        assert await app.user() == "ann"


async def test_a_message_after_a_logout(lab: AuthLab) -> None:
    """Left after the logout it begins an anonymous session, in which nobody is logged in."""
    await lab.login("ann")

    async def body(request: Request) -> None:
        await lab.auth.logout_user(request)
        await flash(request, "Bye.", session_name="auth_session")

    await lab.do(body)
    assert await lab.user() is None
    shown = await lab.do(lambda request: get_flashes(request, session_name="auth_session"))
    assert shown == [["message", "Bye."]]


async def test_each_session_has_its_own(lab: AuthLab) -> None:
    """By default it is the app's first session; another is named."""
    await leave(lab, "in the first")
    await lab.do(lambda request: flash(request, "in the other", session_name="auth_session"))

    assert await lab.do(lambda request: get_flashes(request, session_name="session")) == [
        ["message", "in the first"]
    ]
    assert await lab.do(lambda request: get_flashes(request, session_name="auth_session")) == [
        ["message", "in the other"]
    ]


async def test_the_only_session_need_not_be_named() -> None:
    """With an `AuthSession` alone, it is that."""
    app = make_app()
    AuthSession(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        await flash(request, "Saved.")
        return json(await get_flashes(request))

    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/")).json() == [["message", "Saved."]]


async def test_a_session_that_is_not_there(lab: AuthLab) -> None:
    """A name that no session of the app has is the developer's mistake, and says so in the log."""
    response = await lab.visit(lambda request: flash(request, "x", session_name="auht_session"))

    assert response.status_code == 500
    assert isinstance(lab.errors[-1], SessionConfigError)
    assert "auht_session" in lab.errors[-1].detail
    assert "auht_session" not in response.text


async def test_in_a_websocket(shared_master: Any) -> None:
    """A socket reads and leaves messages of an existing session like a request."""
    lab = AuthLab(shared_master)

    @lab.app.websocket("/ws")
    async def socket(request: Request, ws: Websocket) -> None:
        async for message in ws:
            shown = await get_flashes(request)
            await flash(request, message)
            await ws.send(str([list(each) for each in shown]))

    async with lab:
        await put(lab, n=1)
        await leave(lab, "from a page")
        cookies = "; ".join(f"{name}={value}" for name, value in lab.browser.cookies.items())
        address = lab.url.replace("http", "ws") + "/ws"
        async with connect(address, additional_headers={"cookie": cookies}, proxy=None) as ws:
            await ws.send("from the socket")
            assert await ws.recv() == "[['message', 'from a page']]"
            await ws.send("again")
            assert await ws.recv() == "[['message', 'from the socket']]"
        assert await read(lab) == [["message", "again"]]
