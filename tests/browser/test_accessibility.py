"""Whoever comes with a keyboard, a screen reader, a phone or weak eyes can use the demo."""

from __future__ import annotations

from itertools import product

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from people import Open, sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")
ANONYMOUS = ["/", "/sign-in", "/sign-up", "/lab", "/nowhere"]
PRIVATE = ["/", "/devices", "/password", "/confirm", "/account", "/lab"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("paths", "signed_in"), [(ANONYMOUS, False), (PRIVATE, True)], ids=["anonymous", "private"]
)
async def test_axe_finds_nothing(
    open_page: Open, name: str, paths: list[str], signed_in: bool, scheme: str
) -> None:
    """Labels, landmarks, language, contrast and all else that axe-core knows how to check."""
    page = await open_page(color_scheme=scheme, reduced_motion="reduce")
    if signed_in:
        await sign_up(page, name)
    for path, width in product(paths, (360, 1280)):
        await page.set_viewport_size({"width": width, "height": 700})
        await page.goto(path)
        found = await Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        assert len(found.response["passes"]) > 10
        assert await page.locator("h1").count() == 1


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_no_page_is_wider_than_its_window(open_page: Open, name: str, width: int) -> None:
    """Nobody has to scroll sideways, on a phone either."""
    page = await open_page(viewport={"width": width, "height": 700})
    await sign_up(page, name)
    for path in PRIVATE:
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_the_keyboard_is_enough(open_page: Open) -> None:
    """Tab reaches first what skips the navigation; a form is filled in and sent by keys."""
    page = await open_page()
    await page.goto("/lab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()

    await page.goto("/sign-in")
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.keyboard.type("nobody")
    await page.keyboard.press("Tab")
    await page.keyboard.type("no password")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
