"""From `git clone` to the first saved session: how many seconds, and with how many commands.

    python benchmarks/first_session.py

It clones this checkout into a new directory, runs `make demo` there, as the README says, and asks
until a session has been saved. Most of the time is pip's: it makes a new environment and fetches
what the demo needs, or takes it out of its cache.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
LONGEST = 900.0  # seconds


def main() -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        clone = Path(directory) / "sanic-cookies"
        subprocess.run(["git", "clone", "-q", CHECKOUT, clone], check=True)
        cloned = time.perf_counter()
        port = free_port()
        demo = subprocess.Popen(
            ["make", "demo"],
            cwd=clone,
            env={**os.environ, "PORT": str(port)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            cookie = first_cookie(port, demo)
            saved = time.perf_counter()
        finally:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
    print(f"git clone      {cloned - began:6.1f} s")
    print(f"make demo      {saved - cloned:6.1f} s until a session was saved ({cookie})")
    print(f"together       {saved - began:6.1f} s, with two commands")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_cookie(port: int, demo: subprocess.Popen[bytes]) -> str:
    """Ask until the demo has saved a session; return the name of its cookie."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline and demo.poll() is None:
        try:
            ask = http.client.HTTPConnection("127.0.0.1", port)
            ask.request("POST", "/lab/start")
            return ask.getresponse().headers["set-cookie"].partition("=")[0]
        except OSError:
            time.sleep(0.1)
    raise SystemExit("make demo did not serve: run it to see why")


if __name__ == "__main__":
    main()
