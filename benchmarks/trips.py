"""A proxy that counts round trips: how often a store answers after it was asked something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class Counter:
    """Counts over all connections of a proxy.

    With one request at a time each answer that follows a question is one round trip, whatever
    the protocol: commands sent in one go, as a pipeline does, count once.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.trips = 0
        self.address = ""

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: dict[str, bool],
        asks: bool,
    ) -> None:
        """Forward one direction of a connection until it ends."""
        try:
            while data := await reader.read(65_536):
                if not asks and link["asked"]:
                    self.trips += 1
                link["asked"] = asks
                writer.write(data)
        except OSError:
            pass  # one side is gone; closing tells the other
        finally:
            writer.close()


@asynccontextmanager
async def counting(url: str) -> AsyncIterator[Counter]:
    """Stand between clients and a store; gives a counter with the url to use instead."""
    parts, counter = urlsplit(url), Counter()

    links: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, store = await asyncio.open_connection(parts.hostname, parts.port)
        link = {"asked": False}
        async with asyncio.TaskGroup() as both:
            both.create_task(counter.pump(reader, store, link, True))
            both.create_task(counter.pump(answers, writer, link, False))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        links.add(task)
        task.add_done_callback(links.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = f"{parts.username}@" if parts.username else ""
    counter.address = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))
    try:
        yield counter
    finally:
        server.close()
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)
