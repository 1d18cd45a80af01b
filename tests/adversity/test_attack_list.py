"""The list of attacks is whole: each has tests that exist, and the documents show the same list."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import code, rows

HERE = Path(__file__).parent
SECURITY = HERE.parent.parent / "docs" / "security.md"
ATTACKS = tomllib.loads((HERE / "attacks.toml").read_text("utf-8"))


def names_in(file: Path) -> Iterator[str]:
    """Give the names of the functions in a file."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_has_tests_that_exist(attack: str) -> None:
    """A test that was renamed or dropped does not leave its attack without one."""
    entry = ATTACKS[attack]
    assert entry["tests"]
    assert entry["known"]
    for test in entry["tests"]:
        path, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in set(names_in(HERE / path)), test


def test_each_test_is_in_the_list() -> None:
    """Nor does a test of an attack stay unknown to whoever reads the list."""
    listed = {test for entry in ATTACKS.values() for test in entry["tests"]}
    others = {
        "test_attack_keys.py::test_a_program_with_a_good_key_starts",  # these show that others
        "test_attack_keys.py::test_random_keys_are_taken",  # prove something
        "test_attack_caches.py::test_the_same_browser_may_be_answered_from_the_cache",
    }
    there = {
        f"{file.name}::{name}"
        for file in HERE.glob("test_attack_*.py")
        if file != Path(__file__)
        for name in names_in(file)
        if name.startswith("test_")
    }
    assert there == {test for test in listed if not test.startswith("..")} | others


def test_the_documents_show_the_same_list() -> None:
    """Attack by attack, with what it is known by and the file that tries it."""
    shown = {row[0]: (row[1], code(row[3])) for row in rows(SECURITY, "Attacks")}
    expected = {}
    for attack, entry in ATTACKS.items():
        files = dict.fromkeys(Path(test.partition("::")[0]).name for test in entry["tests"])
        expected[attack] = (entry["known"], list(files))
    assert shown == expected
