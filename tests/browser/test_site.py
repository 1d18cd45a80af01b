"""The documentation, in a browser: it works, and asks nobody else for anything while it is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.async_api import expect

from documents import PAGES, README, build_site
from people import Open

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAMES = [page.stem for page in PAGES if page not in (README,) and page.stem != "index"]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not tell of it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site, built anew and served."""
    directory = tmp_path_factory.mktemp("site")
    build_site(directory)
    serve = partial(Quiet, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_shown(open_page: Open, site: str, scheme: str) -> None:
    """Each page has its heading, and all of its pictures have come."""
    page = await open_page(site, color_scheme=scheme)
    for path in ["/", *(f"/{name}/" for name in NAMES)]:
        await page.goto(path)
        await expect(page.locator("h1")).to_have_count(1)
        sizes = await page.locator("article img").evaluate_all(
            "images => Promise.all(images.map(async each => {"
            " each.loading = 'eager'; await each.decode(); return each.naturalWidth }))"
        )
        assert all(size > 100 for size in sizes), path


async def test_what_is_looked_for_is_found(open_page: Open, site: str) -> None:
    """The search needs no server."""
    page = await open_page(site)
    await page.goto("/")
    await expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")
    # By keys: the page listens to them, not to what is filled in.
    await page.get_by_role("textbox", name="Search").press_sequentially("max_hold")
    await expect(page.locator(".md-search-result__item").first).to_be_visible()
