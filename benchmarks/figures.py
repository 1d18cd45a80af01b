"""Medians and ratios, made from the samples of a run; no figure of a table is made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.systems import BY_KEY, System

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Route:
    """What a route of a system costs, beside the bare app of its framework.

    Attributes:
        rate: Requests a second.
        of_bare: The same, as a part of the bare app's in the same round.
        added_us: Microseconds of CPU a request above the bare app's in the same round.
        latency_us: Microseconds above the bare app's latency at one connection.
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
        of_many: The same, as a part of the system's rate over many sessions.
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
    """Return the figures of one route: medians of what each round gave."""
    samples = results["load"][key][path]
    bare = results["load"][BY_KEY[key].base]["untouched"]
    pairs = list(zip(samples, bare, strict=True))
    return Route(
        median(each["rate"] for each in samples),
        median(each["rate"] / base["rate"] for each, base in pairs),
        median(each["cpu_us"] - base["cpu_us"] for each, base in pairs),
        _added_latency(results, key, path),
        results["trips"].get(key, {}).get(path),
    )


def _added_latency(results: Results, key: str, path: str) -> float | None:
    here = results["latency_us"].get(key, {}).get(path)
    bare = results["latency_us"].get(BY_KEY[key].base, {}).get("untouched")
    if here is None or bare is None:
        return None
    return median(each - base for each, base in zip(here, bare, strict=True))


def hot(results: Results, key: str) -> Hot | None:
    """Return how a system does when all want one session; None if that was not measured."""
    samples = results["hot"].get(key)
    if not samples:
        return None
    many = [each["rate"] for each in results["load"][key]["write"]]
    return Hot(
        median(each["rate"] for each in samples),
        median(each["rate"] / rate for each, rate in zip(samples, many, strict=True)),
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


def spread(samples: Sequence[Mapping[str, float]]) -> float:
    """Return how far the rates of a route lie apart, as a part of their median."""
    rates = [each["rate"] for each in samples]
    return (max(rates) - min(rates)) / median(rates)


def worst_spread(results: Results) -> float:
    """Return the median over all routes of how far their rounds lie apart."""
    return median(
        spread(samples) for paths in results["load"].values() for samples in paths.values()
    )


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds."""
    return {name: median(each[name] for each in samples) for name in samples[0]}


def with_room(store: str, found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a store and what was found of it, and the same of one that has room for all pages."""
    yield store, found
    if "with_room" in found:
        yield f"{store}, all in shared_buffers", found["with_room"]
