"""Programs that serve: each a process of its own, gone afterwards with all its workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import sanic

from servers import family, free_port, is_alive

ROOT = Path(__file__).parent.parent
SECONDS = 60.0
# A warning about the machine rather than the program, where many share it.
BUSY = "held its session for"
_BAD = ("WARN", "ERROR", "Traceback", "Warning:")
# Sanic's main process asks its manager for the workers' state ten times a second. A signal to stop
# that comes between question and answer asks over the same connection in its handler, so that each
# takes the other's answer (25.12, `_sync_states`). Main and manager are out of step from there on:
# what they and the workers say on their way out is of that. The workers stop all the same.
_TAKEN_UNAWARES = re.compile(
    r"^Main .* ERROR: Experienced exception while trying to serve\n"
    r"(?:Main .*\n|Srv .*\n)*"
    r"Traceback \(most recent call last\):\n(?:  .*\n|Srv .*\n)*"
    r"  .*, in _sync_states\n(?s:.*)",
    re.MULTILINE,
)
# A round of such questions takes a millisecond or two; a pause this long is the rest between two.
_REST = 0.03
# What each worker says once its loop runs; Sanic 25.12 starts one long before.
_READY = "Starting worker" if sanic.__version__.startswith("25.3.") else "Worker ready"
# What would choose a store behind a test's back.
_CHOICES = ("REDIS_URL", "DATABASE_URL", "WORKERS", "PORT", "COOKIE_KEYS", "MOVED", "TLS_CERTS")


def environment(**chosen: str) -> dict[str, str]:
    """Return the environment for a program, in which nothing but `chosen` chooses a store."""
    inherited = {name: value for name, value in os.environ.items() if name not in _CHOICES}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **chosen}


@contextmanager
def running(
    program: Path | str, log: Path, *, workers: int = 1, directory: Path = ROOT, **chosen: str
) -> Iterator[str]:
    """Serve `program` while the block runs; gives its address.

    It has to stop when it is told to, to leave no process behind, and to log no warning.

    Args:
        program: A file with a Python program that serves on the port in PORT, or a module's name
            with its arguments, `{port}` among them.
        log: File for what it prints.
        workers: How many serve; WORKERS in `chosen` says so, too.
        directory: Where it is started.
        chosen: Environment variables.
    """
    port = free_port()
    is_file = isinstance(program, Path)
    run = [str(program)] if is_file else ["-m", *str(program).format(port=port).split()]
    url = f"{'https' if chosen.get('TLS_CERTS') else 'http'}://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "error::RuntimeWarning", *run],
            env=environment(PORT=str(port), **chosen),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_serving(url, process, log, int(chosen.get("WORKERS", workers)))
        yield url
    finally:
        left = _stop(process)
    text = log.read_text()

    assert left == [], text
    assert complaints(text) == [], text


def complaints(text: str) -> list[str]:
    """Return the lines of a program's log that should not be there."""
    return [
        line
        for line in _TAKEN_UNAWARES.sub("", text).splitlines()
        if any(word in line for word in _BAD) and BUSY not in line
    ]


def _stop(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Tell a program to stop; kill what is still there much later, and return it."""
    members = family(process.pid)
    if members:
        _wait_until_at_rest(members[0])
    process.terminate()
    deadline = time.monotonic() + SECONDS
    # The last to go is the tracker of multiprocessing, a moment after the program itself.
    while time.monotonic() < deadline and any(map(is_alive, members)):
        process.poll()
        time.sleep(0.01)
    left = [member for member in members if is_alive(member)]
    for member in left:
        member.kill()
    process.wait(SECONDS)
    return left


def _wait_until_at_rest(main: psutil.Process) -> None:
    """Wait until the questions of Sanic's main process are answered, if it asks any."""
    start = since = time.monotonic()
    before = waits = main.num_ctx_switches().voluntary
    while (waits == before or time.monotonic() - since < _REST) and time.monotonic() - start < 1:
        time.sleep(0.001)  # the system reports no switch: it has to be looked for
        if main.num_ctx_switches().voluntary != waits:
            waits, since = main.num_ctx_switches().voluntary, time.monotonic()


def _wait_until_serving(
    url: str, process: subprocess.Popen[bytes], log: Path, workers: int
) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, verify=False)  # noqa: S501 - our own
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        # One of several may answer while others still start, and end in tracebacks if told to stop.
        if workers > 1 and log.read_text().count(_READY) < workers:
            time.sleep(0.05)
        else:
            # Sanic looks ten times a second whether its workers have come up, and never ends if
            # it is told to stop before it knows that they have (25.12, `wait_for_ack`).
            time.sleep(0.3)
            return
    raise AssertionError(f"it does not serve:\n{log.read_text()}")
