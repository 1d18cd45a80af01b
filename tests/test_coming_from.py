"""Each line for those who come from elsewhere runs, in an app that serves it, and is true."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Any

import httpx
import pytest
from sanic import Request, json
from sanic.exceptions import BadRequest

import sanic_cookies
from documents import PAGES, code, headings, rows
from harness import Browser, make_app, serve, set_cookies
from sanic_cookies import InMemory, Session
from sanic_cookies.record import Draft, Outcome

FROM = [page for page in PAGES if page.name.startswith("coming_from_")]
# One line of each row is code that runs; other tables have no such column.
ROWS = [
    (page.stem, row)
    for page in FROM
    for heading in headings(page)
    for row in rows(page, heading)
    if len(row) == 3 and code(row[2])
]
NAMES = {
    **{name: getattr(sanic_cookies, name) for name in sanic_cookies.__all__},
    "UTC": UTC,
    "datetime": datetime,
    "timedelta": timedelta,
}


class Counting(InMemory):
    """Memory that counts how often it is read."""

    reads = 0

    async def fetch(self, name: str, sid: str) -> Any:
        self.reads += 1
        return await super().fetch(name, sid)


@dataclass
class Lab:
    """An app with a route that runs one line in a block, and a browser that has a session."""

    store: Counting
    browser: Browser
    begun: httpx.Response
    given: list[Any]

    async def run(self, path: str = "/") -> httpx.Response:
        return await self.browser.get(path)

    async def data(self) -> dict[str, Any]:
        """Return what the session holds by now."""
        return (await self.browser.get("/data")).json()

    async def record(self, cookies: dict[str, str]) -> Any:
        """Return the record of the session in a browser's cookies, or None."""
        return await self.store.fetch("session", sid_in(cookies))


def sid_in(cookies: dict[str, str]) -> str:
    [token] = cookies.values()
    return token.partition(".")[0]


async def carried_out(line: str, **names: Any) -> Any:
    """Run a line of Python; return what it gives, None for a statement."""
    mode = "eval" if isinstance(ast.parse(line).body[0], ast.Expr) else "exec"
    program = compile(line, "line", mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(program, {**NAMES, **names})  # noqa: S307 - our own document
    return await result if isawaitable(result) else result


@asynccontextmanager
async def laboratory(line: str) -> AsyncIterator[Lab]:
    """Serve `line`: in a block of the route "/", or, if it makes a `Session`, as the app's own."""
    app, store, given = make_app(), Counting(), []
    if is_setup(line):
        session = await carried_out(line, app=app)
        session.set_master_interface(store)
    else:
        Session(app, master_interface=store)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            if not is_setup(line):
                given.append(await carried_out(line, app=app, request=request, sess=sess))
            if "fail" in request.args:
                raise BadRequest
        return json(None)

    @app.get("/begin")
    async def begin(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess.update(name="ada", tags=[])
        return json(None)

    @app.get("/data")
    async def data(request: Request) -> Any:
        return json(dict(await request.ctx.session.peek()))

    @app.get("/untouched")
    async def untouched(request: Request) -> Any:
        return json(None)

    async with serve(app) as url, Browser(url) as browser:
        yield Lab(store, browser, await browser.get("/begin"), given)


def is_setup(line: str) -> bool:
    return line.startswith("Session(")


async def is_written(lab: Lab) -> None:
    await lab.run()

    assert (await lab.data())["name"] == "grace"


async def is_lazy(lab: Lab) -> None:
    reads = lab.store.reads
    await lab.run("/untouched")

    assert lab.store.reads == reads


async def lives_14_days(lab: Lab) -> None:
    assert f"Max-Age={14 * 24 * 3600}" in lab.begun.headers["set-cookie"]


async def ends_with_the_browser(lab: Lab) -> None:
    assert "Max-Age" not in lab.begun.headers["set-cookie"]


async def is_created(lab: Lab) -> None:
    lab.browser.cookies.clear()
    response = await lab.run()

    assert len(set_cookies(response)) == 1
    assert (await lab.record(lab.browser.cookies)).version == 1
    assert await lab.data() == {"first": True}


async def is_saved_before_the_end(lab: Lab) -> None:
    response = await lab.run("/?fail=1")

    assert response.status_code == 400
    assert (await lab.data())["n"] == 1


async def has_ended(lab: Lab) -> None:
    cookies = dict(lab.browser.cookies)
    response = await lab.run()

    assert "Max-Age=0" in response.headers["set-cookie"]
    assert lab.browser.cookies == {}
    assert await lab.record(cookies) is None


async def has_a_new_secret(lab: Lab) -> None:
    before = await lab.data()
    async with lab.browser.copy() as thief:
        await lab.run()

        assert sid_in(lab.browser.cookies) == sid_in(thief.cookies)
        assert lab.browser.cookies != thief.cookies
        assert await lab.data() == before
        assert (await thief.get("/data")).json() == {}


async def is_saved_again(lab: Lab) -> None:
    before = (await lab.record(lab.browser.cookies)).last_seen
    response = await lab.run("/untouched")

    assert "Max-Age" in response.headers["set-cookie"]
    assert (await lab.record(lab.browser.cookies)).last_seen > before


async def varies(lab: Lab) -> None:
    assert (await lab.run()).headers["vary"] == "Cookie"
    assert "vary" not in (await lab.run("/untouched")).headers


async def is_interrupted(lab: Lab) -> None:
    response = await lab.run()

    assert response.status_code == 409
    assert lab.given == [None]
    assert await lab.data() == {}


EFFECTS: dict[str, Callable[[Lab], Awaitable[None]]] = {
    '`session["k"]`, `aget()`, `aset()`': is_written,
    "lazy load": is_lazy,
    "`SESSION_COOKIE_AGE`": lives_14_days,
    "`SESSION_EXPIRE_AT_BROWSER_CLOSE`": ends_with_the_browser,
    "`create()`": is_created,
    "`save()`": is_saved_before_the_end,
    "`flush()`": has_ended,
    "`cycle_key()`": has_a_new_secret,
    "cookie deleted when empty": has_ended,
    "`SESSION_SAVE_EVERY_REQUEST`": is_saved_again,
    "`Vary: Cookie`": varies,
    "`SessionInterrupted`, 400": is_interrupted,
    '`session["k"] = v`': is_written,
    '`request.ctx.session["k"]`': is_written,
    '`async with request["session"] as sess`': is_written,
    "`session.clear()`": has_ended,
    "`session.clear()` to log out": has_ended,
    "`app.session_interface.regenerate(session)`": has_a_new_secret,
    "`PERMANENT_SESSION_LIFETIME`": lives_14_days,
    "`SESSION_PERMANENT = False`": ends_with_the_browser,
    "`sessioncookie=True`": ends_with_the_browser,
}


@pytest.mark.parametrize(("page", "row"), ROWS, ids=lambda each: str(each)[:40])
async def test_a_line_does_what_it_says(
    page: str, row: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each line runs, and gives or does what stands beside it."""
    name, _, cell = row
    line, *expected = code(cell)

    if page == "coming_from_django":
        assert expected or name in EFFECTS
    async with laboratory(line) as lab:
        if name == "unreadable data":
            record = await lab.record(lab.browser.cookies)
            broken = Draft(
                name="session",
                sid=record.sid,
                version=record.version + 1,
                secret_hash=record.secret_hash,
                payload=b"broken",
                ttl=60,
            )
            assert await lab.store.save(broken) is Outcome.SAVED
        if name in EFFECTS:
            await EFFECTS[name](lab)
        else:
            assert (await lab.run()).status_code == 200
        if expected:
            assert lab.given[-1] == eval(expected[0], NAMES)  # noqa: S307 - our own document
        if name == "unreadable data":
            assert await lab.record(lab.browser.cookies) is not None
            assert "unreadable" in caplog.text


def test_every_effect_has_its_row() -> None:
    """No check has lost its line."""
    assert EFFECTS.keys() <= {row[0] for _, row in ROWS}
    assert [page for page, _ in ROWS].count("coming_from_django") == 31
    assert len(FROM) == 4
