"""No fault without its tests, and none that operators are not told of."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from documents import rows
from fault_table import TABLE
from faults import OUTAGES
from programs import ROOT

DOCUMENT = ROOT / "docs" / "operations.md"
TESTS = Path(__file__).parent.parent


@cache
def defined_in(file: Path) -> set[str]:
    """Return the names of a file's tests."""
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_fault_is_missing() -> None:
    """F1 to F39, each once and in this order."""
    assert list(TABLE) == [f"F{number}" for number in range(1, 40)]


@pytest.mark.parametrize("number", TABLE)
def test_each_fault_has_its_tests(number: str) -> None:
    """Every test that is named for a fault exists."""
    assert TABLE[number].tests
    for name in TABLE[number].tests:
        file, _, test = name.partition("::")
        assert test in defined_in(TESTS / file), name


def test_each_outage_belongs_to_a_fault() -> None:
    """Whatever is injected stands for faults of the table, which name the test that injects it."""
    for outages in OUTAGES.values():
        for outage in outages:
            for number in outage.faults.split():
                assert "adversity/test_fault_outages.py::test_outage" in TABLE[number].tests


def test_operators_are_told() -> None:
    """The document has each fault under the same number and name, and an answer in each column."""
    told = rows(DOCUMENT, "Faults")
    assert [(number, title) for number, title, *_ in told] == [
        (number, row.title) for number, row in TABLE.items()
    ]
    for row in told:
        assert len(row) == 5
        assert all(row)
