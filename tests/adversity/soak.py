"""A long time with everything at once: make soak, or python tests/adversity/soak.py 600

Servers on Redis, on Postgres and on memory serve users who write, peek, log in and out, talk over
websockets, send garbage and hang up, while their stores and networks suffer one fault after the
other. Watched are memory, descriptors, tasks, locks and the stores' connections, which must not
grow; every answer, which must be one of those that are promised; every count, which must be neither
short nor double; and every line of the log. A table is printed; the exit status says how it went.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak_load import Tally, User

import faults
from faults import PostgresSite, RedisSite, Site
from servers import PostgresServer, RedisServer, free_port

SCRIPT = Path(__file__).parent / "soak_worker.py"
USERS = 8
GRACE = 5.0  # seconds after a fault in which a lease may still have to run out
SAMPLE = 0.5
MOST_AFTERWARDS = 120.0
PARTS = 5
WARM_UP = 0.4  # this part of the time belongs to caches and pools that fill, and is not judged

# Growth that is allowed over the judged part of the time: a fixed part, as memory comes in arenas,
# and a part for each minute, far below what one leaked object a request would take.
MEGABYTES, MEGABYTES_A_MINUTE = 4.0, 0.3
DESCRIPTORS = 12
TASKS = 4  # that are begun with the first use: clean-up, wake-ups, the drivers' own
CALM_REFUSALS = 0.005  # of all answers: a machine that is busy with something else may be late
TURN, STARVED = 0.1, 0.3

EXPECTED_LINES = [
    r"ERROR sanic_cookies (Redis|AsyncPG)\.\w+ failed: \w+",
    r"ERROR sanic_cookies clean-up of AsyncPG failed, it goes on: \w+",
    r"WARNING sanic_cookies \w+: the route '[\w.]+' held its session for \d+ ms; .*",
    r"WARNING sanic_cookies \w+: the route '[\w.]+' did not get its session: .*",
    r"ERROR sanic_cookies \w+: the route '[\w.]+' lost its lock: .*",
    r"WARNING sanic_cookies\.security \w+: (superseded token after its grace|"
    r"wrong secret for a known session|two cookies of the session's name) sid=[\w-]+",
    # Sanic itself, and the driver's own pool.
    r"WARNING asyncpg\.pool Failed to restore the pool connection floor; retrying \[\w+\]",
    r"(INFO|WARNING) sanic\..*",
    # Older Sanics half-close a connection that is gone (sanic#3068).
    r"ERROR sanic\.websockets Error closing websocket connection \[RuntimeError\]",
    r"ERROR (sanic\.error|websockets\.server) .*\[(ConnectionClosed\w*|WebsocketClosed|"
    r"CancelledError|RequestCancelled|ServerError|SessionStoreError)\]",
]
EXPECTED_LINE = re.compile("|".join(f"(?:{line})" for line in EXPECTED_LINES))

FAULTS = {
    "redis": [
        *(faults.refused, faults.reset, faults.black_hole, faults.slow, faults.cut),
        *(faults.frozen, faults.clients_killed, faults.flushed, faults.replica(stale=True)),
        *(faults.setting(maxmemory=1), faults.busy, faults.killed),
    ],
    "postgres": [
        *(faults.refused, faults.reset, faults.black_hole, faults.slow, faults.cut),
        *(faults.frozen, faults.read_only, faults.too_many, faults.killed),
        *(faults.locked(f"LOCK TABLE {faults.TABLE}"), faults.ruled(faults.TERMINATE, "SELECT")),
    ],
}


@dataclass
class Worker:
    """A server process, and what was measured of it."""

    kind: str
    store: str
    log: Path
    samples: list[dict[str, float]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    async def start(self) -> None:
        """Start, and wait until it serves."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - quick, and we wait anyway
                [sys.executable, str(SCRIPT), str(self.port), self.store],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert b"ready" in line, self.log.read_text()
        self.outside = psutil.Process(self.process.pid)

    async def look(self, http: httpx.AsyncClient, since: float) -> dict[str, float]:
        """Measure; asking the process itself must not wait for its store."""
        inside = (await http.get(self.url + "/stats")).json()
        return {
            "time": time.monotonic() - since,
            "rss": self.outside.memory_info().rss / 2**20,
            "fds": self.outside.num_fds(),
            **inside,
        }

    def growth(self, what: str) -> float:
        """Return by how much something has grown in the judged time.

        That is the median of the slopes (least squares) of its parts, times its length: what leaks
        grows in all of them, and a pool that was filled anew after a fault in one.
        """
        begin = self.samples[-1]["time"] * WARM_UP
        judged = [sample for sample in self.samples if sample["time"] >= begin]
        size = max(2, len(judged) // PARTS)
        slopes = []
        for at in range(0, len(judged) - size + 1, size):
            part = judged[at : at + size]
            times = [sample["time"] for sample in part]
            slopes.append(statistics.linear_regression(times, [each[what] for each in part])[0])
        return statistics.median(slopes) * (judged[-1]["time"] - begin)

    async def stop(self) -> None:
        """End the process; its store must go on meanwhile, and stands behind a proxy of ours."""
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 30)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Soak:
    """One run."""

    def __init__(self, seconds: float, seed: int = 1) -> None:
        self.seconds, self.rng = seconds, random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.calm_since = {"redis": 0.0, "postgres": 0.0, "memory": 0.0}
        self.last = dict.fromkeys(self.calm_since, "nothing")
        self.over = asyncio.Event()
        self.complaints: list[str] = []

    def calm(self, kind: str) -> str:
        """Say in words that nothing is wrong with a store, and has not been for a while."""
        is_calm = time.monotonic() - self.calm_since[kind] > GRACE
        return f"in calm of {kind} after {self.last[kind]}" if is_calm else ""

    async def strike(self, site: Site) -> None:
        """Let one fault after the other happen to a store."""
        while not await self.is_over_after(self.rng.uniform(0.5, 1.5) * GRACE):
            fault = self.rng.choice(FAULTS[site.kind])
            self.calm_since[site.kind] = float("inf")
            async with fault(site):
                self.last[site.kind] = fault.__qualname__
                self.struck[f"{site.kind}: {fault.__qualname__}"] += 1
                await asyncio.sleep(self.rng.uniform(0.5, 4))
            self.calm_since[site.kind] = time.monotonic()

    async def is_over_after(self, seconds: float) -> bool:
        """Wait for so long, or until the time is over; say whether it is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)
        return self.over.is_set()

    async def feel(self) -> None:
        """Call nothing calm while this very process, which carries the proxies, gets no turn."""
        while True:
            began = time.monotonic()
            if await self.is_over_after(TURN):
                return
            if time.monotonic() - began > TURN + STARVED:
                now = time.monotonic()
                self.calm_since = {kind: max(at, now) for kind, at in self.calm_since.items()}

    async def watch(self, workers: list[Worker], http: httpx.AsyncClient) -> None:
        """Measure all the time."""
        since = time.monotonic()
        while not await self.is_over_after(SAMPLE):
            for worker in workers:
                worker.samples.append(await worker.look(http, since))

    async def run(self) -> bool:
        """Run, judge and print; say whether all is well."""
        async with AsyncExitStack() as stack:
            redis = stack.enter_context(RedisServer())
            postgres = stack.enter_context(PostgresServer())
            sites: list[Site] = [
                await stack.enter_async_context(RedisSite(redis)),
                await stack.enter_async_context(PostgresSite(postgres)),
            ]
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
            workers = [
                Worker(kind, url, postgres.directory / f"worker-{number}.log")
                for number, (kind, url) in enumerate(
                    [*((site.kind, site.url) for site in sites for _ in range(2)), ("memory", "")]
                )
            ]
            for worker in workers:
                await worker.start()
                stack.push_async_callback(worker.stop)
                worker.samples.append(await worker.look(http, time.monotonic()))
            await self.soak(sites, workers, http)
            await self.settle(sites, workers, http)
            self.judge(workers)
        return not self.complaints

    async def soak(self, sites: list[Site], workers: list[Worker], http: Any) -> None:
        """Have users, faults and measurements for as long as was asked for."""
        users = [
            User(worker.url, worker.tally, lambda kind=worker.kind: self.calm(kind), self.rng)
            for worker in workers
            for _ in range(USERS)
        ]
        # Nobody is cancelled: a fault that has begun is to be mended, a request to be answered.
        tasks = [asyncio.create_task(user.live(self.over)) for user in users]
        tasks += [asyncio.create_task(self.strike(site)) for site in sites]
        tasks += [asyncio.create_task(work) for work in (self.watch(workers, http), self.feel())]
        await asyncio.wait(tasks, timeout=self.seconds, return_when=asyncio.FIRST_EXCEPTION)
        self.over.set()
        await asyncio.gather(*tasks)

    async def settle(self, sites: list[Site], workers: list[Worker], http: Any) -> None:
        """Wait until the servers are quiet, and see that nothing is left in them."""
        for worker in workers:
            first = worker.samples[0]
            deadline = time.monotonic() + 30
            while True:
                last = await worker.look(http, 0)
                left = (
                    last["locks"] + last["background"] + max(0, last["tasks"] - first["tasks"] - 4)
                )
                if not left or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.2)
            worker.samples.append({**last, "time": worker.samples[-1]["time"] + SAMPLE})
            if left:
                self.complaints.append(f"{worker.kind}: left behind: {last}")
        for site in sites:
            # Two processes: a connection and a channel each; Postgres has pools of ten.
            most = 6 if site.kind == "redis" else 24
            if (number := await site.connections()) > most:
                self.complaints.append(f"{site.kind}: {number} connections, expected {most}")

    def judge(self, workers: list[Worker]) -> None:
        """Print the table and collect what is wrong."""
        total, lines = Tally(), Counter[str]()
        print(f"{'store':10}{'answers':>9}{'503':>7}{'RSS MB':>16}{'growth':>8}", end="")
        print(f"{'fds':>11}{'growth':>8}{'tasks':>9}{'locks':>6}")
        for worker in workers:
            first, last = worker.samples[0], worker.samples[-1]
            rss, fds = worker.growth("rss"), worker.growth("fds")
            answers = worker.tally.answers
            print(
                f"{worker.kind:10}{answers.total():9}{answers[503]:7}"
                f"{first['rss']:8.1f}{last['rss']:8.1f}{rss:8.2f}"
                f"{first['fds']:6.0f}{last['fds']:5.0f}{fds:8.2f}"
                f"{first['tasks']:5.0f}{last['tasks']:4.0f}{last['locks']:6.0f}"
            )
            allowed = MEGABYTES + MEGABYTES_A_MINUTE * self.seconds * (1 - WARM_UP) / 60
            if rss > allowed:
                self.complaints.append(f"{worker.kind}: {rss:.1f} MB more, allowed {allowed:.1f}")
            if fds > DESCRIPTORS:
                self.complaints.append(f"{worker.kind}: {fds:.0f} descriptors more")
            total.answers += answers
            total.trouble += worker.tally.trouble
            total.refused += worker.tally.refused
            total.cut += worker.tally.cut
            for line in worker.log.read_text("utf-8", "replace").splitlines():
                lines["expected" if EXPECTED_LINE.fullmatch(line) else line[:200]] += 1
        self.verdict(total, lines)

    def verdict(self, total: Tally, lines: Counter[str]) -> None:
        """Print what concerns all of them together."""
        print(f"answers: {dict(sorted(total.answers.items()))}, cut off: {total.cut}")
        print(f"503 while all was well with the store: {total.refused}")
        print(f"faults: {self.struck.total()}, of {len(self.struck)} kinds")
        print(f"log lines: {lines.pop('expected', 0)} expected, {lines.total()} unexpected")
        few = CALM_REFUSALS * total.answers.total()
        for text, number in total.trouble.items():
            if " in calm" not in text or total.refused > few:
                self.complaints.append(f"{number} times: {text}")
        self.complaints += [f"{number} lines: {line}" for line, number in lines.most_common(10)]
        print("\n".join(["all is well"] if not self.complaints else self.complaints))


async def main(seconds: float) -> int:
    """Run; a soak that does not end has failed, too."""
    async with asyncio.timeout(seconds + MOST_AFTERWARDS):
        return not await Soak(seconds).run()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)))
