"""The browser of the system, driven by Playwright.

Playwright's own download of Chromium is used if there is one, but not asked for here: a browser
that the machine has already is as good.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright
from playwright.sync_api import sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "microsoft-edge-stable",
    "brave-browser",
)
BUNDLES = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)
HOW = "set CHROME to a Chromium, install one, or run: make test-browser"
# It must talk to nobody but the demo.
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def find() -> Path | None:
    """Return the browser: CHROME, one on the PATH, a bundle, or Playwright's own; None if none."""
    if named := os.environ.get("CHROME"):
        return Path(named) if Path(named).exists() else None
    found = [Path(path) for name in NAMES if (path := shutil.which(name))]
    found += [path for path in BUNDLES if path.exists()]
    return found[0] if found else _downloaded()


def _downloaded() -> Path | None:
    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.exists() else None


@asynccontextmanager
async def launched(path: Path) -> AsyncIterator[Browser]:
    """Run the browser at `path`, without a window, while the block runs."""
    # Chromium's sandbox refuses to run as root.
    flags = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else QUIET
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


if __name__ == "__main__":
    print(find() or sys.exit(f"There is no browser: {HOW}"))
