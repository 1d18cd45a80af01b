"""Where the work of a request goes: Python's own steps, by part of this library.

    python -m benchmarks.parts [--json FILE]

The code of a request is long and runs once, so what it costs is how many steps the interpreter
takes: some 30 ns each on the machine of the published figures, whichever they are. Their number
depends on the version of Python, and on nothing else: two counts are equal.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from benchmarks.in_process import Client, apps, started
from benchmarks.rig import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PACKAGE = ROOT / "sanic_cookies"
WARM_UP = 20
PATHS = ("untouched", "read", "write")
REST, ELSE = "Sanic, for one header more", "everything else"
APPS = ("bare", "ours", "floor")
# By the first part of a module's path below the package, or its name.
PARTS = {
    "finding the cookie": ("cookies", "token"),
    "context and response": ("exchange", "headers", "request_class", "session", "wiring"),
    "reading, deciding, writing": ("session_dict", "record", "expiry"),
    "encoding and decoding": ("codec", "content"),
    "locks, deadlines": ("locks", "timers"),
    "guard and fan-out": ("guard", "fan_out", "bound"),
    "the store": ("interfaces",),
}


def part_of(file: str) -> str | None:
    """Return the part that a module belongs to; None if it is not of this library."""
    path = Path(file)
    if PACKAGE not in path.parents:
        return None
    top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for part, names in PARTS.items():
        if path.stem in names or top in names:
            return part
    return ELSE


async def count(client: Client, path: str) -> Counter[str]:
    """Return the steps of one request by part; those of others by `REST`."""
    await client.repeat(path, WARM_UP)
    steps: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            steps[part_of(frame.f_code.co_filename) or REST] += 1
        return trace

    request = client.request(path)
    sys.settrace(trace)
    try:
        await client.send(request)
    finally:
        sys.settrace(None)
    return steps


async def count_all(name: str) -> dict[str, dict[str, int]]:
    """Return the steps of each path of an app, by part."""
    app, server = await started(apps()[name])
    client = Client(app)
    await client.get("/start")
    client.cookie = client.cookie or f"session={'s' * 22}.{'x' * 43}"
    found = {path: dict(await count(client, f"/{path}")) for path in PATHS}
    await client.hang_up()
    server.close()
    return found


def in_a_process(name: str) -> dict[str, dict[str, int]]:
    """Count in a process of its own, since Sanic rewrites its methods once a process."""
    command = [sys.executable, "-m", "benchmarks.parts", "--app", name]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, dict[str, int]] = json.loads(result.stdout.splitlines()[-1])
    return found


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of a table: for each part the steps above bare Sanic's, then their sum.

    And the sum of the app that does the least, where that was counted.
    """
    above = {path: _above(results, "ours", path) for path in PATHS}
    names = [*PARTS, ELSE, REST]
    body = [[name, *(f"{above[path][name]:,}" for path in PATHS)] for name in names]
    body.append(["in all", *(f"{above[path].total():,}" for path in PATHS)])
    if "floor" in results:
        sums = (_above(results, "floor", path).total() for path in PATHS)
        body.append(["the floor, in all", *(f"{each:,}" for each in sums)])
    whole = [f"{sum(results['bare'][path].values()):,}" for path in PATHS]
    return [*body, ["bare Sanic", *whole]]


def _above(results: Mapping[str, Any], app: str, path: str) -> Counter[str]:
    found = Counter(results[app][path])
    found.subtract(results["bare"][path])
    return found


def main() -> None:
    """Count, print, and write the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--app", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=RESULTS / "parts.json")
    given = parser.parse_args()
    if given.app is not None:
        print(json.dumps(uvloop.run(count_all(given.app))))
        return
    results = {"python": platform.python_version(), **{each: in_a_process(each) for each in APPS}}
    print(f"{'steps above bare Sanic, in memory':36}" + "".join(f"{each:>10}" for each in PATHS))
    for name, *counts in rows(results):
        print(f"{name:36}" + "".join(f"{each:>10}" for each in counts))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
