"""What a session costs when there are a thousand of them, and when there are a million.

    python -m benchmarks.growth [--most 1000000] [--stores memory redis postgres] [--json FILE]

For each store: CPU of a read and of a locked write, client and store together, at each size in
interleaved rounds; and the bytes that a session takes. In memory also how long the clean-up keeps
the event loop at a time, when all sessions end in one hour and when all end in one second. In
Postgres also how many pages a read takes, and all that with room for every page in the server.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import redis.asyncio
import uvloop

from benchmarks.figures import with_room
from benchmarks.growth_postgres import in_postgres
from benchmarks.operations import HOUR, OPERATIONS, compare, draft, payload, sid_of, store_alone
from benchmarks.peers.common import DATA
from benchmarks.rig import ROOT, cpu_seconds, facts
from benchmarks.servers import RedisServer
from sanic_cookies import InMemory, Redis
from sanic_cookies.codec import JSONCodec

TIMES = {"memory": 3000, "redis": 400}
CLEAN_JSON = JSONCodec().encode(DATA)
CHUNK = 20_000

# A copy of one session under many ids, made where the sessions are: a million in seconds.
FILL_REDIS = """
local blob = redis.call('DUMP', KEYS[1])
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1 do
  local sid = string.sub(redis.sha1hex(tostring(number)), 1, 22)
  redis.call('RESTORE', ARGV[1] .. sid, 3600000, blob, 'REPLACE')
end
"""


def sid_in_redis(number: int) -> str:
    """Return what FILL_REDIS calls a session."""
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()[:22]


async def in_memory(sizes: Sequence[int]) -> dict[str, Any]:
    """Measure `InMemory`."""
    places = {size: InMemory() for size in sizes}
    for size, interface in places.items():
        for number in range(size):
            await interface.create(draft(sid_of(number)))
    gc.collect()
    found: dict[str, Any] = dict(await compare(places, sid_of, TIMES["memory"], time.process_time))
    most = max(sizes)
    found["bytes"] = {kind: memory_of(kind, most) for kind in ("anonymous", "logged in")}
    found["slices"] = {
        "over an hour": await longest_slices(most, HOUR),
        "in one second": await longest_slices(most, 0.0),
    }
    return found


def memory_of(kind: str, size: int) -> float:
    """Return the bytes of a session above its JSON, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--fill", kind, "--most", str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(done.stdout)


async def fill_memory(kind: str, size: int) -> float:
    """Make sessions of one kind in this process; return how many bytes one takes above its JSON.

    A logged-in one has a user, was rotated at login, and was saved once more after that.
    """
    interface, process = InMemory(), psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    for number in range(size):
        sid = sid_of(number)
        await interface.create(draft(sid, ttl=1 + HOUR * number / size))
        if kind == "logged in":
            user = f"user-{number}"
            new = hashlib.sha256(sid.encode()).digest()
            old = hashlib.sha256(new).digest()
            rotation = {"rotated": True, "secret_hash": new, "previous_hash": old}
            content = payload(user)
            await interface.save(
                draft(sid, 2, payload=content, user_key=user, grace=15.0, **rotation)
            )
            await interface.save(draft(sid, 3, payload=payload(user), user_key=f"user-{number}"))
    gc.collect()
    return (process.memory_info().rss - before) / size - len(CLEAN_JSON)


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def longest_slices(size: int, spread: float) -> dict[str, float]:
    """Forget sessions that are all over; return how long the clean-up works at a stretch.

    Args:
        size: How many.
        spread: Over how many seconds their ends lie.

    Returns:
        Milliseconds of the longest slice and of 99 of 100, both of this thread's own CPU: what
        other programs take meanwhile is not the clean-up's doing. And seconds for all.
    """
    clock = Clock()
    interface = InMemory(clock=clock)

    for number in range(size):
        ttl = 1.0 + spread * number / size
        await interface.create(draft(sid_of(number), ttl=ttl))
    clock.now += 2 * HOUR
    slices, sweep = [], interface.sweep()
    while True:  # a slice is what runs between two awaits
        began = time.thread_time()
        try:
            sweep.send(None)
        except StopIteration:
            break
        finally:
            slices.append((time.thread_time() - began) * 1e3)
    if len(interface):
        raise RuntimeError(f"{len(interface)} sessions were not forgotten")
    slices.sort()
    return {
        "longest_ms": slices[-1],
        "p99_ms": slices[len(slices) * 99 // 100],
        "seconds": sum(slices) / 1e3,
    }


async def in_redis(sizes: Sequence[int]) -> dict[str, Any]:
    """Measure `Redis`, a database for each size."""
    with RedisServer() as server:
        url = server.url.rpartition("/")[0]
        places, used = {}, {}
        for number, size in enumerate(sizes):
            interface = Redis(f"{url}/{number}")
            await interface.open()
            await interface.create(draft("template"))
            places[size] = interface
            async with redis.asyncio.from_url(f"{url}/{number}") as client:
                before = (await client.info("memory"))["used_memory"]
                await fill_redis(client, size)
                used[size] = ((await client.info("memory"))["used_memory"] - before) / size
        found: dict[str, Any] = dict(
            await compare(
                places,
                sid_in_redis,
                TIMES["redis"],
                lambda: time.process_time() + cpu_seconds(server.pid),
            )
        )
        most = max(sizes)
        found["store_us"] = await store_alone(
            places[most], sid_in_redis, most, lambda: cpu_seconds(server.pid)
        )
        found["bytes"] = {"anonymous": used[most], **await bytes_of_logins(url, len(sizes))}
        for interface in places.values():
            await interface.close()
    return found


async def fill_redis(client: Any, size: int) -> None:
    """Copy the template under as many ids."""
    script = client.register_script(FILL_REDIS)
    [template] = [key async for key in client.scan_iter("*template*")]
    prefix = template.decode().removesuffix("template")
    for first in range(0, size, CHUNK):
        await script(keys=[template], args=[prefix, first, min(size, first + CHUNK)])


async def bytes_of_logins(url: str, database: int, count: int = 5_000) -> dict[str, float]:
    """Return the bytes of a session that has a user, his place in the index included."""
    interface = Redis(f"{url}/{database}")
    await interface.open()
    async with redis.asyncio.from_url(f"{url}/{database}") as client:
        before = (await client.info("memory"))["used_memory"]
        for number in range(count):
            user = f"user-{number}"
            await interface.create(
                draft(sid_in_redis(number), payload=payload(user), user_key=user)
            )
        used = (await client.info("memory"))["used_memory"] - before
    await interface.close()
    return {"logged in": used / count}


STORES = {"memory": in_memory, "redis": in_redis, "postgres": in_postgres}


def steepest(by_size: dict[int, float]) -> float:
    """Return what an operation costs at the largest size, as a multiple of the smallest."""
    return by_size[max(by_size)] / by_size[min(by_size)]


def lines(results: dict[str, Any]) -> list[str]:
    """Return the results as text."""
    shown = []
    for store, found in results["stores"].items():
        shown += _of_operations(store, found)
        shown += [
            f"{store}, a session, {kind}: {value:,.0f} B" + " above its JSON" * (store == "memory")
            for kind, value in found["bytes"].items()
        ]
        if "store_us" in found:
            of_it = ", ".join(f"{name} {us:.0f} us" for name, us in found["store_us"].items())
            shown.append(f"{store}, of it the store itself at most: {of_it}")
        if "wal_bytes" in found:
            shown.append(
                f"{store}, a locked write in the write-ahead log: {found['wal_bytes']:,.0f} B"
            )
        shown += [
            f"{store}, all end {kind}: longest slice {each['longest_ms']:.2f} ms, "
            f"99 % below {each['p99_ms']:.2f} ms, {each['seconds']:.1f} s for all"
            for kind, each in found.get("slices", {}).items()
        ]
    return shown


def _of_operations(store: str, found: Mapping[str, Any]) -> Iterator[str]:
    for name, each in with_room(store, found):
        for operation in OPERATIONS:
            by_size = {int(size): value for size, value in each[operation].items()}
            cells = "".join(f"{size:>13,}: {value:7.2f}" for size, value in by_size.items())
            label = f"{name}, {operation}"
            yield f"{label:15} us of CPU at{cells}   x {steepest(by_size):.2f}"
        if "pages" in each:
            pages = each["pages"]
            yield (
                f"{name}, pages of a read among {max(by_size):,}: {pages['all']:.1f}, "
                f"{pages['fetched']:.2f} of them not in shared_buffers ({each['shared_buffers']})"
            )


async def run(stores: Sequence[str], sizes: Sequence[int]) -> dict[str, Any]:
    """Measure some stores."""
    results: dict[str, Any] = {"facts": facts("not pinned"), "sizes": list(sizes), "stores": {}}
    results["json_bytes"] = len(CLEAN_JSON)
    for store in stores:
        print(f"{store}: filling and measuring", file=sys.stderr)
        results["stores"][store] = await STORES[store](sizes)
    return results


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Measure sessions as they grow in number.")
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/growth.json")
    parser.add_argument("--fill", choices=("anonymous", "logged in"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        print(asyncio.run(fill_memory(given.fill, given.most)))
        return
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size < given.most]
    results = uvloop.run(run(given.stores, [*sizes, given.most]))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(results, indent=1) + "\n")
    print(*lines(results), sep="\n")


if __name__ == "__main__":
    main()
