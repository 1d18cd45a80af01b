"""The published suite itself: light to import, and complete for whoever runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sanic_cookies.interfaces import InMemory
from sanic_cookies.testing import InterfaceContract, LeaseContract, NewsContract, SweepContract

SUITES = [InterfaceContract, LeaseContract, NewsContract, SweepContract]
IMPORT = """
import sys
from sanic_cookies.testing import InterfaceContract, LeaseContract, new_draft
sys.exit("pytest" in sys.modules)
"""


def test_import_needs_no_pytest() -> None:
    """Who imports the suite has not imported pytest, which is no dependency of the package."""
    assert subprocess.run([sys.executable, "-c", IMPORT], check=False).returncode == 0


@pytest.mark.parametrize("suite", SUITES)
def test_every_rule_is_stated(suite: type) -> None:
    """Each rule says in one sentence what it demands."""
    for name, rule in vars(suite).items():
        if name.startswith("test_"):
            assert rule.__doc__
            assert rule.__doc__.count(". ") == 0
            assert rule.__doc__.endswith(".")


def test_suites_share_no_names() -> None:
    """Suites are put together by inheritance, so what has one name in two would be run once."""
    names = [name for suite in SUITES for name in vars(suite) if not name.startswith("__")]

    assert len(names) == len(set(names))


def test_traits_take_out_rules() -> None:
    """A class without a trait has not the rules that need it, and all the others."""

    class Alone(InterfaceContract):
        shared = False

    assert Alone.test_two_objects_see_the_same is None
    assert Alone.test_names_do_not_meet is InterfaceContract.test_names_do_not_meet
    assert InterfaceContract.test_two_objects_see_the_same is not None


def test_forgotten_ability_is_noticed() -> None:
    """An interface that can sweep, but is tested without the rules for that, does not pass."""
    with pytest.raises(AssertionError):
        InterfaceContract().test_has_the_protocol(InMemory())
