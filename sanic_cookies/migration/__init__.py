"""Sessions of `sanic-cookies` 0.4.3 and `sanic_session` 0.8, taken over when they are next used.

Nothing here is imported unless you do. See docs/migrating.md.
"""

from __future__ import annotations

from .sources import OldCookie, OldPostgres, OldRedis, OldSession, OldStore
from .upgrade import Migration

__all__ = ["Migration", "OldCookie", "OldPostgres", "OldRedis", "OldSession", "OldStore"]
