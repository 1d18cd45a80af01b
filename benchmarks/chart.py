"""An SVG of what sessions cost, drawn from the samples of a run; readable by light and by dark.

Hand-made, since it is forty rectangles: what a plotting library adds is a dependency, fonts drawn
as paths, and colours that do not follow the reader's.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from benchmarks.figures import Results, hot, measured, route
from benchmarks.systems import System

WIDTH, LEFT, RIGHT, TOP = 840, 236, 116, 92
ROW, BAR, GAP, SECTION = 36, 13, 2, 34
SCALE_STEPS = (5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)
SECTIONS = {
    "memory": "In memory",
    "redis": "Redis",
    "postgres": "Postgres",
    "fernet": "In the cookie",
    "aes-gcm": "In the cookie",
}
PATHS = {"read": "read", "write": "write"}
TITLE = "What a session adds to a request: microseconds of CPU above the bare framework"
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328; }
.title { font-size: 16px; font-weight: 600; }
.section { font-weight: 600; }
.quiet { fill: #59636e; font-size: 12px; }
.ours-label { font-weight: 600; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.ours.read { fill: #6cb2f7; } .ours.write { fill: #0969da; }
.hand.read { fill: #f0c27b; } .hand.write { fill: #bc6f09; }
.peer.read { fill: #c4ccd4; } .peer.write { fill: #818b98; }
.lost { fill: #cf222e; } .kept { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .quiet { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .ours.read { fill: #1f5fa8; } .ours.write { fill: #4493f8; }
  .hand.read { fill: #7d5410; } .hand.write { fill: #e3a33c; }
  .peer.read { fill: #4a525c; } .peer.write { fill: #9198a1; }
  .lost { fill: #f85149; } .kept { fill: #3fb950; }
}
"""


@dataclass(frozen=True)
class Line:
    """A system of the chart: microseconds on each route, and what it loses (None: not asked)."""

    label: str
    kind: str
    section: str
    added: dict[str, float]
    lost: float | None


def lines(results: Results) -> list[Line]:
    """Return what the chart shows, by store, the cheapest write of each first."""
    used = [
        each
        for each in measured(results)
        if each.kind != "floor" and set(PATHS) <= set(results["load"][each.key])
    ]
    found = [_line(results, each) for each in used]
    order = list(dict.fromkeys(SECTIONS.values()))
    return sorted(found, key=lambda line: (order.index(line.section), line.added["write"]))


def _line(results: Results, system: System) -> Line:
    added = {path: max(0.0, route(results, system.key, path).added_us) for path in PATHS}
    section, found = SECTIONS[system.store], hot(results, system.key)
    label = system.label if system.kind == "hand" else system.label.partition(",")[0]
    if system.kind == "ours" and section == "In the cookie":
        label = f"{label}, {system.label.partition('(')[2].rstrip(')')}"
    return Line(label, system.kind, section, added, found.lost if found else None)


def axis(most: float) -> list[int]:
    """Return the marks of the scale: from 0, in round steps, up to the first beyond the most."""
    step = next((step for step in SCALE_STEPS if most / step <= 6), 2000)
    return list(range(0, int(most) + step + 1, step))


def svg(results: Results) -> str:
    """Return the chart."""
    shown = lines(results)
    marks = axis(max(value for line in shown for value in line.added.values()))
    scale = (WIDTH - LEFT - RIGHT) / marks[-1]
    body, y, section = [], TOP, ""
    for line in shown:
        if line.section != section:
            section = line.section
            body.append(f'<text class="section" x="16" y="{y + 22}">{escape(section)}</text>')
            y += SECTION
        body += _row(line, y, scale)
        y += ROW
    return "\n".join([*_head(shown, y + 34), *_grid(marks, scale, y), *body, "</svg>", ""])


def _head(shown: list[Line], height: int) -> list[str]:
    legend = (("ours", "sanic_cookies (locks)"), ("hand", "by hand"), ("peer", "other libraries"))
    parts, x = [], 16
    for kind, text in legend:
        for path in PATHS:
            parts.append(f'<rect class="{kind} {path}" x="{x}" y="42" width="13" height="13"/>')
            x += 15
        parts.append(f'<text x="{x + 4}" y="53">{text}</text>')
        x += 28 + 8 * len(text)
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="chart-title chart-text">',
        f'<title id="chart-title">{escape(TITLE)}</title>',
        f'<desc id="chart-text">{escape(description(shown))}</desc>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="16" y="26">{escape(TITLE)}</text>',
        *parts,
        f'<text class="quiet" x="{x}" y="53">upper bar: read, lower bar: write</text>',
        f'<text class="quiet" x="{WIDTH - 16}" y="{TOP - 12}" text-anchor="end">'
        "updates lost</text>",
    ]


def description(shown: list[Line]) -> str:
    """Return the chart in words, for those who cannot see it."""
    told = []
    for line in shown:
        text = f"{line.section}, {line.label}: read {line.added['read']:.0f}"
        text += f", write {line.added['write']:.0f}"
        if line.lost is not None:
            text += f", loses {line.lost:.0%} of concurrent updates"
        told.append(text)
    return ". ".join(told) + "."


def _grid(marks: list[int], scale: float, bottom: int) -> list[str]:
    parts = []
    for mark in marks:
        x = f"{LEFT + mark * scale:.1f}"
        parts.append(f'<line class="grid" x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{x}" y="{bottom + 18}" text-anchor="middle">{mark}</text>'
        )
    return parts


def _row(line: Line, y: int, scale: float) -> list[str]:
    label = "ours-label" if line.kind == "ours" else "label"
    parts = [
        f'<text class="{label}" x="{LEFT - 12}" y="{y + BAR + 5}" text-anchor="end">'
        f"{escape(line.label)}</text>"
    ]
    for number, path in enumerate(PATHS):
        top, value = y + number * (BAR + GAP), line.added[path]
        width = value * scale
        parts.append(
            f'<rect class="{line.kind} {path}" x="{LEFT}" y="{top}" width="{width:.1f}" '
            f'height="{BAR}" rx="2"/>'
        )
        parts.append(
            f'<text class="quiet" x="{LEFT + width + 5:.1f}" y="{top + 11}">{value:.0f}</text>'
        )
    if line.lost is not None:
        kind = "lost" if line.lost > 0 else "kept"
        parts.append(
            f'<text class="{kind}" x="{WIDTH - 16}" y="{y + BAR + 5}" text-anchor="end">'
            f"{line.lost:.0%}</text>"
        )
    return parts
