"""Sanic's own protocol on a wire that is not there: requests without sockets, one after the other.

The code that runs is the server's: its HTTP parser, router, middleware, handler and response,
after Sanic's start-up has rewritten its methods (`touchup`). Only the system calls of a socket are
missing, so what a session costs stands against less than in a real server, never against more.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop
from sanic import Sanic
from sanic.models.server_types import Signal
from sanic.server.protocols.http_protocol import HttpProtocol

from benchmarks.peers import bare_sanic, floor_memory, ours
from sanic_cookies import InMemory

WARM_UP = 200


class Wire(asyncio.Transport):
    """A transport whose other end is whoever waits for the next response."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make an open wire."""
        super().__init__({"peername": ("127.0.0.1", 40_000), "sockname": ("127.0.0.1", 8000)})
        self._loop = loop
        self.arrived: asyncio.Future[bytes] = loop.create_future()

    def write(self, data: Any) -> None:
        """Hand a response to who waits; Sanic sends each of ours in one piece."""
        self.arrived.set_result(bytes(data))

    def is_closing(self) -> bool:
        """Never: the wire outlives the requests."""
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: nothing is buffered."""

    def pause_reading(self) -> None:
        """Do nothing: one request is under way at a time."""

    def resume_reading(self) -> None:
        """Do nothing: as above."""

    def close(self) -> None:
        """Tell who waits that no response will come."""
        if not self.arrived.done():
            self.arrived.set_exception(ConnectionError("the server has hung up"))


class Client:
    """A browser with one connection and one cookie."""

    def __init__(self, app: Sanic[Any, Any]) -> None:
        """Connect to an app that was started in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._wire = Wire(self._loop)
        self._protocol = HttpProtocol(loop=self._loop, app=app, signal=Signal(), connections=set())
        self._protocol.connection_made(self._wire)
        self.cookie = ""

    def request(self, path: str) -> bytes:
        """Return the bytes of a request as a browser sends them."""
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        return (
            f"GET {path} HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: bench\r\n"
            f"Accept: */*\r\n{cookie}\r\n"
        ).encode()

    async def send(self, request: bytes) -> bytes:
        """Send a request and return the whole response."""
        self._wire.arrived = self._loop.create_future()
        self._protocol.data_received(request)
        return await self._wire.arrived

    async def get(self, path: str) -> bytes:
        """Send a request, keep the cookie that comes, and return the body.

        Raises:
            RuntimeError: The response is not 200.
        """
        head, _, body = (await self.send(self.request(path))).partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        if " 200 " not in status:
            raise RuntimeError(f"{path}: {status}")
        for line in headers:
            name, _, value = line.partition(": ")
            if name.lower() == "set-cookie":
                self.cookie = value.partition(";")[0]
        return body

    async def repeat(self, path: str, times: int) -> None:
        """Send the same request so many times."""
        request, send = self.request(path), self.send
        for _ in range(times):
            await send(request)

    async def hang_up(self) -> None:
        """End the connection, and its task in the server."""
        self._wire.arrived = self._loop.create_future()
        self._wire.arrived.cancel()
        self._protocol.connection_lost(None)
        await asyncio.sleep(0)


async def started(make: Callable[[], Sanic[Any, Any]]) -> tuple[Sanic[Any, Any], Any]:
    """Make an app and start it in the running loop.

    Returns:
        The app, and the server to close; its socket is not used.
    """
    app = make()
    Sanic._app_registry.pop(app.name, None)
    # Bare Sanic is without sanic-ext, which extends each app by itself where it is installed.
    app.config.AUTO_EXTEND = False
    # A socket of our own: Sanic takes port 0 for its default, where another may listen.
    listener = socket.create_server(("127.0.0.1", 0))
    server = await app.create_server(sock=listener, return_asyncio_server=True, access_log=False)
    if server is None:
        raise RuntimeError("the server has not started")
    await server.startup()
    await server.before_start()
    await server.after_start()
    return app, server


async def serve_orders(make: Callable[[], Sanic[Any, Any]], cookie: str | None) -> None:
    """Do what the lines of standard input say, until it ends: `<path> <times>`.

    Each is answered with the seconds of CPU that the requests took. `getsid` is called before and
    after: a system call that nobody else makes, by which callgrind cuts its counts into parts.

    Args:
        make: Makes the app.
        cookie: Sent where the app itself gives none, so that all parse the same header.
    """
    app, server = await started(make)
    client = Client(app)
    await client.get("/start")
    client.cookie = client.cookie or cookie or ""
    print("ready", flush=True)
    for line in sys.stdin:
        path, times = line.split()
        await client.repeat(path, WARM_UP)
        gc.collect()
        os.getsid(0)
        began = time.process_time()
        await client.repeat(path, int(times))
        spent = time.process_time() - began
        os.getsid(0)
        print(spent, flush=True)
    await client.hang_up()
    server.close()


def apps() -> dict[str, Callable[[], Sanic[Any, Any]]]:
    """Return what makes each app that can be measured here."""
    return {
        "bare": bare_sanic.make_app,
        "floor": floor_memory.make_app,
        "ours": lambda: ours.make_app(InMemory(), preload=False),
        "ours-preload": lambda: ours.make_app(InMemory(), preload=True),
    }


if __name__ == "__main__":
    uvloop.run(serve_orders(apps()[sys.argv[1]], f"session={'s' * 22}.{'x' * 43}"))
