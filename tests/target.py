"""What attackers go for: an app with two sessions on one store, and a victim who is logged in.

Attackers write their requests by hand. Whatever they try, `gains` tells what they got by every way
that a handler has to look into a session; nothing is `NOTHING`.
"""

from __future__ import annotations

import json as jsonlib
from contextlib import AsyncExitStack
from typing import Any, Self

from sanic import Request, json

from harness import Browser, make_app, serve
from sanic_cookies import AuthSession, Session
from wire import ask

TREASURE = "the victim's own"
EMPTY = {"session": {}, "auth": {}, "user": None}
WAYS = ("/peek", "/block", "/guarded")
# What these give to somebody who has no session.
NOTHING: list[Any] = [(200, EMPTY), (200, EMPTY), (401, None)]


class Target:
    """An app that serves, and what listeners of its security events have heard.

    Args:
        master: The interface of both sessions.
        host: The `Host` of all requests; other than a loopback name makes cookies `__Host-`.
        options: For both of them.
    """

    def __init__(self, master: Any, *, host: str | None = None, **options: Any) -> None:
        self.app, self.host = make_app(), host
        self.session = Session(self.app, master, **options)
        self.auth = AuthSession(self.app, master, **options)
        self.events: list[str] = []
        self._stack = AsyncExitStack()
        app, auth = self.app, self.auth

        @app.signal("session.security.suspicious")
        async def heard(reason: str, **_: Any) -> None:
            self.events.append(reason)

        async def seen(request: Request, auth_data: Any, data: Any) -> dict[str, Any]:
            user = await auth.current_user(request)
            return {"session": dict(data), "auth": dict(auth_data), "user": user}

        @app.get("/peek")
        async def peek(request: Request) -> Any:
            ctx = request.ctx
            return json(
                await seen(request, await ctx.auth_session.peek(), await ctx.session.peek())
            )

        @app.get("/block", ctx_session_preload=False)
        async def block(request: Request) -> Any:
            async with request.ctx.session as sess, request.ctx.auth_session as auth_sess:
                return json(await seen(request, auth_sess, sess))

        @app.get("/guarded")
        @auth.login_required()
        async def guarded(request: Request) -> Any:
            return json(TREASURE)

        @app.get("/write")
        async def write(request: Request) -> Any:
            values = {key: request.args.get(key) for key in request.args}
            async with request.ctx.session as sess, request.ctx.auth_session as auth_sess:
                sess.update(values)
                auth_sess.update(values)
            return json(None)

        @app.get("/login/<user:str>")
        async def login(request: Request, user: str) -> Any:
            await auth.login_user(request, user)
            return json(None)

        @app.get("/logout")
        async def logout(request: Request) -> Any:
            await auth.logout_user(request)
            return json(None)

        @app.get("/rotate")
        async def rotate(request: Request) -> Any:
            async with request.ctx.session as sess, request.ctx.auth_session as auth_sess:
                sess.rotate()
                auth_sess.rotate()
            return json(None)

        @app.get("/fail")
        async def fail(request: Request) -> Any:
            await request.ctx.session.peek()
            raise RuntimeError("a handler that fails")

    async def __aenter__(self) -> Self:
        self.url = await self._stack.enter_async_context(serve(self.app))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def browser(self) -> Browser:
        """Return a browser without cookies."""
        return await self._stack.enter_async_context(Browser(self.url, host=self.host))

    async def victim(self, user: str = "victim") -> Browser:
        """Return the browser of somebody who is logged in and has something in both sessions."""
        browser = await self.browser()
        await browser.get(f"/login/{user}")
        await browser.get("/write", params={"treasure": TREASURE})
        assert len(browser.cookies) == 2
        return browser

    async def gains(self, *headers: bytes, query: str = "") -> list[Any]:
        """Return what a request with these headers gets to see, by each way."""
        return [await self.sees(path + query, *headers) for path in WAYS]

    async def sees(self, path: str, *headers: bytes) -> tuple[int, Any]:
        """Return status and content of one answer."""
        reply = await ask(self.url, path, *headers, host=self.host)
        return reply.status, jsonlib.loads(reply.body) if reply.status == 200 else None


def cookie(**cookies: str) -> bytes:
    """Return a Cookie header."""
    return b"Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()


def everything(data: dict[str, Any] | None = None) -> list[Any]:
    """Return what the victim sees."""
    own = {"treasure": TREASURE} if data is None else data
    seen = {"session": own, "auth": {"current_user": "victim", **own}, "user": "victim"}
    return [(200, seen), (200, seen), (200, TREASURE)]
