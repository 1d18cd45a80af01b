"""The shared connection to Redis: no answer goes astray, whatever is cancelled, cut or closed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from hashlib import sha1

import pytest
import uvloop
from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError as RedisConnectionError

from lab import until
from proxy import ToxicProxy
from sanic_cookies import Redis
from sanic_cookies.interfaces.redis.link import MOST_WAITING, ConnectionLostError
from sanic_cookies.interfaces.redis.scripts import Script
from sanic_cookies.interfaces.redis.wire import Wire
from sanic_cookies.record import Granted
from sanic_cookies.testing import new_claim, new_draft
from servers import HOST, RedisServer, bind_free_port

NAME = "wire-test"
KEY = "wire-test:nothing"


class Echo(Script):
    """A script that the server does not know before it is first run."""

    def __init__(self) -> None:
        self.text = "return ARGV[1]"
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ECHO = Echo()


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[ToxicProxy]:
    """A proxy before the server."""
    async with ToxicProxy(HOST, redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Client]:
    """A client of the test's own, past the proxy."""
    async with Client.from_url(redis_server.url) as client:
        yield client


def url_of(port: int) -> str:
    """Return where to connect, by a name that the server shows."""
    return f"redis://{HOST}:{port}/0?client_name={NAME}"


@pytest.fixture
async def far(proxy: ToxicProxy) -> AsyncIterator[Redis]:
    """An interface that reaches the server through the proxy."""
    interface = Redis(url_of(proxy.port))
    await interface.open()
    yield interface
    await interface.close()


@pytest.fixture
async def wire(proxy: ToxicProxy) -> AsyncIterator[Wire]:
    """A wire that reaches the server through the proxy."""
    async with Client.from_url(url_of(proxy.port), socket_timeout=None) as client:
        wire = Wire(client.connection_pool)
        yield wire
        await wire.close()


async def named_connections(client: Client) -> int:
    """Return how many connections of ours the server sees."""
    return sum(each["name"] == NAME for each in await client.client_list())


async def test_requests_share_one_connection(proxy: ToxicProxy, client: Client) -> None:
    """A hundred requests at once, the first ones included, make one connection."""
    interface = Redis(url_of(proxy.port))
    drafts = [new_draft() for _ in range(100)]
    assert all(await asyncio.gather(*map(interface.create, drafts)))
    records = await asyncio.gather(*(interface.fetch(each.name, each.sid) for each in drafts))

    assert [each.sid for each in records if each] == [each.sid for each in drafts]
    assert proxy.accepted == 1
    assert await named_connections(client) == 1
    await interface.close()


async def test_no_answer_goes_astray(wire: Wire) -> None:
    """Of 50,000 requests, every third cancelled at a random moment, each gets its own answer."""
    await ask_and_cancel(wire, 50_000)


def test_no_answer_goes_astray_on_uvloop(redis_server: RedisServer) -> None:
    """The same on the loop that servers run on, whose transports are not Python's."""

    async def body() -> None:
        async with Client.from_url(url_of(redis_server.port), socket_timeout=None) as client:
            wire = Wire(client.connection_pool)
            await ask_and_cancel(wire, 20_000)
            await wire.close()

    uvloop.run(body())


async def ask_and_cancel(wire: Wire, total: int) -> None:
    """Make so many requests, some of which are cancelled, and check every answer."""
    rng = random.Random(11)
    numbers, right, cancelled = iter(range(total)), 0, 0

    async def ask(number: int) -> None:
        nonlocal right
        answer = await wire.execute("ECHO", f"{number}." + "x" * rng.choice((0, 10, 5000)))
        assert answer.partition(b".")[0] == b"%d" % number
        right += 1

    async def read(number: int) -> None:
        nonlocal right
        asked = wire.read(b"%b%d" % (KEY.encode(), number))
        assert asked is not None
        found, time = await asked
        assert len(time) == 2
        assert found == [None, None]
        right += 1

    async def run(number: int) -> None:
        nonlocal right
        assert await wire.run(ECHO, 1, KEY, number) == b"%d" % number
        right += 1

    async def step(number: int) -> None:
        nonlocal right
        sent = b"%d" % number, b"", b"\r\n"
        assert await wire.step(ECHO, KEY.encode(), *sent) == b"%d" % number
        right += 1

    async def client() -> None:
        nonlocal cancelled
        for number in numbers:
            request = rng.choice((ask, read, run, step))
            if number % 3:
                await request(number)
                continue
            task = asyncio.create_task(request(number))
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            cancelled += task.cancel()
            await asyncio.wait([task])

    assert wire.read(KEY.encode()) is None, "before it is connected it has nothing to send by"
    await wire.execute("PING")
    await asyncio.gather(*(client() for _ in range(50)))

    assert right + cancelled >= total
    assert cancelled > total / 10


class Gate:
    """A proxy that lets so many bytes of the server's replies pass, and the rest when it is told.

    Waiting for `reached` is waiting for the client to have had exactly that much.
    """

    def __init__(self, port: int) -> None:
        self.upstream, self.left, self.reached = port, -1, asyncio.Event()
        self.open = asyncio.Event()
        self.served: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Gate:
        self.server = await asyncio.start_server(self._serve, sock=bind_free_port())
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*filter(None, self.served))
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.add(asyncio.current_task())
        replies, server = await asyncio.open_connection(HOST, self.upstream)
        requests = asyncio.create_task(self._pump(reader, server))
        while data := await replies.read(65_536):
            if 0 <= self.left < len(data):
                writer.write(data[: self.left])
                await writer.drain()
                data, self.left = data[self.left :], -1
                self.reached.set()
                await self.open.wait()
            writer.write(data)
        writer.transport.abort()
        await requests

    async def _pump(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            server.write(data)
        server.transport.abort()


@pytest.mark.parametrize("passed", [0, 1, 7, 4000], ids=lambda passed: f"{passed} bytes")
async def test_request_cancelled_while_its_reply_comes(
    redis_server: RedisServer, passed: int
) -> None:
    """A request cancelled with any part of its reply read takes nothing from the next one."""
    async with (
        Gate(redis_server.port) as gate,
        Client.from_url(url_of(gate.port), socket_timeout=None) as client,
    ):
        wire = Wire(client.connection_pool)
        assert await wire.execute("ECHO", "first") == b"first"
        gate.left = passed
        cut = asyncio.create_task(wire.execute("ECHO", "c" * 9000))
        behind = asyncio.create_task(wire.execute("ECHO", "behind"))
        await gate.reached.wait()
        cut.cancel()
        gate.open.set()

        assert await behind == b"behind"
        assert await wire.execute("ECHO", "later") == b"later"
        with pytest.raises(asyncio.CancelledError):
            await cut
        await wire.close()


async def test_request_cancelled_before_it_was_sent(wire: Wire) -> None:
    """A request cancelled in the turn of the loop in which it came takes nothing from others."""
    await wire.execute("PING")
    cut = asyncio.create_task(wire.execute("ECHO", "cut"))
    behind = asyncio.create_task(wire.execute("ECHO", "behind"))
    asyncio.get_running_loop().call_soon(cut.cancel)

    assert await behind == b"behind"
    assert cut.cancelled()


async def test_request_cancelled_while_it_connects(wire: Wire, proxy: ToxicProxy) -> None:
    """Who is cancelled while the connection is being made does not cancel it for the others."""
    proxy.latency(0.05)
    cut = asyncio.create_task(wire.execute("ECHO", "cut"))
    behind = asyncio.create_task(wire.execute("ECHO", "behind"))
    await until(lambda: proxy.accepted == 1)
    cut.cancel()

    assert await behind == b"behind"
    assert proxy.accepted == 1


async def test_lost_connection_is_repeated_for_all(far: Redis, proxy: ToxicProxy) -> None:
    """A connection that breaks under 40 requests is made once more, and all 40 succeed."""
    drafts = [new_draft(payload=b"the-one-to-cut" if n == 20 else b"{}") for n in range(40)]
    proxy.cut_after(b"the-one-to-cut")

    assert all(await asyncio.gather(*map(far.create, drafts)))

    assert proxy.accepted == 2
    granted = await asyncio.gather(*(far.acquire(d.name, d.sid, new_claim(d)) for d in drafts))
    assert all(isinstance(each, Granted) and each.held for each in granted)


async def test_a_read_is_one_round_trip(redis_server: RedisServer, client: Client) -> None:
    """Both commands of a read are carried out before the first one's reply has come."""
    async with Gate(redis_server.port) as gate:
        interface, draft = Redis(url_of(gate.port)), new_draft()
        await interface.create(draft)
        await client.config_resetstat()
        gate.left = 0
        reading = asyncio.create_task(interface.fetch(draft.name, draft.sid))
        await gate.reached.wait()
        done = await client.info("commandstats")
        gate.open.set()

        assert await reading is not None
        assert (done["cmdstat_hmget"]["calls"], done["cmdstat_time"]["calls"]) == (1, 1)
        await interface.close()


async def test_a_lost_reply_of_a_read_is_asked_for_again(far: Redis, proxy: ToxicProxy) -> None:
    """A connection that breaks under a read is made once more, and the read succeeds."""
    draft = new_draft()
    assert await far.create(draft)
    proxy.cut_after(draft.sid.encode())

    assert await far.fetch(draft.name, draft.sid) is not None
    assert proxy.accepted == 2


async def test_connection_that_breaks_again_is_an_error(wire: Wire, proxy: ToxicProxy) -> None:
    """A command is sent twice at most: whoever's command kills the server cannot go on for ever."""
    await wire.execute("PING")
    proxy.drop_replies(1.0, random.Random(1))

    with pytest.raises(RedisConnectionError):
        await wire.execute("ECHO", "lost")
    assert proxy.accepted <= 3  # one more is redis-py's, for its greeting


async def test_connection_killed_while_idle(wire: Wire, proxy: ToxicProxy, client: Client) -> None:
    """A connection that the server closed while nobody used it costs no command its repetition."""
    await wire.execute("PING")
    link = wire._link
    assert link is not None
    for each in await client.client_list():
        if each["name"] == NAME:
            await client.client_kill(each["addr"])
    await until(lambda: link.is_over)
    proxy.cut_after(b"fresh")

    assert await wire.execute("ECHO", "fresh") == b"fresh"


async def test_connection_over_before_its_first_command(wire: Wire) -> None:
    """A command for a connection that has just ended is answered at once, and goes to the next."""
    await wire.execute("PING")
    link = wire._link
    assert link is not None
    link.end(ConnectionLostError("as if the server had closed it"))

    assert isinstance(await link.send(b"PING"), ConnectionLostError)
    assert isinstance(await link.send_two(b"PING PING"), ConnectionLostError)
    assert await wire.execute("ECHO", "fresh") == b"fresh"


async def test_garbage_ends_the_connection(redis_server: RedisServer) -> None:
    """Bytes that are no reply, or one reply too many, end the connection and go to nobody."""
    async with Client.from_url(url_of(redis_server.port), socket_timeout=None) as client:
        wire = Wire(client.connection_pool)
        for garbage in (b"?what\r\n", b"+one too many\r\n"):
            await wire.execute("PING")
            former = wire._link
            assert former is not None
            former.data_received(garbage)

            assert former.is_over
            assert await wire.execute("ECHO", "fresh") == b"fresh"
            assert wire._link is not former
        await wire.close()


async def test_waiting_commands_are_bounded(wire: Wire, proxy: ToxicProxy) -> None:
    """A server that takes commands and answers none holds no more than so many of them."""
    await wire.execute("PING")
    assert wire._link is not None
    proxy.blackhole()
    waiting = [wire._link.send(b"*1\r\n$4\r\nPING\r\n") for _ in range(MOST_WAITING)]
    for future in waiting:
        future.cancel()  # as requests do that have waited long enough

    with pytest.raises(RedisConnectionError, match="too many"):
        await wire.execute("ECHO", "one more")


@pytest.mark.parametrize("warm", [True, False], ids=["under way", "connecting"])
async def test_close_leaves_nothing_behind(
    wire: Wire, proxy: ToxicProxy, client: Client, warm: bool
) -> None:
    """Closing answers what is under way, connects no more, and leaves no task and no connection."""
    if warm:
        await wire.execute("PING")
    proxy.blackhole()
    begun = [asyncio.create_task(wire.execute("ECHO", "x")) for _ in range(5)]
    await asyncio.sleep(0)  # now they have begun
    await until(lambda: proxy.accepted == 1)
    await wire.close()

    answers = await asyncio.gather(*begun, return_exceptions=True)
    assert [str(each) for each in answers] == ["the connection was closed"] * 5
    assert [each for each in asyncio.all_tasks() if each.get_name() == "sanic_cookies.redis"] == []
    await until(lambda: proxy.connections == 0)
    assert proxy.accepted == 1
    async with asyncio.timeout(30):
        while await named_connections(client):  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.01)


async def test_closed_wire_can_be_used_again(wire: Wire) -> None:
    """After closing, the next command connects anew."""
    await wire.execute("PING")
    await wire.close()

    assert await wire.execute("ECHO", "again") == b"again"
