"""What all the apps have in common; needs nothing but the standard library.

Each has four routes. `/start` makes a session with `DATA`, `/untouched` has nothing to do with it,
`/read` answers its number, `/write` adds one to the number and answers it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

# About 200 bytes of JSON, as a shop or a site with logins has them.
DATA: dict[str, Any] = {
    "n": 0,
    "user": {"id": 4711, "name": "Ada Lovelace", "roles": ["editor", "reviewer"]},
    "cart": [{"item": "A-1001", "count": 2}, {"item": "B-2002", "count": 1}],
    "theme": "dark",
    "language": "en",
}
IDLE = 3600  # seconds; the same for all, so that nobody expires or renews during a run
KEY = "JnvN9GZf9gYItwZGJcNke2-EGwIrRjEn5-IqjSPeZKI="  # protects nothing


@dataclass(frozen=True)
class Arguments:
    """What the benchmark tells an app."""

    port: int
    store: str
    url: str
    preload: bool


def arguments() -> Arguments:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", default="")
    parser.add_argument("--url", default="")
    parser.add_argument("--preload", action="store_true")
    return Arguments(**vars(parser.parse_args()))
