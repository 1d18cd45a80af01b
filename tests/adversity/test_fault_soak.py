"""The soak itself works: a short one runs, prints its table and finds nothing wrong."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

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
