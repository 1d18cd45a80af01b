"""The measured servers, each an app in a process of its own, and the stores behind them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from benchmarks.environments import ROOT, python
from benchmarks.load import cookie_of, one
from benchmarks.rig import Cores, cpu_seconds
from benchmarks.systems import System

# The stores are those of the tests, which fetch, start and stop them without root or Docker.
sys.path.append(str(ROOT / "tests"))
from servers import PostgresServer, RedisServer, free_port

START_SECONDS = 60.0
_GIVEN: set[int] = set()  # ports of the servers of this run

UNSAFE = ("fsync=off", "full_page_writes=off")


class Postgres(PostgresServer):
    """The tests' Postgres, but one that waits for the disk, as one does in production."""

    settings = tuple(each for each in PostgresServer.settings if each not in UNSAFE)


@contextmanager
def stores(wanted: set[str]) -> Iterator[dict[str, str]]:
    """Start the stores that are wanted, or take those of the environment; gives their urls."""
    own = {"redis": RedisServer, "postgres": Postgres}
    given = {"redis": os.environ.get("REDIS_URL"), "postgres": os.environ.get("DATABASE_URL")}
    with ExitStack() as stack:
        yield {name: given[name] or stack.enter_context(own[name]()).url for name in sorted(wanted)}


def _port_of_its_own() -> int:
    """Return a port that no other server of this run was given: many start at once."""
    while (port := free_port()) in _GIVEN:
        pass
    _GIVEN.add(port)
    return port


class Server:
    """An app that is served by one process on the core of the servers."""

    def __init__(self, system: System, url: str, cores: Cores) -> None:
        """Start it; `ready` must be awaited before use."""
        self.system = system
        self.port = _port_of_its_own()
        command = [python(system.env), "-m", f"benchmarks.peers.{system.module}"]
        command += ["--port", str(self.port), "--store", system.store, "--url", url]
        command += ["--preload"] * system.preload
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the server
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        cores.give_server(self._process.pid)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def stop(self) -> None:
        """Have it end, and do not wait for that."""
        self._process.terminate()

    def __exit__(self, *_: object) -> None:
        """End it, by force if need be."""
        self.stop()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: It has ended, or takes too long; the message has what it wrote.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while self._process.poll() is None and loop.time() < deadline:
            try:
                response = await one(self.port, "/untouched")
            except OSError:
                await asyncio.sleep(0.05)
                continue
            if b" 200 " in response[:20]:
                return
            break
        self._log.seek(0)
        raise RuntimeError(
            f"{self.system.key} does not answer:\n{self._log.read().decode(errors='replace')}"
        )

    def cpu(self) -> float:
        """Return the seconds of CPU that it has spent."""
        return cpu_seconds(self._process.pid)

    async def cookies(self, count: int) -> list[str]:
        """Begin so many sessions and return their cookies; a bare app has a cookie of no use."""
        if not self.system.store:
            return [f"session={'s' * 22}.{number:043}" for number in range(count)]
        found = [cookie_of(await one(self.port, "/start")) for _ in range(count)]
        if not all(found):
            raise RuntimeError(f"{self.system.key} sets no cookie")
        return found
