"""What tests of and with sanic_cookies need.

Whoever writes an interface runs the contract over it:

    from sanic_cookies.testing import InterfaceContract

    class TestMine(InterfaceContract):
        @pytest.fixture
        async def interface(self): ...
        @pytest.fixture
        async def twin(self): ...

Nothing here imports pytest; the tests of the contract are plain async methods with fixtures.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import InterfaceContract, SweepContract
    from .drafts import following, new_claim, new_draft
    from .lease import LeaseContract
    from .news import NewsContract

__all__ = [
    "InterfaceContract",
    "LeaseContract",
    "NewsContract",
    "SweepContract",
    "following",
    "new_claim",
    "new_draft",
]

_LAZY = {
    "InterfaceContract": "contract",
    "SweepContract": "contract",
    "LeaseContract": "lease",
    "NewsContract": "news",
    "following": "drafts",
    "new_claim": "drafts",
    "new_draft": "drafts",
}


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if "pytest" in sys.modules:
        # Or a failed rule would say "AssertionError" and nothing else.
        rules = [f"{__name__}.{name}" for name in ("contract", "lease", "news")]
        sys.modules["pytest"].register_assert_rewrite(*rules)
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
