"""All systems side by side in one interleaved run: `make bench`, or `make bench-quick`.

    python -m benchmarks.compare [--quick] [--only KEY ...] [--json FILE]

Each round starts each system anew and measures it on each of its routes, in short turns with the
bare app of its framework: a twentieth of a second for the one, then for the other. So whatever the
machine does meanwhile, it does to both sides of a ratio. What is stored are the samples, one for
each turn; `benchmarks.figures` makes medians and ratios of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from benchmarks.environments import build_all, versions
from benchmarks.load import Crowd, Window, crowd, exactly, one, request
from benchmarks.rig import ROOT, Cores, facts
from benchmarks.servers import Server, stores
from benchmarks.systems import BY_KEY, SYSTEMS, System
from benchmarks.tables import terminal
from benchmarks.trips import counting

RESULTS = ROOT / "benchmarks" / "results"
SESSIONS, CONNECTIONS, COUNTED = 256, 32, 50
STEP_SECONDS = 120.0  # far more than any step takes; so a server that hangs ends no run
RAMP_SECONDS = 0.015  # from rest until all clients are at work: each has been answered by then
HOT_SECONDS = 0.5  # at one session there is no bare app to compare with in turns

Trips = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Rounds of all systems and routes.
        turns: How often, in a round, a route and its bare app take turns.
        seconds: Length of each sample, two of which make a turn.
        single: Requests over one connection in each turn, for the latency.
        minutes: No round begins that would end later than this.
    """

    rounds: int = 8
    turns: int = 6
    seconds: float = 0.05
    single: int = 20
    minutes: float = 12.0


FULL, QUICK = Plan(), Plan(rounds=1, turns=5)


class Run:
    """One run: the samples so far, and the servers of the present round."""

    def __init__(
        self, plan: Plan, systems: Sequence[System], start: Callable[[System], Server]
    ) -> None:
        """Begin without samples.

        Args:
            plan: How much is measured.
            systems: What is measured.
            start: Starts the server of one of them.
        """
        self.plan = plan
        self.servers: dict[str, Server] = {}
        self._systems, self._start = systems, start
        self.cookies: dict[str, list[str]] = {}
        self.load: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.latency: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.hot: dict[str, list[dict[str, float]]] = {}
        self.dropped: dict[str, str] = {}

    @property
    def alive(self) -> list[System]:
        """The systems that no step has failed for."""
        return [each for each in self._systems if each.key not in self.dropped]

    async def rounds(self) -> int:
        """Take all rounds, or as many as there is time for; return how many."""
        began = time.monotonic()
        for number in range(1, self.plan.rounds + 1):
            print(f"round {number} of {self.plan.rounds}", file=sys.stderr)
            await self.round()
            spent = time.monotonic() - began
            if spent + spent / number > self.plan.minutes * 60:
                break
        return number

    async def round(self) -> None:
        """Measure everything in its turns, each system in a process that has just begun.

        How fast code is depends on where a process happens to have put it, by some percent: what
        one process is lucky with, the next is not.
        """
        with ExitStack() as stack:
            for each in self.alive:
                self.servers[each.key] = stack.enter_context(self._start(each))
            stack.callback(self._stop_all)
            for step in (self._begin, self._measure):
                for key in list(self.servers):
                    await self._or_drop(key, step(key))

    def _stop_all(self) -> None:
        """Have all servers of the round end at once; each is then waited for."""
        for each in self.servers.values():
            each.stop()
        self.servers.clear()

    async def _or_drop(self, key: str, step: Awaitable[None]) -> None:
        """Do a step; a system that fails is left out, and said to be, and the run goes on."""
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await step
        except (OSError, RuntimeError, ValueError, TimeoutError) as error:
            if self.servers[key].system.kind == "bare":
                raise
            print(f"LEFT OUT: {key}: {error!r}", file=sys.stderr)
            self.dropped[key] = repr(error)
            for kept in (self.servers, self.load, self.latency, self.hot):
                kept.pop(key, None)

    async def _begin(self, key: str) -> None:
        await self.servers[key].ready()
        self.cookies[key] = await self.servers[key].cookies(SESSIONS)

    async def _measure(self, key: str) -> None:
        system = self.servers[key].system
        for path in system.paths:
            await self._sample(key, path)
            await self._one_by_one(key, path)
        if system.hot:
            await self._one_hot_session(key)

    async def _sample(self, key: str, path: str) -> None:
        """Measure a route and the bare app in turns, at 32 connections each."""
        base = self.servers[key].system.base
        taken = self.load.setdefault(key, {}).setdefault(path, [])
        async with AsyncExitStack() as stack:
            crowds = [await stack.enter_async_context(self._crowd(key, path))]
            if base != key:
                crowds.append(await stack.enter_async_context(self._crowd(base, "untouched")))
            for number in range(self.plan.turns):
                windows = await self._turn(crowds, is_bare_first=bool(number % 2))
                taken.append(_sample(windows[0], windows[-1]))

    def _crowd(self, key: str, path: str) -> AbstractAsyncContextManager[Crowd]:
        cookies, server = self.cookies[key], self.servers[key]
        clients = [
            [request(f"/{path}", cookie) for cookie in islice(cookies, number, None, CONNECTIONS)]
            for number in range(CONNECTIONS)
        ]
        return crowd(server.port, clients, server.cpu)

    async def _turn(self, crowds: Sequence[Crowd], *, is_bare_first: bool) -> list[Window]:
        """Measure each crowd; once more, and longer, if others kept a server from all work."""
        for longer in (1, 4, 16):
            order = crowds[::-1] if is_bare_first else crowds
            seconds = self.plan.seconds * longer
            windows = [await each.window(seconds, RAMP_SECONDS) for each in order]
            if failures := sum(each.failures for each in windows):
                raise RuntimeError(f"{failures} requests failed")
            if all(each.requests for each in windows):
                return windows[::-1] if is_bare_first else windows
        raise RuntimeError("requests are not answered")

    async def _one_by_one(self, key: str, path: str) -> None:
        """Measure a route and the bare app in turns, over one connection."""
        base = self.servers[key].system.base
        if base == key:
            return
        taken = self.latency.setdefault(key, {}).setdefault(path, [])
        for _ in range(self.plan.turns):
            own, bare = await self._latency(key, path), await self._latency(base, "untouched")
            taken.append({"us": own, "bare_us": bare})

    async def _latency(self, key: str, path: str) -> float:
        requests = [request(f"/{path}", cookie) for cookie in self.cookies[key]]
        client = await exactly(self.servers[key].port, requests, self.plan.single)
        return median(client.times) * 1e6

    async def _one_hot_session(self, key: str) -> None:
        server = self.servers[key]
        cookie = (await server.cookies(1))[0]
        clients = [[request("/write", cookie)]] * CONNECTIONS
        async with crowd(server.port, clients, server.cpu) as all_of_them:
            window = await all_of_them.window(HOT_SECONDS, warm_up=0.2)
        if window.failures or not window.answered:
            raise RuntimeError(f"{window.failures} requests for one session failed")
        kept = int((await one(server.port, "/read", cookie)).rpartition(b"\r\n\r\n")[2])
        times = sorted(window.times)
        sample = {
            "rate": window.requests / window.seconds,
            "many": median(each["rate"] for each in self.load[key]["write"][-self.plan.turns :]),
            "p99_ms": times[len(times) * 99 // 100] * 1e3,
            "answered": window.answered,
            "kept": kept,
        }
        self.hot.setdefault(key, []).append(sample)


def _sample(window: Window, bare: Window) -> dict[str, float]:
    """Return the figures of a turn; a bare app is its own."""
    return {
        "rate": window.requests / window.seconds,
        "bare_rate": bare.requests / bare.seconds,
        "cpu_us": window.server_cpu / window.requests * 1e6,
        "bare_cpu_us": bare.server_cpu / bare.requests * 1e6,
        "server_busy": window.server_cpu / window.seconds,
        "load_busy": window.own_cpu / window.seconds,
    }


async def count_trips(systems: Sequence[System], urls: dict[str, str], cores: Cores) -> Trips:
    """Return the round trips of a request, for systems with a store, counted by a proxy."""
    found: Trips = {}
    for system in systems:
        if not system.server:
            continue
        async with counting(urls[system.server]) as counter:
            with Server(system, counter.address, cores) as server:
                await server.ready()
                cookie = (await server.cookies(1))[0]
                found[system.key] = {}
                for path in system.paths:
                    await one(server.port, f"/{path}", cookie)
                    before = counter.trips
                    await exactly(server.port, [request(f"/{path}", cookie)], COUNTED)
                    found[system.key][path] = (counter.trips - before) / COUNTED
    return found


async def run(plan: Plan, systems: Sequence[System]) -> dict[str, Any]:
    """Measure all systems; return what `figures` and `tables` read."""
    cores = Cores()
    cores.take_load()
    about = facts(cores.note)
    began = time.monotonic()
    wanted = {each.server for each in systems} - {""}
    with stores(wanted) as urls:
        this = Run(plan, systems, lambda each: Server(each, urls.get(each.server, ""), cores))
        done = await this.rounds()
        trips = await count_trips(this.alive, urls, cores)
    about["minutes"] = round((time.monotonic() - began) / 60, 1)
    about["versions"] = {env: versions(env) for env in sorted({each.env for each in systems})}
    return {
        "facts": about,
        "plan": {**asdict(plan), "rounds": done, "sessions": SESSIONS, "connections": CONNECTIONS},
        "load": this.load,
        "latency_us": this.latency,
        "hot": this.hot,
        "trips": trips,
        "dropped": this.dropped,
    }


def with_bases(keys: Sequence[str]) -> list[System]:
    """Return systems by their keys, and the bare apps that they are compared with, in order."""
    wanted = {*keys, *(BY_KEY[key].base for key in keys)}
    return [each for each in SYSTEMS if each.key in wanted]


def main() -> None:
    """Build what is missing, measure, store, print."""
    parser = argparse.ArgumentParser(description="Measure all systems in one interleaved run.")
    parser.add_argument("--quick", action="store_true", help="about two minutes, to look at only")
    parser.add_argument("--only", nargs="+", choices=BY_KEY, metavar="KEY", help="these alone")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path, help="where the samples go")
    given = parser.parse_args()
    # Only a whole run may become the published one.
    name = "partial" if given.only else "quick" if given.quick else "latest"
    target = given.json or RESULTS / f"{name}.json"
    plan = QUICK if given.quick else FULL
    if given.rounds:
        plan = replace(plan, rounds=given.rounds, minutes=math.inf)
    systems = with_bases(given.only or list(BY_KEY))
    build_all(sorted({each.env for each in systems}))
    results = uvloop.run(run(plan, systems))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(terminal(results))
    print(f"samples: {target}", file=sys.stderr)
    sys.exit(1 if results["dropped"] else 0)


if __name__ == "__main__":
    main()
