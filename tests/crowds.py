"""Logins and logouts of one user in several server processes at once, and what comes of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from math import inf
from threading import Event
from typing import Any

import httpx
from websockets.asyncio.client import connect

from sanic_cookies import AsyncPG, Redis
from workers import Worker, new_session

NAME = "auth_session"
SOCKETS_SECONDS = 30.0  # after which a socket counts as never closed


@dataclass
class Logins:
    """What was seen while one user logged in many times at once.

    Attributes:
        answers: HTTP statuses of the logins.
        most: The largest number of live sessions that any read saw.
        reads: How many reads there were.
        left: How many sessions were alive when all had been answered.
    """

    answers: list[int]
    most: int
    reads: int
    left: int


async def many_logins(
    workers: list[Worker], http: httpx.AsyncClient, store_url: str, user: str, number: int
) -> Logins:
    """Log a user in so many times at once; read all the while how many sessions are alive.

    Args:
        workers: Server processes with a limit on sessions.
        http: A client without a cookie jar.
        store_url: Their store.
        user: A user who is not logged in anywhere.
        number: Logins, spread over the processes.
    """
    over = Event()
    # In a thread of its own, or it would have its turn only when the client has nothing to do.
    sampling = asyncio.create_task(asyncio.to_thread(asyncio.run, _sample(store_url, user, over)))
    urls = [f"{workers[n % len(workers)].url}/login/{user}" for n in range(number)]
    answers = await asyncio.gather(*(http.get(url) for url in urls))
    over.set()
    counts = await sampling
    return Logins([each.status_code for each in answers], max(counts), len(counts), counts[-1])


async def _sample(store_url: str, user: str, over: Event) -> list[int]:
    """Count the user's sessions again and again, and once more when all is over."""
    interface = Redis(store_url) if store_url.startswith("redis") else AsyncPG(store_url)
    await interface.open()
    counts, last = [], False
    while not last:
        last = over.is_set()
        counts.append(len(await interface.records_of(NAME, user)))
    await interface.close()
    return counts


@dataclass
class Ends:
    """What was seen when a user was logged out everywhere.

    Attributes:
        ended: How many sessions the answer named.
        seconds: Until the answer had come.
        alive: How many of the user's sessions opened something after that, in any process.
        others: How many sessions of other users are as alive as before.
        sockets: Seconds until the last watched socket was closed; one in each process.
    """

    ended: int
    seconds: float
    alive: int
    others: int
    sockets: float


async def logout_everywhere(
    workers: list[Worker], http: httpx.AsyncClient, user: str, number: int
) -> Ends:
    """Log a user in so many times, then out everywhere by one request to one process.

    Args:
        workers: Server processes.
        http: A client without a cookie jar.
        user: A user who is not logged in anywhere.
        number: Sessions, spread over the processes; another user has as many.
    """
    spread = [workers[n % len(workers)] for n in range(number)]
    mine, theirs = [
        await asyncio.gather(*(new_session(http, w.url, f"/login/{name}") for w in spread))
        for name in (user, f"not-{user}")
    ]
    sockets = [await _watched(worker, mine[n]) for n, worker in enumerate(workers)]
    began = time.monotonic()
    closing = asyncio.gather(*(_closed(ws, began) for ws in sockets))
    answer = await http.get(f"{workers[0].url}/everywhere/{user}")
    seconds = time.monotonic() - began
    return Ends(
        ended=answer.json()["ended"],
        seconds=seconds,
        alive=await _alive(http, spread, mine),
        others=await _alive(http, spread, theirs),
        sockets=max(await closing),
    )


async def _alive(
    http: httpx.AsyncClient, workers: list[Worker], cookies: list[dict[str, str]]
) -> int:
    """Return how many of the cookies open a login; each asks another process than its own."""
    asked = [*workers[1:], workers[0]]
    answers = await asyncio.gather(
        *(http.get(w.url + "/whoami", headers=each) for w, each in zip(asked, cookies, strict=True))
    )
    return sum(answer.json()["user"] is not None for answer in answers)


async def _watched(worker: Worker, headers: dict[str, str]) -> Any:
    url = worker.url.replace("http", "ws") + "/feed"
    ws = await connect(url, additional_headers=headers, proxy=None)
    await ws.send("there?")
    await ws.recv()
    return ws


async def _closed(ws: Any, began: float) -> float:
    try:
        async with asyncio.timeout(SOCKETS_SECONDS):
            await ws.wait_closed()
    except TimeoutError:
        return inf
    return time.monotonic() - began
