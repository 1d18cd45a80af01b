"""Values that the unit tests need again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sanic.compat import Header

from sanic_cookies.record import Draft
from sanic_cookies.token import Token


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


def a_draft(token: Token | None = None, **changes: Any) -> Draft:
    """Return the first write of a session; `changes` are fields of it."""
    token = token or Token.generate()
    values: dict[str, Any] = {
        "name": "session",
        "sid": token.sid,
        "version": 1,
        "secret_hash": token.secret_hash,
        "payload": b"payload",
        "ttl": 60.0,
    }
    return Draft(**{**values, **changes})


def a_route(websocket: bool = False) -> Any:
    return SimpleNamespace(name="app.index", extra=SimpleNamespace(websocket=websocket))


@dataclass
class Request:
    """What an exchange looks at, as plain data."""

    host: str = "shop.example"
    scheme: str = "https"
    head: bytes = b""
    headers: Header = field(default_factory=Header)
    route: Any = field(default_factory=a_route)
    name: str | None = "app.index"
    app: Any = field(default_factory=lambda: SimpleNamespace(config={}))

    def __post_init__(self) -> None:
        self.headers.setdefault("host", self.host)
        self.conn_info = SimpleNamespace(ssl=self.scheme in ("https", "wss"))


@dataclass
class Response:
    """What an exchange writes to."""

    headers: Header = field(default_factory=Header)
