"""What the static checks look at, and what they are told to overlook."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sanic_cookies"
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]


def test_the_security_rules_hold_for_the_package() -> None:
    """All of them (flake8-bandit); only the contract suite, which is tests, may assert."""
    exceptions = {
        (path, rule)
        for path, rules in RULES["per-file-ignores"].items()
        for rule in rules
        if path.startswith("sanic_cookies") and rule.startswith("S")
    }

    assert "S" in RULES["select"]
    assert not [rule for rule in RULES["ignore"] if re.fullmatch(r"S\d+", rule)]
    assert exceptions == {("sanic_cookies/testing/**", "S101")}


def test_each_exception_has_its_reason_beside_it() -> None:
    """Where a line of the package is exempt from a security rule, the line says why."""
    bare = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in PACKAGE.rglob("*.py")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if re.search(r"#\s*(noqa: .*\bS\d|nosec)", line) and not re.search(r"noqa: .* - \w", line)
    ]
    assert bare == []
