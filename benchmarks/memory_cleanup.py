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
from collections.abc import Callable

from sanic_cookies.interfaces.memory import InMemory
from sanic_cookies.record import Draft
from sanic_cookies.token import Token

READS = 100_000
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
    """Return the seconds of one fetch."""
    chosen = random.choices(sids, k=READS)  # noqa: S311 - no secret
    began = time.perf_counter()
    for sid in chosen:
        await store.fetch("session", sid)
    return (time.perf_counter() - began) / READS


async def lags_during(work: Callable[[], object]) -> list[float]:
    """Return how late each tick of a millisecond came while `work` was awaited."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            lags.append(time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    lags.clear()
    await work()  # type: ignore[misc]
    ticking.cancel()
    return lags


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
    lags = await lags_during(store.sweep)
    print(f"sweep that finds nothing: {len(lags)} ticks late")
    clock.now += 4000
    expired, began = len(store), time.perf_counter()
    lags = sorted(await lags_during(store.sweep))
    took = time.perf_counter() - began
    print(f"forget {expired:,} expired: {took:.2f} s, {len(store)} left")
    print(
        f"lag of the event loop meanwhile: worst {lags[-1] * 1e3:.2f} ms, "
        f"median {lags[len(lags) // 2] * 1e3:.2f} ms, "
        f"99 % below {lags[len(lags) * 99 // 100] * 1e3:.2f} ms, {len(lags)} ticks"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
