"""Several processes and one session: nothing is lost, nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from workers import Worker, new_session

Start = Callable[..., Any]
CLIENTS = 32
TURNS = 20  # that each of them has, about
USUAL_LEASE = 10.0


async def count_of(http: httpx.AsyncClient, worker: Worker, headers: dict[str, str]) -> int:
    """Return the session's count, as another request reads it."""
    return int((await http.get(worker.url + "/count", headers=headers)).json()["count"])


async def test_no_increment_is_lost(workers: Start, http: httpx.AsyncClient) -> None:
    """Increments of one session from four processes add up to exactly the number of 200s."""
    four = await workers(4)
    headers = await new_session(http, four[0].url)

    async def client(number: int) -> Counter[int]:
        url = four[number % 4].url + "/inc"
        answers = [await http.get(url, headers=headers) for _ in range(40)]
        return Counter(answer.status_code for answer in answers)

    codes = sum(await asyncio.gather(*map(client, range(16))), Counter())

    assert codes == {200: 640}
    assert await count_of(http, four[0], headers) == 641


async def test_waiting_is_fair_across_processes(workers: Start, http: httpx.AsyncClient) -> None:
    """Under contention each client gets at least half of the mean, and none waits ten turns."""
    four = await workers(4)
    headers = await new_session(http, four[0].url)
    gaps: list[int] = []

    async def client(number: int) -> int:
        done = last = 0
        while len(gaps) < TURNS * CLIENTS:
            url = four[number % 4].url + "/inc?hold=0.005"
            count = (await http.get(url, headers=headers)).json()["count"]
            gaps.append(count - last if done else 0)
            done, last = done + 1, count
        return done

    done = await asyncio.gather(*map(client, range(CLIENTS)))

    mean = sum(done) / len(done)
    assert min(done) >= mean / 2
    # In turns, not in seconds: how often others had the session between two turns of a client.
    assert max(gaps) < 10 * CLIENTS
    print(f"least share {min(done) / mean:.2f}, longest wait {max(gaps) / CLIENTS:.1f} turns")


async def test_killed_holder_costs_its_lease(workers: Start, http: httpx.AsyncClient) -> None:
    """After kill -9 of a holder the session serves again once its lease is over."""
    one, two = await workers(2, lease=1.0, lock_timeout=60)
    headers = await new_session(http, one.url)
    held = asyncio.create_task(http.get(one.url + "/inc?hold=told", headers=headers))
    await until_inside(http, one)
    one.send(signal.SIGKILL)
    began = time.monotonic()

    answer = await http.get(two.url + "/inc", headers=headers)

    assert answer.json() == {"count": 2}
    assert time.monotonic() - began < USUAL_LEASE - 1
    await asyncio.gather(held, return_exceptions=True)


async def test_a_server_that_stops_lets_its_holder_finish(
    workers: Start, http: httpx.AsyncClient
) -> None:
    """SIGTERM while a block is open: it ends, it is saved, and its lease is free at once."""
    one, two = await workers(2, lock_timeout=60)
    headers = await new_session(http, one.url)
    held = asyncio.create_task(http.get(one.url + "/inc?hold=told", headers=headers))
    await until_inside(http, one)
    one.send(signal.SIGTERM)
    await until_closed(one)
    while not held.done():  # uvloop drops a signal that comes while Sanic has stopped its loop
        one.send(signal.SIGUSR1)
        await asyncio.wait({held}, timeout=0.1)

    assert held.result().json() == {"count": 2}
    began = time.monotonic()
    assert (await http.get(two.url + "/inc", headers=headers)).json() == {"count": 3}
    assert time.monotonic() - began < USUAL_LEASE / 2


async def test_stopped_holder_is_refused(workers: Start, http: httpx.AsyncClient) -> None:
    """A holder that stood still past its lease is refused, and what others wrote since stays."""
    one, two = await workers(2, lease=2.0)
    headers = await new_session(http, one.url)
    held = asyncio.create_task(http.get(one.url + "/inc?hold=told", headers=headers))
    await until_inside(http, one)
    one.send(signal.SIGSTOP)

    assert (await http.get(two.url + "/inc", headers=headers)).json() == {"count": 2}

    one.send(signal.SIGUSR1)
    one.send(signal.SIGCONT)
    answer = await held
    assert (answer.status_code, answer.json()) == (503, {"error": "SessionLockLost"})
    assert await count_of(http, two, headers) == 2


async def test_late_release_frees_nobody_else(workers: Start, http: httpx.AsyncClient) -> None:
    """The release of a holder that lost its lease does not free the new holder's."""
    one, two = await workers(2, lease=2.0)
    headers = await new_session(http, one.url)
    late = asyncio.create_task(http.get(one.url + "/inc?hold=told", headers=headers))
    await until_inside(http, one)
    one.send(signal.SIGSTOP)
    second = asyncio.create_task(http.get(two.url + "/inc?hold=told", headers=headers))
    await until_inside(http, two)
    one.send(signal.SIGUSR1)
    one.send(signal.SIGCONT)

    assert (await late).json() == {"error": "SessionLockLost"}
    third = asyncio.create_task(http.get(one.url + "/inc", headers=headers))
    await asyncio.sleep(0.5)  # for it to get in, if it could
    assert not third.done()
    two.send(signal.SIGUSR1)
    assert (await second).json() == {"count": 2}
    assert (await third).json() == {"count": 3}


async def test_long_hold_is_renewed(workers: Start, http: httpx.AsyncClient) -> None:
    """A block that lasts longer than the lease keeps it, and everybody else waits."""
    one, two = await workers(2, lease=2.5)
    headers = await new_session(http, one.url)
    held = asyncio.create_task(http.get(one.url + "/inc?hold=3.5", headers=headers))
    await until_inside(http, one)

    waited = await http.get(two.url + "/inc", headers=headers)

    assert (await held).json() == {"count": 2}
    assert waited.json() == {"count": 3}


async def test_max_hold_ends_a_hold(workers: Start, http: httpx.AsyncClient) -> None:
    """A block that outlives max_hold is refused at its end, and others proceed before."""
    one, two = await workers(2, lease=2.0, max_hold=2.0)
    headers = await new_session(http, one.url)
    held = asyncio.create_task(http.get(one.url + "/inc?hold=told", headers=headers))
    await until_inside(http, one)

    assert (await http.get(two.url + "/inc", headers=headers)).json() == {"count": 2}

    one.send(signal.SIGUSR1)
    assert (await held).json() == {"error": "SessionLockLost"}
    assert await count_of(http, two, headers) == 2


async def test_lock_wait_ends(workers: Start, http: httpx.AsyncClient) -> None:
    """Who waits longer than lock_timeout for another process gets 503 and writes nothing."""
    one, two = await workers(2, lock_timeout=0.5)
    headers = await new_session(http, one.url)
    held = asyncio.create_task(http.get(one.url + "/inc?hold=told", headers=headers))
    await until_inside(http, one)

    answer = await http.get(two.url + "/inc", headers=headers)

    assert (answer.status_code, answer.json()) == (503, {"error": "SessionLockTimeout"})
    one.send(signal.SIGUSR1)
    assert (await held).json() == {"count": 2}
    assert (await http.get(two.url + "/inc", headers=headers)).json() == {"count": 3}


async def test_logout_does_not_wait(workers: Start, http: httpx.AsyncClient) -> None:
    """Logout while another process holds the lock is quick and final: the holder is refused."""
    one, two = await workers(2, lock_timeout=60, lease=60)
    headers = await new_session(http, one.url, "/login/ann")
    held = asyncio.create_task(http.get(one.url + "/note?hold=told", headers=headers))
    await until_inside(http, one)

    async with asyncio.timeout(30):  # half of what it would wait for the lock
        assert (await http.get(two.url + "/logout", headers=headers)).status_code == 200

    assert (await http.get(one.url + "/whoami", headers=headers)).json() == {"user": None}
    one.send(signal.SIGUSR1)
    answer = await held
    assert (answer.status_code, answer.json()) == (409, {"error": "SessionInterrupted"})
    assert "set-cookie" not in answer.headers
    assert (await http.get(one.url + "/whoami", headers=headers)).json() == {"user": None}


async def test_nothing_revives_what_was_logged_out(workers: Start, http: httpx.AsyncClient) -> None:
    """Whatever the interleaving of writes and a logout, the session stays dead."""
    one, two = await workers(2)
    rng = random.Random(7)

    async def race(number: int) -> object:
        headers = await new_session(http, one.url, f"/login/u{number}")
        delays = [rng.random() * 0.01 for _ in range(4)]
        writes = [
            later(delay, http.get(worker.url + "/note?hold=0.002", headers=headers))
            for delay, worker in zip(delays, (one, two, one), strict=False)
        ]
        await asyncio.gather(
            *writes, later(delays[3], http.get(two.url + "/logout", headers=headers))
        )
        return (await http.get(one.url + "/whoami", headers=headers)).json()["user"]

    users = [await race(number) for number in range(60)]

    assert users == [None] * 60


async def later(delay: float, work: Any) -> Any:
    """Do something after a while."""
    await asyncio.sleep(delay)
    return await work


async def until_inside(http: httpx.AsyncClient, worker: Worker) -> None:
    """Wait until a request is inside of its block in this process."""
    async with asyncio.timeout(30):
        while not (await http.get(worker.url + "/stats")).json()["inside"]:  # noqa: ASYNC110 - far
            await asyncio.sleep(0.01)


async def until_closed(worker: Worker) -> None:
    """Wait until a process that is told to stop takes no connections any more."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", worker.port)
            except ConnectionError:
                return
            writer.close()
            await asyncio.sleep(0.01)
