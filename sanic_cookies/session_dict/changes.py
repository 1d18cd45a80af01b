"""What unlocked use of a session has changed, and how it is merged into a fresh record.

Without a lock two requests may both have read the same record. So their changes are kept as
changed and deleted top-level keys, and applied under the lock to what stands in the store then:
two requests that set different keys both survive.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from ..codec import Codec
from ..content import Content, Life


@dataclass(slots=True)
class Changes:
    """Changes that wait to be merged.

    Attributes:
        assigned: Keys with their new values.
        deleted: Keys that are gone.
        cleared: Everything that was there before is gone.
        life: A new lifetime, if `life_set`.
        life_set: Whether `set_expiry` was called.
        rotate: A new secret was asked for.
        ended: The session as it was is to end, its user and its lifetime included.
    """

    assigned: dict[str, Any] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    cleared: bool = False
    life: Life | None = None
    life_set: bool = False
    rotate: bool = False
    ended: bool = False

    def __bool__(self) -> bool:
        """Say whether there is anything to merge."""
        return bool(
            self.assigned
            or self.deleted
            or self.cleared
            or self.life_set
            or self.rotate
            or self.ended
        )

    def copied(self) -> Changes:
        """Return the same changes with values of their own, which a block does not reach."""
        try:
            return copy.deepcopy(self)
        except Exception:  # noqa: BLE001 - nor can it be stored: the commit will say what, and where
            return self

    def parts(self) -> tuple[Changes, Changes]:
        """Return what concerns the session as a whole, and what concerns its data."""
        marks = Changes(
            life=self.life, life_set=self.life_set, rotate=self.rotate, ended=self.ended
        )
        return marks, Changes(self.assigned, self.deleted, self.cleared)

    def follow(self, later: Changes) -> None:
        """Add changes that were made after these."""
        if later.cleared or later.ended:
            self.assigned, self.deleted = {}, set()
        self.cleared, self.ended = self.cleared or later.cleared, self.ended or later.ended
        for key in later.deleted:
            self.assigned.pop(key, None)
        self.deleted |= later.deleted
        self.assigned.update(later.assigned)
        if later.life_set or later.ended:
            self.life, self.life_set = later.life, later.life_set
        self.rotate = self.rotate or later.rotate

    def compare(self, codec: Codec, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Add what turns `before` into `after`, nested changes included."""
        for key, value in after.items():
            if key not in before or _differ(codec, before[key], value):
                self.assigned[key] = value
        self.deleted.update(key for key in before if key not in after)

    def apply(self, content: Content) -> None:
        """Make the changes to `content`."""
        data = content.data
        if self.cleared or self.ended:
            data.clear()
        if self.ended:
            content.end()
        for key in self.deleted:
            data.pop(key, None)
        data.update(self.assigned)
        if self.life_set:
            content.life = self.life


def _differ(codec: Codec, before: Any, after: Any) -> bool:
    # Bytes, not ==: True and 1 are equal to Python, and different in the store.
    try:
        return codec.encode(before) != codec.encode(after)
    except Exception:  # noqa: BLE001 - the commit will say what cannot be stored, and where
        return True
