"""What pages show for scripts in the browser, carried out by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sanic import Sanic, empty

from documents import ROOT, Place, places, run
from harness import serve
from people import Open
from sanic_cookies import public

pytestmark = pytest.mark.asyncio(loop_scope="session")
SPA = ROOT / "docs" / "single_page_apps.md"
PLACES = [place for place in places([SPA]) if place.block.language == "javascript"]


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_script_gets_its_answer(
    open_page: Open, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script of a single-page app asks the program above it, with the cookie of a login."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})
    assert place.program is not None
    app = run(place.program.text, tmp_path)["app"]
    # Browsers ask for it by themselves.
    app.add_route(public(lambda request: empty()), "/favicon.ico", name="icon")
    login = 'fetch("/api/login", {method: "POST", body: JSON.stringify({name: "ada"})})'
    async with serve(app) as url:
        page = await open_page(url)
        await page.goto("/api/me")
        await page.evaluate(login)
        result = "[answer.status, await answer.json()]"
        script = f"async () => {{ {place.block.text}; return {result} }}"

        assert await page.evaluate(script) == [200, {"ordered": True}]
