"""One class to subclass, one fixture to give: the contract as others use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from documents import run
from sanic_cookies import InMemory, Redis
from sanic_cookies.testing import (
    Faulty,
    InterfaceContract,
    LeaseContract,
    NewsContract,
    SweepContract,
    contract_for,
)
from stores import opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_interface.py"


class TestFaultyMemory(contract_for(InMemory, shared=False)):
    """What wraps an interface, and was told of no fault, is as good as what is inside."""

    @pytest.fixture
    async def interface(self) -> AsyncIterator[Faulty]:
        async with opened(Faulty(InMemory(sweep_every=3600))) as interface:
            yield interface


class TestFaultyRedis(contract_for(Redis)):
    """The same over a store with leases."""

    @pytest.fixture
    async def interface(self, redis_url: str) -> AsyncIterator[Faulty]:
        async with opened(Faulty(Redis(redis_url))) as interface:
            yield interface

    @pytest.fixture
    async def twin(self, redis_url: str) -> AsyncIterator[Redis]:
        async with opened(Redis(redis_url)) as interface:
            yield interface


def test_abilities_choose_the_suites(tmp_path: Path) -> None:
    """An interface gets the suite of each ability it has, and no other."""
    own = run(EXAMPLE.read_text("utf-8"), tmp_path)["InDict"]

    assert contract_for(own).__bases__ == (InterfaceContract,)
    assert contract_for(InMemory).__bases__ == (InterfaceContract, SweepContract)
    assert contract_for(Redis).abilities() == LeaseContract.abilities() | NewsContract.abilities()


def test_traits_are_taken() -> None:
    """A trait that is given takes out the rules that need it."""
    assert contract_for(InMemory, shared=False).test_two_objects_see_the_same is None
    assert contract_for(InMemory).test_two_objects_see_the_same is not None
