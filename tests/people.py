"""What people do on the demo's pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect

# Opens a page in a new browser; see the fixture `open_page`.
Open = Callable[..., Awaitable[Page]]
PASSWORD = "correct horse"


async def sign_up(page: Page, name: str) -> None:
    """Make an account, which signs in."""
    await page.goto("/sign-up")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign up").click()
    await is_live(page)


async def sign_in(page: Page, name: str, password: str = PASSWORD, remember: bool = False) -> None:
    """Sign in, on the page where that is done."""
    await page.goto("/sign-in")
    await fill_in(page, name, password, remember)
    await is_live(page)


async def fill_in(page: Page, name: str, password: str, remember: bool = False) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    if remember:
        await page.get_by_label("Remember me").check()
    await page.locator("main").get_by_role("button", name="Sign in").click()


async def is_live(page: Page) -> None:
    """Wait until the page's socket is open: whoever is signed in has one."""
    await expect(page.locator("#live")).to_have_text("live")


async def is_told(page: Page) -> None:
    """Wait until the page says by itself that its session has ended."""
    await expect(page.get_by_role("alert")).to_contain_text("You have been signed out")
    await expect(page.locator("#live")).to_have_text("signed out")
