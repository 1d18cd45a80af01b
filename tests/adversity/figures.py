"""Figures that take minutes, printed by hand.

    python tests/adversity/figures.py interleavings redis 10000
    python tests/adversity/figures.py bleed postgres 50000
    python tests/adversity/figures.py logins redis 50
    python tests/adversity/figures.py everywhere postgres 50

`interleavings`: logout races with three writes, from two processes, at random moments; printed is
how many sessions came back to life. `bleed`: requests of 500 users, one in ten cancelled at a
random moment, while the store's replies take 0 to 20 ms; printed is how many answers showed
another user's data. `logins`: so many logins of one user at once in four processes, with
`max_sessions=3`; printed is the largest number of live sessions that any read saw. `everywhere`:
so many sessions of a user in four processes are ended by one request; printed is how long that
took, how many opened anything afterwards, and how long the watched sockets lived.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from crowds import logout_everywhere, many_logins
from proxy import ToxicProxy
from sanic_cookies import AsyncPG
from servers import PostgresServer, RedisServer
from workers import Worker, new_session

AT_ONCE = 40
USERS = 500


def client() -> httpx.AsyncClient:
    """Return a client that may open many connections."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    made = httpx.AsyncClient(timeout=60, limits=limits)
    # A shared jar would lend one user's cookie to another's login.
    made.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return made


async def in_turns(total: int, work: object) -> None:
    """Run `work(number)` for each number, so many at once."""
    numbers = iter(range(total))

    async def turn() -> None:
        for number in numbers:
            await work(number)  # type: ignore[operator]

    await asyncio.gather(*(turn() for _ in range(AT_ONCE)))


async def interleavings(store_url: str, total: int) -> bool:
    """Race a logout against writes; print how many sessions were alive afterwards."""
    workers = [Worker(store_url, {}) for _ in range(2)]
    await asyncio.gather(*(worker.start() for worker in workers))
    rng, alive, codes = random.Random(3), 0, Counter[int]()
    began = time.monotonic()

    async def later(url: str, headers: dict[str, str]) -> None:
        await asyncio.sleep(rng.random() * 0.02)
        codes[(await http.get(url, headers=headers)).status_code] += 1

    async def race(number: int) -> None:
        nonlocal alive
        headers = await new_session(http, workers[0].url, f"/login/u{number}")
        urls = [rng.choice(workers).url + "/note?hold=0.002" for _ in range(3)]
        urls.append(rng.choice(workers).url + "/logout")
        await asyncio.gather(*(later(url, headers) for url in urls))
        user = (await http.get(workers[1].url + "/whoami", headers=headers)).json()["user"]
        alive += user is not None

    try:
        async with client() as http:
            await in_turns(total, race)
    finally:
        await asyncio.gather(*(worker.stop(signal.SIGKILL) for worker in workers))
    seconds = time.monotonic() - began
    print(f"{total} interleavings, {alive} resurrections, {seconds:.0f} s; {dict(codes)}")
    return alive == 0


async def bleed(store_url: str, total: int) -> bool:
    """Cancel one request in ten; print how many of the others saw somebody else's data."""
    parts = urlsplit(store_url)
    proxy = ToxicProxy(parts.hostname or "", parts.port or 0)
    await proxy.start()
    user = parts.netloc.rpartition("@")[0]
    host = f"127.0.0.1:{proxy.port}"
    url = urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host))
    worker = Worker(url, {})
    await worker.start()
    rng, seen = random.Random(5), Counter[str]()
    began = time.monotonic()

    async def ask(number: int) -> None:
        name = rng.randrange(USERS)
        proxy.latency(rng.random() * 0.02)
        path = rng.choice(("/whoami", "/note"))
        limit = rng.random() * 0.03 if rng.random() < 0.1 else 30
        try:
            async with asyncio.timeout(limit):
                answer = await http.get(worker.url + path, headers=cookies[name])
        except (TimeoutError, httpx.HTTPError):
            seen["cancelled"] += 1
            return
        if answer.status_code != 200:
            seen[f"status {answer.status_code}"] += 1
        else:
            seen["own" if answer.json()["user"] == f"u{name}" else "ANOTHER'S"] += 1

    try:
        async with client() as http:
            cookies = [await new_session(http, worker.url, f"/login/u{n}") for n in range(USERS)]
            await in_turns(total, ask)
    finally:
        await worker.stop(signal.SIGKILL)
        await proxy.stop()
    seconds = time.monotonic() - began
    print(f"{total} requests of {USERS} users, {seconds:.0f} s: {dict(seen)}")
    return seen["ANOTHER'S"] == 0


@asynccontextmanager
async def serving(store_url: str, number: int, **options: float) -> AsyncIterator[list[Worker]]:
    """Start server processes on the store, and stop them again."""
    workers = [Worker(store_url, options) for _ in range(number)]
    try:
        await asyncio.gather(*(worker.start() for worker in workers))
        yield workers
    finally:
        await asyncio.gather(*(worker.stop(signal.SIGKILL) for worker in workers))


async def logins(store_url: str, total: int) -> bool:
    """Log one user in so many times at once; print how many sessions were ever alive."""
    async with serving(store_url, 4, max_sessions=3) as workers, client() as http:
        seen = await many_logins(workers, http, store_url, "ann", total)
    print(
        f"{total} logins at once, {Counter(seen.answers)}: at most {seen.most} sessions alive "
        f"at {seen.reads} reads, {seen.left} at the end"
    )
    return seen.most <= 3


async def everywhere(store_url: str, total: int) -> bool:
    """End so many sessions of a user by one request; print how long they lived."""
    async with serving(store_url, 4) as workers, client() as http:
        seen = await logout_everywhere(workers, http, "ann", total)
    print(
        f"{seen.ended} of {total} sessions ended in {seen.seconds:.2f} s; after that {seen.alive} "
        f"opened anything; watched sockets closed after {seen.sockets:.2f} s; "
        f"{seen.others} of {total} of another user are alive"
    )
    return (seen.ended, seen.alive, seen.others) == (total, 0, total) and seen.seconds < 1


FIGURES = {
    "interleavings": interleavings,
    "bleed": bleed,
    "logins": logins,
    "everywhere": everywhere,
}


async def main(figure: str, store: str, total: int) -> int:
    """Start the store and print the figure."""
    run = FIGURES[figure]
    if store == "redis":
        with RedisServer() as server:
            return not await run(server.url, total)
    with PostgresServer() as server:
        interface = AsyncPG(server.url)
        await interface.create_table()
        await interface.close()
        return not await run(server.url, total)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
