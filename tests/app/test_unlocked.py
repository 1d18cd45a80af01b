"""Use without the lock: warnings, merging, and failures that come with the response."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sanic import Request, Sanic, json, text

from harness import Browser, make_app, serve, set_cookies
from lab import Failed, Lab, failing_block, until
from sanic_cookies import (
    InMemory,
    Session,
    SessionDict,
    SessionError,
    SessionStoreError,
    SessionTooLarge,
)
from sanic_cookies.session_dict.mapping import MIXED, UNLOCKED
from sanic_cookies.testing import Faulty


def read(sess: SessionDict) -> None:
    sess["n"]


def write(sess: SessionDict) -> None:
    sess["n"] = 2


def delete(sess: SessionDict) -> None:
    del sess["n"]


def get(sess: SessionDict) -> None:
    sess.get("n")


def contains(sess: SessionDict) -> None:
    assert "n" in sess


def length(sess: SessionDict) -> None:
    assert len(sess)


def pop(sess: SessionDict) -> None:
    sess.pop("n")


def update(sess: SessionDict) -> None:
    sess.update(n=2)


@pytest.mark.parametrize("use", [read, write, delete, get, contains, length, pop, update])
async def test_unlocked_use_warns_at_the_applications_line(use: Any) -> None:
    """Each unlocked use warns with the constant text, at the line of the application's own file."""

    async def body(sess: SessionDict) -> None:
        use(sess)

    async with Lab() as lab:
        await lab.put(n=1)
        with pytest.warns(RuntimeWarning) as caught:
            await lab.do(body)

        line = inspect.getsourcelines(use)[1] + 1
        assert {(str(each.message), each.filename, each.lineno) for each in caught} == {
            (UNLOCKED, __file__, line)
        }


async def test_locked_use_and_peek_do_not_warn() -> None:
    """The ways that are meant to be used are silent."""

    async def body(sess: SessionDict) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await sess.peek()
            async with sess:
                sess["n"] = len(sess)

    async with Lab() as lab:
        await lab.do(body)


async def test_warn_lock_false_is_silent() -> None:
    """`warn_lock=False` silences unlocked use and mixing."""

    async def body(sess: SessionDict) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sess["n"] = sess.get("n", 0) + 1
            async with sess:
                sess["n"] += 1

    async with Lab(warn_lock=False) as lab:
        await lab.do(body)

        assert await lab.stored() == {"n": 2}


async def test_mixing_warns_and_merges() -> None:
    """A block after an unlocked change warns once at its own line, and has the change in it."""

    async def body(sess: SessionDict) -> int:
        sess["a"] = 1
        async with sess:
            assert sess["a"] == 1
            sess["b"] = 2
        return inspect.getsourcelines(body)[1] + 2

    async with Lab() as lab:
        with pytest.warns(RuntimeWarning) as caught:
            line = await lab.do(body)

        mixed = [each for each in caught if str(each.message) == MIXED]
        assert [(each.filename, each.lineno) for each in mixed] == [(__file__, line)]
        assert await lab.stored() == {"a": 1, "b": 2}


async def test_reading_first_is_not_mixing() -> None:
    """A block after a mere unlocked read does not warn of mixing."""

    async def body(sess: SessionDict) -> None:
        assert sess["n"] == 1
        async with sess:
            sess["n"] = 2

    async with Lab() as lab:
        await lab.put(n=1)
        with pytest.warns(RuntimeWarning) as caught:
            await lab.do(body)

        assert {str(each.message) for each in caught} == {UNLOCKED}


async def test_unlocked_changes_are_saved_with_the_response(master: Any) -> None:
    """Set, nested change, deletion and `clear()` outside of a block are in the next request."""

    async def change(sess: SessionDict) -> None:
        sess["a"] = 1
        sess["deep"].append(2)
        del sess["gone"]
        assert sess.is_modified

    async def clear(sess: SessionDict) -> None:
        sess.clear()
        sess["b"] = 1

    async with Lab(master, warn_lock=False) as lab:
        await lab.put(deep=[1], gone=1)
        await lab.do(change)
        assert await lab.stored() == {"deep": [1, 2], "a": 1}
        await lab.do(clear)

        assert await lab.stored() == {"b": 1}


async def test_an_unlocked_first_write_begins_a_session(master: Any) -> None:
    """An unlocked write of a new browser stores the session and sends its cookie."""

    async def body(sess: SessionDict) -> None:
        sess["a"] = 1

    async with Lab(master, warn_lock=False) as lab:
        response = await lab.visit(body)

        assert len(set_cookies(response)) == 1
        assert await lab.stored() == {"a": 1}


@pytest.mark.parametrize("folder", ["/", "/lazy/"])
async def test_two_unlocked_requests_with_different_keys(shared_master: Any, folder: str) -> None:
    """Unlocked changes of two requests that ran at once both survive, nested ones included."""
    changed, go = asyncio.Event(), asyncio.Event()

    async def first(sess: SessionDict) -> None:
        sess["a"] = "first"
        changed.set()
        await go.wait()

    async def second(sess: SessionDict) -> None:
        await sess.load()
        sess["b"] = "second"
        sess["deep"].append(1)
        del sess["gone"]

    async with Lab(shared_master, warn_lock=False) as lab:
        await lab.put(deep=[], gone=1)
        one = asyncio.create_task(lab.do(first, folder=folder))
        await changed.wait()
        await lab.do(second, folder=folder)
        go.set()
        await one

        assert await lab.stored() == {"a": "first", "b": "second", "deep": [1]}


async def test_after_an_error_nothing_is_merged() -> None:
    """Unlocked changes of a request that fails are dropped, as a block would drop them."""

    async def body(sess: SessionDict) -> None:
        sess["n"] = 2
        raise ZeroDivisionError

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=1)
        assert (await lab.visit(body)).status_code == 500

        assert await lab.stored() == {"n": 1}


async def test_a_block_that_failed_leaves_the_unlocked_change() -> None:
    """What was changed before a block that was rolled back is still merged at the end."""

    async def body(sess: SessionDict) -> None:
        sess["a"] = 1
        with pytest.raises(Failed):
            await failing_block(sess, lambda sess: sess.update(b=2))

    async with Lab(warn_lock=False) as lab:
        await lab.do(body)

        assert await lab.stored() == {"a": 1}


async def test_a_block_that_failed_leaves_nothing_in_an_unlocked_change() -> None:
    """What a rolled back block did inside of a value that was set before it is not merged."""

    def change(sess: SessionDict) -> None:
        sess["cart"].append("b")
        sess["old"].append("b")

    async def body(sess: SessionDict) -> None:
        sess["cart"] = ["a"]
        sess["old"].append("a")
        with pytest.raises(Failed):
            await failing_block(sess, change)

    async with Lab(warn_lock=False) as lab:
        await lab.put(old=[])
        await lab.do(body)

        assert await lab.stored() == {"cart": ["a"], "old": ["a"]}


async def test_unlocked_changes_are_seen_after_a_block_that_failed() -> None:
    """Who has changed something without the lock sees it after a rollback, and can take it back."""

    async def body(sess: SessionDict) -> None:
        sess["a"], sess["b"] = 1, 2
        del sess["old"]
        with pytest.raises(Failed):
            await failing_block(sess, lambda sess: sess.update(a=3))
        assert dict(sess) == {"a": 1, "b": 2}
        del sess["b"]

    async with Lab(warn_lock=False) as lab:
        await lab.put(old=0)
        await lab.do(body)

        assert await lab.stored() == {"a": 1}


async def test_an_unlocked_change_waits_for_the_holder() -> None:
    """The merge at the end of a request takes its turn: nothing of a block is overwritten."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def holder(sess: SessionDict) -> None:
        async with sess:
            n = sess["n"]
            inside.set()
            await go.wait()
            sess["n"] = n + 1

    async def unlocked(sess: SessionDict) -> None:
        sess["m"] = 1

    async with Lab(warn_lock=False) as lab:
        await lab.put(n=1)
        held = asyncio.create_task(lab.do(holder))
        await inside.wait()
        merged = asyncio.create_task(lab.do(unlocked))
        await until(lambda: lab.session.runtime.locks.waiting == 1)
        go.set()
        await asyncio.gather(held, merged)

        assert await lab.stored() == {"n": 2, "m": 1}


# Failures of the save that comes with the response: they must not pass as a success.


@pytest.mark.parametrize(
    ("value", "reason"),
    [({1, 2}, "sess['n']: set would not be read back"), ("x" * 70_000, "allowed are 65536")],
    ids=["no JSON", "too large"],
)
async def test_a_value_that_cannot_be_stored(
    master: Any, value: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An unlocked value that cannot be stored makes the response an error, and the log says why."""

    async def body(sess: SessionDict) -> None:
        sess["n"] = value

    async with Lab(master, warn_lock=False) as lab:
        await lab.put(n=1)
        response = await lab.visit(body)

        assert (response.status_code, set_cookies(response)) == (500, [])
        assert await lab.stored() == {"n": 1}
    assert reason in caplog.text


async def test_a_merge_that_finds_the_lock_taken() -> None:
    """An unlocked change that gets no turn makes the response a 503 with Retry-After."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def holder(sess: SessionDict) -> None:
        async with sess:
            inside.set()
            await go.wait()

    async def unlocked(sess: SessionDict) -> None:
        sess["m"] = 1

    async with Lab(warn_lock=False, lock_timeout=0.1) as lab:
        await lab.put(n=1)
        held = asyncio.create_task(lab.do(holder))
        await inside.wait()
        response = await lab.visit(unlocked)
        go.set()
        await held

        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert await lab.stored() == {"n": 1}


async def test_a_merge_into_a_session_that_has_ended(shared_master: Any) -> None:
    """An unlocked change to a session that another request ended makes the response a 409."""
    changed, go = asyncio.Event(), asyncio.Event()

    async def late(sess: SessionDict) -> None:
        sess["m"] = 1
        changed.set()
        await go.wait()

    async def end(sess: SessionDict) -> None:
        async with sess:
            sess.destroy()

    async with Lab(shared_master, warn_lock=False) as lab:
        await lab.put(n=1)
        other = lab.browser.copy()
        async with other:
            pending = asyncio.create_task(lab.visit(late, browser=other))
            await changed.wait()
            await lab.do(end)
            go.set()
            response = await pending

            assert response.status_code == 409
            assert [line for line in set_cookies(response) if "Max-Age=0" not in line] == []
            assert await lab.stored(other) == {}


async def test_the_applications_own_handler_answers() -> None:
    """The error of a late save goes through the app's exception handlers like any other."""
    app = make_app()
    Session(app, warn_lock=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        request.ctx.session["n"] = object()
        return text("saved!")

    @app.exception(Exception)
    async def failed(request: Request, error: Exception) -> Any:
        return text(type(error).__name__, status=507)

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/")

        assert (response.status_code, response.text) == (507, "SessionNotSerializable")


async def test_a_handler_of_the_application_that_only_looks() -> None:
    """An exception handler that returns nothing does not turn a failed save into a success."""
    app = make_app()
    Session(app, warn_lock=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        request.ctx.session["n"] = object()
        return text("saved!")

    @app.exception(Exception)
    async def look(request: Request, error: Exception) -> None:
        pass

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/")

        assert response.status_code == 500
        assert "holds a value that cannot be stored" in response.text


async def test_a_sync_handler_of_the_application_answers() -> None:
    """An exception handler need not be a coroutine."""
    app = make_app()
    Session(app, warn_lock=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        request.ctx.session["n"] = object()
        return text("saved!")

    @app.exception(SessionError)
    def failed(request: Request, error: Exception) -> Any:
        return text("sorry", status=507)

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/")

        assert (response.status_code, response.text) == (507, "sorry")


async def test_a_handler_of_the_application_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is what Sanic gives without it, and the log tells of both failures."""
    app = make_app()
    Session(app, warn_lock=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        request.ctx.session["n"] = object()
        return text("saved!")

    @app.exception(SessionError)
    async def failed(request: Request, error: Exception) -> Any:
        raise ValueError("no template")

    async with serve(app) as url, Browser(url) as browser:
        response = await browser.get("/")

    assert response.status_code == 500
    assert "holds a value that cannot be stored" in response.text
    assert "an exception handler failed on SessionNotSerializable" in caplog.text
    assert "no template" in caplog.text


def _site(late: Callable[[SessionDict], Awaitable[None]]) -> Sanic[Any, Any]:
    """Return an app whose save with the response fails; its exception handler then does `late`."""
    app = make_app()
    Session(app, max_bytes=200, warn_lock=False)

    @app.get("/")
    async def index(request: Request) -> Any:
        request.ctx.session["n"] = "x" * 1000
        return text("saved!")

    @app.get("/see")
    async def see(request: Request) -> Any:
        return json(dict(await request.ctx.session.peek()))

    @app.exception(SessionError)
    async def failed(request: Request, error: Exception) -> Any:
        await late(request.ctx.session)
        return text("too much", status=409)

    return app


async def _put_plain(sess: SessionDict) -> None:
    sess["told"] = True


async def _put_locked(sess: SessionDict) -> None:
    async with sess:
        sess["told"] = True


@pytest.mark.parametrize("late", [_put_plain, _put_locked])
async def test_an_exception_handler_may_write(late: Any) -> None:
    """What a handler for the failure of a late save writes is saved; what has failed is gone."""
    async with serve(_site(late)) as url, Browser(url) as browser:
        response = await browser.get("/")

        assert (response.status_code, response.text) == (409, "too much")
        assert (await browser.get("/see")).json() == {"told": True}


async def test_an_exception_handler_that_fails_to_save_in_turn() -> None:
    """The second failure is answered without the app's handler, which would go on for ever."""

    async def late(sess: SessionDict) -> None:
        sess["n"] = "y" * 1000

    async with serve(_site(late)) as url, Browser(url) as browser:
        response = await browser.get("/")

        assert (response.status_code, set_cookies(response)) == (500, [])
        assert "too large to be stored" in response.text
        assert (await browser.get("/see")).json() == {}


@pytest.mark.parametrize("use", [SessionDict.destroy, write, get])
async def test_a_friendly_answer_to_a_store_that_is_away_stays(use: Any) -> None:
    """What failed is not tried again for an exception handler that writes nothing."""
    store = Faulty(InMemory())
    lab = Lab(store, warn_lock=False, save_every_request=True)

    @lab.app.exception(SessionError)
    async def failed(request: Request, error: Exception) -> Any:
        return text("not now", status=409)

    async def body(sess: SessionDict) -> None:
        use(sess)
        for operation in ("fetch", "save", "delete", "touch"):
            store.fail(operation)

    async with lab:
        await lab.put(n=1)
        response = await lab.visit(body)

        assert (response.status_code, response.text) == (409, "not now")


async def test_a_late_failure_is_reported() -> None:
    """Who is told of each exception of the app is told of that of a late save."""
    app, heard = _site(_put_plain), []
    reported = asyncio.Event()

    @app.report_exception
    async def report(app: Any, exception: Exception) -> None:
        heard.append(("report", type(exception)))
        reported.set()

    @app.signal("http.lifecycle.exception")
    async def hear(request: Request, exception: Exception) -> None:
        heard.append((request.path, type(exception)))

    async with serve(app) as url, Browser(url) as browser, asyncio.timeout(30):
        await browser.get("/")
        await reported.wait()

    assert sorted(heard) == [("/", SessionTooLarge), ("report", SessionTooLarge)]


async def test_a_change_before_a_block_that_cannot_be_stored() -> None:
    """What was changed without the lock before a block that the store failed is saved later."""
    store = Faulty(InMemory())

    async def body(sess: SessionDict) -> None:
        sess["a"] = 1
        store.fail("save")
        with pytest.raises(SessionStoreError):
            async with sess:
                sess["b"] = 1

    async with Lab(store, warn_lock=False) as lab:
        await lab.put(n=0)
        await lab.do(body)
        assert await lab.stored() == {"n": 0, "a": 1}
