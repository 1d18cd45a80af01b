"""What a session tells those who listen: Sanic's signals, by the events of the library.

Listeners subscribe with `@app.signal(...)`. The context holds what the event is about and
`session`, the session's name; never a token.
"""

from __future__ import annotations

SIGNALS = {
    "created": "session.record.created",
    "loaded": "session.record.loaded",
    "saved": "session.record.saved",
    "rotated": "session.record.rotated",
    "ended": "session.record.ended",
    "login": "session.user.login",
    "logout": "session.user.logout",
    "confirmed": "session.user.confirmed",
    "limit_reached": "session.user.limit_reached",
    "revoked": "session.user.revoked",
    "denied": "session.user.denied",
    "waited": "session.lock.waited",
    "timed_out": "session.lock.timed_out",
    "lost": "session.lock.lost",
    "held_too_long": "session.lock.held_too_long",
    "interface_failed": "session.interface.failed",
    "suspicious": "session.security.suspicious",
}

# By each event the names under which Sanic keeps its listeners: its own, and what Sanic calls
# "session.user.<event>".
HEARD_AS = {event: (signal, signal.rpartition(".")[0] + ".*") for event, signal in SIGNALS.items()}

# What may end the life of a token, so whoever watches it looks at once.
NEWS = frozenset({"ended", "revoked", "rotated"})
