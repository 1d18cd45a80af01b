"""How hypothesis searches in these tests."""

from __future__ import annotations

from hypothesis import settings

# The same examples at each run, on slow machines too: a test that fails has found something.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")
