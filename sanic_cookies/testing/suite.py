"""All suites that an interface needs, as one class to subclass."""

from __future__ import annotations

from typing import Any

from ..interfaces.base import SupportsLease, SupportsNews, SupportsSweep
from .contract import InterfaceContract, SweepContract
from .lease import LeaseContract
from .news import NewsContract

_SUITES: list[tuple[type, type]] = [
    (SupportsLease, LeaseContract),
    (SupportsNews, NewsContract),
    (SupportsSweep, SweepContract),
]


def contract_for(interface: type, **traits: Any) -> type[Any]:
    """Return the contract of an interface, as one class; subclass it and give one fixture.

    Args:
        interface: The class of your interface; its abilities choose the suites.
        traits: Where it differs from a store that all processes share; see `Contract`. With
            `shared=False` the fixture `interface` is all that is needed; otherwise give `twin`
            too, a second object on the same store.

    Returns:
        A class of async tests, one rule each.
    """
    suites = [suite for ability, suite in _SUITES if issubclass(interface, ability)]
    bases: tuple[type, ...] = (InterfaceContract, *suites)
    return type(f"{interface.__name__}Contract", bases, traits)
