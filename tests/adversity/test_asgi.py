"""Under an ASGI server nothing cancels a handler; lease and max_hold keep the same promises."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sanic_cookies import Redis
from servers import free_port
from workers import new_session

FOLDER = Path(__file__).parent
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn": lambda port: ["--port", str(port)],
    "hypercorn": lambda port: ["--bind", f"127.0.0.1:{port}"],
}


class Server:
    """The worker's app, served by an ASGI server in a process of its own."""

    def __init__(self, kind: str, store_url: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", kind, *SERVERS[kind](port), "asgi_worker:app"],
            cwd=FOLDER,
            env={**os.environ, "STORE_URL": store_url, "PYTHONPATH": f"{FOLDER.parent.parent}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 60
        while not self.serves():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail("the server does not serve")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def serves(self) -> bool:
        """Say whether it answers."""
        try:
            return httpx.get(self.url + "/plain").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        self.process.terminate()
        self.process.wait()


@pytest.fixture(params=SERVERS, scope="module")
def asgi(request: pytest.FixtureRequest, redis_url: str) -> Iterator[str]:
    """URL of the worker's app, under each server."""
    with Server(request.param, redis_url) as server:
        yield server.url


async def until_inside(http: httpx.AsyncClient, url: str) -> None:
    """Wait until some request is in its block."""
    async with asyncio.timeout(30):
        while not (await http.get(url + "/stats")).json()["inside"]:  # noqa: ASYNC110 - far away
            await asyncio.sleep(0.01)


async def test_increments_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """Cookies come and go and no increment is lost, as on Sanic's own server."""
    headers = await new_session(http, asgi)

    answers = await asyncio.gather(*(http.get(asgi + "/inc", headers=headers) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert (await http.get(asgi + "/count", headers=headers)).json() == {"count": 51}


async def test_disconnect_under_asgi_finishes_the_block(asgi: str, http: httpx.AsyncClient) -> None:
    """A client that hangs up does not stop its handler there: the block ends and is saved."""
    headers = await new_session(http, asgi)
    gone = asyncio.create_task(http.get(asgi + "/inc?hold=2", headers=headers))
    await until_inside(http, asgi)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone

    assert (await http.get(asgi + "/inc", headers=headers)).json() == {"count": 3}


async def test_max_hold_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """A handler that nobody cancels loses its session after max_hold, and others go on."""
    headers = await new_session(http, asgi)
    held = asyncio.create_task(http.get(asgi + "/inc?hold=8", headers=headers))
    await until_inside(http, asgi)

    assert (await http.get(asgi + "/inc", headers=headers)).json() == {"count": 2}

    answer = await held
    assert (answer.status_code, answer.json()) == (503, {"error": "SessionLockLost"})


async def test_login_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """Logging in and out works without a raw head to read cookies from."""
    headers = await new_session(http, asgi, "/login/ann")

    assert (await http.get(asgi + "/whoami", headers=headers)).json() == {"user": "ann"}
    assert (await http.get(asgi + "/logout", headers=headers)).status_code == 200
    assert (await http.get(asgi + "/whoami", headers=headers)).json() == {"user": None}


async def test_there_is_no_main_process_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """Its listeners are not called there, so none of them may be the one that makes a table."""
    assert (await http.get(asgi + "/main-process")).json() == []


async def test_socket_under_asgi_ends_with_its_login(asgi: str, http: httpx.AsyncClient) -> None:
    """A websocket is served while its login lives, and closed as soon as that ends."""
    headers = await new_session(http, asgi, "/login/ann")
    url = asgi.replace("http", "ws") + "/feed"

    async with connect(url, additional_headers=headers) as socket, asyncio.timeout(20):
        await socket.send("one")
        assert await socket.recv() == "one"
        assert (await http.get(asgi + "/logout", headers=headers)).status_code == 200
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_refused_handshake_under_asgi(asgi: str) -> None:
    """A stranger gets no socket there either, but Sanic cannot say why: the server answers 500."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(asgi.replace("http", "ws") + "/members"):
            pass

    assert refused.value.response.status_code == 500


@pytest.mark.parametrize("kind", SERVERS)
async def test_stop_under_asgi_lets_a_block_end(
    kind: str, http: httpx.AsyncClient, redis_url: str
) -> None:
    """A server that is told to stop lets the block end, and what it wrote is saved."""
    with Server(kind, redis_url) as server:
        headers = await new_session(http, server.url)
        held = asyncio.create_task(http.get(server.url + "/inc?hold=3", headers=headers))
        await until_inside(http, server.url)
        await asyncio.to_thread(server.stop)

    assert (await held).json() == {"count": 2}
    assert b'"count":2' in await stored(redis_url, headers)


async def stored(url: str, headers: dict[str, str]) -> bytes:
    """Return what is stored of the session that a cookie opens."""
    interface = Redis(url)
    await interface.open()
    try:
        sid = headers["cookie"].partition("=")[2].partition(".")[0]
        record = await interface.fetch("session", sid)
    finally:
        await interface.close()
    assert record is not None
    return record.payload


async def test_sessions_over_http_2(redis_url: str) -> None:
    """Over HTTP/2 a browser may send each cookie in a header of its own (RFC 9113, 8.2.3).

    Hypercorn joins them before the app sees them, so this holds for both together.
    """
    with Server("hypercorn", redis_url) as server:
        async with httpx.AsyncClient(http1=False, http2=True, base_url=server.url) as client:
            cookie = (await new_session(client, ""))["cookie"]
            pieces = [("cookie", each) for each in ("theme=dark", cookie, "font=large")]
            answer = await client.get("/inc", headers=pieces)

    assert (answer.http_version, answer.json()) == ("HTTP/2", {"count": 2})
