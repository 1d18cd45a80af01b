"""A run of the benchmark that never was: figures by which its arithmetic is checked."""

from __future__ import annotations

from typing import Any

# The bare app, in three turns: requests a second and microseconds of CPU a request.
BARE = ((10_000, 100.0), (8_000, 125.0), (5_000, 200.0))


def samples(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """Return three turns of a system, by requests a second and microseconds of CPU a request."""
    return [
        {
            "rate": rate,
            "bare_rate": bare_rate,
            "cpu_us": cpu,
            "bare_cpu_us": bare_cpu,
            "server_busy": 0.99,
            "load_busy": 0.25,
        }
        for (rate, cpu), (bare_rate, bare_cpu) in zip(pairs, BARE, strict=True)
    ]


def latencies(*own: float) -> list[dict[str, float]]:
    """Return three turns over one connection, by microseconds."""
    return [
        {"us": us, "bare_us": bare} for us, bare in zip(own, (100.0, 110.0, 130.0), strict=True)
    ]


def a_run() -> dict[str, Any]:
    """Return three turns of bare Sanic, us and two others; the machine slows down meanwhile."""
    return {
        "facts": {
            "date": "2026-11-27 20:00 UTC",
            "processor": "A processor <of old>",
            "cores": 2,
            "python": "3.11.7",
            "pinning": "servers on core 0, load generator and stores on core 1",
            "versions": {"sanic": {"sanic": "25.12.1", "redis": "8.1.0"}},
        },
        "plan": {"rounds": 3, "turns": 1, "seconds": 1.0, "connections": 32, "sessions": 256},
        "load": {
            "sanic": {"untouched": samples(*BARE)},
            "ours-redis": {
                "untouched": samples((9_900, 100.8), (7_920, 126.0), (4_950, 201.6)),
                "read": samples((6_000, 132.0), (4_800, 165.0), (3_000, 264.0)),
                "write": samples((5_000, 140.0), (4_400, 175.0), (2_500, 280.0)),
            },
            "hand-redis": {
                "read": samples((4_000, 180.0), (3_200, 225.0), (2_000, 360.0)),
                "write": samples((3_000, 220.0), (2_400, 275.0), (1_500, 440.0)),
            },
            "sanic_session-redis": {
                "read": samples((2_000, 260.0), (1_600, 325.0), (1_000, 520.0)),
                "write": samples((2_000, 300.0), (1_600, 375.0), (1_000, 600.0)),
            },
        },
        "latency_us": {
            "ours-redis": {
                "read": latencies(200.0, 220.0, 230.0),
                "write": latencies(300.0, 310.0, 350.0),
            },
            "hand-redis": {"write": latencies(400.0, 410.0, 430.0)},
        },
        "hot": {
            "ours-redis": [
                {
                    "rate": 4_000.0,
                    "many": 5_000.0,
                    "p99_ms": 12.0,
                    "answered": 4_100,
                    "kept": 4_100,
                },
                {
                    "rate": 3_300.0,
                    "many": 4_400.0,
                    "p99_ms": 13.0,
                    "answered": 3_400,
                    "kept": 3_400,
                },
                {
                    "rate": 2_000.0,
                    "many": 2_500.0,
                    "p99_ms": 20.0,
                    "answered": 2_100,
                    "kept": 2_100,
                },
            ],
            "sanic_session-redis": [
                {"rate": 2_000.0, "many": 2_000.0, "p99_ms": 12.0, "answered": 1_000, "kept": 100},
                {"rate": 1_600.0, "many": 1_600.0, "p99_ms": 12.0, "answered": 1_000, "kept": 50},
                {"rate": 1_000.0, "many": 1_000.0, "p99_ms": 12.0, "answered": 1_000, "kept": 0},
            ],
        },
        "trips": {"ours-redis": {"untouched": 0.0, "read": 1.0, "write": 2.0}},
        "dropped": {},
    }
