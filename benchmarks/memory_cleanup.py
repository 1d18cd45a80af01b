"""How fast `InMemory` reads among a million sessions, and how gently it forgets a million.

Run it by hand; it takes about a minute and 1.5 GB:

    python benchmarks/memory_cleanup.py [sessions]
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable

from sanic_cookies.interfaces.memory import InMemory
from sanic_cookies.record import Draft
from sanic_cookies.token import Token

READS, ROUNDS = 20_000, 10
TICK = 0.001


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def fill(store: InMemory, count: int) -> list[str]:
    """Store so many sessions that expire over the next hour; return their ids."""
    sids = []
    for number in range(count):
        token = Token.generate()
        ttl = 1.0 + 3600 * number / count
        payload = b'{"v":1,"d":{"visits":1}}'
        await store.create(Draft("session", token.sid, 1, token.secret_hash, payload, ttl))
        sids.append(token.sid)
    return sids


async def mean_read(store: InMemory, sids: list[str]) -> float:
    """Return the seconds of one fetch: the best of some rounds, the machine may be busy."""
    rounds = []
    for _ in range(ROUNDS):
        chosen = random.choices(sids, k=READS)
        began = time.perf_counter()
        for sid in chosen:
            await store.fetch("session", sid)
        rounds.append((time.perf_counter() - began) / READS)
    return min(rounds)


async def lags_during(work: Callable[[], Awaitable[object]]) -> tuple[list[float], list[float]]:
    """Return how late each tick of a millisecond came while `work` was awaited.

    Returns:
        The lags by the clock, and the processor's time that this thread spent between two ticks:
        where other programs keep the machine busy, only the latter is the clean-up's doing.
    """
    lags: list[float] = []
    busy: list[float] = []

    async def tick() -> None:
        while True:
            due, spent = time.perf_counter() + TICK, time.thread_time()
            await asyncio.sleep(TICK)
            lags.append(time.perf_counter() - due)
            busy.append(time.thread_time() - spent)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    lags.clear()
    busy.clear()
    await work()
    ticking.cancel()
    return sorted(lags), sorted(busy)


async def main(count: int) -> None:
    """Measure and print."""
    clock = Clock()
    store = InMemory(clock=clock)
    few = await fill(InMemory(clock=clock), 0) or await fill(store, 1000)
    print(f"read among {len(store):>9,} sessions: {await mean_read(store, few) * 1e6:6.2f} us")
    began = time.perf_counter()
    sids = await fill(store, count)
    print(f"create:{'':23} {(time.perf_counter() - began) / count * 1e6:6.2f} us")
    print(f"read among {len(store):>9,} sessions: {await mean_read(store, sids) * 1e6:6.2f} us")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory of the process: {megabytes:,.0f} MB")
    began = time.perf_counter()
    await store.sweep()
    print(f"sweep that finds nothing: {(time.perf_counter() - began) * 1e6:.2f} us")
    clock.now += 4000
    expired, began = len(store), time.perf_counter()
    lags, busy = await lags_during(store.sweep)
    took = time.perf_counter() - began
    print(f"forget {expired:,} expired: {took:.2f} s, {len(store)} left, {len(lags)} ticks")
    for what, values in (("lag of the event loop", lags), ("of it our own work", busy)):
        median, most = values[len(values) // 2], values[len(values) * 99 // 100]
        print(
            f"{what}: worst {values[-1] * 1e3:.2f} ms, 99 % below {most * 1e3:.2f} ms, "
            f"median {median * 1e3:.2f} ms"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
