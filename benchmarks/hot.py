"""One session that everybody wants: two processes of 16 clients each add one to it, over and over.

    python -m benchmarks.hot [--seconds 2] [--rounds 5] [--json FILE]

Beside us what one reaches for otherwise: redis-py's `Lock` around GET and SETEX, and Postgres's
advisory lock around SELECT and UPSERT, each with its defaults. And the floors: who finds the lease
with the other process looks again after 5 ms, in no order. The requests go through Sanic's own
protocol without sockets (see `in_process`), so that the lock is measured and not the network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import uvloop
from sanic import Sanic

from benchmarks.figures import medians
from benchmarks.in_process import Client, started
from benchmarks.peers import by_hand, floor_postgres, floor_redis, ours
from benchmarks.peers.floor_wire import Wire
from benchmarks.rig import ROOT, Cores, facts
from benchmarks.servers import stores

PROCESSES, CLIENTS = 2, 16
SYSTEMS = {
    "ours-redis": ("redis", "sanic_cookies, Redis"),
    "floor-redis": ("redis", "locked by hand, Redis"),
    "redis-lock": ("redis", "redis-py's Lock"),
    "ours-postgres": ("postgres", "sanic_cookies, Postgres"),
    "floor-postgres": ("postgres", "locked by hand, Postgres"),
    "postgres-lock": ("postgres", "pg_advisory_lock"),
}
PAIRS = {"ours-redis": "redis-lock", "ours-postgres": "postgres-lock"}


@dataclass(frozen=True)
class Outcome:
    """What came of one stretch.

    Attributes:
        rate: Increments a second, of all processes together.
        p99_ms: What 99 of 100 requests took at most, waiting included.
        worst_ms: What the slowest took.
        least_share: What the client that got least got, as a part of the mean.
        lost: Increments that were answered and are not there.
        failed: Requests that were answered with something else than 200.
    """

    rate: float
    p99_ms: float
    worst_ms: float
    least_share: float
    lost: int
    failed: int


def outcome(seconds: float, times: Sequence[Sequence[float]], failed: int, kept: int) -> Outcome:
    """Return what the clients' times of a stretch say.

    Args:
        seconds: How long it was.
        times: For each client the seconds of each request that was answered with 200.
        failed: How many were not.
        kept: By how much the number in the session has grown.
    """
    every = sorted(one for each in times for one in each)
    counts = [len(each) for each in times]
    return Outcome(
        rate=len(every) / seconds,
        p99_ms=every[len(every) * 99 // 100] * 1e3,
        worst_ms=every[-1] * 1e3,
        least_share=min(counts) / fmean(counts),
        lost=len(every) - kept,
        failed=failed,
    )


def make_app(key: str, url: str) -> Sanic[Any, Any]:
    """Return the app of a system."""
    if key in PAIRS:
        return ours.make_app(ours.make_interface(SYSTEMS[key][0], url), preload=False)
    if key == "floor-redis":
        return floor_redis.make_app(Wire(url))
    if key == "floor-postgres":
        return floor_postgres.make_app(url)
    return by_hand.make_app(key, url)


async def work(key: str, url: str) -> None:
    """Be one of the processes: a cookie and a number of seconds a line, times a line in return."""
    app, server = await started(lambda: make_app(key, url))
    first = Client(app)
    await first.get("/start")
    print(first.cookie, flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        cookie, seconds = line.split()
        first.cookie = cookie
        before = int(await first.get("/read"))
        print(before, flush=True)
        found = await asyncio.gather(
            *(increments(app, cookie, float(seconds)) for _ in range(CLIENTS))
        )
        print(json.dumps(found), flush=True)
    server.close()


async def increments(app: Any, cookie: str, seconds: float) -> dict[str, Any]:
    """Be one of the clients; return the time of each increment and the number of failures."""
    client, times, failed = Client(app), [], 0
    client.cookie = cookie
    request, end = client.request("/write"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        response = await client.send(request)
        if response.startswith(b"HTTP/1.1 200"):
            times.append(time.perf_counter() - began)
        else:
            failed += 1
    await client.hang_up()
    return {"times": times, "failed": failed}


class Worker:
    """A process, as its parent knows it."""

    def __init__(self, key: str, url: str) -> None:
        """Start it."""
        command = [sys.executable, "-m", "benchmarks.hot", "--work", key, "--url", url]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process: Any = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        self.cookie = self.answer()

    def order(self, cookie: str, seconds: float) -> None:
        """Have it begin."""
        print(cookie, seconds, file=self._process.stdin, flush=True)

    def answer(self) -> str:
        """Return the next line that it prints.

        Raises:
            RuntimeError: It has ended.
        """
        line: str = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} has ended")
        return line.strip()

    def stop(self) -> None:
        """End it."""
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def stretch(workers: Sequence[Worker], seconds: float) -> Outcome:
    """Let all processes at one session for some time."""
    cookie = workers[0].cookie
    for worker in workers:
        worker.order(cookie, seconds)
    # Who has not begun yet may see a few of the other's increments: the least was there before.
    before = min(int(worker.answer()) for worker in workers)
    found = [client for worker in workers for client in json.loads(worker.answer())]
    workers[0].order(cookie, 0.0)
    after = int(workers[0].answer())
    workers[0].answer()
    times = [each["times"] for each in found]
    return outcome(seconds, times, sum(each["failed"] for each in found), after - before)


def run(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all in interleaved rounds."""
    about = facts(Cores().note)
    samples: dict[str, list[dict[str, float]]] = {key: [] for key in SYSTEMS}
    with stores({store for store, _ in SYSTEMS.values()}) as urls:
        workers: dict[str, list[Worker]] = {}
        try:
            for key, (store, _) in SYSTEMS.items():
                workers[key] = [Worker(key, urls[store]) for _ in range(PROCESSES)]
            for _ in range(rounds):
                for key in SYSTEMS:
                    samples[key].append(asdict(stretch(workers[key], seconds)))
        finally:
            for worker in (one for each in workers.values() for one in each):
                worker.stop()
    return {"facts": about, "processes": PROCESSES, "clients": CLIENTS, "hot": samples}


def lines(results: dict[str, Any]) -> list[str]:
    """Return the results as text."""
    shown = [f"{'':26}{'increments/s':>13}{'p99 ms':>9}{'worst':>9}{'least share':>13}{'lost':>6}"]
    found = {key: medians(each) for key, each in results["hot"].items()}
    for key, each in found.items():
        shown.append(
            f"{SYSTEMS[key][1]:26}{each['rate']:13,.0f}{each['p99_ms']:9.0f}"
            f"{each['worst_ms']:9.0f}{each['least_share']:13.2f}{each['lost']:6.0f}"
        )
    for key, other in PAIRS.items():
        ratio = found[key]["rate"] / found[other]["rate"]
        shown.append(f"{SYSTEMS[key][1]}: {ratio:.1f} x {SYSTEMS[other][1]}")
    return shown


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Measure one session that everybody wants.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/hot.json")
    parser.add_argument("--work", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        uvloop.run(work(given.work, given.url))
        return
    results = run(given.rounds, given.seconds)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(results, indent=1) + "\n")
    print(*lines(results), sep="\n")


if __name__ == "__main__":
    main()
