"""`safe_next`: where a browser may be sent after a login."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from sanic import Request, json
from sanic.response import HTTPResponse

from harness import Browser, make_app, serve
from sanic_cookies import safe_next

OWN = "shop.example"

KEPT = [
    "/",
    "/me",
    "/me?page=2&q=a%20b#top",
    "/a//b",
    "/caf%C3%A9",
    "/a:b@c",
    "/search?back=https://evil.example/",
    "/search?text=%0a%2f%2f",
    "/.well-known/x",
    "/...",
    "/..me/.you/me..",
    "/me?back=/../..//",
    "/" + "a" * 2047,
]

REFUSED = [
    "",
    "me",
    "?next=/",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/me\\..\\..\\evil",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/\n/evil.example",
    "/me\r\nSet-Cookie: a=b",
    "/me\x00",
    "/me\x7f",
    "/me ",
    "/%2fevil.example",
    "/%2F%2Fevil.example",
    "/%5cevil.example",
    "/%255cevil.example",
    "/%252fevil.example",
    "/%09/evil.example",
    "/me%0d%0aSet-Cookie:%20a=b",
    "/.//evil.example",
    "/..//evil.example",
    "/./\\evil.example",
    "/%2e/%2fevil.example",
    "/me/..//evil.example",
    "/me/../..//evil.example",
    "/me/%2e%2e//evil.example",
    "/me/..%2f/evil.example",
    "/a/b/../..//evil.example?x#y",
    "/me/..",
    "/me/./you",
    "%2f%2fevil.example",
    "http://evil.example/",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://evil.example\\@shop.example/",
    "HTTPS://EVIL.EXAMPLE",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "user@evil.example",
    "//user:pass@evil.example",
    "https://shop.example@evil.example/",
    "https://shop.example:x@evil.example/",
    "https://shop.example.evil.example/",
    "https://shop.example",
    "https://shop.example//evil.example",
    "https://shop.example/\\evil.example",
    "ftp://shop.example/me",
    "/\u2044evil.example",
    "/\u2215/evil.example",
    "/\uff0fevil.example",
    "\uff0f\uff0fevil.example",
    "/\u2028",
    "/\u00a0/evil.example",
    "/über",
    "/" + "a" * 2048,
    "/%25252525252fevil.example",
    "/%2525252525me",
]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser at an app that says where it would go."""
    app = make_app()

    @app.route("/", methods=["GET", "POST"])
    async def index(request: Request) -> HTTPResponse:
        return json([safe_next(request, "/start"), safe_next(request, name="back")])

    async with serve(app) as url, Browser(url, host=OWN) as client:
        yield client


@pytest.mark.parametrize("path", KEPT)
async def test_a_path_of_this_site_is_kept(browser: Browser, path: str) -> None:
    """A plain path comes back as it was, query and fragment included."""
    assert (await browser.get(f"/?next={quote(path, safe='')}")).json() == [path, "/"]


@pytest.mark.parametrize("text", REFUSED)
async def test_what_could_lead_elsewhere_is_refused(browser: Browser, text: str) -> None:
    """Whatever any browser or proxy could take for another site gives the default."""
    assert (await browser.get(f"/?next={quote(text, safe='')}")).json() == ["/start", "/"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_address_of_this_site_becomes_its_path(browser: Browser, scheme: str) -> None:
    """An absolute address of this very site is cut down to its path."""
    given = quote(f"{scheme}://{OWN}/me?page=2", safe="")
    assert (await browser.get(f"/?next={given}")).json() == ["/me?page=2", "/"]


async def test_two_of_them_are_none(browser: Browser) -> None:
    """Two values are refused, however harmless: another program may follow the other."""
    assert (await browser.get("/?next=/a&next=/b")).json()[0] == "/start"


async def test_a_form_tells_it_too(browser: Browser) -> None:
    """The form's field counts where the query has none, and is judged alike."""
    assert (await browser.post("/", data={"next": "/me"})).json()[0] == "/me"
    assert (await browser.post("/", data={"next": "//evil.example"})).json()[0] == "/start"
    assert (await browser.post("/?next=/query", data={"next": "/form"})).json()[0] == "/query"


async def test_another_name(browser: Browser) -> None:
    """The argument may have another name."""
    assert (await browser.get("/?back=/me")).json() == ["/start", "/me"]


async def test_a_body_that_streams_is_left_to_its_handler() -> None:
    """Asked before a streamed body was read, it looks into the query only; the form stays whole."""
    app = make_app()

    @app.post("/", stream=True)
    async def index(request: Request) -> HTTPResponse:
        before = safe_next(request)
        await request.receive_body()
        return json([before, safe_next(request), request.form.get("name")])

    async with serve(app) as url, Browser(url) as client:
        answer = await client.post("/", data={"next": "/me", "name": "ann"})

        assert answer.json() == ["/", "/me", "ann"]
