"""The page on the command line: every command on it is carried out, in its order."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from sanic import Sanic

from documents import ROOT, blocks
from sanic_cookies.cli import main
from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.record import Draft

PAGE = ROOT / "docs" / "command_line.md"
SESSIONS = [
    ("YW5uJ3MgbGFwdG9wIGFnYQ", "auth_session", "ann"),
    ("YW5uJ3MgcGhvbmUgYWdhaQ", "auth_session", "ann"),
    ("YSBjYXJ0IG9mIG5vYm9keQ", "session", None),
]
ONE_FAILS = "sanic-cookies doctor shop:app"


def in_general(text: str) -> str:
    """Return a text without what differs from run to run: times and sizes."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\d+\.\d s", "SECONDS", text)
    return re.sub(r"(store bytes +)[\d,]+", r"\1BYTES", text)


def test_the_page_is_true(
    database_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each command gives the status and the output that the page shows."""
    schema = "command_line_page"
    execute(database_url, f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    url = f"{database_url}{'&' if '?' in database_url else '?'}search_path={schema}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})
    before: dict[str, Callable[[], None]] = {
        "sanic-cookies sessions list": lambda: asyncio.run(fill(url)),
        "sanic-cookies stats": lambda: asyncio.run(expire(url)),
    }
    carried_out, first = 0, ""
    try:
        for block in blocks(PAGE):
            if block.language == "python":
                (tmp_path / "shop.py").write_text(block.text)
            elif block.language == "text":
                # What the first command of the block above has printed.
                assert in_general(block.text) == in_general(first)
            elif block.language == "sh":
                for number, line in enumerate(block.text.splitlines()):
                    before.pop(line, lambda: None)()
                    capsys.readouterr()
                    assert main(shlex.split(line)[1:]) == (line == ONE_FAILS), line
                    printed = capsys.readouterr().out
                    first = first if number else printed
                    carried_out += 1
    finally:
        with suppress(KeyError):
            del sys.modules["shop"]
        execute(database_url, f"DROP SCHEMA {schema} CASCADE")

    assert carried_out == PAGE.read_text().count("\nsanic-cookies ") > 10
    assert not before


async def fill(url: str) -> None:
    """Log Ann in twice, and fill somebody's cart."""
    interface = AsyncPG(url, sweep_every=0)
    for sid, name, user in SESSIONS:
        assert await interface.create(
            Draft(name, sid, 1, b"hash", b'{"v":1,"d":{"cart":["pen"]}}', 3600.0, user_key=user)
        )
    await interface.close()


async def expire(url: str) -> None:
    """Leave two sessions that have expired."""
    interface = AsyncPG(url, sweep_every=0)
    for sid in ("a", "b"):
        await interface.create(Draft("session", sid, 1, b"hash", b"", 0.0))
    await interface.close()


def execute(url: str, text: str) -> None:
    """Run SQL."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(text)
        await connection.close()

    asyncio.run(run())
