"""What became of the mutants: the score of each module, and survivors that nobody has argued.

    make mutation

mutmut changes the modules that decide who gets into a session, one small change at a time, and runs
their unit tests. A change that no test notices is a survivor. Each one is either killed by a new
test or argued in `accepted.toml`, by the line it changes; anything else fails this report.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

ACCEPTED = Path(__file__).parent / "accepted.toml"
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}
GOAL = 0.9


def mutmut(*arguments: str) -> str:
    """Return what mutmut prints."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def outcomes() -> dict[str, str]:
    """Return the outcome of each mutant, by its name."""
    lines = [line.strip() for line in mutmut("results", "--all", "true").splitlines()]
    pairs = [line.rpartition(": ") for line in lines if ": " in line]
    return {name: outcome for name, _, outcome in pairs}


def change(mutant: str) -> tuple[str, str]:
    """Return the line that a mutant changes, and what it makes of it."""
    lines = [line for line in mutmut("show", mutant).splitlines() if line[:3] not in ("---", "+++")]
    before = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    after = " ".join(line[1:].strip() for line in lines if line.startswith("+"))
    return before, after


def main() -> int:
    """Print the table and the survivors; return 1 if something is missing."""
    accepted = tomllib.loads(ACCEPTED.read_text("utf-8"))["mutant"]
    argued = {(entry["before"], entry["after"]) for entry in accepted}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    unargued, seen = [], set()
    for mutant, outcome in outcomes().items():
        module = mutant.split(".")[1]
        if outcome in NOTICED:
            counts[module]["killed"] += 1
            continue
        found = change(mutant)
        if found in argued:
            counts[module]["argued"] += 1
            seen.add(found)
        else:
            counts[module]["survived"] += 1
            unargued.append((mutant, outcome, *found))
    print(f"{'module':10} {'mutants':>8} {'killed':>8} {'argued':>8} {'survived':>8}   score")
    low = False
    for module, count in sorted(counts.items()):
        share = count["killed"] / count.total()
        low |= share < GOAL
        print(
            f"{module:10} {count.total():8} {count['killed']:8} {count['argued']:8} "
            f"{count['survived']:8}   {share:.1%}"
        )
    for mutant, outcome, before, after in unargued:
        print(f"\n{mutant} ({outcome})\n  - {before}\n  + {after}")
    for before, after in argued - seen:
        print(f"\nargued, but no such survivor any more:\n  - {before}\n  + {after}")
    return int(low or bool(unargued) or not counts)


if __name__ == "__main__":
    sys.exit(main())
