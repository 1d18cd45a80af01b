"""Locked, authenticated sessions for Sanic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .auth.decorators import fresh_login_required, login_required
from .auth.protect import public
from .auth.redirects import safe_next
from .auth.registry import SessionInfo
from .auth.session import AuthSession
from .errors import (
    AccessDenied,
    CsrfRefused,
    FreshLoginRequired,
    LoginRequired,
    ResponseStarted,
    SessionConfigError,
    SessionError,
    SessionInterrupted,
    SessionLimitReached,
    SessionLockLost,
    SessionLockTimeout,
    SessionNotLoaded,
    SessionNotSerializable,
    SessionShapeMismatch,
    SessionStoreError,
    SessionTooLarge,
    SessionUnavailable,
)
from .flash import flash, get_flashes
from .interfaces import InMemory, Interface
from .session import Session
from .session_dict import SessionDict
from .typed import Typed
from .watch import watch

if TYPE_CHECKING:
    from .interfaces import Aioredis, AsyncPG, GinoAsyncPG, InCookieEncrypted, Redis

__version__ = "1.0.0.dev1"

__all__ = [
    "AccessDenied",
    "Aioredis",
    "AsyncPG",
    "AuthSession",
    "CsrfRefused",
    "FreshLoginRequired",
    "GinoAsyncPG",
    "InCookieEncrypted",
    "InMemory",
    "Interface",
    "LoginRequired",
    "Redis",
    "ResponseStarted",
    "Session",
    "SessionConfigError",
    "SessionDict",
    "SessionError",
    "SessionInfo",
    "SessionInterrupted",
    "SessionLimitReached",
    "SessionLockLost",
    "SessionLockTimeout",
    "SessionNotLoaded",
    "SessionNotSerializable",
    "SessionShapeMismatch",
    "SessionStoreError",
    "SessionTooLarge",
    "SessionUnavailable",
    "Typed",
    "flash",
    "fresh_login_required",
    "get_flashes",
    "login_required",
    "public",
    "safe_next",
    "watch",
]

_NEED_A_DRIVER = {"Aioredis", "AsyncPG", "GinoAsyncPG", "InCookieEncrypted", "Redis"}


def __getattr__(name: str) -> Any:
    """Import the interfaces that need a driver when they are first asked for."""
    if name not in _NEED_A_DRIVER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import interfaces

    return getattr(interfaces, name)
