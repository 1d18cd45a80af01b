"""What is measured: each system, the bare app that it is compared with, and on which routes."""

from __future__ import annotations

from dataclasses import dataclass

ALL = ("untouched", "read", "write")
UNTOUCHED = ("untouched",)
USED = ("read", "write")


@dataclass(frozen=True)
class System:
    """An app in a server of its own.

    Attributes:
        key: Its name in the results.
        label: Its name in tables.
        kind: "bare", "ours", "floor", "hand" or "peer".
        env: Its environment (a file in `peers/`).
        module: The app (another file there).
        base: Key of the bare app of its framework.
        store: Where its sessions are; "" for none.
        paths: The routes that are measured.
        hot: Whether all connections also get at one session.
        preload: Ours only: read the session before each handler.
    """

    key: str
    label: str
    kind: str
    env: str
    module: str
    base: str = "sanic"
    store: str = ""
    paths: tuple[str, ...] = UNTOUCHED
    hot: bool = False
    preload: bool = False

    @property
    def server(self) -> str:
        """The server that must run for it; "" for none."""
        return self.store.partition("-")[0] if self.store in ("redis", "postgres") else ""


def _ours(store: str, label: str, paths: tuple[str, ...], hot: bool) -> System:
    name = f"sanic_cookies, {label}"
    return System(f"ours-{store}", name, "ours", "sanic", "ours", "sanic", store, paths, hot)


def _eager(store: str, label: str) -> System:
    name, key = f"sanic_cookies, {label}, preload", f"ours-{store}-preload"
    return System(key, name, "ours", "sanic", "ours", store=store, preload=True)


def _hand(store: str, label: str, hot: bool = False) -> System:
    paths = ALL if hot else USED
    return System(f"hand-{store}", label, "hand", "sanic", "by_hand", "sanic", store, paths, hot)


def _floor(key: str, label: str, store: str) -> System:
    hot = store not in ("aes-gcm", "fernet")  # a cookie is nobody else's
    module = f"floor_{key.replace('-', '_')}" if hot else "floor_cookie"
    return System(f"floor-{key}", label, "floor", "sanic", module, "sanic", store, USED, hot)


SYSTEMS = (
    System("sanic", "Sanic, bare", "bare", "sanic", "bare_sanic"),
    _ours("memory", "memory", ALL, True),
    _eager("memory", "memory"),
    _floor("memory", "locked by hand, memory (the least)", "memory"),
    System(
        *("sanic_session-memory", "sanic_session, memory", "peer", "sanic_session"),
        *("on_sanic_session", "sanic", "memory", ALL, True),
    ),
    _ours("redis", "Redis", ALL, True),
    _eager("redis", "Redis"),
    _floor("redis", "locked by hand, Redis (the least)", "redis"),
    _floor("redis-py", "locked by hand, Redis by redis-py", "redis"),
    _hand("redis", "redis-py by hand, no lock", True),
    System(
        *("sanic_session-redis", "sanic_session, Redis", "peer", "sanic_session"),
        *("on_sanic_session", "sanic", "redis", ALL, True),
    ),
    _ours("postgres", "Postgres", ALL, True),
    _floor("postgres", "locked by hand, Postgres (the least)", "postgres"),
    _hand("postgres", "asyncpg by hand, no lock", True),
    _ours("fernet", "cookie (Fernet)", USED, False),
    _ours("aes-gcm", "cookie (AES-GCM)", USED, False),
    _floor("cookie", "AES-GCM cookie by hand (the least)", "aes-gcm"),
    _floor("fernet", "Fernet cookie by hand (the least)", "fernet"),
    _hand("fernet", "Fernet cookie by hand"),
    System("starlette", "Starlette, bare", "bare", "starlette", "on_starlette", "starlette"),
    System(
        *("starsessions-memory", "starsessions, memory", "peer", "starlette", "on_starlette"),
        *("starlette", "memory", ALL, True),
    ),
    System(
        *("starsessions-redis", "starsessions, Redis", "peer", "starlette", "on_starlette"),
        *("starlette", "redis", ALL, True),
    ),
    System("litestar", "Litestar, bare", "bare", "litestar", "on_litestar", "litestar"),
    System(
        *("litestar-memory", "Litestar, memory", "peer", "litestar", "on_litestar"),
        *("litestar", "memory", ALL, True),
    ),
    System(
        *("litestar-redis", "Litestar, Redis", "peer", "litestar", "on_litestar"),
        *("litestar", "redis", ALL, True),
    ),
    System("aiohttp", "aiohttp, bare", "bare", "aiohttp", "on_aiohttp", "aiohttp"),
    System(
        *("aiohttp_session-redis", "aiohttp-session, Redis", "peer", "aiohttp", "on_aiohttp"),
        *("aiohttp", "redis", ALL, True),
    ),
)
BY_KEY = {each.key: each for each in SYSTEMS}
