"""Masters for the app tests: each kind of interface, on a real server, empty for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from masters import KINDS, SHARED, make_master


@pytest.fixture(params=KINDS)
async def master(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each kind of interface in turn."""
    async with make_master(request.param, request) as interface:
        yield interface


@pytest.fixture(params=SHARED)
async def shared_master(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each kind of interface that keeps sessions on the server."""
    async with make_master(request.param, request) as interface:
        yield interface
