"""Places where sessions are kept. Those that need a driver are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Interface
from .memory.interface import InMemory

if TYPE_CHECKING:
    from .cookie.interface import InCookieEncrypted
    from .postgres.interface import AsyncPG
    from .postgres.interface import AsyncPG as GinoAsyncPG
    from .redis.interface import Redis
    from .redis.interface import Redis as Aioredis

__all__ = [
    "Aioredis",
    "AsyncPG",
    "GinoAsyncPG",
    "InCookieEncrypted",
    "InMemory",
    "Interface",
    "Redis",
]

# Name, and the module and class behind it. Aioredis and GinoAsyncPG are the older library's names.
_LAZY = {
    "Redis": ("redis.interface", "Redis"),
    "Aioredis": ("redis.interface", "Redis"),
    "AsyncPG": ("postgres.interface", "AsyncPG"),
    "GinoAsyncPG": ("postgres.interface", "AsyncPG"),
    "InCookieEncrypted": ("cookie.interface", "InCookieEncrypted"),
}


def __getattr__(name: str) -> Any:
    """Import an interface when it is first asked for; without its extra, say which one."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(f".{module}", __name__), attribute)
