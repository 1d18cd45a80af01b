"""The demo, as people see it. That no page errs or asks another site is seen to by `open_page`."""

from __future__ import annotations

import re
import time

import pytest
from playwright.async_api import Page, expect

from people import PASSWORD, Open, fill_in, is_live, is_told, sign_in, sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def cookies(page: Page) -> dict[str, dict[str, object]]:
    """Return what the browser has stored."""
    return {each["name"]: dict(each) for each in await page.context.cookies()}


async def test_from_signing_up_to_signing_out_and_back(open_page: Open, name: str) -> None:
    """An account, a message shown once, a way out, and a way back to the page asked for."""
    page = await open_page()
    await sign_up(page, name)
    await expect(page.get_by_role("status").first).to_have_text("live")
    await expect(page.locator(".flash")).to_have_text(f"Welcome, {name}. Your account is ready.")
    await page.reload()
    await expect(page.locator(".flash")).to_have_count(0)

    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("link", name="Sign up")).to_be_visible()
    await page.goto("/password")
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=/password$"))
    await fill_in(page, name, "wrong password")
    await expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
    await fill_in(page, name, PASSWORD)
    await expect(page).to_have_url(re.compile(r"/password$"))
    await expect(page.locator(".flash")).to_have_text(f"Hello, {name}.")


async def test_cookies_on_this_machine(open_page: Open, name: str) -> None:
    """Over plain http to a loopback address: no script reads them, no other site sends them."""
    page = await open_page()
    await sign_up(page, name)
    session = (await cookies(page))["auth_session"]

    assert session["httpOnly"] is True
    assert session["sameSite"] == "Lax"
    assert session["expires"] == -1
    assert session["secure"] is False
    assert await page.evaluate("document.cookie") == ""


async def test_cookies_over_https(open_page: Open, secure_demo: str, name: str) -> None:
    """Over https the browser itself keeps them from other hosts and from http: `__Host-`."""
    page = await open_page(secure_demo)
    await sign_up(page, name)
    await page.goto("/lab")
    await page.locator("#fire").click()
    await expect(page.locator("#locked")).to_have_attribute("data-verdict", "good")
    stored = await cookies(page)

    assert set(stored) == {"__Host-auth_session", "__Host-lab"}
    for cookie in stored.values():
        assert cookie["secure"] is True
        assert cookie["httpOnly"] is True
        assert cookie["sameSite"] == "Lax"
        assert cookie["path"] == "/"
        assert cookie["domain"] == "127.0.0.1"  # with a dot before it, others would get it
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("link", name="Sign up")).to_be_visible()
    assert set(await cookies(page)) == {"__Host-lab"}


async def test_a_remembered_login_is_not_a_fresh_one(open_page: Open, name: str) -> None:
    """After the browser's end one is signed in, but has to prove who it is where it counts."""
    page = await open_page()
    await sign_up(page, name)
    await sign_in(page, name, remember=True)
    stored = await cookies(page)
    days = (float(str(stored["auth_session"]["expires"])) - time.time()) / 86400
    assert 29.9 < days < 30.1
    ended = [each for each, cookie in stored.items() if cookie["expires"] == -1]
    for each in ended:  # what the browser forgets with its end
        await page.context.clear_cookies(name=each)

    await page.goto("/devices")
    await is_live(page)
    await page.goto("/account")
    await expect(page.get_by_role("heading", name="Is it still you?")).to_be_visible()
    await page.get_by_label("Password").fill("wrong password")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("alert")).to_have_text("Wrong password.")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("heading", name="Delete the account")).to_be_visible()


async def test_one_browser_ends_another(open_page: Open, name: str) -> None:
    """The other one's page says so by itself; this one goes on, and sees one place less."""
    laptop, phone = await open_page(), await open_page(user_agent="Firefox/140.0 Android")
    await sign_up(laptop, name)
    await sign_in(phone, name)
    await laptop.goto("/devices")
    await expect(laptop.locator(".place")).to_have_count(2)
    await expect(laptop.locator(".place").first).to_contain_text("this browser")

    await laptop.get_by_role("button", name="End it: Firefox on Android").click()
    await is_told(phone)
    await expect(laptop.locator(".flash")).to_have_text("That browser is signed out.")
    await expect(laptop.locator(".place")).to_have_count(1)
    await is_live(laptop)
    await phone.goto("/devices")
    await expect(phone).to_have_url(re.compile("/sign-in"))


@pytest.mark.parametrize("button", ["End all others", "End all, this one too"])
async def test_many_browsers_are_ended_at_once(open_page: Open, name: str, button: str) -> None:
    """The others are told, whether or not the one that asked for it stays."""
    laptop, phone, tablet = await open_page(), await open_page(), await open_page()
    await sign_up(laptop, name)
    await sign_in(phone, name)
    await sign_in(tablet, name)
    await laptop.goto("/devices")
    await is_live(laptop)
    await laptop.get_by_role("button", name=button).click()
    await is_told(phone)
    await is_told(tablet)
    if "others" in button:
        await is_live(laptop)
    else:
        await expect(laptop.get_by_role("link", name="Sign up")).to_be_visible()


async def test_signing_out_in_one_tab_tells_the_other(open_page: Open, name: str) -> None:
    """The other tab's socket is closed, and the page says so; going back shows nothing private."""
    page = await open_page()
    await sign_up(page, name)
    other = await page.context.new_page()
    await other.goto("/devices")
    await is_live(other)
    await page.get_by_role("button", name="Sign out").click()
    await is_told(other)
    await page.go_back()
    await expect(page).to_have_url(re.compile("/sign-in"))


async def test_a_new_password(open_page: Open, name: str) -> None:
    """Other browsers are out at once; the other tab of this one gets a new socket and goes on."""
    page, phone = await open_page(), await open_page()
    await sign_up(page, name)
    await sign_in(phone, name)
    other = await page.context.new_page()
    await other.goto("/devices")
    await is_live(other)
    await page.goto("/password")
    await page.get_by_label("Present password").fill(PASSWORD)
    await page.get_by_label("New password").fill("battery staple")
    async with other.expect_websocket():
        await page.get_by_role("button", name="Change it").click()
    await expect(page.locator(".flash")).to_contain_text("Ended: 1 other session.")
    await is_told(phone)
    await is_live(other)
    await expect(other.locator("#ended")).to_be_hidden()


async def test_the_race(open_page: Open) -> None:
    """Fifty of fifty with the lock, fewer without; a bar for each request, longer for the later."""
    page = await open_page()
    await page.goto("/lab")
    for _ in range(2):
        await page.locator("#fire").click()
        await expect(page.locator("#fire")).to_be_enabled()
        locked, unlocked = page.locator("#locked"), page.locator("#unlocked")
        await expect(locked.locator("output")).to_have_text("50")
        await expect(locked).to_have_attribute("data-verdict", "good")
        await expect(unlocked).to_have_attribute("data-verdict", "bad")
        assert int(await unlocked.locator("output").inner_text()) < 50
        await expect(locked.locator(".chart i.done")).to_have_count(50)
        heights = await locked.locator(".chart i").evaluate_all(
            "bars => bars.map(bar => bar.getBoundingClientRect().height).sort((a, b) => a - b)"
        )
        assert heights[0] < heights[25] < heights[49]


async def test_all_but_the_race_works_without_scripts(open_page: Open, name: str) -> None:
    """Forms and links are enough."""
    page = await open_page(java_script_enabled=False)
    await page.goto("/sign-up")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign up").click()
    await expect(page.locator(".place")).to_have_count(1)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("link", name="Sign up")).to_be_visible()
    await page.goto("/lab")
    await expect(page.locator("noscript p")).to_be_visible()
