"""The documentation builds without a complaint, and asks nobody else for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sanic_cookies
from documents import PAGES, README, ROOT, build_site
from sanic_cookies.interfaces import base

# What a page loads by itself; a link that somebody may click is no such thing.
_LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]+src=\"?(https?:)?//|url\(['\"]?(?:https?:)?//", re.I
)
_LINKED = re.compile(r"<link[^>]+rel=\"?(?:stylesheet|preconnect|icon)[^>]+href=\"?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew."""
    directory = tmp_path_factory.mktemp("site")
    build_site(directory)
    return directory


def test_every_page_is_in_it_and_in_its_navigation(site: Path) -> None:
    """No page is forgotten."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    for page in set(PAGES) - {README}:
        folder = "" if page.stem == "index" else page.stem
        assert (site / folder / "index.html").exists()
        assert f": {page.name}\n" in navigation, f"add {page.name} to mkdocs.yml"


def test_it_asks_nobody_else(site: Path) -> None:
    """No page loads a font, a script, a style or a picture from elsewhere."""
    pages = sorted(site.rglob("*.html"))

    assert len(pages) > 15
    for page in [*pages, *site.rglob("*.css")]:
        text = page.read_text("utf-8")
        assert not _LOADED.search(text), page
        assert not _LINKED.search(text), page


def test_the_reference_has_the_docstrings(site: Path) -> None:
    """Public names are there, with what their docstrings say."""
    text = (site / "api" / "index.html").read_text("utf-8")
    for name in ("login_user", "logout_everywhere", "peek", "set_expiry", "fresh_login_required"):
        assert f"{name}</" in text
    assert "Seconds to the absolute end" in text


def test_the_reference_lists_what_is_public_and_nothing_else(site: Path) -> None:
    """Whatever can be imported by name is there; what the library's parts ask of each other is not.

    An interface of one's own needs the records as well, and what else an interface may do.
    """
    text = (site / "api" / "index.html").read_text("utf-8")
    listed = {each.rpartition(".")[2] for each in re.findall(r'<h\d id="([\w.]+)"', text)}

    assert set(sanic_cookies.__all__) - {"Aioredis", "GinoAsyncPG"} <= listed
    assert {name for name in vars(base) if name.startswith("Supports")} <= listed
    assert {"Record", "Draft", "Outcome", "Metrics"} <= listed
    for name in ("amend", "become", "close", "doubt", "kept", "once_stored", "preload", "present"):
        assert f'id="sanic_cookies.SessionDict.{name}"' not in text
