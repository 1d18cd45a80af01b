"""A load generator: keep-alive connections, each with cookies of its own, on a loop of uvloop.

Our own, since a run shall need nothing but PyPI, and a cookie for each connection. It does little
for a response, and that it is not what is measured is shown by each run: it prints how much of the
time its own process was busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

OK = b"HTTP/1.1 200"
END = b"\r\n\r\n"
LENGTH = b"ength: "  # of Content-Length, in whatever case the server writes it
DRAIN_SECONDS = 60.0  # far more than any answer takes


@dataclass
class Window:
    """What happened in a stretch of time.

    Attributes:
        requests: Answered with 200 in it.
        failures: Answered otherwise, whenever until then.
        answered: With 200, whenever until then: what came before and after it included.
        seconds: How long it was.
        server_cpu: Seconds of CPU of the measured server in it.
        own_cpu: Seconds of CPU of the load generator in it.
        times: Seconds that each request took.
    """

    requests: int
    seconds: float
    server_cpu: float
    own_cpu: float
    failures: int = 0
    answered: int = 0
    times: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One client: sends its requests in turn, the next when the answer is here, until told."""

    def __init__(
        self, requests: Sequence[bytes], limit: int | None = None, *, at_rest: bool = False
    ) -> None:
        """Make a client.

        Args:
            requests: Sent one after the other, over and over.
            limit: How many to send in all; None to go on until `stop`.
            at_rest: Begin at rest, and not with the connection.
        """
        self._requests = cycle(requests)
        self._left = -1 if limit is None else limit
        self._buffer = b""
        self._sent = 0.0
        self._finished = False
        self._at_rest = at_rest
        self._rested: asyncio.Future[None] | None = None
        self._transport: Any = None
        self.answered = 0
        self.failures = 0
        self.times: list[float] = []
        self.last = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def rest(self) -> asyncio.Future[None]:
        """Send nothing until `go`; done when the answer that is due is here."""
        self._at_rest = True
        self._rested = asyncio.get_running_loop().create_future()
        return self._rested

    def go(self) -> None:
        """Send again, after a rest."""
        self._at_rest = False
        self._send()

    def stop(self) -> None:
        """Hang up; `done` when the connection is closed."""
        self._finished = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take an answer, or a part of one."""
        if self._buffer:
            data = self._buffer + data
        end = data.find(END)
        if end < 0 or len(data) < end + 4 + _length(data, end):
            self._buffer = data
            return
        self._buffer = b""
        self.times.append(time.perf_counter() - self._sent)
        if data.startswith(OK):
            self.answered += 1
        else:
            self.failures += 1
        self.last = data
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be done, if it was we who hung up."""
        if self.done.done():
            return
        if self._finished:
            self.done.set_result(None)
            return
        self.done.set_exception(ConnectionError("the server has hung up"))
        if self._rested is not None and not self._rested.done():
            self._rested.set_exception(ConnectionError("the server has hung up"))

    def _send(self) -> None:
        if self._left == 0:
            self.stop()
            return
        if self._at_rest:
            if self._rested is not None and not self._rested.done():
                self._rested.set_result(None)
            return
        self._left -= 1
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def _length(data: bytes, end: int) -> int:
    at = data.find(LENGTH, 0, end)
    return 0 if at < 0 else int(data[at + 7 : data.index(b"\r", at)])


def request(path: str, cookie: str = "") -> bytes:
    """Return the bytes of a GET, as a browser sends them but shorter."""
    line = f"Cookie: {cookie}\r\n" if cookie else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: bench\r\n"
        f"Accept: */*\r\n{line}\r\n"
    ).encode()


def cookie_of(response: bytes) -> str:
    """Return `name=value` of the cookie that a response sets, or nothing."""
    for line in response.partition(END)[0].decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "set-cookie":
            return value.partition(";")[0].strip()
    return ""


async def exactly(port: int, requests: Sequence[bytes], times: int) -> Connection:
    """Send so many requests over one connection; return it when all are answered."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Connection(requests, times), "127.0.0.1", port)
    async with asyncio.timeout(60):
        await client.done
    return client


async def one(port: int, path: str, cookie: str = "") -> bytes:
    """Send one request and return the whole response."""
    return (await exactly(port, [request(path, cookie)], 1)).last


class Crowd:
    """Clients of one server, who all send or all rest."""

    def __init__(self, clients: Sequence[Connection], server_cpu: Callable[[], float]) -> None:
        """Take clients that are connected and at rest; see `crowd`."""
        self._clients = clients
        self._server_cpu = server_cpu

    async def window(self, seconds: float, warm_up: float) -> Window:
        """Let them loose on the server, and measure a stretch; then all rest again.

        Args:
            seconds: Length of the stretch.
            warm_up: Seconds before it begins.
        """
        clients = self._clients
        for each in clients:
            each.go()
        await asyncio.sleep(warm_up)
        before = sum(each.answered for each in clients)
        skipped = [len(each.times) for each in clients]
        began, cpu, own = time.perf_counter(), self._server_cpu(), time.process_time()
        await asyncio.sleep(seconds)
        window = Window(
            sum(each.answered for each in clients) - before,
            time.perf_counter() - began,
            self._server_cpu() - cpu,
            time.process_time() - own,
        )
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.gather(*(each.rest() for each in clients))
        for each, skip in zip(clients, skipped, strict=True):
            window.times += each.times[skip:]
        window.answered = sum(each.answered for each in clients)
        window.failures = sum(each.failures for each in clients)
        return window


@asynccontextmanager
async def crowd(
    port: int, clients: Sequence[Sequence[bytes]], server_cpu: Callable[[], float]
) -> AsyncIterator[Crowd]:
    """Connect clients to a server; gives them at rest, and closes their connections.

    Args:
        port: Where the server listens.
        clients: The requests of each.
        server_cpu: Returns the CPU time of the server so far.
    """
    loop, connections = asyncio.get_running_loop(), []
    for requests in clients:
        _, client = await loop.create_connection(
            lambda requests=requests: Connection(requests, at_rest=True), "127.0.0.1", port
        )
        connections.append(client)
    try:
        yield Crowd(connections, server_cpu)
    finally:
        for each in connections:
            each.stop()
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.gather(*(each.done for each in connections))
