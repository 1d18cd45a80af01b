"""The contract over the interface that the example shows."""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanic_cookies.testing import InterfaceContract
from stores import opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_interface.py"


class TestCustomInterface(InterfaceContract):
    shared = False  # each object has its own dict

    @pytest.fixture
    async def interface(self) -> AsyncIterator[Any]:
        async with opened(runpy.run_path(str(EXAMPLE))["InDict"]()) as interface:
            yield interface
