"""Everything goes wrong at once, and the count is right: a figure, printed by hand.

    python tests/adversity/chaos.py redis 10000
    python tests/adversity/chaos.py postgres 10000

Four server processes increment one session until so many increments are acknowledged. Meanwhile a
random process is killed every one to two seconds, one client in five hangs up in the middle, one
reply of the store in fifty is lost, and the store drops its connections all the time (Redis loses
its scripts too). Nothing is lost if final >= acknowledged, nothing is done twice if
final <= acknowledged + unknown.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import redis.asyncio

sys.path.insert(0, str(Path(__file__).parent.parent))

from proxy import ToxicProxy
from sanic_cookies import AsyncPG
from servers import PostgresServer, RedisServer
from workers import Worker, new_session

CLIENTS = 32
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Chaos:
    """One run."""

    def __init__(self, store_url: str, wanted: int, seed: int = 1) -> None:
        self.store_url, self.wanted = store_url, wanted
        self.rng = random.Random(seed)
        self.workers: list[Worker] = []
        self.results: Counter[str] = Counter()
        self.kills = 0
        self.end = time.monotonic() + 600

    @property
    def done(self) -> bool:
        """Whether enough was acknowledged, or time is up."""
        return self.results["acknowledged"] >= self.wanted or time.monotonic() > self.end

    async def client(self, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        """Increment, and hang up once in five times."""
        while not self.done:
            url = self.rng.choice(self.workers).url + "/inc"
            limit = self.rng.random() * 0.05 if self.rng.random() < 0.2 else 20
            try:
                async with asyncio.timeout(limit):
                    answer = await http.get(url, headers=headers)
            except (httpx.HTTPError, TimeoutError):
                self.results["unknown"] += 1
                continue
            if answer.status_code == 200:
                self.results["acknowledged"] += 1
            else:
                self.results[answer.json()["error"]] += 1

    async def killer(self) -> None:
        """Kill a process every one to two seconds, and start another in its place."""
        while not self.done:
            await asyncio.sleep(self.rng.uniform(1, 2))
            place = self.rng.randrange(len(self.workers))
            await self.workers[place].stop(signal.SIGKILL)
            self.kills += 1
            self.workers[place] = await self.worker()

    async def worker(self) -> Worker:
        """Start a server process."""
        worker = Worker(self.far_url, {"lease": 1.0})
        await worker.start()
        return worker

    async def saboteur(self) -> None:
        """Have the store drop its connections, and Redis its scripts."""
        while not self.done:
            with suppress(redis.exceptions.RedisError, OSError, asyncpg.PostgresError):
                if self.store_url.startswith("redis"):
                    await self.sabotage_redis()
                else:
                    await self.sabotage_postgres()

    async def sabotage_redis(self) -> None:
        await asyncio.sleep(0.05)
        client = redis.asyncio.Redis.from_url(self.store_url)
        await client.script_flush()
        await client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        await client.aclose()

    async def sabotage_postgres(self) -> None:
        await asyncio.sleep(0.2)
        connection = await asyncpg.connect(self.store_url)
        await connection.execute(TERMINATE)
        await connection.close()

    async def run(self) -> bool:
        """Run until enough was acknowledged; print and judge the count."""
        parts = urlsplit(self.store_url)
        proxy = ToxicProxy(parts.hostname or "", parts.port or 0)
        await proxy.start()
        user = parts.netloc.rpartition("@")[0]
        host = f"127.0.0.1:{proxy.port}"
        self.far_url = urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host))
        self.workers = [await self.worker() for _ in range(4)]
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=100)) as http:
            headers = await new_session(http, self.workers[0].url)
            proxy.drop_replies(0.02, self.rng)
            others = [asyncio.create_task(work) for work in (self.killer(), self.saboteur())]
            await asyncio.gather(*(self.client(http, headers) for _ in range(CLIENTS)))
            await asyncio.gather(*others)
            proxy.pass_through()
            await asyncio.sleep(3)  # what clients have hung up on may still be written
            answer = await http.get(self.workers[0].url + "/count", headers=headers)
        final = answer.json()["count"] - 1
        for worker in self.workers:
            await worker.stop(signal.SIGKILL)
        await proxy.stop()
        return self.judge(final, time.monotonic() - began)

    def judge(self, final: int, seconds: float) -> bool:
        """Print what happened; say whether the count is right."""
        acknowledged = self.results["acknowledged"]
        unknown = self.results["unknown"] + self.results["SessionStoreError"]
        right = acknowledged <= final <= acknowledged + unknown
        print(
            f"{urlsplit(self.store_url).scheme}: {acknowledged} acknowledged, {final} counted, "
            f"{unknown} unknown, {self.kills} kills, {seconds:.0f} s: "
            f"{'0 lost, 0 doubled' if right else 'WRONG'}; {dict(self.results)}"
        )
        return right


async def main(store: str, wanted: int) -> int:
    """Start the store and run."""
    if store == "redis":
        with RedisServer() as server:
            return not await Chaos(server.url, wanted).run()
    with PostgresServer() as server:
        interface = AsyncPG(server.url)
        await interface.create_table()
        await interface.close()
        return not await Chaos(server.url, wanted).run()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
