"""Cookies that a browser keeps and sends again, over plain http to its own machine."""

from __future__ import annotations

from typing import Any

import pytest
from sanic import Request, empty, json

from harness import make_app, serve
from people import Open
from sanic_cookies import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"samesite": "Strict"},
        {"samesite": "None"},
        {"partitioned": True},
        {"secure": True},
        {"secure": True, "partitioned": True},
        {"cookie_prefix": ""},
        {"path": "/count"},
        {"session_cookie": True},
    ],
)
async def test_the_first_run_keeps_its_session(open_page: Open, options: dict[str, Any]) -> None:
    """Whatever is asked for the cookie, it works on the developer's own machine."""
    app = make_app()
    Session(app, **options)

    @app.get("/count")
    async def count(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["n"] = sess.get("n", 0) + 1
            return json(sess["n"])

    # Browsers ask for it by themselves.
    app.add_route(lambda request: empty(), "/favicon.ico", name="icon")
    async with serve(app) as url:
        page = await open_page(url)
        for number in ("1", "2"):
            await page.goto("/count")
            assert await page.inner_text("body") == number
