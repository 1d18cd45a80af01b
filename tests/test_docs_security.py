"""The document on security is true: its apps are served, its calls print what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sanic import Sanic

from curl import calls_in, outputs_of
from documents import blocks, code, links, rows
from harness import Browser, serve
from programs import ROOT
from sanic_cookies.cli import _key, main
from sanic_cookies.exchange import _REST_OF_HEAD
from sanic_cookies.interfaces.seals import _NONCE, _SALT
from sanic_cookies.settings import Settings

DOCUMENT, POLICY = ROOT / "docs" / "security.md", ROOT / "SECURITY.md"
BLOCKS = blocks(DOCUMENT)


@pytest.fixture(autouse=True)
def _apps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks name their apps as they like."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})


def app_of(text: str, directory: Path) -> Any:
    """Carry out a block as a program of its own; return its app."""
    program = directory / "program.py"
    program.write_text(text)
    names: dict[str, Any] = {}
    exec(compile(text, program, "exec"), names)  # noqa: S102 - our own document
    return names["app"]


def test_each_block_is_run_below() -> None:
    """No block stands there that nobody tries."""
    assert [block.language for block in BLOCKS] == ["python", "console", "sh", "python"]


async def test_a_listener_hears_of_two_cookies(tmp_path: Path) -> None:
    """The calls print what the listener has written down."""
    listener, calls = BLOCKS[:2]
    made = calls_in(calls.text)
    async with serve(app_of(listener.text, tmp_path)) as url:
        assert await outputs_of(made, url, {}) == [call.output for call in made]


async def test_sealed_sessions_end_and_only_the_newest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app runs with the keys that the command prints, and keeps what is said below it."""
    assert BLOCKS[2].text.split() == ["sanic-cookies", "key"]
    assert main(["key"]) == 0
    monkeypatch.setenv("COOKIE_KEYS", f"{capsys.readouterr().out.strip()},{_key()}")
    async with serve(app_of(BLOCKS[3].text, tmp_path)) as url, Browser(url) as browser:
        await browser.post("/login/ann")
        copies = [browser.copy()]
        for text in ("one", "two"):
            assert (await browser.post(f"/note/{text}")).status_code == 200
            copies.append(browser.copy())
        seen = [(await copy.get("/")).json() for copy in copies]
        assert seen == [
            {"user": None, "note": None},
            {"user": "ann", "note": "one"},  # the one before the newest, in the grace
            {"user": "ann", "note": "two"},
        ]
        assert (await copies[1].post("/note/three")).status_code == 503
        await browser.post("/logout")
        for copy in copies:
            assert (await copy.get("/")).json() == {"user": None, "note": None}
            await copy.__aexit__()


def test_the_figures_are_those_of_the_code() -> None:
    """Bits, seconds and bytes are what the code has."""
    text = DOCUMENT.read_text("utf-8")
    default = Settings.__dataclass_fields__["rotation_grace"].default

    assert f"{8 * (_SALT + _NONCE)} random bits" in text
    assert f"`rotation_grace` ({default:.0f} s)" in text
    assert f"{_REST_OF_HEAD // 1024} KiB for the rest" in text
    assert f"{Sanic('limits').config.REQUEST_MAX_HEADER_SIZE} bytes" in text


def test_the_tables_are_whole() -> None:
    """Each row has all its cells, and each file that a cell names is there."""
    for heading, cells in (("What is guaranteed, and by whom", 5), ("Attacks", 4)):
        table = rows(DOCUMENT, heading)
        assert len(table) > 10
        assert {len(row) for row in table} == {cells}
    for row in rows(DOCUMENT, "Attacks"):
        for name in code(row[3]):
            assert list((ROOT / "tests").rglob(name)), name


@pytest.mark.parametrize("document", [DOCUMENT, POLICY], ids=lambda path: path.name)
def test_the_links_lead_somewhere(document: Path) -> None:
    """Each file that the documents link to is there."""
    assert all((document.parent / link).exists() for link in links(document))


def test_the_policy_names_the_repository_of_the_package() -> None:
    """Reports go to where the package says that it is at home."""
    [home] = re.findall(r"^url = (\S+)$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)
    assert f"{home}/security/advisories/new" in POLICY.read_text("utf-8")
