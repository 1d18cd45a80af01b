"""What a request costs the processor, in process: instructions (callgrind), and CPU time beside it.

    python -m benchmarks.instructions [--cpu] [--json FILE]

Instructions do not drift: two runs differ by less than a tenth of a percent, whatever else the
machine does, so a change of one percent shows. They are counted by valgrind, if it is installed;
`--cpu` leaves it out and measures CPU time alone, in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from benchmarks.in_process import WARM_UP

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COUNTED, TIMED, ROUNDS = 300, 2_000, 9
# Hashes decide the layout of dicts and sets, and so the number of instructions.
FIXED = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

# (app, path); the first is what the others are measured against.
BASE = ("bare", "untouched")
CASES = (
    BASE,
    ("ours", "untouched"),
    ("ours-preload", "untouched"),
    ("ours", "read"),
    ("floor", "read"),
    ("ours", "write"),
    ("floor", "write"),
)


class Worker:
    """An app in a process of its own (Sanic rewrites its methods once a process)."""

    def __init__(self, app: str, prefix: Sequence[str] = ()) -> None:
        """Start it; `prefix` is the command that runs Python, as valgrind does."""
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "benchmarks.in_process", app],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **FIXED},
        )
        self._answer()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process in an orderly way, so that callgrind writes its files."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()

    def run(self, path: str, times: int) -> float:
        """Have it answer requests; return the seconds of CPU that one took."""
        if self._process.stdin is None:
            raise RuntimeError("the worker takes no orders")
        print(f"/{path}", times, file=self._process.stdin, flush=True)
        return float(self._answer()) / times

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"{self._process.args} has ended")
        return line.strip()


def paths_of(app: str) -> list[str]:
    """Return the paths that are measured on an app, in order."""
    return [path for each, path in CASES if each == app]


def apps() -> list[str]:
    """Return the apps that are measured, each once."""
    return list(dict.fromkeys(app for app, _ in CASES))


def totals(parts: Iterable[str]) -> list[int]:
    """Return the total of each of callgrind's files, given as text in the order of their parts."""
    return [
        int(line.split()[1])
        for part in parts
        for line in part.splitlines()
        if line.startswith("totals:")
    ]


def measured(counts: Sequence[int]) -> list[int]:
    """Return every second one: what lies between the two marks of each order.

    The first part is the start, then each order has its own and what comes before the next one.
    """
    return list(counts[1::2])


def count(app: str, times: int) -> dict[tuple[str, str], float]:
    """Return the instructions of one request for each path of an app.

    Raises:
        RuntimeError: callgrind has not cut its counts where it was asked to.
    """
    paths = paths_of(app)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "--tool=callgrind", "--dump-before=getsid"]
        with Worker(app, [*command, f"--callgrind-out-file={out}"]) as worker:
            for path in paths:
                worker.run(path, times)
        files = [Path(f"{out}.{number}") for number in range(1, 2 * len(paths) + 1)]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise RuntimeError(f"callgrind did not cut at getsid: no {', '.join(missing)}")
        counts = measured(totals(file.read_text() for file in files))
    return {(app, path): each / times for path, each in zip(paths, counts, strict=True)}


def time_all(rounds: int, times: int) -> dict[tuple[str, str], float]:
    """Return the microseconds of CPU of one request: medians of interleaved rounds."""
    samples: dict[tuple[str, str], list[float]] = {case: [] for case in CASES}
    workers = {app: Worker(app) for app in apps()}
    try:
        for _ in range(rounds):
            for app, path in CASES:
                samples[app, path].append(workers[app].run(path, times) * 1e6)
    finally:
        for worker in workers.values():
            worker.__exit__()
    return {case: statistics.median(each) for case, each in samples.items()}


def lines(
    counted: Mapping[tuple[str, str], float], timed: Mapping[tuple[str, str], float]
) -> list[str]:
    """Return the table: absolute, what the session adds, and the ratio to bare Sanic."""
    head = f"{'app':14}{'route':11}{'instructions':>13}{'added':>9}{'x bare':>8}"
    result = [f"{head}{'CPU us':>9}{'added':>7}{'bare/it':>9}"]
    for case in CASES:
        row = f"{case[0]:14}{case[1]:11}"
        if counted:
            here, base = counted[case], counted[BASE]
            row += f"{here:13,.0f}{here - base:+9,.0f}{here / base:8.3f}"
        else:
            row += f"{'-':>13}{'-':>9}{'-':>8}"
        here, base = timed[case], timed[BASE]
        result.append(f"{row}{here:9.1f}{here - base:+7.1f}{base / here:9.3f}")
    return result


def main() -> None:
    """Measure, print, and write the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cpu", action="store_true", help="CPU time only, without valgrind")
    parser.add_argument("--json", type=Path, default=RESULTS / "instructions.json")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    counted: dict[tuple[str, str], float] = {}
    if not given.cpu and shutil.which("valgrind") is None:
        print("valgrind is not installed, so no instructions are counted", file=sys.stderr)
    elif not given.cpu:
        for app in apps():
            counted |= count(app, COUNTED)
    timed = time_all(given.rounds, TIMED)
    print(*lines(counted, timed), sep="\n")
    print(f"{COUNTED} requests counted, {given.rounds} x {TIMED} timed, {WARM_UP} before each")
    if counted:
        rows = [
            {"app": case[0], "route": case[1], "instructions": counted.get(case), "us": timed[case]}
            for case in CASES
        ]
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
