"""What a step costs on the shared connection to Redis, and on a pool, taken in turns.

    python -m benchmarks.redis_paths [--rounds 5]

`pool` is the same interface on a client that keeps its own pool; `by hand` is redis-py's GET, and
GET with SET, on its pool, without a lock. Printed are medians over the rounds: CPU of this
process per operation, and the wall time that an operation takes from begin to end.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import redis.asyncio
import uvloop

from benchmarks.servers import stores
from sanic_cookies import Redis
from sanic_cookies.record import Draft
from sanic_cookies.testing import following, new_claim, new_draft

SESSIONS = 1024
AT_ONCE = {1: 1000, 32: 6000}  # tasks, and how many operations they do
# Does one operation on the session of this number.
Operation = Callable[[int], Awaitable[object]]


class PooledClient(redis.asyncio.Redis):
    """A client of a class that is not redis-py's own, which therefore keeps its pool."""


class Steps:
    """A read, and a locked write, by an interface."""

    def __init__(self, interface: Redis, drafts: list[Draft]) -> None:
        """Work on sessions that are stored."""
        self.interface, self.drafts = interface, drafts

    async def read(self, number: int) -> None:
        """Read a session."""
        draft = self.drafts[number]
        await self.interface.fetch(draft.name, draft.sid)

    async def write(self, number: int) -> None:
        """Take the lease and read; write and give the lease back."""
        draft = self.drafts[number]
        await self.interface.acquire(draft.name, draft.sid, new_claim(draft, token="t"))  # noqa: S106
        self.drafts[number] = following(draft)
        await self.interface.commit(self.drafts[number], "t", True)


class ByHand:
    """What people write who use redis-py directly."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        """Work on keys of this client."""
        self.client = client

    async def read(self, number: int) -> None:
        """Read a value."""
        await self.client.get(f"by-hand:{number}")

    async def write(self, number: int) -> None:
        """Read and write a value, hoping that nobody else does."""
        await self.client.get(f"by-hand:{number}")
        await self.client.set(f"by-hand:{number}", b"x" * 200, ex=3600)


async def timed(operation: Operation, tasks: int) -> tuple[float, float]:
    """Return CPU and median wall time of an operation, in microseconds."""
    total, walls = AT_ONCE[tasks], []
    numbers = iter(range(total))

    async def task() -> None:
        for number in numbers:
            began = time.perf_counter()
            await operation(number % SESSIONS)
            walls.append(time.perf_counter() - began)

    began = time.process_time()
    await asyncio.gather(*(task() for _ in range(tasks)))
    return (time.process_time() - began) / total * 1e6, statistics.median(walls) * 1e6


async def main(rounds: int) -> None:
    """Start a server, take the ways in turns, print the table."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(stores({"redis"}))["redis"]
        client = await stack.enter_async_context(PooledClient.from_url(url, max_connections=64))
        ways: dict[str, Steps | ByHand] = {"by hand": ByHand(client)}
        for name, interface in {"pool": Redis(client), "shared": Redis(url)}.items():
            await interface.open()
            stack.push_async_callback(interface.close)
            drafts = [new_draft(payload=b"x" * 200) for _ in range(SESSIONS)]
            for draft in drafts:
                await interface.create(draft)
            ways[name] = Steps(interface, drafts)
        seen: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for kind in ("read", "write"):
                for tasks in AT_ONCE:
                    for name, way in ways.items():
                        figures = await timed(getattr(way, kind), tasks)
                        seen.setdefault((kind, tasks, name), []).append(figures)
    print("| operation | tasks | way | CPU us | p50 us |")
    print("|---|---|---|---|---|")
    for (kind, tasks, name), some in seen.items():
        cpu, wall = (statistics.median(column) for column in zip(*some, strict=True))
        print(f"| {kind} | {tasks} | {name} | {cpu:.0f} | {wall:.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    uvloop.run(main(parser.parse_args().rounds))
