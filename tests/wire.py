"""HTTP by hand: requests that no client library would send, replies as they came."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """A response: status, header lines as they came, and the raw body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return each value of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def set_cookies(self) -> list[str]:
        """The Set-Cookie lines."""
        return self.all("set-cookie")


async def ask(
    url: str,
    path: str = "/",
    *headers: bytes,
    method: str = "GET",
    host: str | None = None,
) -> Reply:
    """Send a request with exactly these header lines; read until the server closes."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    first = f"{method} {path} HTTP/1.1\r\nHost: {host or address.netloc}\r\nConnection: close"
    try:
        writer.write(b"\r\n".join([first.encode(), *headers, b"", b""]))
        raw = await asyncio.wait_for(reader.read(-1), 10)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    return _reply(head, body)


async def ask_many(url: str, path: str, lines: Iterable[bytes]) -> list[Reply]:
    """Send a request for each header line over one connection; return the replies in order."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    replies = []
    try:
        for line in lines:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n".encode())
            writer.write(line + b"\r\n\r\n")
            async with asyncio.timeout(30):
                head = await reader.readuntil(b"\r\n\r\n")
                reply = _reply(head[:-4], b"")
                body = await reader.readexactly(int(reply.all("content-length")[0]))
            replies.append(Reply(reply.status, reply.headers, body))
    finally:
        writer.close()
        await writer.wait_closed()
    return replies


def _reply(head: bytes, body: bytes) -> Reply:
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return Reply(int(status.split()[1]), [(key, value.strip()) for key, _, value in pairs], body)
