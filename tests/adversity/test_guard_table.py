"""The table of guards fits the code, so that `make guards` can take each of them away."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def test_each_guard_stands_where_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who moves or rewrites a guard is told at once, not when somebody takes the guards away."""
    monkeypatch.syspath_prepend(Path(__file__).parent)  # as where a script stands is on its path
    guards = importlib.import_module("guards")

    assert len(guards.GUARDS) > 30
    assert [each.name for each in guards.GUARDS if not guards.is_there(each)] == []
