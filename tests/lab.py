"""An app whose handler is whatever the test says: `await lab.do(body)`, over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any, Self

import httpx
import pytest
from sanic import Request, json
from sanic.exceptions import ServerError
from sanic.response import BaseHTTPResponse

from harness import Browser, be_patient, make_app, serve
from sanic_cookies import InMemory, Session, SessionDict
from sanic_cookies.interfaces import guard

Body = Callable[[SessionDict], Awaitable[Any]]


class Failed(Exception):
    """What a handler raises that fails."""


async def failing_block(
    sess: SessionDict, change: Callable[[SessionDict], Any], error: BaseException | None = None
) -> None:
    """Enter the session, change it, and leave by an exception."""
    async with sess:
        change(sess)
        raise error or Failed


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go round until something holds that nobody announces, like a queue's length."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


@contextmanager
def down_meanwhile() -> Iterator[None]:
    """Have each store that fails be taken as down to the end of the block, not for a second.

    However long this machine stands still, nobody looks meanwhile whether the store is back.
    """
    now = time.monotonic()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guard, "time", SimpleNamespace(monotonic=lambda: now))
        yield


class Lab:
    """A served app with one session, and a browser.

    Args:
        master: The master interface; memory if None.
        host: The `Host` that the browser sends; see `Browser`.
        patient: Give stores more time than by default, unless the options say how much.
        options: For `Session`.
    """

    def __init__(
        self, master: Any = None, *, host: str | None = None, patient: bool = True, **options: Any
    ) -> None:
        self.app = make_app()
        self.session = Session(self.app, InMemory() if master is None else master, **options)
        if patient and "store_timeout" not in options:
            be_patient(self.session)
        self.errors: list[BaseException] = []
        self._host = host
        self._bodies: dict[int, Body] = {}
        self._numbers = count()
        self._stack = AsyncExitStack()
        self.app.add_route(self._handle, "/<number:int>", name="lab")
        self.app.add_route(
            self._handle, "/lazy/<number:int>", name="lazy", ctx_session_preload=False
        )

    async def __aenter__(self) -> Self:
        self.url = await self._stack.enter_async_context(serve(self.app, patient=False))
        self.browser = await self.open_browser()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def open_browser(self) -> Browser:
        """Return another browser, without cookies."""
        return await self._stack.enter_async_context(Browser(self.url, host=self._host))

    async def visit(
        self, body: Body, *, browser: Browser | None = None, folder: str = "/", **options: Any
    ) -> httpx.Response:
        """Let the handler run `body(sess)`; give the response, whatever it is.

        What the body raised is in `errors` afterwards.

        Args:
            body: What the handler does with the session; what it returns is sent as JSON.
            browser: Who asks.
            folder: "/lazy/" for a route that is not preloaded.
            options: For httpx.
        """
        number = next(self._numbers)
        self._bodies[number] = body
        return await (browser or self.browser).get(f"{folder}{number}", **options)

    async def do(self, body: Body, **options: Any) -> Any:
        """Let the handler run `body(sess)`; give what it returned, raise what it raised."""
        seen = len(self.errors)
        response = await self.visit(body, **options)
        for error in self.errors[seen:]:
            raise error
        assert response.status_code == 200, response.text
        return response.json()

    async def put(self, **values: Any) -> None:
        """Store values in the session of the browser."""

        async def body(sess: SessionDict) -> None:
            async with sess:
                sess.update(values)

        await self.do(body)

    async def stored(self, browser: Browser | None = None) -> Any:
        """Return what the session holds, as a request of its own sees it."""
        return await self.do(_peek, browser=browser)

    async def _handle(self, request: Request, number: int) -> BaseHTTPResponse:
        sess = request.ctx.session
        try:
            result = await self._bodies.pop(number)(sess)
            # Whatever is to be saved with the response has to have said so.
            assert sess.exchange.unsettled or not sess.needs_closing
        except BaseException as error:
            self.errors.append(error)
            if isinstance(error, Exception):
                raise
            raise ServerError("a check in the body failed") from error
        return result if isinstance(result, BaseHTTPResponse) else json(result)


async def _peek(sess: SessionDict) -> dict[str, Any]:
    return dict(await sess.peek())
