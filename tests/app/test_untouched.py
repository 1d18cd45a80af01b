"""A route that leaves the session alone pays nothing for it, and gets nothing of it."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest
from sanic import HTTPResponse, Request, Sanic, text
from sanic.response import ResponseStream

from harness import Browser, make_app, serve
from sanic_cookies import AuthSession, InMemory, Session
from sanic_cookies.exchange import Exchange


class OwnRequest(Request):
    """An application's own request class."""

    @property
    def shout(self) -> str:
        return self.path.upper()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Count the exchanges that are made: everything else comes after one."""
    made: list[Request] = []
    init = Exchange.__init__

    def count(self: Exchange, request: Any, *settled: Any) -> None:
        made.append(request)
        init(self, request, *settled)

    monkeypatch.setattr(Exchange, "__init__", count)
    return made


def make_shop(**options: Any) -> Sanic[Any, Any]:
    # Without sanic-ext, whose middleware might be the one that asks for the session.
    app = make_app(AUTO_EXTEND=False)
    Session(app, InMemory(), **options)

    @app.get("/touch")
    async def touch(request: Request) -> HTTPResponse:
        async with request.ctx.session as sess:
            sess["n"] = sess.get("n", 0) + 1
            return text(str(sess["n"]))

    @app.get("/leave")
    async def leave(request: Request) -> HTTPResponse:
        return text("")

    return app


async def test_nothing_is_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `preload=False` a request that nobody asks for its session makes no object of ours."""
    made = counted(monkeypatch)
    app = make_shop(preload=False)
    async with serve(app) as url, Browser(url) as browser:
        assert (await browser.get("/touch")).text == "1"
        made.clear()
        reply = await browser.get("/leave")
        assert (reply.status_code, made) == (200, [])
        assert not {"vary", "set-cookie", "cache-control"} & set(reply.headers)
        assert (await browser.get("/touch")).text == "2"


async def test_there_is_no_middleware_without_need() -> None:
    """Only preloading and checks act before the handler; nothing acts after it by middleware."""
    assert not make_shop(preload=False).request_middleware
    assert len(make_shop().request_middleware) == 1
    guarded = make_app()
    auth = AuthSession(guarded, InMemory(), preload=False)
    auth.protect(guarded)
    assert len(guarded.request_middleware) == 1
    assert not guarded.response_middleware


async def _tell(response: Any) -> None:
    await response.write("the same for all")


@pytest.mark.parametrize("kept", [text("the same for all"), ResponseStream(_tell)])
async def test_a_response_that_is_sent_to_all_carries_nobodys_cookie(kept: Any) -> None:
    """A response object kept by the application is cleaned of the cookie that another one got.

    Also one whose headers Sanic copies to another response, as it does for `file_stream()`.
    """
    app = make_app()
    Session(app, InMemory(), preload=False)

    @app.get("/touch")
    async def touch(request: Request) -> HTTPResponse:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return kept

    @app.get("/leave")
    async def leave(request: Request) -> HTTPResponse:
        return kept

    async with serve(app) as url, Browser(url) as first, Browser(url) as second:
        assert "set-cookie" in (await first.get("/touch")).headers
        answer = await second.get("/leave")

    assert (answer.status_code, answer.text) == (200, "the same for all")
    assert "set-cookie" not in answer.headers


async def test_the_apps_own_request_class_is_kept() -> None:
    """Requests are still of the application's class, whose context and methods they have."""

    app = Sanic("own", request_class=OwnRequest, configure_logging=False)
    Sanic._app_registry.pop(app.name, None)
    Session(app, InMemory())

    @app.get("/loud")
    async def loud(request: OwnRequest) -> HTTPResponse:
        async with request.ctx.session as sess:
            sess["n"] = 1
        return text(request.shout)

    async with serve(app) as url, Browser(url) as browser:
        reply = await browser.get("/loud")
        assert reply.text == "/LOUD"
        assert "set-cookie" in reply.headers


async def test_what_is_put_behind_our_request_class_is_asked_too() -> None:
    """A class that an extension mixes in later has its say in each response, touched or not."""

    class Marked(Request):
        async def respond(self, response: Any = None, **options: Any) -> Any:  # type: ignore[override]
            response.headers["x-mark"] = "1"
            return await super().respond(response, **options)

    app = make_shop(preload=False)
    app.request_class = type("Mixed", (app.request_class, Marked), {})

    async with serve(app) as url, Browser(url) as browser:
        replies = [await browser.get(path) for path in ("/leave", "/touch")]
        assert [reply.headers["x-mark"] for reply in replies] == ["1", "1"]


@pytest.mark.parametrize("path", ["/touch", "/look"])
async def test_a_request_leaves_nothing_to_the_garbage_collector(path: str) -> None:
    """A request is freed with its last reference: its session holds no way back to it."""
    app, seen = make_shop(preload=False), []

    @app.get("/look")
    async def look(request: Request) -> HTTPResponse:
        return text(str(len(await request.ctx.session.peek())))

    @app.on_request
    async def note(request: Request) -> None:
        seen.append(ref(request))

    gc.disable()
    try:
        async with serve(app) as url, Browser(url) as browser:
            for _ in range(3):
                assert (await browser.get(path)).status_code == 200
            assert len(seen) == 3
            # The connection keeps the last one until the next comes.
            assert [each() for each in seen[:2]] == [None, None]
    finally:
        gc.enable()
