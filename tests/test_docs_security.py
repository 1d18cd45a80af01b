"""The document on security is true beyond its blocks, which all pages have checked."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from sanic import HTTPResponse, Request, Sanic, json

from documents import ROOT, blocks, code, links, rows, run
from harness import Browser, make_app, serve
from sanic_cookies import AuthSession, InCookieEncrypted, InMemory
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.exchange import _REST_OF_HEAD
from sanic_cookies.interfaces.cookie.salted import MOST_KEPT, NONCE, SALT, SEALS_PER_SALT
from sanic_cookies.interfaces.cookie.sealed import MOST_KNOWN
from sanic_cookies.settings import Settings

DOCUMENT, POLICY = ROOT / "docs" / "security.md", ROOT / "SECURITY.md"


async def test_sealed_sessions_end_and_only_the_newest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app keeps what is said below it, with keys as the command prints them."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})
    monkeypatch.setenv("COOKIE_KEYS", f"{new_key()},{new_key()}")
    [block] = [each for each in blocks(DOCUMENT) if "revocations=" in each.text]
    app = run(block.text, tmp_path)["app"]
    async with serve(app) as url, Browser(url) as browser:
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


@pytest.mark.parametrize("kind", ["store", "key"])
async def test_what_two_applications_share_is_as_said(kind: str) -> None:
    """A login of one is one in the other under the same name, and none under another name."""
    key = new_key()
    store = InMemory()
    told: list[bool] = []
    for name in ("auth_session", "staff"):
        shop, staff = make_app(), make_app()
        for app, session_name in ((shop, "auth_session"), (staff, name)):
            master = store if kind == "store" else InCookieEncrypted(key)
            auth = AuthSession(app, master, session_name=session_name, cookie_name="login")
            app.add_route(partial(login_of, auth), "/login", name="login")
            app.add_route(partial(user_of, auth), "/", name="user")
        async with (
            serve(shop) as one,
            serve(staff) as other,
            Browser(one) as browser,
            Browser(other) as thief,
        ):
            await browser.get("/login")
            assert (await browser.get("/")).json() == "7"
            thief.cookies.update(browser.cookies)
            told.append((await thief.get("/")).json() == "7")
    assert told == [True, False]


async def login_of(auth: AuthSession, request: Request) -> HTTPResponse:
    await auth.login_user(request, "7")
    return json("welcome")


async def user_of(auth: AuthSession, request: Request) -> HTTPResponse:
    return json(await auth.current_user(request))


def test_the_figures_are_those_of_the_code() -> None:
    """Bits, seconds and bytes are what the code has."""
    text = DOCUMENT.read_text("utf-8")
    default = Settings.__dataclass_fields__["rotation_grace"].default

    assert f"{8 * (SALT + NONCE)} random bits" in text
    exponent = SEALS_PER_SALT.bit_length() - 1
    assert 2**exponent == SEALS_PER_SALT
    assert f"for 2^{exponent} cookies" in text
    assert f"is 2^-{8 * NONCE + 1 - 2 * exponent} for each salt" in text
    assert f"the last\n{MOST_KNOWN} cookies" in text
    assert f"The keys of {MOST_KEPT}\nsalts at most" in text
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
