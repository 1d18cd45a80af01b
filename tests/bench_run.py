"""A run of the benchmark that never was: figures by which its arithmetic is checked."""

from __future__ import annotations

from typing import Any


def samples(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """Return samples of so many requests a second and microseconds of CPU a request."""
    return [
        {"rate": rate, "cpu_us": cpu, "server_busy": 0.99, "load_busy": 0.25} for rate, cpu in pairs
    ]


def a_run() -> dict[str, Any]:
    """Return three rounds of bare Sanic, us and two others; the machine slows down meanwhile."""
    bare = samples((10_000, 100.0), (8_000, 125.0), (5_000, 200.0))
    return {
        "facts": {
            "date": "2026-11-27 20:00 UTC",
            "processor": "A processor <of old>",
            "cores": 2,
            "python": "3.11.7",
            "pinning": "servers on core 0, load generator and stores on core 1",
            "versions": {"sanic": {"sanic": "25.12.1", "redis": "8.1.0"}},
        },
        "plan": {"rounds": 3, "seconds": 1.0, "connections": 32, "sessions": 256},
        "load": {
            "sanic": {"untouched": bare},
            "ours-redis": {
                "untouched": samples((9_900, 101.0), (7_920, 126.0), (4_950, 202.0)),
                "read": samples((6_000, 140.0), (4_800, 165.0), (3_000, 240.0)),
                "write": samples((5_000, 150.0), (4_400, 175.0), (2_500, 260.0)),
            },
            "hand-redis": {
                "read": samples((4_000, 200.0), (3_200, 225.0), (2_000, 300.0)),
                "write": samples((3_000, 250.0), (2_400, 275.0), (1_500, 350.0)),
            },
            "sanic_session-redis": {
                "read": samples((2_000, 300.0), (1_600, 325.0), (1_000, 400.0)),
                "write": samples((2_000, 350.0), (1_600, 375.0), (1_000, 450.0)),
            },
        },
        "latency_us": {
            "sanic": {"untouched": [100.0, 110.0, 130.0]},
            "ours-redis": {"read": [200.0, 220.0, 230.0], "write": [300.0, 310.0, 350.0]},
            "hand-redis": {"write": [400.0, 410.0, 430.0]},
        },
        "hot": {
            "ours-redis": [
                {"rate": 4_000.0, "p99_ms": 12.0, "answered": 4_100, "kept": 4_100},
                {"rate": 3_300.0, "p99_ms": 13.0, "answered": 3_400, "kept": 3_400},
                {"rate": 2_000.0, "p99_ms": 20.0, "answered": 2_100, "kept": 2_100},
            ],
            "sanic_session-redis": [
                {"rate": 2_000.0, "p99_ms": 12.0, "answered": 1_000, "kept": 100},
                {"rate": 1_600.0, "p99_ms": 12.0, "answered": 1_000, "kept": 50},
                {"rate": 1_000.0, "p99_ms": 12.0, "answered": 1_000, "kept": 0},
            ],
        },
        "trips": {"ours-redis": {"untouched": 0.0, "read": 1.0, "write": 2.0}},
        "dropped": {},
    }
