"""Session cookies in shared caches: user B is shown nothing of user A.

A cache between browsers and app keeps what it may. CVE-2026-35192, CVE-2026-27205, CVE-2023-30861
and CVE-2025-48947 are answers with one user's cookie or data that a cache gave to the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product

import pytest
from sanic import HTTPResponse, Request, json, redirect
from sanic.exceptions import NotFound

from cache import Cache, caching
from harness import Browser
from masters import KINDS, make_master
from target import Target

CARELESS = {"cache-control": "public, max-age=3600, s-maxage=3600"}
HTML = {"accept": "text/html"}
HEADERS: dict[str, dict[str, str]] = {
    "plain": {},
    "careless": CARELESS,
    "vary": {"vary": "Accept-Encoding"},
    "expires": {"expires": "Thu, 01 Jan 2099 00:00:00 GMT"},
    "cdn": {"CDN-Cache-Control": "max-age=3600"},
    "surrogate": {"surrogate-control": "max-age=3600"},
    "maker": {"Maker-CDN-Cache-Control": "public, max-age=3600", "cdn-cache-control": "no-store"},
}
# Headers do not depend on the store; but the cookies that come with them do.
CASES = [*product(KINDS, ["plain", "careless"]), *product(["memory"], [*HEADERS][2:])]


class Cached(Target):
    """A target whose routes answer in all the ways in which a cache may keep an answer."""

    def add_routes(self, headers: dict[str, str]) -> None:
        """Add the routes; each answer has these headers of the application's own."""
        app, auth = self.app, self.auth

        @app.get("/read/<how:str>")
        async def read(request: Request, how: str) -> HTTPResponse:
            sess = request.ctx.auth_session
            if how == "peek":
                return json(dict(await sess.peek()), headers=headers)
            if how == "block":
                async with sess:
                    return json(dict(sess), headers=headers)
            if how == "in":
                return json("name" in sess, headers=headers)
            if how == "len":
                return json(len(sess), headers=headers)
            if how == "user":
                return json(await auth.current_user(request), headers=headers)
            if how == "redirect":
                return redirect(f"/home/{await auth.current_user(request)}", headers, status=301)
            if how == "missing":
                raise NotFound(f"nothing here for {await auth.current_user(request)}")
            return json(await auth.current_user(request), headers=headers, status=410)

        @app.get("/only")
        @auth.login_required()
        async def only(request: Request) -> HTTPResponse:
            return json(await auth.current_user(request), headers=headers)

        @app.get("/page")
        @auth.login_required(redirect_to="/sign-in")
        async def page(request: Request) -> HTTPResponse:
            return json(await auth.current_user(request), headers=headers)

        @app.get("/sign/<user:str>")
        async def sign(request: Request, user: str) -> HTTPResponse:
            await auth.login_user(request, user)
            return json(user, headers=headers)

        @app.get("/begin")
        async def begin(request: Request) -> HTTPResponse:
            async with request.ctx.session as sess:
                sess["mine"] = "yes"
            return json("begun", headers=headers)

        @app.get("/leave")
        async def leave(request: Request) -> HTTPResponse:
            await auth.logout_user(request)
            return redirect("/", headers, status=301)

        @app.get("/untouched")
        async def untouched(request: Request) -> HTTPResponse:
            return json("for all", headers=headers)

        @app.get("/naive")
        async def naive(request: Request) -> HTTPResponse:
            cookie = request.headers.get("cookie", "")
            return json(cookie, headers={**headers, "set-cookie": f"naive={len(cookie)}"})


@pytest.fixture(params=CASES, ids="-".join)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """A cache before a target on each kind of interface."""
    kind, headers = request.param
    async with make_master(kind, request) as master:
        target = Cached(master)
        target.add_routes(HEADERS[headers])
        async with target, caching(target.url) as cache:
            yield cache


async def signed_in(cache: Cache, user: str) -> Browser:
    browser = Browser(cache.url)
    await browser.get(f"/sign/{user}")
    return browser


READS = ["peek", "block", "in", "len", "user", "redirect", "missing", "gone"]


async def test_an_answer_of_one_user_is_not_another_ones(cache: Cache) -> None:
    """Plain reads, errors and redirects: each is asked by A, then by B, then by nobody."""
    async with (
        await signed_in(cache, "ann") as ann,
        await signed_in(cache, "bob") as bob,
        Browser(cache.url) as nobody,
    ):
        for path in [*(f"/read/{how}" for how in READS), "/only", "/page"]:
            for browser, others in ((ann, ["bob"]), (bob, ["ann"]), (nobody, ["ann", "bob"])):
                for _ in range(2):
                    response = await browser.get(path, follow_redirects=False)
                    shown = response.text + str(response.headers)
                    assert not any(other in shown for other in others), path
        assert (await ann.get("/only")).json() == "ann"
        assert (await nobody.get("/only")).status_code == 401


async def test_what_nobody_was_shown_is_not_shown_after_the_login(cache: Cache) -> None:
    """A refusal that a cache kept would keep out the user who has logged in since."""
    async with Browser(cache.url) as browser:
        assert (await browser.get("/only")).status_code == 401
        assert (await browser.get("/page", headers=HTML, follow_redirects=False)).is_redirect
        assert (await browser.get("/read/user")).json() is None
        await browser.get("/sign/ann")
        assert (await browser.get("/only")).json() == "ann"
        assert (await browser.get("/page", headers=HTML)).json() == "ann"
        assert (await browser.get("/read/user")).json() == "ann"


@pytest.mark.parametrize("path", ["/sign/ann", "/begin", "/leave"])
async def test_no_cookie_of_one_browser_reaches_another(cache: Cache, path: str) -> None:
    """Login, first write and logout set cookies: the next who asks for the same gets own ones."""
    async with Browser(cache.url) as first, Browser(cache.url) as second:
        if path == "/leave":
            await first.get("/sign/ann")
        before = await first.get(path, follow_redirects=False)
        after = await second.get(path, follow_redirects=False)
        assert cache.hits == []
        assert "no-store" in before.headers.get("cache-control", "no-store")
        assert not set(before.headers.get_list("set-cookie")) & {
            line for line in after.headers.get_list("set-cookie") if "Max-Age=0" not in line
        }
        assert path == "/leave" or first.cookies != second.cookies


async def test_the_cache_does_keep_what_it_may(cache: Cache) -> None:
    """So the tests above prove something: it gives A's cookie to B if nobody forbids it."""
    async with await signed_in(cache, "ann") as ann, Browser(cache.url) as bob:
        for path in ("/untouched", "/naive"):
            first, second = await ann.get(path), await bob.get(path)
            assert first.text == second.text
        assert cache.hits == ["/untouched", "/naive"]
        assert "auth_session=" in second.text
        assert "naive" in bob.cookies


async def test_the_same_browser_may_be_answered_from_the_cache(cache: Cache) -> None:
    """Vary does not forbid to keep a plain read, only to show it to others."""
    async with await signed_in(cache, "ann") as ann:
        for _ in range(3):
            assert (await ann.get("/read/user")).json() == "ann"
        assert cache.hits == ["/read/user"] * 2
