"""The soak itself works: a short one runs, prints its table and finds nothing wrong."""

from __future__ import annotations

import asyncio
import importlib
import random
import sys
from pathlib import Path

import pytest

from harness import Browser

SCRIPT = Path(__file__).parent / "soak.py"
SECONDS = "20"


async def test_a_short_soak() -> None:
    """Twenty seconds of everything at once leave no trace; the long one is `make soak`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), SECONDS),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(180):
        output, _ = await process.communicate()
    text = output.decode()
    print(text)

    assert process.returncode == 0, text
    for word in ("redis", "postgres", "memory", "answers:", "faults:", "log lines:"):
        assert word in text
    assert text.rstrip().endswith("all is well")


async def test_a_session_that_another_page_began_is_counted_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who got a session from one page, hung up on a count in it and counts again, has two."""
    monkeypatch.syspath_prepend(SCRIPT.parent)  # as where a script stands is on its path
    soak, load = (importlib.import_module(name) for name in ("soak", "soak_load"))
    worker, tally = soak.Worker("memory", "", tmp_path / "log"), load.Tally()
    await worker.start()
    try:
        user = load.User(worker.url, tally, lambda: "", random.Random(1))
        async with Browser(worker.url) as user.browser:
            await user.do("/unlocked")
            user.unknown += 1  # as of one who hangs up; whose request is carried out here
            async with user.browser.copy() as another:
                assert (await another.get("/inc")).json() == 1
            await user.do("/inc")
    finally:
        await worker.stop()

    assert user.acknowledged == 2
    assert not tally.trouble
