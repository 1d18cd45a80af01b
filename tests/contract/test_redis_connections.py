"""How Redis is reached: all that a URL or a client of redis-py can say holds, and stays secret."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import redis.asyncio as redis_asyncio
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from documents import blocks
from programs import ROOT
from sanic_cookies import Redis, SessionStoreError
from sanic_cookies.interfaces.guard import Budget, Guard
from sanic_cookies.interfaces.redis.link import CONNECT_SECONDS
from sanic_cookies.interfaces.redis.wire import OwnPool, Wire, transport_of
from sanic_cookies.record import Granted, Outcome
from sanic_cookies.testing import following, new_claim, new_draft
from sanic_cookies.testing.news import listener
from servers import HOST, RedisServer, bind_free_port
from stores import opened

PASSWORD = "hunter2-" + token_hex(8)
GUIDE = ROOT / "docs" / "redis.md"


async def live(interface: Redis) -> None:
    """Let a session live from its creation to its end."""
    draft = new_draft(user_key="u1")
    assert await interface.create(draft) is True
    granted = await interface.acquire(draft.name, draft.sid, new_claim(draft, token="t"))
    assert isinstance(granted, Granted)
    assert await interface.renew(draft.name, draft.sid, "t", 9)
    assert await interface.commit(following(draft), "t", True) is Outcome.SAVED
    await interface.touch(draft.name, draft.sid, 2, 60)
    assert draft.sid in [each.sid for each in await interface.records_of(draft.name, "u1")]
    assert await interface.delete(draft.name, draft.sid)
    assert await interface.fetch(draft.name, draft.sid) is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with users, and a socket in the file system."""
    with UnixServer() as server:
        yield server


class UnixServer(RedisServer):
    """A Redis that also listens on a socket in its directory."""

    def _command(self) -> list[str | Path]:
        return [*super()._command(), "--unixsocket", self.socket, "--unixsocketperm", "777"]

    @property
    def socket(self) -> str:
        return str(self.directory / "s")


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[redis_asyncio.Redis]:
    """A client of the test's own."""
    async with redis_asyncio.from_url(server.url) as client:
        yield client


async def test_guide_shows_how_to_connect() -> None:
    """The guide's lines make interfaces, and the way that its table says for each client."""
    (program,) = [text for language, text in blocks(GUIDE) if language == "python"]
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - our own guide
    for name in ("alone", "over_tls", "on_this_machine", "led_by_sentinel"):
        interface = names[name]
        assert isinstance(interface, Redis)
        assert isinstance(interface._connected(), Wire), name
    on_a_cluster = names["on_a_cluster"]()
    assert isinstance(on_a_cluster._connected(), OwnPool)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_url_says_how(
    server: RedisServer, client: redis_asyncio.Redis, protocol: int
) -> None:
    """Database, client name and protocol of the URL are those of the shared connection."""
    url = f"redis://{HOST}:{server.port}/3?protocol={protocol}&client_name=named-{protocol}"
    async with opened(Redis(url)) as interface:
        await live(interface)
        clients = await client.client_list()

    (ours,) = [each for each in clients if each["name"] == f"named-{protocol}"]
    assert ours["db"] == "3"
    assert await client.dbsize() == 0


async def test_unix_socket(server: UnixServer, client: redis_asyncio.Redis) -> None:
    """A socket in the file system does as well as a port."""
    server.directory.chmod(0o755)
    async with opened(Redis(f"unix://{server.socket}")) as interface:
        await live(interface)


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"max_connections": 1}])
async def test_ready_client_is_left_alone(server: RedisServer, options: dict[str, Any]) -> None:
    """A ready client, whatever its settings, lends its way to connect and no connection."""
    async with redis_asyncio.from_url(server.url, **options) as client:
        async with opened(Redis(client)) as interface:
            await asyncio.gather(*(live(interface) for _ in range(10)))
            assert client.connection_pool._in_use_connections == set()
            assert client.connection_pool._available_connections == []
        assert await client.ping() is True


async def test_class_of_ones_own_keeps_its_pool(server: RedisServer) -> None:
    """A client of another class sees every command: it may be there to count or change them."""
    seen: list[Any] = []

    class Counting(redis_asyncio.Redis):
        async def execute_command(self, *args: Any, **options: Any) -> Any:
            seen.append(args[0])
            return await super().execute_command(*args, **options)

    async with Counting.from_url(server.url, encoding="latin-1") as client:
        async with opened(Redis(client)) as interface:
            await live(interface)
        assert isinstance(transport_of(client), OwnPool)

    assert {"SCRIPT", "EVALSHA"} <= set(seen)


async def test_user_with_the_least_rights(server: RedisServer, client: redis_asyncio.Redis) -> None:
    """The user that the guide shows serves sessions, and may do nothing else."""
    name = "least" + token_hex(4)
    (line,) = [text for language, text in blocks(GUIDE) if language == "redis"]
    acl, set_user, shop, on, secret, *rights = line.split()
    assert (acl, set_user, shop, on, secret) == ("ACL", "SETUSER", "shop", "on", ">secret")
    await client.execute_command(acl, set_user, name, on, f">{PASSWORD}", *rights)
    url = f"redis://{name}:{PASSWORD}@{HOST}:{server.port}/0"
    async with opened(Redis(url)) as interface, opened(Redis(url)) as other:
        await live(interface)
        draft = new_draft()
        await interface.create(draft)
        await interface.acquire(draft.name, draft.sid, new_claim(draft, token="a"))
        claim = new_claim(draft, token="b")
        await other.acquire(draft.name, draft.sid, claim)
        turn = asyncio.create_task(other.turn(draft.name, draft.sid, "b", 30))
        while not other._wakeups.listening:
            await asyncio.sleep(0.01)
            if turn.done():
                turn = asyncio.create_task(other.turn(draft.name, draft.sid, "b", 30))
        await interface.release(draft.name, draft.sid, "a")
        await turn
        granted = await other.acquire(draft.name, draft.sid, claim)
        assert isinstance(granted, Granted)
    async with redis_asyncio.from_url(url) as same:
        with pytest.raises(redis_asyncio.ResponseError, match="permissions"):
            await same.get("anything")


async def test_user_who_may_not_ping(server: RedisServer, client: redis_asyncio.Redis) -> None:
    """A user who is refused the PING that proves a new connection is served all the same."""
    name = "mute" + token_hex(4)
    rights = ("on", f">{PASSWORD}", "~*", "+@all", "-ping")
    await client.execute_command("ACL", "SETUSER", name, *rights)

    async with opened(Redis(f"redis://{name}:{PASSWORD}@{HOST}:{server.port}/0")) as interface:
        await live(interface)


async def test_wrong_password_is_a_clear_error_that_shows_nothing(
    server: RedisServer, client: redis_asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password is SessionStoreError; neither it nor the user is in any text."""
    user = "ann" + token_hex(4)
    await client.execute_command("ACL", "SETUSER", user, "on", ">right", "~*", "+@all")
    interface = Redis(f"redis://{user}:{PASSWORD}@{HOST}:{server.port}/0")
    caplog.set_level(logging.DEBUG)
    async with opened(interface):
        with pytest.raises(SessionStoreError) as caught:
            await Guard(interface, 2).call(interface.fetch, "session", "x", budget=Budget(5))

    shown = caplog.text + repr(interface) + repr(interface._wire)
    error: BaseException | None = caught.value
    while error is not None:
        shown += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert "AuthenticationError" in str(caught.value.detail)
    assert PASSWORD not in shown
    assert user not in shown


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody but itself has signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@asynccontextmanager
async def tls_before(server: RedisServer, certificate: Path) -> AsyncIterator[int]:
    """Give the port of a proxy that speaks TLS to its clients; the tests' Redis cannot."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    served = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        replies, server_side = await asyncio.open_connection(HOST, server.port)
        await asyncio.gather(pump(reader, server_side), pump(replies, writer))

    listener = await asyncio.start_server(serve, sock=bind_free_port(), ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
        # Clients that are closed leave no connection behind.
        await asyncio.gather(*filter(None, served))
    finally:
        listener.close()
        await listener.wait_closed()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward one direction until its end."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.transport.abort()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tls(server: RedisServer, certificate: Path, loop: Any) -> None:
    """Over TLS, on each loop, the shared connection serves, is closed for good, and is remade."""

    async def body() -> None:
        async with tls_before(server, certificate) as port:
            # Time is not the subject, and a busy machine may take a second to greet over TLS.
            patient = "socket_connect_timeout=10&socket_timeout=10"
            url = f"rediss://{HOST}:{port}/0?ssl_ca_certs={certificate}&{patient}"
            async with opened(Redis(url)) as interface:
                assert isinstance(interface._wire, Wire)
                await asyncio.gather(*(live(interface) for _ in range(20)))
                big = new_draft(payload=b"x" * 1_000_000)
                await interface.create(big)
                record = await interface.fetch(big.name, big.sid)
                assert record is not None
                assert record.payload == big.payload
                await interface.close()
                await live(interface)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


@pytest.mark.parametrize("turns", range(12))
async def test_a_pause_while_it_connects_is_not_the_servers(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """A process that stands still for as long as a server may take to greet does not give it up."""
    loop, interface = asyncio.get_running_loop(), Redis(server.url)
    call = asyncio.create_task(interface.fetch("session", "x"))
    for _ in range(turns):
        await asyncio.sleep(0)
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 1.1 * CONNECT_SECONDS)

    assert await call is None
    await interface.close()


async def test_certificate_of_somebody_else_is_refused(
    server: RedisServer, certificate: Path
) -> None:
    """A server whose certificate nobody vouches for is not talked to."""
    async with (
        tls_before(server, certificate) as port,
        opened(Redis(f"rediss://{HOST}:{port}/0")) as interface,
    ):
        with pytest.raises(redis_asyncio.ConnectionError, match="certificate"):
            await interface.fetch("session", "x")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_loop_has_a_connection_of_its_own(server: RedisServer, loop: Any) -> None:
    """One interface used from one loop after the other connects anew in each."""
    interface = Redis(server.url)

    async def body() -> None:
        async with opened(interface):
            await live(interface)

    for _ in range(2):
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(body())


async def test_who_listens_takes_nothing_from_a_pool(server: RedisServer) -> None:
    """A ready client's pool is left to its owner, by who hears of news and of leases, too."""
    async with redis_asyncio.Redis.from_url(server.url, max_connections=1) as client:
        async with opened(Redis(client)) as interface:
            await listener(interface)
            assert await client.ping()
            number = len(await client.client_list())
        async with asyncio.timeout(10):
            while len(await client.client_list()) >= number:  # noqa: ASYNC110 - nor is it left
                await asyncio.sleep(0.01)


async def test_timeout_of_the_client_is_not_that_of_news(server: RedisServer) -> None:
    """News may be as rare as they like, whatever the client says of how long a reply may take."""
    short, draft = 0.05, new_draft()
    async with opened(Redis(f"{server.url}?socket_timeout={short}")) as interface:
        hearing = await listener(interface)
        with pytest.raises(TimeoutError):  # nobody has anything to tell for so long
            await asyncio.wait_for(hearing.next(), short * 10)
        await interface.create(draft)
        await interface.delete(draft.name, draft.sid)
        assert await hearing.next() == draft.sid


async def test_noise_on_the_channel_deafens_nobody(redis_url: str) -> None:
    """Whatever somebody sends to the channel of news, those that follow are heard."""
    prefix, draft = f"{token_hex(8)}:", new_draft()
    async with (
        redis_asyncio.from_url(redis_url, decode_responses=True) as client,
        opened(Redis(client, prefix=prefix)) as interface,
        opened(Redis(redis_url, prefix=prefix)) as twin,
    ):
        hearing = await listener(interface)
        await client.publish(f"sanic_cookies:news:{prefix}contract:", b"\xff")
        assert await hearing.next() is None  # some may have been missed

        await twin.create(draft)
        await twin.delete(draft.name, draft.sid)
        assert await hearing.next() == draft.sid
