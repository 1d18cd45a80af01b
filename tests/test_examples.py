"""Every example runs as its reader would run it, and prints what its docstring shows."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from websockets.asyncio.client import connect

from curl import calls_in, outputs_of
from harness import Browser, set_cookies
from programs import ROOT, SECONDS, environment, running
from sanic_cookies.cli import main

MODULES = sorted((ROOT / "examples").glob("*.py"))
EXAMPLES = [path for path in MODULES if "app.run(" in path.read_text()]
WORKERS = {"multi_worker": 4}
_schemas = count()


def example(name: str) -> Path:
    return ROOT / "examples" / f"{name}.py"


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


@pytest.fixture
async def schema_url(database_url: str) -> AsyncIterator[str]:
    """A database without any table: a schema of its own."""
    schema = f"examples_{next(_schemas)}"
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    separator = "&" if "?" in database_url else "?"
    yield f"{database_url}{separator}search_path={schema}"
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


@pytest.fixture
def cookie_key(capsys: pytest.CaptureFixture[str]) -> str:
    """What `sanic-cookies key` prints."""
    main(["key"])
    return capsys.readouterr().out.strip()


@pytest.fixture
def stores(redis_url: str, schema_url: str, cookie_key: str) -> dict[str, dict[str, str]]:
    """The environment that an example needs; those that are not named here need none."""
    redis, postgres = {"REDIS_URL": redis_url}, {"DATABASE_URL": schema_url}
    return {
        "redis": redis,
        "postgres": postgres,
        "redis_store": redis,
        "multi_worker": redis,
        "postgres_store": postgres,
        "fan_out": redis | postgres,
        "in_cookie": {"COOKIE_KEYS": cookie_key},
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    """An example is read in one go: fewer than 70 lines, and a docstring that says what it is."""
    assert len(path.read_text().splitlines()) < 70
    assert docstring(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
async def test_an_example_prints_what_it_shows(
    path: Path, stores: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """An example says how to run it and shows two calls at least, with just what they print."""
    calls = calls_in(docstring(path))

    assert f"python examples/{path.name}" in docstring(path)
    assert len(calls) >= 2

    workers = WORKERS.get(path.stem, 1)
    with running(path, tmp_path / "log", workers=workers, **stores.get(path.stem, {})) as url:
        assert await outputs_of(calls, url, {}) == [call.output for call in calls]


WITH_FORMS = [path for path in EXAMPLES if " -d " in docstring(path)]


@pytest.mark.parametrize("path", WITH_FORMS, ids=lambda path: path.stem)
async def test_an_example_answers_a_form_with_holes(
    path: Path, stores: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Whatever field of a form is missing, the answer is none of a server that has failed."""
    jars: dict[str, dict[str, str]] = {}
    with running(path, tmp_path / "log", **stores.get(path.stem, {})) as url:
        for call in calls_in(docstring(path)):
            fields = re.findall(r" -d (\S+)", call.command)
            jar = re.search(r" -b (\S+)", call.command)
            for missing in {*fields, ""} if fields else ():
                sent = dict(each.split("=") for each in fields if missing and each != missing)
                async with Browser(url) as browser:
                    browser.cookies = dict(jars.get(jar[1], {})) if jar else {}
                    target = "/" + call.command.rpartition("/")[2]
                    assert (await browser.post(target, data=sent)).status_code < 500
            await outputs_of([call], url, jars)


@pytest.mark.parametrize("store", ["redis", "postgres"])
async def test_four_workers_count_together(
    store: str, stores: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Forty requests of one session, eight at a time over four workers, are all counted."""
    eight = asyncio.Semaphore(8)

    async def visit(browser: Browser) -> int:
        async with eight, browser.copy() as another:
            return (await another.get("/")).json()["visits"]

    log, path = tmp_path / "log", example("multi_worker")
    with running(path, log, workers=WORKERS[path.stem], **stores[store]) as url:
        async with Browser(url) as browser:
            await browser.get("/")
            visits = await asyncio.gather(*(visit(browser) for _ in range(40)))

    assert sorted(visits) == list(range(2, 42))


async def test_the_fan_out_example_moves(stores: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """After the move, sessions that began in Redis go on in Postgres."""
    calls = calls_in(docstring(example("fan_out")))
    jars: dict[str, dict[str, str]] = {}
    with running(example("fan_out"), tmp_path / "log", **stores["fan_out"]) as url:
        await outputs_of(calls, url, jars)
    with running(example("fan_out"), tmp_path / "log2", MOVED="1", **stores["fan_out"]) as url:
        assert await outputs_of(calls[1:], url, jars) == ['{"visits":3,"read_from":"AsyncPG"}']


async def test_the_websocket_example_counts_messages(tmp_path: Path) -> None:
    """Each message of the socket is written to the session that a plain request began."""
    with running(example("websocket"), tmp_path / "log") as url:
        async with Browser(url) as browser:
            assert "WebSocket" in (await browser.get("/")).text
            await browser.post("/join")
            cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
            address = url.replace("http", "ws") + "/echo"
            async with connect(address, additional_headers={"cookie": cookie}) as socket:
                await socket.send("hello")
                assert await socket.recv() == "1: hello"
                await socket.send("again")
                assert await socket.recv() == "2: again"

            assert (await browser.get("/count")).json() == {"messages": 2}


@pytest.mark.parametrize(
    ("name", "message"), [("multi_worker", "REDIS_URL or DATABASE_URL"), ("in_cookie", "key")]
)
def test_an_example_says_what_it_misses(name: str, message: str) -> None:
    """An example that needs something from the environment names it, and does not start."""
    result = subprocess.run(
        [sys.executable, example(name)],
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert result.returncode != 0
    assert message in result.stderr


async def test_the_login_example_takes_a_browser_there_and_back(tmp_path: Path) -> None:
    """A browser is sent to the form, back to its page, and never to another site's."""
    ada = {"name": "ada", "password": "lovelace"}
    with running(example("login"), tmp_path / "log") as url:
        async with Browser(url) as browser:
            page = await browser.get("/me", headers={"accept": "text/html"})
            assert (page.status_code, page.headers["location"]) == (302, "/login?next=/me")
            assert "evil" not in (await browser.get("/login?next=https://evil.example/")).text
            wrong = await browser.post("/login", data={**ada, "password": "wrong"})
            assert (wrong.status_code, "Wrong name" in wrong.text) == (401, True)
            sent_on = await browser.post("/login", data={**ada, "next": "//evil.example"})
            assert sent_on.headers["location"] == "/me"
            assert "Max-Age" not in set_cookies(sent_on)[0]
            kept = await browser.post("/login", data={**ada, "remember": "yes"})
            assert "Max-Age" in set_cookies(kept)[0]
