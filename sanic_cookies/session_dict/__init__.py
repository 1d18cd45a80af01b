"""The session of one request, in storeys of one idea each.

From the ground up: `mapping` (a dict), `reader` (knows what is stored), `locker` (keeps others
out), `writer` (decides and writes), `block` (enter, body, exit). Beside them `changes`, what was
done without the lock, and `plan`, the table of what a block does to the record.
"""

from __future__ import annotations

from .block import SessionDict

__all__ = ["SessionDict"]
