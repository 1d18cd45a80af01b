"""The session of one request, in storeys of one idea each.

From the ground up: `state` (what is remembered), `mapping` (a dict), `lifetime` (of how long),
`reader` (knows what is stored), `locker` (keeps others out), `planner` (decides), `writer` (carries
it out), `ending` (ends it), `block` (enter, body, exit). Beside them `changes`, what was done
without the lock; `lease`, what the store gives to who is inside; `plan`, the table of what a block
does to the record; and `telling`, for those who want to know of each read.
"""

from __future__ import annotations

from .block import SessionDict

__all__ = ["SessionDict"]
