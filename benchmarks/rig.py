"""The machine: who works on which core, how much CPU a process has spent, and what all this is."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


class Cores:
    """The measured servers have one core, load generator and stores another."""

    def __init__(self) -> None:
        """Choose; on one core, or where the system cannot pin, all is left as it is."""
        able = hasattr(os, "sched_setaffinity")
        cores = sorted(os.sched_getaffinity(0)) if able else []
        self.note = "" if len(cores) > 1 else "NOT pinned: one core, or no sched_setaffinity here"
        self.server = {cores[0]} if len(cores) > 1 else set()
        self.load = {cores[1]} if len(cores) > 1 else set()
        if len(cores) > 1:
            self.note = f"servers on core {cores[0]}, load generator and stores on core {cores[1]}"

    def take_load(self) -> None:
        """Move this process, and what it starts from now on, to the core of the load."""
        if self.load:
            os.sched_setaffinity(0, self.load)

    def give_server(self, pid: int) -> None:
        """Move a process that has just been started to the core of the servers."""
        if self.server:
            os.sched_setaffinity(pid, self.server)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have spent."""
    try:
        # What clock_getcpuclockid() returns on Linux, to the nanosecond; /proc counts in 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)


def facts(note: str) -> dict[str, Any]:
    """Return what is needed to read the figures later: machine, system, commit, load."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "commit": _commit(),
        "pinning": note,
        # Others at work when it began: on a machine of our own it is near nothing.
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    found = [line.partition(": ")[2] for line in names if line.startswith("model name")]
    return found[0].strip() if found else platform.processor() or platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip()
