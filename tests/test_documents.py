"""Every page is true: its Python runs, its calls print what they show, its links lead somewhere.

One rule for all pages, the README included. A block of Python is a whole program, which is carried
out by itself. A `console` block below it holds calls, made to the app of that program.
"""

from __future__ import annotations

import configparser
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sanic import Sanic

from curl import calls_in, outputs_of
from documents import PAGES, README, ROOT, Place, links, places, run
from harness import serve
from sanic_cookies.cli import _parser, main

ALL = places(PAGES)
# Other names of what is carried out here: under these it would be overlooked.
DISGUISES = {"", "py", "python3", "pycon", "bash", "shell", "zsh"}
SERVERS = {"REDIS_URL": "redis_url", "DATABASE_URL": "schema_url", "COOKIE_KEYS": "cookie_key"}
_schemas = count()


def of(language: str) -> list[Place]:
    """Return the blocks of a language."""
    return [at for at in ALL if at.block.language == language]


@pytest.fixture
async def schema_url(database_url: str) -> AsyncIterator[str]:
    """A database without any table: a schema of its own."""
    schema = f"documents_{next(_schemas)}"
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    yield f"{database_url}{'&' if '?' in database_url else '?'}search_path={schema}"
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


@pytest.fixture
def cookie_key(capsys: pytest.CaptureFixture[str]) -> str:
    """What `sanic-cookies key` prints."""
    main(["key"])
    return capsys.readouterr().out.strip()


@pytest.fixture
def prepare(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """Return what carries out a program, in an environment that has what the place asks for."""
    place: Place = request.node.callspec.params["place"]
    text = place.block.text + (place.program.text if place.program else "")
    for name, fixture in SERVERS.items():
        if name in text:
            monkeypatch.setenv(name, request.getfixturevalue(fixture))
    monkeypatch.setattr(Sanic, "test_mode", True)  # programs name their apps as they like
    monkeypatch.setattr(Sanic, "_app_registry", {})

    log = logging.getLogger("sanic_cookies")
    level, handlers = log.level, log.handlers[:]
    yield lambda text: run(text, tmp_path)
    log.setLevel(level)
    log.handlers[:] = handlers


@pytest.mark.parametrize("place", of("python"), ids=str)
def test_a_program_runs(place: Place, prepare: Any, tmp_path: Path) -> None:
    """A block of Python can be copied as it stands; one with tests in it passes."""
    prepare(place.block.text)

    if "def test_" in place.block.text:
        tests = tmp_path / "test_program.py"
        tests.write_text(place.block.text)
        run = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", str(tests)]
        done = subprocess.run(run, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("place", of("console"), ids=str)
async def test_calls_print_what_they_show(place: Place, prepare: Any) -> None:
    """The calls below a program print what they show, made to the app of that program."""
    calls = calls_in(place.block.text)

    assert place.program is not None
    assert len(calls) == place.block.text.count("$ ") > 0
    app = prepare(place.program.text)["app"]
    for listener in app.listeners["main_process_start"]:
        await listener(app)
    async with serve(app) as url:
        assert await outputs_of(calls, url, {}) == [call.output for call in calls]


# Besides the pages, which users read, what those read who work on the library or have found a hole.
DOCUMENTS = [*PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY"))]
_IN_A_SENTENCE = re.compile(r"`((?:make|sanic-cookies|python|pip) [^`\n]+)`")
COMMANDS = sorted(
    {
        command.strip()
        for place in places(DOCUMENTS)
        if place.block.language == "sh"
        for line in place.block.text.splitlines()
        for command in line.split("&&")
        if command.strip() and not command.startswith("#")
    }
    | {
        command
        for document in DOCUMENTS
        for command in _IN_A_SENTENCE.findall(document.read_text("utf-8"))
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of ours that a page names is one that works."""
    words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    match words:
        case ["make", *rest]:
            dry = ["make", "-n", *rest]
            subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)
        case ["sanic-cookies", ("key" | "sql") as first, *rest]:
            assert main([first, *rest]) == 0
            assert capsys.readouterr().out
        case ["sanic-cookies", *rest] if rest != ["--version"]:
            _parser().parse_args(rest)  # which ends the program if it does not know them
        case ["pip", "install", *rest]:
            setup = configparser.ConfigParser()
            setup.read(ROOT / "setup.cfg")
            for extra in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
                assert set(extra.split(",")) <= set(setup["options.extras_require"])
        case ["python", path, *_] if path.endswith(".py") and "/" in path:
            assert (ROOT / path).exists()
        case ["python", "-m", module, *_]:
            assert find_spec(module)


@pytest.mark.parametrize(
    ("page", "link"),
    sorted({(page.name, link) for page in DOCUMENTS for link in links(page)}),
)
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    """Each file that a document links to is there."""
    [place] = [each for each in DOCUMENTS if each.name == page]

    assert (place.parent / link).exists()


def test_every_block_is_looked_at() -> None:
    """No block hides behind another name of its language, and no page is forgotten."""
    assert DISGUISES.isdisjoint(place.block.language for place in ALL)
    assert {place.page for place in ALL} <= set(PAGES)
    assert README in PAGES
