"""Tables of a run: for the terminal, and in Markdown for README and docs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import Results, busiest, hot, measured, route, typical_doubt
from benchmarks.goals import Judged, applicable
from benchmarks.systems import System

PATHS = ("untouched", "read", "write")
HEAD = (
    "system",
    "x bare: untouched",
    "read",
    "write",
    "CPU us added: untouched",
    "read",
    "write",
    "ms added at 1 connection: read",
    "write",
    "round trips: read",
    "write",
    "one session, 32 at once: increments/s",
    "lost",
)
GOALS = ("Goal", "Bound", "Measured", "Floor", "Room", "Reached")
NONE = "-"


def rows(results: Results) -> list[list[str]]:
    """Return a row for each system, as HEAD says."""
    return [_row(results, system) for system in measured(results)]


def _row(results: Results, system: System) -> list[str]:
    routes = {path: route(results, system.key, path) for path in results["load"][system.key]}
    if system.kind == "bare":
        rate = f"{routes['untouched'].rate:,.0f}/s"
        return [system.label, rate, *[NONE] * (len(HEAD) - 2)]
    cells = [system.label]
    cells += [f"{routes[path].of_bare:.2f}" if path in routes else NONE for path in PATHS]
    cells += [f"{round(routes[path].added_us)}" if path in routes else NONE for path in PATHS]
    for path in PATHS[1:]:
        added = routes[path].latency_us if path in routes else None
        cells.append(NONE if added is None else f"{added / 1e3:.2f}")
    for path in PATHS[1:]:
        trips = routes[path].trips if path in routes else None
        cells.append(NONE if trips is None else f"{trips:.3g}")
    found = hot(results, system.key)
    cells += [f"{found.rate:,.0f}", f"{found.lost:.0%}"] if found else [NONE, NONE]
    return cells


def about(results: Results) -> str:
    """Return one sentence on where and how the figures were measured."""
    facts, plan = results["facts"], results["plan"]
    return (
        f"{facts['processor']}, {facts['cores']} cores, Python {facts['python']}; "
        f"{facts['pinning']}; {plan['connections']} connections, {plan['sessions']} sessions, "
        f"medians of {plan['rounds'] * plan['turns']} turns of {plan['seconds']:g} s; "
        f"{facts['date']}."
    )


def proof(results: Results) -> str:
    """Return what says that the servers were measured, not the load generator."""
    return (
        f"The load generator was busy {busiest(results, 'load'):.0%} of the time at most, the "
        f"servers up to {busiest(results, 'server'):.0%}; "
        f"a part of bare is known to within {typical_doubt(results):.1%} of itself (half of the "
        "interval at 95 %, median of all routes)."
    )


def goals(judged: Sequence[Judged]) -> list[list[str]]:
    """Return a row for each goal, as GOALS says."""
    return [
        [
            each.goal.text,
            f"{'>=' if each.goal.at_least else '<='} {each.goal.bound:g}",
            f"{each.value:.3g}",
            NONE if each.floor is None else f"{each.floor:.3g}",
            _room(each),
            "yes" if each.reached else "no",
        ]
        for each in judged
    ]


def _room(judged: Judged) -> str:
    """Say for a goal that is missed how much more than the floor there is place for."""
    room = judged.room
    if room is None or judged.reached:
        return NONE
    return f"{room:.0%}" if room else "none"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table for Markdown, figures to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table for the terminal, with the words of the head one below the other."""
    words = [cell.split() for cell in head[1:]]
    widths = [
        max(len(text) for text in (*column, *(row[at + 1] for row in body)))
        for at, column in enumerate(words)
    ]
    first = max(len(text) for text in (head[0], *(row[0] for row in body)))
    depth = max(map(len, words))
    titles = [
        ["" if line else head[0]]
        + [([""] * (depth - len(column)) + column)[line] for column in words]
        for line in range(depth)
    ]
    return "\n".join(
        "  ".join(
            [row[0].ljust(first), *(c.rjust(w) for c, w in zip(row[1:], widths, strict=True))]
        )
        for row in (*titles, *body)
    )


def terminal(results: Results) -> str:
    """Return all of a run, for the terminal."""
    return "\n\n".join(
        (
            plain(HEAD, rows(results)),
            plain(GOALS, goals(applicable(results))),
            f"{about(results)}\n{proof(results)}",
        )
    )
