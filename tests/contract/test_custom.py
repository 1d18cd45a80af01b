"""The contract over the interface that the example shows."""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanic_cookies.testing import contract_for
from stores import opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_interface.py"
InDict = runpy.run_path(str(EXAMPLE))["InDict"]


class TestCustomInterface(contract_for(InDict, shared=False)):  # each object has its own dict
    @pytest.fixture
    async def interface(self) -> AsyncIterator[Any]:
        async with opened(InDict()) as interface:
            yield interface
