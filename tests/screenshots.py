"""Make the pictures of the demo that README and docs show: `make screenshots`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize, expect

import chrome
from people import is_live, sign_in, sign_up
from programs import ROOT, running

PICTURES = ROOT / "docs" / "pictures"
WIDE: ViewportSize = {"width": 1120, "height": 700}
PHONE = "Mozilla/5.0 (Android 16; Mobile; rv:146.0) Gecko/146.0 Firefox/146.0"


async def main(path: Path, url: str) -> None:
    """Take all pictures, each in the light and in the dark."""
    async with chrome.launched(path) as browser:
        for scheme in ("light", "dark"):
            async with page_of(browser, url, scheme) as page:
                await home(page, scheme)
                await race(page, scheme)
            async with (
                page_of(browser, url, scheme) as page,
                page_of(browser, url, scheme, agent=PHONE) as phone,
            ):
                await places(page, phone, scheme)


@asynccontextmanager
async def page_of(
    browser: Browser, url: str, scheme: str, agent: str | None = None
) -> AsyncIterator[Page]:
    context = await browser.new_context(
        base_url=url, color_scheme=scheme, viewport=WIDE, user_agent=agent, reduced_motion="reduce"
    )
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def home(page: Page, scheme: str) -> None:
    await page.goto("/")
    await take(page, f"home-{scheme}")


async def race(page: Page, scheme: str) -> None:
    await page.goto("/lab")
    await page.locator("#fire").click()
    await expect(page.locator("#fire")).to_be_enabled(timeout=60_000)
    await page.mouse.move(0, 0)
    await take(page, f"race-{scheme}")


async def places(page: Page, phone: Page, scheme: str) -> None:
    name = {"light": "ada", "dark": "grace"}[scheme]
    await sign_up(page, name)
    await sign_in(phone, name, remember=True)
    await page.goto("/devices")
    await is_live(page)
    await take(page, f"devices-{scheme}")


async def take(page: Page, name: str) -> None:
    await page.screenshot(path=PICTURES / f"{name}.png")
    print(PICTURES.relative_to(ROOT) / f"{name}.png")


if __name__ == "__main__":
    found = chrome.find() or sys.exit(f"There is no browser: {chrome.HOW}")
    with tempfile.TemporaryDirectory() as directory:
        users, log = Path(directory, "users.sqlite3"), Path(directory, "log")
        with running("examples.demo", log, USERS_FILE=str(users)) as address:
            asyncio.run(main(found, address))
