"""Under an ASGI server nothing cancels a handler; lease and max_hold keep the same promises."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from servers import free_port
from workers import new_session

FOLDER = Path(__file__).parent


@pytest.fixture
async def asgi(redis_url: str) -> AsyncIterator[str]:
    """URL of the worker's app, served by uvicorn."""
    port = free_port()
    process = subprocess.Popen(  # noqa: ASYNC220 - quick, and the test waits anyway
        [sys.executable, "-m", "uvicorn", "--port", str(port), "asgi_worker:app"],
        cwd=FOLDER,
        env={**os.environ, "STORE_URL": redis_url, "PYTHONPATH": f"{FOLDER.parent.parent}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client, asyncio.timeout(30):
        while not await serves(client, url):
            assert process.poll() is None, "uvicorn ended before it served"
            await asyncio.sleep(0.05)
    yield url
    process.terminate()
    await asyncio.to_thread(process.wait)


async def serves(client: httpx.AsyncClient, url: str) -> bool:
    """Say whether the server answers."""
    try:
        return (await client.get(url + "/plain")).status_code == 200
    except httpx.TransportError:
        return False


async def test_increments_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """Cookies come and go and no increment is lost, as on Sanic's own server."""
    headers = await new_session(http, asgi)

    answers = await asyncio.gather(*(http.get(asgi + "/inc", headers=headers) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert (await http.get(asgi + "/count", headers=headers)).json() == {"count": 51}


async def test_disconnect_under_asgi_finishes_the_block(asgi: str, http: httpx.AsyncClient) -> None:
    """A client that hangs up does not stop its handler there: the block ends and is saved."""
    headers = await new_session(http, asgi)
    with pytest.raises(httpx.ReadTimeout):
        await http.get(asgi + "/inc?hold=0.5", headers=headers, timeout=0.2)

    assert (await http.get(asgi + "/inc", headers=headers)).json() == {"count": 3}


async def test_max_hold_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """A handler that nobody cancels loses its session after max_hold, and others go on."""
    headers = await new_session(http, asgi)
    held = asyncio.create_task(http.get(asgi + "/inc?hold=4", headers=headers))
    while not (await http.get(asgi + "/stats")).json()["locked"]:  # noqa: ASYNC110 - far away
        await asyncio.sleep(0.01)

    assert (await http.get(asgi + "/inc", headers=headers)).json() == {"count": 2}

    answer = await held
    assert (answer.status_code, answer.json()) == (503, {"error": "SessionLockLost"})


async def test_login_under_asgi(asgi: str, http: httpx.AsyncClient) -> None:
    """Logging in and out works without a raw head to read cookies from."""
    headers = await new_session(http, asgi, "/login/ann")

    assert (await http.get(asgi + "/whoami", headers=headers)).json() == {"user": "ann"}
    assert (await http.get(asgi + "/logout", headers=headers)).status_code == 200
    assert (await http.get(asgi + "/whoami", headers=headers)).json() == {"user": None}
