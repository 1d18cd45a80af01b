"""Records as values of cookies, and those that were opened or sent of late.

A browser sends the same cookie with each request until it gets another one, and that one it sends
at once. So what is in it is kept for a while: it is opened once rather than each time, and by the
process that has sealed it not at all. That decides nothing: expiry, clocks and revocations are
judged with every request. Nor does it give anything away, for in the same memory
are the keys, which open all cookies and not only some.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ...record import Record
from .seals import Ring

# In all 7 MiB where each session fills its cookie, 1 MiB where it has some 200 bytes.
MOST_KNOWN: Final = 1024

# A record is a list in the order of its fields, half the size of a mapping: MessagePack's array.
_decode = msgspec.msgpack.Decoder(Record).decode
_encode = msgspec.msgpack.Encoder().encode
# Its first byte says how many there are; nothing is to be left out, whatever has a default.
_WHOLE: Final = bytes([0x90 + len(Record.__struct_fields__)])


class SealedRecords:
    """The records of one session in one cookie."""

    def __init__(self, ring: Ring) -> None:
        """Open and seal with `ring`."""
        self._ring = ring
        self._recent: dict[str, Record] = {}
        self._older: dict[str, Record] = {}

    def open(self, value: str) -> Record | None:
        """Return the record that was sealed; None for anything that is not one of this ring's."""
        record = self._recent.get(value)
        if record is None:
            record = self._older.get(value) or self._opened(value)
            if record is not None:
                # Only now: what somebody makes up takes no room and drives nothing out.
                self.keep(value, record)
        return record

    def seal(self, record: Record) -> str:
        """Return a value that carries `record`."""
        return self._ring.seal(_encode(record))

    def keep(self, value: str, record: Record) -> None:
        """Know from now on that `value` carries `record`; for what was opened, or is to be sent."""
        if len(self._recent) >= MOST_KNOWN // 2:
            self._older, self._recent = self._recent, {}  # what is in use comes back from there
        self._recent[value] = record

    def _opened(self, value: str) -> Record | None:
        opened = self._ring.open(value)
        if opened is None or opened[:1] != _WHOLE:
            return None
        try:
            return _decode(opened)
        except msgspec.MsgspecError:
            return None
