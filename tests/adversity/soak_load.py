"""The users of the soak: each has a browser, does something, and does it again."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from harness import Browser
from wire import ask

# What a user does, and how often beside the others.
PATHS = {
    "/inc": 30,
    "/unlocked": 10,
    "/peek": 15,
    "/untouched": 10,
    "/login": 6,
    "/me": 8,
    "/logout": 3,
    "/revoke": 1,
    "/flash": 4,
    "/flashes": 4,
    "garbage": 5,
    "hang up": 3,
    "socket": 3,
}
GARBAGE = (
    *(b"", b"x", b"x" * 3000, b"a.b", b"..", b"%00", b"\xff\xfe", b'"quoted"', b"; ; =", b"\t"),
    *(b"A" * 22 + b"." + b"B" * 43, b"A" * 66, b"x; session=y", b"\xe2\x80\x80session=z"),
)
EXPECTED = {200, 401, 409}
PAUSE = 0.02


@dataclass
class Tally:
    """What has come of it.

    Attributes:
        answers: How many of each status, by group of workers.
        trouble: Answers that nobody should get, in words.
        refused: 503 while no fault was there.
        cut: Requests without any answer, which the clients themselves did not cut.
    """

    answers: Counter[int] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    cut: int = 0


class User:
    """Somebody with a browser.

    Args:
        url: The server's.
        tally: Where to count.
        calm: Says in words that all is well with the server's store, or nothing if it is not.
        rng: Decides what is done next.
    """

    def __init__(self, url: str, tally: Tally, calm: Callable[[], str], rng: random.Random) -> None:
        self.url, self.tally, self.calm, self.rng = url, tally, calm, rng
        self.name = f"user-{rng.randrange(1000)}"
        self.acknowledged = self.unknown = 0
        self.counted: str | None = None  # cookie of the session that was counted in

    async def live(self, over: asyncio.Event) -> None:
        """Do one thing after the other, until it is over."""
        async with Browser(self.url) as self.browser:
            while not over.is_set():
                [what] = self.rng.choices(list(PATHS), list(PATHS.values()))
                try:
                    await self.do(what)
                except (httpx.HTTPError, OSError, WebSocketException, TimeoutError):
                    self.unknown += what == "/inc"
                    self.tally.cut += what != "socket"
                await asyncio.sleep(self.rng.uniform(0, 2 * PAUSE))

    async def do(self, what: str) -> None:
        """Do one thing."""
        if what == "garbage":
            await self.send_garbage()
        elif what == "hang up":
            self.unknown += 1
            await self.hang_up()
        elif what == "socket":
            await self.talk()
        elif what == "/inc":
            await self.increment()
        elif what in ("/login", "/revoke"):
            await self.ask(f"{what}/{self.name}")
        else:
            await self.ask(what)

    async def ask(self, path: str) -> httpx.Response:
        """Send a request and count its answer."""
        was_calm = self.calm()
        response = await self.browser.get(path)
        self.notice()
        self.count(path, response.status_code, response.text, was_calm)
        return response

    def notice(self) -> None:
        """Count anew in a new session; the former has ended with its store's contents, or by age.

        Seen with every answer, since many a page begins one, and who hangs up then counts in it.
        """
        session = self.browser.cookies.get("session")
        if session != self.counted:
            self.acknowledged, self.unknown, self.counted = 0, 0, session

    async def send_garbage(self) -> None:
        """Send what no browser would; the answer is nobody's."""
        was_calm, garbage = self.calm(), self.rng.choice(GARBAGE)
        reply = await ask(self.url, "/inc", b"Cookie: session=" + garbage)
        self.count("garbage", reply.status, reply.body.decode("utf-8", "replace"), was_calm)

    def count(self, what: str, status: int, text: str, was_calm: str) -> None:
        """Count an answer, and complain of one that nobody should get."""
        self.tally.answers[status] += 1
        what = what.split("/")[-1] if what.count("/") < 2 else what.split("/")[1]
        if status == 503 and was_calm and was_calm == self.calm():
            self.tally.refused += 1
            self.tally.trouble[f"{what}: {text[:60]} {was_calm}"] += 1
        elif status not in EXPECTED and status != 503:
            self.tally.trouble[f"{what}: {status} {text[:60]}"] += 1

    async def increment(self) -> None:
        """Add one, and see that nothing was lost or counted twice since the session began."""
        response = await self.ask("/inc")
        if response.status_code == 503:
            self.unknown += 1
        elif response.status_code == 200:
            count = response.json()
            if not self.acknowledged < count <= self.acknowledged + self.unknown + 1:
                self.tally.trouble[
                    f"inc: {count} after {self.acknowledged} and {self.unknown} unknown"
                ] += 1
            self.acknowledged, self.unknown = count, 0

    async def hang_up(self) -> None:
        """Send a request and cut the connection at some moment."""
        address = urlsplit(self.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        cookies = "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())
        head = "GET /inc HTTP/1.1", f"Host: {address.netloc}", f"Cookie: {cookies}", "", ""
        writer.write("\r\n".join(head).encode())
        await asyncio.sleep(self.rng.uniform(0, 0.02))
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        writer.transport.abort()

    async def talk(self) -> None:
        """Open a websocket, have three answers, and close it, or not."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())
        url = self.url.replace("http", "ws") + "/socket"
        headers = {"Cookie": cookies} if cookies else {}
        async with asyncio.timeout(10), connect(url, additional_headers=headers) as ws:
            for _ in range(3):
                await ws.send("?")
                await ws.recv()
            if self.rng.random() < 0.3:
                ws.transport.abort()
