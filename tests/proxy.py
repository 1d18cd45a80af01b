"""A TCP proxy that misbehaves on demand, to test what a bad network does to sessions."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from typing import TYPE_CHECKING, Self

from servers import HOST, bind_free_port

if TYPE_CHECKING:
    import random

CHUNK = 65_536


class Mode(enum.Enum):
    """What happens to the bytes of a connection."""

    PASS = enum.auto()
    BLACKHOLE = enum.auto()
    REFUSE = enum.auto()


class ToxicProxy:
    """Forwards connections to a server, and spoils them as told.

    Every switch takes effect at once, also for the connections that are open already, and stays on
    until ``pass_through()``. The proxy keeps its port when it is stopped and started again.

    Args:
        upstream_host: The server's host.
        upstream_port: The server's port.
    """

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self.upstream = (upstream_host, upstream_port)
        self.accepted = 0
        self._port = 0
        self._server: asyncio.Server | None = None
        self._is_open = False
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self.pass_through()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def host(self) -> str:
        """Where clients connect to."""
        return HOST

    @property
    def port(self) -> int:
        """Where clients connect to; known from the first ``start()`` on."""
        if not self._port:
            raise RuntimeError("the proxy has not been started yet")
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    async def start(self) -> None:
        """Begin to accept connections."""
        listener = bind_free_port(self._port)
        self._port = listener.getsockname()[1]
        self._is_open = True
        self._server = await asyncio.start_server(self._accept, sock=listener)

    async def stop(self) -> None:
        """Cut all connections and accept no more; clients are refused by the system then."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self._is_open = False
        server.close()
        self.cut()
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    def pass_through(self) -> None:
        """Behave: forward everything, at once. Disarms all the other switches."""
        self.mode = Mode.PASS
        self.delay = 0.0
        self.loss = 0.0
        self.rng: random.Random | None = None
        self.trap: _Trap | None = None

    def latency(self, seconds: float) -> None:
        """Hold back each reply for some time; the server gets the requests at once."""
        self.delay = seconds

    def blackhole(self) -> None:
        """Accept connections and bytes, but forward nothing and never answer.

        A connection that has lost bytes this way stays silent even after ``pass_through()``: the
        rest of its bytes would be nonsense. Its client has to give up, or ``cut()`` ends it. Only
        when the client closes its connection does the server hear of that.
        """
        self.mode = Mode.BLACKHOLE

    def mute(self) -> None:
        """Let the open connections go silent for good, as a firewall does; new ones work."""
        for link in self._links:
            link.silent = True

    def refuse(self) -> None:
        """Close all connections, the new ones as soon as they come."""
        self.mode = Mode.REFUSE
        self.cut()

    def cut(self) -> None:
        """Abort all the open connections now (with RST); new ones are welcome."""
        for link in self._links:
            link.abort()

    def cut_after(self, pattern: bytes, *, before_forward: bool = False) -> asyncio.Event:
        """Abort the next connection whose client sends a pattern, before it gets the reply. Once.

        This is the lost reply: the server does what it was asked to do and the client never learns
        of it. The chunk with the pattern is forwarded whole, and what follows it is not.

        With asyncpg, the text of a query goes out when the query is prepared, not when it is
        executed (except for simple queries, like ``COMMIT;``). Use the value of one of its
        arguments as the pattern to catch the execution.

        Args:
            pattern: The bytes to wait for; may arrive in pieces.
            before_forward: Abort before the chunk is forwarded: a lost request.

        Returns:
            An event that is set when the client is cut off and the server has done its work, that
            is, has answered or closed the connection (or, for a lost request, has no work).
        """
        self.trap = _Trap(pattern, before_forward=before_forward)
        return self.trap.sprung

    def drop_replies(self, probability: float, rng: random.Random) -> None:
        """Lose some of the replies, each with its connection: TCP leaves no gaps in a stream.

        Args:
            probability: How likely it is that a chunk from the server is lost, from 0 to 1.
            rng: Makes the decisions; seed it to have the same ones again.
        """
        self.loss = probability
        self.rng = rng

    def loses_reply(self) -> bool:
        """Decide whether the next chunk from the server is lost."""
        return self.rng is not None and self.rng.random() < self.loss

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            # It came in while the proxy was being stopped.
            _reset(writer)
            return
        self.accepted += 1
        link = _Link(self, reader, writer)
        task = asyncio.get_running_loop().create_task(link.run())
        self._links[link] = task
        task.add_done_callback(lambda _: self._links.pop(link))


class _Trap:
    def __init__(self, pattern: bytes, *, before_forward: bool) -> None:
        if not pattern:
            raise ValueError("an empty pattern would catch everything")
        self.pattern = pattern
        self.before_forward = before_forward
        self.sprung = asyncio.Event()


class _Link:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(
        self, proxy: ToxicProxy, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        self.proxy = proxy
        self.reader = reader
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        # Bytes were swallowed, so what comes after them makes no sense to the other side.
        self.silent = False
        # The client was cut off, but the server may still be busy with its last request.
        self.trap: _Trap | None = None
        # The end of what the client has sent, as the beginning of a pattern may be in it.
        self.tail = b""

    async def run(self) -> None:
        """Serve the connection until one of its sides ends it."""
        try:
            await self._serve()
        except OSError:
            # A failure of one side becomes a failure of the other; its end would become an end.
            self.abort()
        finally:
            await _close(self.client)
            if self.server is not None:
                await _close(self.server)

    def abort(self) -> None:
        """Cut the connection on both sides."""
        _reset(self.client)
        if self.server is not None:
            _reset(self.server)

    async def _serve(self) -> None:
        if self.proxy.mode is Mode.REFUSE:
            _reset(self.client)
        elif self.proxy.mode is Mode.BLACKHOLE:
            self.silent = True
            while await self.reader.read(CHUNK):
                pass
        else:
            replies, self.server = await asyncio.open_connection(*self.proxy.upstream)
            await self._forward(replies, self.server)

    async def _forward(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        requests = asyncio.ensure_future(self._forward_requests(server))
        replies = asyncio.ensure_future(self._forward_replies(reader))
        both = (requests, replies)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self.trap is not None:
                await asyncio.wait([replies])
                self.trap.sprung.set()
            elif self._swallows():
                # Not even the server's end may reach the client.
                await asyncio.wait([requests])
        finally:
            for direction in both:
                direction.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        for direction in both:
            if not direction.cancelled():
                direction.result()

    async def _forward_requests(self, server: asyncio.StreamWriter) -> None:
        while data := await self.reader.read(CHUNK):
            if self._swallows():
                continue
            trap = self._spring_trap(data)
            if trap is None:
                await _write(server, data)
                continue
            _reset(self.client)
            if trap.before_forward:
                trap.sprung.set()
            else:
                # First of all no reply may pass any more, then the server gets its request.
                self.trap = trap
                await _write(server, data)
            return

    async def _forward_replies(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            if self.trap is not None:
                return
            await asyncio.sleep(self.proxy.delay)
            # After the delay, as things may have changed during it.
            if self._swallows() or self.trap is not None:
                continue
            if self.proxy.loses_reply():
                _reset(self.client)
                return
            await _write(self.client, data)

    def _swallows(self) -> bool:
        if self.proxy.mode is Mode.BLACKHOLE:
            self.silent = True
        return self.silent

    def _spring_trap(self, data: bytes) -> _Trap | None:
        trap = self.proxy.trap
        if trap is None:
            self.tail = b""
            return None
        seen = self.tail + data
        if trap.pattern in seen:
            self.proxy.trap = None
            return trap
        self.tail = seen[max(0, len(seen) - len(trap.pattern) + 1) :]
        return None


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST: the other side gets an error instead of an end of file."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    writer.transport.abort()
