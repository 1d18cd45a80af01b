"""An app with a plain session and an `AuthSession`, whose handler is whatever the test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from sanic import Request

from harness import Browser, be_patient, set_cookies
from lab import Lab
from sanic_cookies import AuthSession

RequestBody = Callable[[Request], Awaitable[Any]]


class AuthLab(Lab):
    """A lab whose bodies get the request; both sessions share the master interface.

    Args:
        master: The master interface; memory if None.
        host: The `Host` that the browser sends; see `Browser`.
        options: For `AuthSession`.
    """

    def __init__(self, master: Any = None, *, host: str | None = None, **options: Any) -> None:
        super().__init__(master, host=host)
        shared = self.session.master_interface
        self.auth = AuthSession(self.app, master_interface=shared, **options)
        if "store_timeout" not in options:
            be_patient(self.auth)

    @property
    def cookie(self) -> str:
        """The name of the login's cookie on this machine."""
        return self.auth.settings.cookie.name

    async def visit(self, body: RequestBody, **options: Any) -> httpx.Response:  # type: ignore[override]
        """Let the handler run `body(request)`; see `Lab.visit`."""
        return await super().visit(lambda _: body(Request.get_current()), **options)

    async def thief(self) -> Browser:
        """Return another browser with the cookies that the lab's browser has now."""
        other = await self.open_browser()
        other.cookies = dict(self.browser.cookies)
        return other

    async def login(
        self, user: Any = "ann", *, browser: Browser | None = None, **options: Any
    ) -> httpx.Response:
        """Log a user in; `options` are those of `login_user`."""
        response = await self.visit(
            lambda request: self.auth.login_user(request, user, **options), browser=browser
        )
        assert response.status_code == 200, self.errors[-1:]
        return response

    async def logout(self, *, browser: Browser | None = None, **options: Any) -> httpx.Response:
        """Log whoever it is out, whatever comes of it."""
        return await self.visit(
            lambda request: self.auth.logout_user(request, **options), browser=browser
        )

    async def user(self, browser: Browser | None = None) -> Any:
        """Return who is logged in, as a request of its own sees it."""
        return await self.do(self.auth.current_user, browser=browser)

    def sid(self) -> str:
        """Return the public id of the session that the browser's cookie names."""
        return self.browser.cookies[self.cookie].partition(".")[0]

    async def write(self, *, browser: Browser | None = None, **values: Any) -> httpx.Response:
        """Write into the login's session under its lock, whatever comes of it."""

        async def body(request: Request) -> None:
            async with request.ctx.auth_session as sess:
                sess.update(values)

        return await self.visit(body, browser=browser)

    async def data(self, browser: Browser | None = None) -> dict[str, Any]:
        """Return what the login's session shows."""

        async def body(request: Request) -> dict[str, Any]:
            return dict(await request.ctx.auth_session.peek())

        result: dict[str, Any] = await self.do(body, browser=browser)
        return result


def login_cookie(response: httpx.Response) -> str:
    """Return the one Set-Cookie line that names the session; a remembered login has a companion."""
    [line] = [each for each in set_cookies(response) if "_run=" not in each]
    return line


class Pause:
    """Where a handler waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.resume = asyncio.Event()

    async def wait(self) -> None:
        """Say that the handler is here, and wait; called by the handler."""
        self.reached.set()
        await asyncio.wait_for(self.resume.wait(), 60)


class Clock:
    """Time that the test moves on; both clocks show the same."""

    def __init__(self) -> None:
        self.now = 0.0
        self._start = time.time()

    def monotonic(self) -> float:
        """Return seconds, for `InMemory`."""
        return self.now

    def epoch(self) -> float:
        """Return epoch seconds, for a session."""
        return self._start + self.now
