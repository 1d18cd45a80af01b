"""What every session object of one `Session` shares in one worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex
from typing import Any

from .background import Background
from .errors import SessionLimitReached
from .hub import Hub
from .interfaces.fan_out import FanOut
from .locks import LockTable
from .meter import Meter
from .record import Admission, Outcome
from .settings import Settings
from .stats import Stats

security = logging.getLogger("sanic_cookies.security")

Emit = Callable[..., None]


def lease_tokens() -> Iterator[str]:
    """Give a worker's lease tokens, each unlike all others of all workers.

    Only stores ever see one, so none has to be hard to guess: they are counted, behind a random
    name of the worker. Random bytes for each would ask the system for them in each block.
    """
    worker = token_hex(16)
    for number in count():
        yield f"{worker}-{number}"


@dataclass(slots=True)
class Runtime:
    """The parts that work together.

    Attributes:
        settings: The options.
        store: Master and added interfaces, as one.
        locks: Who is inside which session, in this process.
        background: Work that outlives its request.
        emit: Tells listeners of an event: `emit("saved", sid=...)`.
        stats: What locks and stores have done so far.
        hub: Who wants to hear at once that a session has ended.
        meter: Told how long locks and stores take; None if nobody measures.
        saves_are_heard: Whether anybody wants to know of "saved", which most blocks end with; if
            not, it is not even told.
        lease_tokens: The next one is nobody's yet.
    """

    settings: Settings
    store: FanOut
    locks: LockTable
    background: Background
    emit: Emit
    stats: Stats = field(default_factory=Stats)
    hub: Hub = field(default_factory=Hub)
    meter: Meter | None = None
    saves_are_heard: bool = True
    lease_tokens: Iterator[str] = field(default_factory=lease_tokens)


def welcome(runtime: Runtime, admission: Admission, user_key: str | None, route: str) -> None:
    """Tell listeners who had to go for a login, or refuse it.

    Args:
        runtime: Of the session concerned.
        admission: What the store has said.
        user_key: Whose login it is.
        route: The name of the request's route.

    Raises:
        SessionLimitReached: Nobody may be ended to make room.
    """
    for sid in admission.ended:
        runtime.emit("ended", sid=sid, reason="limit", user_key=user_key)
    if admission.outcome is Outcome.FULL:
        runtime.emit("limit_reached", route=route, user_key=user_key)
        raise SessionLimitReached


def suspicious(runtime: Runtime, event: str, sid: str = "", **context: Any) -> None:
    """Report what may be an attack: a line for the security log and an event.

    Args:
        runtime: Of the session concerned.
        event: A fixed text; never anything that a client sent.
        sid: Public id, whose shape has been checked.
        context: More for listeners of the event.
    """
    security.warning("%s: %s sid=%s", runtime.settings.name, event, sid or "-")
    runtime.emit("suspicious", reason=event, sid=sid or None, **context)
