"""The document on guards is true: its apps are served, and its calls print what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sanic import Sanic

import sanic_cookies
from curl import calls_in, outputs_of
from documents import blocks, code, links, rows
from harness import Browser, serve
from programs import ROOT

DOCUMENT = ROOT / "docs" / "auth.md"
BLOCKS = blocks(DOCUMENT)
HTML = {"accept": "text/html"}


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


@pytest.mark.parametrize(
    "number", [at for at, block in enumerate(BLOCKS) if block.language == "console"]
)
async def test_the_calls_print_what_is_shown(number: int, tmp_path: Path) -> None:
    """The calls print what they show, made to the app of the block above."""
    calls = calls_in(BLOCKS[number].text)
    app = app_of(BLOCKS[number - 1].text, tmp_path)

    assert len(calls) >= 2
    async with serve(app) as url:
        assert await outputs_of(calls, url, {}) == [call.output for call in calls]


async def test_there_and_back(tmp_path: Path) -> None:
    """A browser goes to the login page and back, by the addresses that the document shows."""
    [block] = [each for each in BLOCKS if "safe_next" in each.text]
    shown = DOCUMENT.read_text("utf-8")
    async with serve(app_of(block.text, tmp_path)) as url, Browser(url) as browser:
        sent = await browser.get("/cart?page=2", headers=HTML)
        assert f"`{sent.headers['location']}`" in shown
        back = await browser.post(sent.headers["location"], data={"name": "ada"})
        assert back.headers["location"] == "/cart?page=2"
        assert (await browser.get("/cart?page=2")).json() == {"cart of": "ada"}

        refused = shown.partition("and nothing else: ")[2].partition(" and their kin")[0]
        assert len(code(refused)) == 4
        for path in code(refused):
            away = await browser.post("/login", params={"next": path}, data={"name": "ada"})
            assert away.headers["location"] == "/"


async def test_a_fresh_login_ends_with_the_browser(tmp_path: Path) -> None:
    """Without the cookie that the document names, the remembered login is not fresh."""
    [block] = [each for each in BLOCKS if "fresh_login_required" in each.text]
    async with serve(app_of(block.text, tmp_path)) as url, Browser(url) as browser:
        await browser.post("/login")
        del browser.cookies["auth_session_run"]
        assert (await browser.post("/pay")).status_code == 401


async def test_the_browser_is_asked_to_forget(tmp_path: Path) -> None:
    """A logout sends the header that the document shows."""
    [block] = [each for each in BLOCKS if "clear_site_data" in each.text]
    async with serve(app_of(block.text, tmp_path)) as url, Browser(url) as browser:
        await browser.post("/login")
        sent = (await browser.post("/logout")).headers["clear-site-data"]
        assert f"`Clear-Site-Data: {sent}`" in DOCUMENT.read_text("utf-8")


def test_the_errors_are_those_of_the_library() -> None:
    """The table of answers names errors that exist, each with its status."""
    for row in rows(DOCUMENT, "Guard a handler, or everything"):
        error = getattr(sanic_cookies, code(row[1])[0])
        assert str(error.status_code) in row[1]


def test_every_block_is_checked() -> None:
    """There is no block that nothing here looks at, and each link leads somewhere."""
    assert [block.language for block in BLOCKS].count("python") == 5
    assert [block.language for block in BLOCKS].count("console") == 4
    assert len(BLOCKS) == 9
    assert all((DOCUMENT.parent / link).exists() for link in links(DOCUMENT))
