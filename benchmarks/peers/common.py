"""What all the apps have in common; needs nothing but the standard library.

Each has four routes. `/start` makes a session with `DATA`, `/untouched` has nothing to do with it,
`/read` answers its number, `/write` adds one to the number and answers it.
"""

from __future__ import annotations

import sys
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
POOL = 32  # connections of a pool, for those that have one: as many as there are clients


def arguments() -> tuple[int, str, str, list[str]]:
    """Return port, kind of store, its url, and flags, as the benchmark passes them."""
    port, store, url, *flags = sys.argv[1:]
    return int(port), store, url, flags
