"""Chart and tables in README and docs, made from the published run: `make bench-chart`.

    python -m benchmarks.publish [--from FILE]

With `--from`, that run becomes the published one first. What stands between the markers is written
by nobody else, and a test compares it with the samples.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

from benchmarks.chart import TITLE, description, lines, svg
from benchmarks.figures import Results, hot, measured, route
from benchmarks.rig import ROOT
from benchmarks.tables import HEAD, about, goals, markdown, proof, rows

PUBLISHED = ROOT / "benchmarks" / "results" / "published.json"
CHART = ROOT / "docs" / "pictures" / "benchmark.svg"
PAGES = {
    "README.md": "docs/pictures/benchmark.svg",
    "docs/performance.md": "pictures/benchmark.svg",
}
BEGIN = "<!-- {}: made by `make bench-chart`, do not edit -->"
END = "<!-- end of {} -->"
SHORT = ("", "x bare: read", "write", "CPU us added: read", "write", "updates lost")


def load(path: Path = PUBLISHED) -> Results:
    """Return the samples of a run."""
    results: Results = json.loads(path.read_text())
    return results


def blocks(results: Results, picture: str) -> dict[str, str]:
    """Return what stands between the markers of each name, on a page that shows `picture`."""
    return {
        "chart": f"![{TITLE}. {description(lines(results))}]({picture})",
        "summary": f"{markdown(SHORT, summary(results))}\n\n{about(results)}",
        "results": f"{markdown(HEAD, rows(results))}\n\n{about(results)} {proof(results)}",
        "goals": markdown(("Goal", "Bound", "Measured", "Reached"), goals(results)),
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
                *(f"{each.added_us:.0f}" for each in routes),
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


def filled(page: str, parts: dict[str, str]) -> str:
    """Return a page with everything between its markers made anew."""
    for name, text in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _, new=f"{begin}\n{text}\n{end}": new, page)
    return page


def main() -> None:
    """Write chart and pages."""
    parser = argparse.ArgumentParser(description="Write chart and tables of the published run.")
    parser.add_argument("--from", dest="source", type=Path, help="publish this run first")
    given = parser.parse_args()
    if given.source:
        shutil.copyfile(given.source, PUBLISHED)
    results = load()
    CHART.write_text(svg(results))
    for name, picture in PAGES.items():
        page = ROOT / name
        page.write_text(filled(page.read_text(), blocks(results, picture)))
    print(f"written: {CHART.relative_to(ROOT)}, {', '.join(PAGES)}")


if __name__ == "__main__":
    main()
