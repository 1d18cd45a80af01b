"""What tests of and with sanic_cookies need.

Whoever writes an interface runs the contract over it:

    from sanic_cookies.testing import contract_for

    class TestMine(contract_for(Mine, shared=False)):
        @pytest.fixture
        async def interface(self): ...

Whoever writes an app has `Browser`, which keeps cookies and logs in without a login page, `Faulty`,
a store that fails when it is told to, and `FakeClock`.

Nothing here imports pytest; the tests of the contract are plain async methods with fixtures.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .browser import Browser, serving
    from .clock import FakeClock
    from .contract import InterfaceContract, SweepContract
    from .drafts import following, new_claim, new_draft
    from .faults import Faulty
    from .lease import LeaseContract
    from .logins import login_as
    from .news import NewsContract
    from .suite import contract_for

__all__ = [
    "Browser",
    "FakeClock",
    "Faulty",
    "InterfaceContract",
    "LeaseContract",
    "NewsContract",
    "SweepContract",
    "contract_for",
    "following",
    "login_as",
    "new_claim",
    "new_draft",
    "serving",
]

# Imported when they are asked for: an app's tests need no contract, a contract no httpx.
_LAZY = {
    "Browser": "browser",
    "FakeClock": "clock",
    "Faulty": "faults",
    "InterfaceContract": "contract",
    "LeaseContract": "lease",
    "NewsContract": "news",
    "SweepContract": "contract",
    "contract_for": "suite",
    "following": "drafts",
    "login_as": "logins",
    "new_claim": "drafts",
    "new_draft": "drafts",
    "serving": "browser",
}


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if "pytest" in sys.modules:
        # Or a failed rule would say "AssertionError" and nothing else.
        rules = [f"{__name__}.{name}" for name in ("contract", "lease", "news", "traits")]
        sys.modules["pytest"].register_assert_rewrite(*rules)
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
