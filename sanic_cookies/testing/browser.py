"""A browser for tests: it keeps cookies between requests, as Sanic's own test client does not."""

from __future__ import annotations

import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http.cookiejar import Cookie, CookieJar
from typing import TYPE_CHECKING, Any, Self

from sanic.application.constants import ServerStage
from sanic.application.state import ApplicationServerInfo

from .logins import login_as

try:
    import httpx
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "Browser needs httpx: pip install 'sanic-cookies[testing]'", name=error.name
    ) from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from sanic import Sanic


@asynccontextmanager
async def serving(app: Sanic[Any, Any]) -> AsyncIterator[str]:
    """Serve an app in the running loop, on a free port of this machine; gives its address.

    Args:
        app: The app; its listeners run as at a real start, and end with the block.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Any: Sanic's server has no types.
    server: Any = await app.create_server(
        sock=listener, return_asyncio_server=True, access_log=False
    )
    if server is None:
        raise RuntimeError("Sanic gave no server")
    # Sanic's `create_server()` does not say so; and until somebody does, `app.loop` raises, and
    # `app.add_task()` puts off what it is given to a start that is over.
    serving = ApplicationServerInfo(settings={}, stage=ServerStage.SERVING, server=server)
    try:
        await server.startup()
        app.state.server_info.append(serving)
        await server.before_start()
        await server.after_start()
    except BaseException:
        server.close()  # it listens since it was made
        await server.wait_closed()
        with suppress(ValueError):
            app.state.server_info.remove(serving)
        raise
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.before_stop()
        server.close()
        # From Python 3.12 on the server waits for what is still connected, so that goes first.
        for connection in list(server.connections):
            connection.abort()
        await server.wait_closed()
        app.shutdown_tasks(timeout=0)  # which cancels, and would wait for a loop of its own
        await server.after_stop()
        app.state.server_info.remove(serving)


class _Jar(CookieJar):
    """Sends `Secure` cookies over http as well, as browsers do to their own machine."""

    def set_cookie(self, cookie: Cookie) -> None:
        # Not by the jar's policy: httpx copies the cookies of a jar, and not its policy.
        cookie.secure = False
        super().set_cookie(cookie)


class Browser(httpx.AsyncClient):
    """A client of an app that is served while the block runs; all of httpx, and a jar of cookies.

    Examples:
        >>> async with Browser(app) as ann:                 # doctest: +SKIP
        ...     await ann.login_as("ann")
        ...     assert (await ann.get("/me")).json() == "ann"
        ...     async with ann.another() as bob:            # another browser at the same server
        ...         assert (await bob.get("/me")).status_code == 401
    """

    def __init__(self, app: Sanic[Any, Any], *, url: str = "", **options: Any) -> None:
        """Make a browser without cookies.

        Args:
            app: The app.
            url: Where it is served already; empty to serve it here.
            options: For `httpx.AsyncClient`.
        """
        # Plain http to this very machine: certificates, which take a while to read, are not needed,
        # and without any no other server is trusted.
        options.setdefault("verify", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        cookies = options.pop("cookies", None)
        super().__init__(cookies=_Jar(), **options)
        self.cookies.update(cookies)
        self.app = app
        self._url = url
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start the server, unless it runs already."""
        if not self._url:
            self._url = await self._stack.enter_async_context(serving(self.app))
        self.base_url = httpx.URL(self._url)
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Close the connections, then stop the server that was started here."""
        await super().__aexit__(kind, error, trace)
        await self._stack.aclose()

    def another(self, **options: Any) -> Browser:
        """Return another browser at the same server, without cookies.

        Args:
            options: For `httpx.AsyncClient`.
        """
        return Browser(self.app, url=self._url, **options)

    async def login_as(self, user: Any, *, session_name: str | None = None, **options: Any) -> None:
        """Log a user in without the login page; the cookie is in the jar afterwards.

        Args:
            user: As for `AuthSession.login_user`.
            session_name: Name of the `AuthSession`; None for the first.
            options: For `AuthSession.login_user`: `duration`, `remember_me`.

        Raises:
            SessionConfigError: The app has no such `AuthSession`.
        """
        lines = await login_as(
            self.app, user, session_name=session_name, host=self.base_url.netloc.decode(), **options
        )
        headers = [("set-cookie", line) for line in lines]
        request = httpx.Request("GET", self.base_url)
        self.cookies.extract_cookies(httpx.Response(200, headers=headers, request=request))
