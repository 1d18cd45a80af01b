"""The figures that this project wants to reach, and whether a run reaches them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.figures import Results, bare_us, hot, measured, medians, route, with_room

Formula = Callable[[Results, str], float]


@dataclass(frozen=True)
class Goal:
    """A figure to reach.

    Attributes:
        text: What it is, for the table.
        bound: The goal.
        at_least: Whether more is better; otherwise less is.
        needs: Keys of the systems that must have been measured; the first is the one that is
            judged.
        formula: Computes it from the results of a run, for one system.
        floor: Key of the system that does the least there is to do; "" for none.
    """

    text: str
    bound: float
    at_least: bool
    needs: tuple[str, ...]
    formula: Formula
    floor: str = ""

    def reached(self, value: float) -> bool:
        """Say whether a value is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


class Judged(NamedTuple):
    """A goal with what a run says to it.

    Attributes:
        goal: The goal.
        value: What was measured.
        floor: What the least reaches by the same formula; None where there is none.
    """

    goal: Goal
    value: float
    floor: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the value is good enough."""
        return self.goal.reached(self.value)

    @property
    def room(self) -> float | None:
        """How much of what is done beyond the floor the bound has place for; 1 is all of it.

        None where there is no floor; 0 where the floor itself misses the bound.
        """
        if self.floor is None:
            return None
        if not self.goal.reached(self.floor):
            return 0.0
        if self.reached:
            return 1.0
        ours, least, most = map(self._cost, (self.value, self.floor, self.goal.bound))
        return (most - least) / (ours - least)

    def _cost(self, value: float) -> float:
        """Return a figure that grows with what a request costs; of a rate that is its inverse."""
        return 1 / value if self.goal.at_least else value


def _of_bare(path: str) -> Formula:
    return lambda results, key: route(results, key, path).of_bare


def _cpu_ratio(path: str, other: str) -> Formula:
    return lambda results, key: (
        route(results, key, path).added_us / route(results, other, path).added_us
    )


def _cpu_of_best_peer(path: str, store: str) -> Formula:
    """Return the ratio to the peer that costs least, each above the bare app of its framework."""

    def value(results: Results, key: str) -> float:
        peers = [
            each.key for each in measured(results) if each.kind == "peer" and each.store == store
        ]
        least = min(route(results, peer, path).added_us for peer in peers)
        return route(results, key, path).added_us / least

    return value


def _latency_ratio(path: str, other: str) -> Formula:
    return lambda results, key: (
        (route(results, key, path).latency_us or 0) / (route(results, other, path).latency_us or 1)
    )


def _trips(path: str) -> Formula:
    return lambda results, key: route(results, key, path).trips or 0


def _hot(results: Results, key: str) -> float:
    found = hot(results, key)
    return found.of_many if found else 0.0


def _lost(results: Results, _: str) -> float:
    found = (hot(results, each.key) for each in measured(results) if each.kind == "ours")
    return max(each.lost for each in found if each)


MEMORY, REDIS, POSTGRES = ("ours-memory",), ("ours-redis",), ("ours-postgres",)
BY_HAND, PEERS = (*REDIS, "hand-redis"), (*REDIS, "sanic_session-redis")
IN_MEMORY, IN_REDIS, IN_POSTGRES = "floor-memory", "floor-redis", "floor-postgres"
GOALS = (
    *(
        Goal(
            f"untouched, cookie sent, {text}: of bare Sanic's rate",
            *(0.97, True, (key,), _of_bare("untouched")),
        )
        for key, text in (
            ("ours-memory", "memory"),
            ("ours-redis", "Redis"),
            ("ours-postgres", "Postgres"),
        )
    ),
    Goal("memory, read: of bare", 0.75, True, MEMORY, _of_bare("read"), IN_MEMORY),
    Goal("memory, locked write: of bare", 0.65, True, MEMORY, _of_bare("write"), IN_MEMORY),
    Goal("Redis, read: of bare", 0.60, True, REDIS, _of_bare("read"), IN_REDIS),
    Goal(
        "Redis, read: CPU of hand-written GET",
        *(0.4, False, BY_HAND, _cpu_ratio("read", "hand-redis"), IN_REDIS),
    ),
    Goal(
        "Redis, read: CPU of the cheapest peer",
        *(0.3, False, PEERS, _cpu_of_best_peer("read", "redis"), IN_REDIS),
    ),
    Goal("Redis, locked write: of bare", 0.53, True, REDIS, _of_bare("write"), IN_REDIS),
    Goal(
        "Redis, locked write: CPU of unlocked GET + SETEX",
        *(0.4, False, BY_HAND, _cpu_ratio("write", "hand-redis"), IN_REDIS),
    ),
    Goal(
        "Redis, locked write: CPU of the cheapest peer",
        *(0.25, False, PEERS, _cpu_of_best_peer("write", "redis"), IN_REDIS),
    ),
    Goal("Redis, locked write: round trips", 2, False, REDIS, _trips("write")),
    Goal(
        "Redis, locked write: latency added, of GET + SETEX",
        *(1.0, False, BY_HAND, _latency_ratio("write", "hand-redis"), IN_REDIS),
    ),
    Goal("Postgres, read: of bare", 0.60, True, POSTGRES, _of_bare("read"), IN_POSTGRES),
    Goal("Postgres, locked write: of bare", 0.43, True, POSTGRES, _of_bare("write"), IN_POSTGRES),
    *(
        Goal(
            f"cookie ({text}), {path}: CPU of hand-written Fernet",
            *(bound, False, (f"ours-{kind}", "hand-fernet")),
            *(_cpu_ratio(path, "hand-fernet"), floor),
        )
        for kind, text, bound, floor in (
            ("fernet", "Fernet", 0.7, "floor-fernet"),
            ("aes-gcm", "AES-GCM", 0.55, "floor-cookie"),
        )
        for path in ("read", "write")
    ),
    Goal("memory, one hot session: of the rate over many", 0.8, True, MEMORY, _hot),
    Goal("any store, one hot session: increments lost", 0.0, False, MEMORY, _lost),
)


# What the other measurements have to say: from the growth of the stores, and from a hot session.
LEAST_BYTES, LONGEST_SLICE = 700, 1.0
# The store, what it is, the goal, whether more is better, and the figure: of a system, beside what
# one reaches for otherwise.
Beside = Callable[[Mapping[str, float], Mapping[str, float]], float]
HOT: tuple[tuple[str, str, float, bool, Beside], ...] = (
    ("redis", "Redis: of redis-py's Lock", 4, True, lambda one, lock: one["rate"] / lock["rate"]),
    ("redis", "Redis: p99, ms", 15, False, lambda one, _: one["p99_ms"]),
    ("redis", "Redis: least share of the mean", 0.9, True, lambda one, _: one["least_share"]),
    (
        *("postgres", "Postgres: of pg_advisory_lock", 1.2, True),
        lambda one, lock: one["rate"] / lock["rate"],
    ),
    (
        *("postgres", "Postgres: p99, of pg_advisory_lock's", 1.0, False),
        lambda one, lock: one["p99_ms"] / lock["p99_ms"],
    ),
)


def of_growth(growth: Mapping[str, Any], run: Results) -> list[Judged]:
    """Return the goals of sessions that grow in number, each with its value.

    An operation of `InMemory` takes a microsecond, so what the processor's caches do to it is a
    multiple of that; it is judged as a part of the request that it belongs to.
    """
    found: list[Judged] = []
    every = [one for each in growth["stores"].items() for one in with_room(*each)]
    for store, grown in every:
        for path in ("read", "write"):
            by_size = {int(size): us for size, us in grown[path].items()}
            more, least = by_size[max(by_size)], by_size[min(by_size)]
            text, rest = f"{store}, {path}: at {max(by_size):,} sessions, of at 1,000", 0.0
            if store == "memory":
                text = f"memory, a request with a {path}: {text.partition(': ')[2]}"
                rest = _request_us(run, "ours-memory", path) - least
            found.append(Judged(_fixed(text, 1.1, False), (rest + more) / (rest + least)))
    memory = growth["stores"].get("memory")
    if memory is not None:
        for kind, each in memory["bytes"].items():
            text = f"memory, bytes of a session above its JSON, {kind}"
            found.append(Judged(_fixed(text, LEAST_BYTES, False), each))
        longest = max(each["longest_ms"] for each in memory["slices"].values())
        text = "memory, clean-up: longest slice, ms of CPU"
        found.append(Judged(_fixed(text, LONGEST_SLICE, False), longest))
    return found


def of_hot(contended: Mapping[str, Any]) -> list[Judged]:
    """Return the goals of one session that two processes want, each with its value."""
    every = {key: medians(samples) for key, samples in contended["hot"].items()}
    what = "two processes, one session"
    found: list[Judged] = []
    for store, text, bound, at_least, figure in HOT:
        lock, least = every[f"{store}-lock"], every.get(f"floor-{store}")
        found.append(
            Judged(
                _fixed(f"{what}, {text}", bound, at_least),
                figure(every[f"ours-{store}"], lock),
                None if least is None else figure(least, lock),
            )
        )
    lost = sum(every[key]["lost"] for key in ("ours-redis", "ours-postgres"))
    return [*found, Judged(_fixed(f"{what}: increments lost", 0, False), lost)]


def _fixed(text: str, bound: float, at_least: bool) -> Goal:
    return Goal(text, bound, at_least, (), lambda *_: math.nan)


def _request_us(run: Results, key: str, path: str) -> float:
    return bare_us(run, "sanic") + route(run, key, path).added_us


def applicable(results: Results) -> list[Judged]:
    """Return the goals that a run can say something about."""
    return [
        Judged(
            goal,
            goal.formula(results, goal.needs[0]),
            goal.formula(results, goal.floor) if goal.floor in results["load"] else None,
        )
        for goal in GOALS
        if all(key in results["load"] for key in goal.needs)
    ]
