"""The table of guards fits the code, so that `make guards` can take each of them away."""

from __future__ import annotations

import pytest

from adversity.guards import GUARDS, Guard, is_there


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_where_the_table_says(guard: Guard) -> None:
    """Who moves or rewrites a guard is told at once, not when somebody takes the guards away."""
    assert is_there(guard), f"{guard.text} is not in {guard.file} once: mend the table"
