"""Sessions that tell of each time they are read.

A class of its own, for sessions of which somebody wants to know: reading is what most requests do,
so where nobody listens it is not even asked whether somebody does.
"""

from __future__ import annotations

from ..record import Record
from .block import SessionDict
from .reader import SessionReader
from .state import LIVE


class _Telling(SessionReader):
    """Stands before the class that handlers get."""

    __slots__ = ()

    def _judge(self, record: Record | None) -> None:
        super()._judge(record)
        if self._status is LIVE and record is not None:
            self._runtime.emit("loaded", sid=record.sid, user_key=record.user_key)


def telling(plain: type[SessionDict]) -> type[SessionDict]:
    """Return a subclass of `plain` whose sessions tell when they are read."""
    return type(plain.__name__, (_Telling, plain), {"__slots__": ()})
