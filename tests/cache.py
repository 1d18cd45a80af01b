"""A shared cache in front of an app, as greedy as RFC 9111 allows.

It keeps every answer that a shared cache may keep, for longer than anybody waits, Set-Cookie lines
included (section 7.3 says that they do not forbid it), and gives it to whoever asks for the same
address with the same of what `Vary` names. Not keeping it takes a word: `no-store`, `private`,
`no-cache`, or an `Authorization` in the request. What is said to caches of its kind goes before
what is said to all (RFC 9213, section 2.2). So whoever is shown another one's answer is so
because the app did not say that word.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from servers import bind_free_port

# Headers that speak to it, the first that is there counts.
CONTROLS = ("maker-cdn-cache-control", "cdn-cache-control", "surrogate-control", "cache-control")
# Kept even if the answer does not say for how long (RFC 9110, section 15.1).
HEURISTIC = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}
Headers = list[tuple[str, str]]


@dataclass
class Stored:
    """An answer, with what its request said of the headers that it varies by."""

    raw: bytes
    vary: list[str]
    asked: Headers


@dataclass
class Cache:
    """The cache.

    Attributes:
        upstream: URL of the app.
        url: Where the cache listens.
        hits: Addresses that were answered without asking the app.
    """

    upstream: str
    url: str = ""
    hits: list[str] = field(default_factory=list)
    _stored: dict[str, list[Stored]] = field(default_factory=dict)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request of one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, headers = _request(head)
            raw = self._found(path, headers) if method in ("GET", "HEAD") else None
            if raw is None:
                raw = await self._forwarded(head)
                self._keep(method, path, headers, raw)
            else:
                self.hits.append(path)
            writer.write(raw)
            await writer.drain()
        finally:
            writer.close()

    def _found(self, path: str, headers: Headers) -> bytes | None:
        for stored in self._stored.get(path, ()):
            if all(_all(stored.asked, name) == _all(headers, name) for name in stored.vary):
                return stored.raw
        return None

    async def _forwarded(self, head: bytes) -> bytes:
        address = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(head[:-2] + b"Connection: close\r\nVia: 1.1 cache\r\n\r\n")
            return await asyncio.wait_for(reader.read(-1), 10)
        finally:
            writer.close()

    def _keep(self, method: str, path: str, asked: Headers, raw: bytes) -> None:
        status, headers = _response(raw)
        [control, *_] = [each for each in CONTROLS if _all(headers, each)] or CONTROLS
        said = {word.partition("=")[0] for word in _words(headers, control)}
        vary = _words(headers, "vary")
        explicit = bool({"public", "max-age", "s-maxage"} & said) or _all(headers, "expires") != []
        if method != "GET" or "*" in vary or {"no-store", "private", "no-cache"} & said:
            return
        if _all(asked, "authorization") and not {"public", "s-maxage"} & said:
            return
        if explicit or status in HEURISTIC:
            self._stored.setdefault(path, []).append(Stored(raw, vary, asked))


@asynccontextmanager
async def caching(upstream: str) -> AsyncIterator[Cache]:
    """Put a cache in front of the app at this URL."""
    cache = Cache(upstream)
    server = await asyncio.start_server(cache.answer, sock=bind_free_port())
    host, port = server.sockets[0].getsockname()
    cache.url = f"http://{host}:{port}"
    try:
        yield cache
    finally:
        server.close()
        await server.wait_closed()


def _request(head: bytes) -> tuple[str, str, Headers]:
    line, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ", 2)
    return method, path, _pairs(lines)


def _response(raw: bytes) -> tuple[int, Headers]:
    line, *lines = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(line.split()[1]), _pairs(lines)


def _pairs(lines: list[str]) -> Headers:
    split = [line.partition(":") for line in lines if line]
    return [(name.strip().lower(), value.strip()) for name, _, value in split]


def _all(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key == name]


def _words(headers: Headers, name: str) -> list[str]:
    words = ",".join(_all(headers, name)).split(",")
    return [word.strip().lower() for word in words if word.strip()]
