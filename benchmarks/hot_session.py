"""One session that everybody wants: 2 processes with 16 tasks each increment its counter.

    python -m benchmarks.hot_session [--seconds 4] [--rounds 3] [--holds 0 2] [--ways ...]

`benchmarks.hot` sends such requests through Sanic; this is the core alone, so that waiting,
fairness and round trips show by themselves, for blocks that last no time and for some that do.

Each way has its turn in each round, on the same servers, so that they share the machine's mood.
Printed are medians over the rounds: increments a second, how long tasks waited for their turn,
what the worst task got done in comparison with the mean, calls to the store per increment, and how
many increments were lost (the counter afterwards against those that were acknowledged).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import redis.asyncio
import uvloop

from benchmarks.servers import ROOT, stores
from sanic_cookies import AsyncPG, Redis

# Sessions without a server, from the tests' folder, which `benchmarks.servers` has added.
from bare import bare_session, begin, request_with  # isort: skip

PROCESSES, TASKS = 2, 16
KEY = "hot"
# A turn is one increment under the lock; it calls `inside` when it has the lock.
Turn = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


class Way(ABC):
    """A way to increment a counter that many want to increment.

    Attributes:
        calls: How often the store was asked, which is how many round trips there were.
    """

    def __init__(self) -> None:
        """Begin without any call."""
        self.calls = 0

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def begin(self) -> str:
        """Set a counter to 0; return what it is called by."""

    @abstractmethod
    def turn(self, counter: str) -> Turn:
        """Return what increments the counter once."""

    @abstractmethod
    async def count(self, counter: str) -> int:
        """Return what the counter says."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""


class _Ours(Way):
    """The core of this library: what `async with request.ctx.session` does, without HTTP."""

    def __init__(self, interface: Any) -> None:
        super().__init__()
        self.interface = interface
        for name in ("acquire", "commit", "renew", "release", "fetch"):
            setattr(interface, name, self._counted(getattr(interface, name)))
        self.session = bare_session(interface)

    def _counted(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any) -> Any:
            self.calls += 1
            return await call(*args)

        counted.__name__ = getattr(call, "__name__", "")
        return counted

    async def open(self) -> None:
        await self.interface.open()

    async def begin(self) -> str:
        return await begin(self.session, count=0)

    def turn(self, counter: str) -> Turn:
        async def turn(inside: Callable[[], Awaitable[None]]) -> None:
            async with request_with(self.session, counter) as sess:
                await inside()
                sess["count"] += 1

        return turn

    async def count(self, counter: str) -> int:
        return int((await request_with(self.session, counter).peek())["count"])

    async def close(self) -> None:
        await self.session.drain(2)
        await self.interface.close()


class _RedisLock(Way):
    """redis-py's own lock around GET and SET."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.client = redis.asyncio.from_url(url, max_connections=TASKS + 2)
        execute = self.client.execute_command

        def counted(*args: Any, **options: Any) -> Any:
            self.calls += 1
            return execute(*args, **options)

        self.client.execute_command = counted  # type: ignore[method-assign]

    async def open(self) -> None:
        await self.client.ping()

    async def begin(self) -> str:
        await self.client.set(KEY, 0)
        return KEY

    def turn(self, counter: str) -> Turn:
        async def turn(inside: Callable[[], Awaitable[None]]) -> None:
            async with self.client.lock("lock:" + counter, timeout=10):
                await inside()
                await self.client.set(counter, int(await self.client.get(counter)) + 1)

        return turn

    async def count(self, counter: str) -> int:
        return int(await self.client.get(counter))

    async def close(self) -> None:
        await self.client.aclose()


class _AdvisoryLock(Way):
    """pg_advisory_lock around SELECT and UPDATE, on a connection that is held meanwhile."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(self.url, min_size=TASKS, max_size=TASKS + 2)

    async def begin(self) -> str:
        await self.pool.execute("CREATE TABLE IF NOT EXISTS hot (id int PRIMARY KEY, val int)")
        await self.pool.execute(
            "INSERT INTO hot VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET val = 0"
        )
        return "1"

    def turn(self, counter: str) -> Turn:
        async def turn(inside: Callable[[], Awaitable[None]]) -> None:
            async with self.pool.acquire() as connection:
                await connection.execute("SELECT pg_advisory_lock(1)")
                try:
                    await inside()
                    value = await connection.fetchval("SELECT val FROM hot WHERE id = 1")
                    await connection.execute("UPDATE hot SET val = $1 WHERE id = 1", value + 1)
                finally:
                    await connection.execute("SELECT pg_advisory_unlock(1)")
            self.calls += 4

        return turn

    async def count(self, counter: str) -> int:
        return int(await self.pool.fetchval("SELECT val FROM hot WHERE id = 1"))

    async def close(self) -> None:
        await self.pool.close()


WAYS: dict[str, tuple[str, Callable[[str], Way]]] = {
    "ours, Redis": ("redis", lambda url: _Ours(Redis(url))),
    "redis-py Lock": ("redis", _RedisLock),
    "ours, Postgres": ("postgres", lambda url: _Ours(AsyncPG(url))),
    "pg_advisory_lock": ("postgres", _AdvisoryLock),
}


async def work(name: str, url: str, counter: str, seconds: float, hold: float) -> None:
    """Be one of the processes: begin when told to, and print what each task did."""
    way = WAYS[name][1](url)
    await way.open()
    done, waits = [0] * TASKS, []
    turn = way.turn(counter)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    start = time.perf_counter()

    async def task(number: int) -> None:
        while (began := time.perf_counter()) < start + seconds:

            async def inside(began: float = began) -> None:
                waits.append(time.perf_counter() - began)
                if hold:
                    await asyncio.sleep(hold)

            await turn(inside)
            done[number] += 1

    await asyncio.gather(*(task(number) for number in range(TASKS)))
    took = time.perf_counter() - start
    await way.close()
    print(json.dumps({"done": done, "waits": waits, "calls": way.calls, "took": took}))


async def one_run(name: str, url: str, seconds: float, hold: float) -> dict[str, float]:
    """Let the processes work on one session; return the figures."""
    way = WAYS[name][1](url)
    await way.open()
    counter = await way.begin()
    args = json.dumps([name, url, counter, seconds, hold])
    ready = asyncio.Barrier(PROCESSES)
    results = await asyncio.gather(*(one_process(args, ready) for _ in range(PROCESSES)))
    done = [each for result in results for each in result["done"]]
    waits = sorted(each * 1000 for result in results for each in result["waits"])
    total = sum(done)
    figures = {
        "rate": total / max(result["took"] for result in results),
        "p50": waits[len(waits) // 2],
        "p99": waits[len(waits) * 99 // 100],
        "max": waits[-1],
        "least": min(done) * len(done) / total,
        "calls": sum(result["calls"] for result in results) / total,
        "lost": total - await way.count(counter),
    }
    await way.close()
    return figures


async def one_process(args: str, ready: asyncio.Barrier) -> dict[str, Any]:
    """Start one process, let it begin when all are ready, and return what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.hot_session", "--work", args),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**26,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    await process.stdout.readline()
    await ready.wait()
    output, _ = await process.communicate(b"go\n")
    result: dict[str, Any] = json.loads(output)
    return result


async def measure(options: argparse.Namespace) -> None:
    """Start the servers, run all ways in turns, print the table."""
    with stores({WAYS[name][0] for name in options.ways} | {"postgres"}) as urls:
        interface = AsyncPG(urls["postgres"])
        await interface.create_table()
        await interface.close()
        runs: dict[tuple[float, str], list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for hold in options.holds:
                for name in options.ways:
                    figures = await one_run(name, urls[WAYS[name][0]], options.seconds, hold / 1000)
                    runs.setdefault((hold, name), []).append(figures)
    print("| hold ms | way | inc/s | wait p50 ms | p99 | max | least/mean | calls | lost |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (hold, name), some in sorted(runs.items(), key=lambda each: each[0][0]):
        middle = {key: statistics.median(run[key] for run in some) for key in some[0]}
        cells = [f"{hold:g}", name, f"{middle['rate']:.0f}"]
        cells += [f"{middle[key]:.1f}" for key in ("p50", "p99", "max")]
        cells += [f"{middle['least']:.2f}", f"{middle['calls']:.1f}"]
        cells.append(f"{sum(run['lost'] for run in some):.0f}")
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--holds", type=float, nargs="+", default=[0, 2], help="milliseconds")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    uvloop.run(work(*options.work) if options.work else measure(options))


if __name__ == "__main__":
    main()
