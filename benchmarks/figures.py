"""Medians and ratios, made from the samples of a run; no figure of a table is made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import comb
from statistics import median
from typing import Any

from benchmarks.systems import BY_KEY, System

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Route:
    """What a route of a system costs, beside the bare app of its framework.

    Attributes:
        rate: Requests a second.
        of_bare: The same, as a part of the bare app's in the same turn.
        added_us: Microseconds of CPU a request above the bare app's.
        latency_us: Microseconds above the bare app's latency at one connection, in the same turn.
        trips: Round trips to the store a request; None where there is none to count.
    """

    rate: float
    of_bare: float
    added_us: float
    latency_us: float | None
    trips: float | None


@dataclass(frozen=True)
class Hot:
    """All connections increment one session.

    Attributes:
        rate: Increments answered a second.
        of_many: The same, as a part of the system's rate over many sessions in the same round.
        lost: The part of the increments that is not in the session afterwards.
        p99_ms: What 99 of 100 requests took at most.
    """

    rate: float
    of_many: float
    lost: float
    p99_ms: float


def measured(results: Results) -> list[System]:
    """Return the systems of a run, in the order of tables."""
    return [system for key, system in BY_KEY.items() if key in results["load"]]


def route(results: Results, key: str, path: str) -> Route:
    """Return the figures of one route: medians of what each turn gave.

    CPU is compared as a part of the bare app's as well. In a turn that something else slows down,
    both take longer by the same part, so a difference would tell of that as much as of the route.
    """
    samples = results["load"][key][path]
    beyond_bare = median(
        (each["cpu_us"] - each["bare_cpu_us"]) / each["bare_cpu_us"] for each in samples
    )
    alone = results["latency_us"].get(key, {}).get(path)
    return Route(
        median(each["rate"] for each in samples),
        median(map(_of_bare, samples)),
        beyond_bare * bare_us(results, BY_KEY[key].base),
        median(each["us"] - each["bare_us"] for each in alone) if alone else None,
        results["trips"].get(key, {}).get(path),
    )


def _of_bare(sample: Mapping[str, float]) -> float:
    return sample["rate"] / sample["bare_rate"]


def bare_us(results: Results, base: str) -> float:
    """Return the microseconds of CPU that a request to a bare app takes, in all of its turns."""
    return median(
        sample["bare_cpu_us"]
        for key, paths in results["load"].items()
        if BY_KEY[key].base == base
        for samples in paths.values()
        for sample in samples
    )


def hot(results: Results, key: str) -> Hot | None:
    """Return how a system does when all want one session; None if that was not measured."""
    samples = results["hot"].get(key)
    if not samples:
        return None
    return Hot(
        median(each["rate"] for each in samples),
        median(each["rate"] / each["many"] for each in samples),
        lost(sum(each["answered"] for each in samples), sum(each["kept"] for each in samples)),
        median(each["p99_ms"] for each in samples),
    )


def lost(answered: int, kept: int) -> float:
    """Return the part of the increments that were answered and are not there."""
    return 1 - kept / answered


def busiest(results: Results, who: str) -> float:
    """Return the most that "server" or "load" was busy in any sample, as a part of a core."""
    return max(
        sample[f"{who}_busy"]
        for paths in results["load"].values()
        for samples in paths.values()
        for sample in samples
    )


def doubt(values: Sequence[float]) -> float:
    """Return how far the true median may lie from that of a sample, as a part of it.

    Half of the interval in which it lies at 95 %, whatever the distribution is: between two of the
    sample, as many from either end as a coin that is tossed for each allows. Fewer than six tell
    less: then it is half of all there is between the least and the most.
    """
    ordered, count = sorted(values), len(values)
    tails = accumulate(comb(count, heads) / 2**count for heads in range(count))
    left_out = max(0, sum(tail <= 0.025 for tail in tails) - 1)
    return (ordered[-1 - left_out] - ordered[left_out]) / 2 / median(ordered)


def typical_doubt(results: Results) -> float:
    """Return how well ratios to the bare app are known: the median of all routes' doubts."""
    return median(
        doubt(list(map(_of_bare, samples)))
        for key, paths in results["load"].items()
        if BY_KEY[key].kind != "bare"
        for samples in paths.values()
    )


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds."""
    return {name: median(each[name] for each in samples) for name in samples[0]}


def with_room(store: str, found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a store and what was found of it, and the same of one that has room for all pages."""
    yield store, found
    if "with_room" in found:
        yield f"{store}, all in shared_buffers", found["with_room"]
