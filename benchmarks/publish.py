"""Chart and tables in README and docs, made from the published measurements: `make bench-chart`.

    python -m benchmarks.publish [--latest]

With `--latest`, what was measured last becomes the published measurements first; of what the clock
says nothing, though, if the machine was too busy to tell. What stands between the markers is
written by nobody else, and a test compares it with the samples.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.capacity import STORES, Constants, Site, constants
from benchmarks.capacity import lines as capacity_lines
from benchmarks.chart import TITLE, svg
from benchmarks.figures import Results, hot, measured, route, typical_doubt
from benchmarks.goals import applicable, of_growth, of_hot
from benchmarks.growth import lines as growth_lines
from benchmarks.hot import lines as hot_lines
from benchmarks.parts import PATHS
from benchmarks.parts import rows as parts_rows
from benchmarks.rig import ROOT
from benchmarks.tables import GOALS, HEAD, about, goals, markdown, proof, rows

FOLDER = ROOT / "benchmarks" / "results"
# What is measured last, and what is published of it.
FILES = {name: f"published-{name}.json" for name in ("growth", "hot", "instructions", "parts")}
FILES["latest"] = "published.json"
# The same whatever else the machine does.
COUNTED = ("instructions", "parts")
# How well the routes of a run have to be known, as `typical_doubt` has it.
MOST_DOUBT = 0.05
CHART = ROOT / "docs" / "pictures" / "benchmark.svg"
PAGES = {
    "README.md": "docs/pictures/benchmark.svg",
    "docs/performance.md": "pictures/benchmark.svg",
    "docs/scaling.md": "pictures/benchmark.svg",
}
EXAMPLE = Site(sessions=1_000_000, rate=2_000.0)
BEGIN = "<!-- {}: made by `make bench-chart`, do not edit -->"
END = "<!-- end of {} -->"
SHORT = ("", "x bare: read", "write", "CPU us added: read", "write", "updates lost")


def load(name: str) -> dict[str, Any] | None:
    """Return published measurements; None if there are none of this kind."""
    path = FOLDER / FILES[name]
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def published(picture: str) -> dict[str, str]:
    """Return what stands between the markers of each name, on a page that shows `picture`."""
    run, growth, contended, counts, steps = (
        load(each) for each in ("latest", "growth", "hot", "instructions", "parts")
    )
    parts = {} if run is None else blocks(run, picture)
    if growth is not None:
        parts["growth"] = _fenced(growth_lines(growth))
    if contended is not None:
        parts["hot"] = _fenced(hot_lines(contended))
    if counts is not None:
        parts["instructions"] = _instructions(counts["cases"])
    if steps is not None:
        head = [f"steps of Python {steps['python']}, in memory", *PATHS]
        parts["parts"] = markdown(head, parts_rows(steps))
    if run is not None and growth is not None and contended is not None:
        judged = [*applicable(run), *of_growth(growth, run), *of_hot(contended)]
        parts["goals"] = markdown(GOALS, goals(judged))
        known = [
            each for each in STORES if f"ours-{each}" in run["load"] and each in growth["stores"]
        ]
        per = {store: constants(run, growth, contended, store) for store in known}
        parts["capacity"] = _fenced(
            [line for store in known for line in capacity_lines(EXAMPLE, per[store], store)[:-1]]
        )
        parts["constants"] = _constants(per)
    return parts


def blocks(results: Results, picture: str) -> dict[str, str]:
    """Return what stands between the markers of each name, on a page that shows `picture`."""
    return {
        "chart": f"![{TITLE}; the tables have the figures]({picture})",
        "summary": f"{markdown(SHORT, summary(results))}\n\n{about(results)}",
        "results": f"{markdown(HEAD, rows(results))}\n\n{about(results)} {proof(results)}",
        "goals": markdown(GOALS, goals(applicable(results))),
        "versions": _versions(results),
    }


def summary(results: Results) -> list[list[str]]:
    """Return the rows of the short table: who has both a read and a write."""
    body = []
    for system in measured(results):
        if not {"read", "write"} <= set(results["load"][system.key]):
            continue
        routes = [route(results, system.key, path) for path in ("read", "write")]
        found = hot(results, system.key)
        name = f"**{system.label}**" if system.kind == "ours" else system.label
        body.append(
            [
                name,
                *(f"{each.of_bare:.2f}" for each in routes),
                *(f"{round(each.added_us)}" for each in routes),
                f"{found.lost:.0%}" if found else "-",
            ]
        )
    return body


def _versions(results: Results) -> str:
    shown = ("sanic", "sanic-session", "starlette", "starsessions", "litestar", "uvicorn")
    shown += ("aiohttp", "aiohttp-session", "uvloop", "httptools", "redis", "hiredis", "asyncpg")
    shown += ("cryptography", "msgspec")
    known: dict[str, str] = {}
    for versions in results["facts"]["versions"].values():
        known |= versions
    return ", ".join(f"{name} {known[name]}" for name in shown if name in known) + "."


def _fenced(text: list[str]) -> str:
    return "\n".join(["```text", *text, "```"])


def _constants(per: Mapping[str, Constants]) -> str:
    named = {
        "read_us": "us of the app's CPU that a read adds",
        "write_us": "us of the app's CPU that a locked write adds",
        "store_read_us": "us of the store's CPU, a read, at most",
        "store_write_us": "us of the store's CPU, a locked write, at most",
        "anonymous": "bytes of a session of nobody",
        "logged_in": "bytes of a session of a user",
        "wal": "bytes in the write-ahead log, a locked write",
        "hot": "locked writes a second to one session",
    }
    body = [
        [
            text,
            *(
                f"{getattr(each, name):,.0f}" if getattr(each, name) else "-"
                for each in per.values()
            ),
        ]
        for name, text in named.items()
    ]
    return markdown(["", *per], body)


def _instructions(cases: list[dict[str, Any]]) -> str:
    base = cases[0]["instructions"]
    body = [
        [
            each["app"],
            each["route"],
            f"{each['instructions']:,.0f}",
            f"{each['instructions'] - base:+,.0f}",
            f"{each['instructions'] / base:.3f}",
        ]
        for each in cases
    ]
    return markdown(["app, in memory", "route", "instructions", "added", "x bare"], body)


def filled(page: str, parts: dict[str, str]) -> str:
    """Return a page with everything between its markers made anew."""
    for name, text in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _, new=f"{begin}\n{text}\n{end}": new, page)
    return page


def take_over(folder: Path) -> str | None:
    """Make what was measured last the published measurements.

    Counts are taken over in any case; times only of a machine that was quiet enough. How quiet is
    judged by the run itself, and never by what it gives.

    Args:
        folder: Where the measurements are.

    Returns:
        Why the times stay those of before; None if they do not.
    """
    latest = folder / "latest.json"
    refused = _refused(json.loads(latest.read_text())) if latest.exists() else None
    for name, target in FILES.items():
        if (refused is None or name in COUNTED) and (folder / f"{name}.json").exists():
            shutil.copyfile(folder / f"{name}.json", folder / target)
    return refused


def _refused(run: Results) -> str | None:
    """Return why the times of a run are not published."""
    if run["dropped"]:
        return f"{', '.join(run['dropped'])} was left out, so others look better than they are"
    if (doubt := typical_doubt(run)) > MOST_DOUBT:
        return (
            f"what a route is of bare is known to within {doubt:.1%} of itself only, "
            f"and nothing above {MOST_DOUBT:.0%} is published"
        )
    return None


def main() -> None:
    """Write chart and pages."""
    parser = argparse.ArgumentParser(description="Write chart and tables of what is published.")
    parser.add_argument("--latest", action="store_true", help="publish what was measured last")
    given = parser.parse_args()
    refused = take_over(FOLDER) if given.latest else None
    results = load("latest")
    if results is None:
        parser.error("no run is published yet: make bench, then --latest")
    CHART.write_text(svg(results))
    for name, picture in PAGES.items():
        page = ROOT / name
        page.write_text(filled(page.read_text(), published(picture)))
    print(f"written: {CHART.relative_to(ROOT)}, {', '.join(PAGES)}")
    if refused is not None:
        sys.exit(f"the times stay those of before: {refused}; measure again")


if __name__ == "__main__":
    main()
