"""The document on forms is true: its blocks run, its calls print what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sanic import Sanic
from websockets.asyncio.client import connect

from curl import calls_in, outputs_of
from documents import blocks, code, rows
from harness import Browser, serve
from programs import ROOT

DOCUMENT = ROOT / "docs" / "csrf_and_flash.md"
BLOCKS = blocks(DOCUMENT)


@pytest.fixture(autouse=True)
def _apps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks name their apps as they like."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})


def app_of(name: str, directory: Path) -> Any:
    """Carry out the block that makes the app of this name; return the app."""
    [block] = [each for each in BLOCKS if f'Sanic("{name}")' in each.text]
    return carried_out(block.text, directory)["app"]


def carried_out(text: str, directory: Path) -> dict[str, Any]:
    program = directory / "program.py"
    program.write_text(text)
    names: dict[str, Any] = {}
    exec(compile(text, program, "exec"), names)  # noqa: S102 - our own document
    return names


def test_every_block_is_checked() -> None:
    """There is no block of a language that nothing here looks at."""
    assert [block.language for block in BLOCKS].count("console") == 2
    assert {block.language for block in BLOCKS} == {"python", "console"}


@pytest.mark.parametrize(
    "number", [at for at, block in enumerate(BLOCKS) if block.language == "console"]
)
async def test_the_calls_print_what_is_shown(number: int, tmp_path: Path) -> None:
    """The calls print what they show, made to the app of the block above."""
    calls = calls_in(BLOCKS[number].text)
    app = carried_out(BLOCKS[number - 1].text, tmp_path)["app"]

    assert len(calls) >= 2
    async with serve(app) as url:
        assert await outputs_of(calls, url, {}) == [call.output for call in calls]


@pytest.mark.parametrize("row", rows(DOCUMENT, "Forged requests"), ids=lambda row: row[0])
async def test_what_is_judged(row: list[str], tmp_path: Path) -> None:
    """Each row of the table is what the app of the block above answers."""
    headers = dict(each.split(": ") for each in code(row[0]))
    async with serve(app_of("bank", tmp_path)) as url, Browser(url) as browser:
        if "no cookie" not in row[0]:
            await browser.get("/login/ada")
        else:
            headers = {"Sec-Fetch-Site": "cross-site"}
        answer = await browser.post("/pay", data={"amount": "5"}, headers=headers)

        assert str(answer.status_code) == code(row[2])[0]


async def test_the_form_carries_its_token(tmp_path: Path) -> None:
    """The form of the block can be sent, and without its token it cannot."""
    async with serve(app_of("careful", tmp_path)) as url, Browser(url) as browser:
        page = (await browser.get("/")).text
        token = page.partition('value="')[2].partition('"')[0]

        sent = await browser.post("/", data={"csrf_token": token})
        assert (sent.status_code, sent.json()) == (200, {"sent": True})
        assert (await browser.post("/", data={"csrf_token": ""})).status_code == 403


async def test_the_socket_closes_for_strangers(tmp_path: Path) -> None:
    """The socket of the block is closed with the code that the table names."""
    async with serve(app_of("feed", tmp_path)) as url:
        async with connect(url.replace("http", "ws") + "/feed", proxy=None) as ws:
            await ws.wait_closed()

        assert str(ws.close_code) == code(rows(DOCUMENT, "Sockets")[0][1])[0]
