"""What all suites of the contract are made of: traits, and steps that many rules begin with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ..interfaces.base import Interface, SupportsLease, SupportsNews, SupportsSweep
from ..record import Draft, Record

# Abilities that have suites of their own.
ABILITIES: tuple[type, ...] = (SupportsLease, SupportsNews, SupportsSweep)
_suites: dict[type, type] = {}

T = TypeVar("T", bound=Callable[..., Any])


def needs(trait: str) -> Callable[[T], T]:
    """Mark a rule that makes sense only for interfaces that have a trait."""

    def mark(test: T) -> T:
        test.needs = trait  # type: ignore[attr-defined]
        return test

    return mark


class Contract:
    """Traits of the interface under test, and what follows from them.

    Attributes:
        shared: Two objects on one store see the same records; the second is the fixture `twin`,
            which is needed only then.
        many: Many sessions are kept side by side. False for one that is bound to one cookie.
        largest: Size in bytes of the largest payload that must be kept.
        blink: Seconds of the shortest life that the store can give a record or a lease.
    """

    shared = True
    many = True
    largest = 64 * 1024
    blink = 0.2

    def __init_subclass__(cls, ability: type | None = None, **options: Any) -> None:
        """Take out the rules that need a trait which this interface does not have.

        Args:
            ability: Protocol that a suite is about; None for any other class.
            options: For other bases.
        """
        super().__init_subclass__(**options)
        if ability is not None:
            _suites[cls] = ability
        for name in dir(cls):
            trait = getattr(getattr(cls, name), "needs", None)
            if trait is not None and not getattr(cls, trait):
                setattr(cls, name, None)

    @classmethod
    def abilities(cls) -> set[type]:
        """Return the abilities whose suites are taken."""
        return {_suites[each] for each in cls.__mro__ if each in _suites}

    async def outlive(self, seconds: float | None = None) -> None:
        """Wait until what lives for so many seconds by the store's clock, or `blink`, is over."""
        await asyncio.sleep(1.5 * (seconds or self.blink))

    @property
    def lives(self) -> tuple[float, ...]:
        """Lives in seconds, to be tried in turn by rules of what happens before the end of one.

        The shortest does where the machine is quick, and none is too short where it stands still.
        """
        return self.blink, 8 * self.blink, 40 * self.blink


async def stored(interface: Interface, draft: Draft) -> Record:
    """Create a session and return its record."""
    assert await interface.create(draft) is True
    return await kept(interface, draft)


async def kept(interface: Interface, draft: Draft) -> Record:
    """Return the record of the draft's session, which must be there."""
    record = await interface.fetch(draft.name, draft.sid)
    assert record is not None
    return record
