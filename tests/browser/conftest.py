"""The demo in a real browser. Every page is watched: what it asks for, and what it complains of."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from playwright.async_api import Browser, ConsoleMessage, Page, Request, Response, expect

import chrome
from people import Open
from programs import running

CHROME = chrome.find()
expect.set_options(timeout=30_000)  # a machine may be busy; what is there is seen at once
_people = count()
_skipped = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none, unless it was asked for."""
    if CHROME is None and not os.environ.get("NEED_BROWSER"):
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason=f"no browser: {chrome.HOW}"))
                _skipped.append(item)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say it where it is read."""
    if _skipped:
        terminalreporter.write_line(f"No browser: {len(_skipped)} tests skipped; {chrome.HOW}.")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo over http, on this machine."""
    directory = tmp_path_factory.mktemp("demo")
    users = str(directory / "users.sqlite3")
    with running("examples.demo", directory / "log", USERS_FILE=users) as url:
        yield url


@pytest.fixture(scope="session")
def secure_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo over https, with a certificate that is thrown away."""
    directory = tmp_path_factory.mktemp("secure")
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(directory / "privkey.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(directory / "fullchain.pem", append=True)
    users = str(directory / "users.sqlite3")
    chosen = {"USERS_FILE": users, "TLS_CERTS": str(directory)}
    with running("examples.demo", directory / "log", **chosen) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    assert CHROME is not None, f"There is no browser: {chrome.HOW}"
    async with chrome.launched(CHROME) as browser:
        yield browser


class Watch:
    """What happens on the pages of one test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._refused: set[str] = set()
        self._complaints: list[tuple[str, str]] = []

    def on(self, page: Page) -> None:
        """Watch a page."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._complaints.append(("error", str(error))))
        page.on("request", self._asked)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complaints.append((message.location["url"], message.text))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self._url):
            self._complaints.append(("a request to elsewhere", request.url))

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.request.is_navigation_request():
            self._refused.add(response.url)

    @property
    def complaints(self) -> list[tuple[str, str]]:
        """All but one kind: a page that is itself an error is one in the console, too."""
        return [each for each in self._complaints if each[0] not in self._refused]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, demo: str) -> AsyncIterator[Open]:
    """Open a page in a new browser, with cookies of its own; in the end nothing may be wrong.

    `url` is another site than the demo, the rest are options of Playwright's `new_context`.
    """
    contexts, watches = [], []

    async def open_one(url: str = demo, **options: Any) -> Page:
        context = await browser.new_context(base_url=url, ignore_https_errors=True, **options)
        watches.append(Watch(url))
        context.on("page", watches[-1].on)
        contexts.append(context)
        return await context.new_page()

    yield open_one
    for context in contexts:
        await context.close()
    assert [each for watch in watches for each in watch.complaints] == []


@pytest.fixture
def name() -> str:
    """The name of somebody new."""
    return f"ada{next(_people)}"
