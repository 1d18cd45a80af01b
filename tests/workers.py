"""Server processes that share a store, for tests of what one process cannot show."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

SCRIPT = Path(__file__).parent / "adversity" / "worker.py"


class Worker:
    """A server process."""

    def __init__(self, url: str, options: dict[str, float]) -> None:
        self.store_url, self.options = url, options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        """Start, and wait until it serves."""
        options = [f"{name}={value}" for name, value in self.options.items()]
        self.process = subprocess.Popen(  # noqa: ASYNC220 - quick, and the test waits anyway
            [sys.executable, str(SCRIPT), str(self.port), self.store_url, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        while "ready" not in (line := await asyncio.to_thread(self.process.stdout.readline)):
            assert line, "the worker ended before it served"

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process and wait for its end."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        await asyncio.to_thread(process.wait)
        assert process.stdout is not None
        process.stdout.close()


async def new_session(http: httpx.AsyncClient, url: str, path: str = "/inc") -> dict[str, str]:
    """Begin a session and return the header that carries its cookie."""
    response = await http.get(url + path)
    assert response.status_code == 200
    http.cookies.clear()
    return {"cookie": response.headers["set-cookie"].partition(";")[0]}
