"""Apps on real sockets, and a browser that keeps their cookies.

The framework's own test client starts a new event loop for each request and keeps no cookies, so
it can show neither concurrency nor a session.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
from sanic import Sanic

from sanic_cookies import Session
from sanic_cookies.testing import serving

CALL_SECONDS = 2.0  # what a call to a store may take by default
_numbers = count()
# One for all: reading the machine's certificates takes longer than most tests.
_TLS = ssl.create_default_context()


def make_app(**config: Any) -> Sanic:
    """Return a new app, whose name no other test has.

    Without sanic-ext, unless `AUTO_EXTEND` is given: it is installed for its own tests, and its
    response middleware would keep all others from the way that most apps take.
    """
    Sanic.test_mode = True
    app = Sanic(f"app-{next(_numbers)}", configure_logging=False)
    app.config.update({"AUTO_EXTEND": False, **config})
    Sanic._app_registry.pop(app.name, None)
    return app


def be_patient(session: Session) -> None:
    """Give stores ten times as long to answer.

    Where time is not the subject, a machine that stands still for some seconds is no failure.
    """
    settings = session.settings
    session.settings = replace(
        settings,
        store_timeout=10 * settings.store_timeout,
        request_timeout=10 * settings.request_timeout,
    )
    session.start()


@asynccontextmanager
async def serve(app: Sanic, *, patient: bool = True) -> AsyncIterator[str]:
    """Serve `app` in the running loop; gives `http://127.0.0.1:port`.

    Args:
        app: The app.
        patient: Give stores more time, where a session has what it has by default.
    """
    for session in vars(app.ctx).values() if patient else ():
        if isinstance(session, Session) and session.settings.store_timeout == CALL_SECONDS:
            be_patient(session)
    async with serving(app) as url:
        yield url
    await asyncio.sleep(0)


class Browser:
    """A client with a cookie jar as simple as can be: names and values, and deletion.

    `host` other than a loopback name makes the server treat the connection as a public one, so
    cookies are `Secure` and `__Host-`; this browser sends them all the same.
    """

    def __init__(self, url: str, *, host: str | None = None) -> None:
        self.cookies: dict[str, str] = {}
        self.headers = {} if host is None else {"host": host}
        self._client = httpx.AsyncClient(base_url=url, timeout=30, verify=_TLS)

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request with the cookies that are there, keep those that come."""
        headers = {**self.headers, **options.pop("headers", {})}
        if self.cookies and "cookie" not in headers:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        self._client.cookies.clear()
        response = await self._client.request(method, path, headers=headers, **options)
        for line in response.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return response

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("POST", path, **options)

    def copy(self) -> Browser:
        """Return another browser with the same cookies, as a thief would have it."""
        other = Browser(str(self._client.base_url))
        other.headers, other.cookies = dict(self.headers), dict(self.cookies)
        return other


def set_cookies(response: httpx.Response) -> list[str]:
    """Return the Set-Cookie lines of a response."""
    return response.headers.get_list("set-cookie")
