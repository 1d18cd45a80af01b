"""Who is told of what happens to sessions: who watches them, the meter, and the app's listeners."""

from __future__ import annotations

import logging
from typing import Any

from sanic import Sanic

from .background import Background
from .hub import Hub
from .meter import Meter
from .signals import HEARD_AS, NEWS, SIGNALS

logger = logging.getLogger("sanic_cookies")


class Announcer:
    """Tells of the events of one `Session`, from one start of the server to the next."""

    def __init__(
        self,
        app: Sanic[Any, Any] | None,
        name: str,
        background: Background,
        hub: Hub,
        meter: Meter | None,
    ) -> None:
        """Remember whom to tell.

        Args:
            app: Whose signals are sent; None for a `Session` that is attached to none.
            name: The session's name, by which listeners know it.
            background: Where listeners run.
            hub: Told of what may end the life of a token.
            meter: Told of each event; None if nobody measures.
        """
        self._app, self._name = app, name
        self._background, self._hub, self._meter = background, hub, meter

    def tell(self, event: str, **context: Any) -> None:
        """Tell of an event, after it has happened and outside of any lock.

        Args:
            event: One of `signals.SIGNALS`.
            context: What it is about; never a token.
        """
        if event in NEWS:
            self._hub.tell(context["sid"])
        if self._meter is not None:
            self._meter.happened(event)
        app = self._app
        if app is None or not self._is_heard(event):
            return
        context["session"] = self._name
        self._background.spawn(self._send(app, SIGNALS[event], context))

    async def _send(self, app: Sanic[Any, Any], signal: str, context: dict[str, Any]) -> None:
        """Run the listeners: in this task, which a server that stops waits for, and not beside."""
        try:
            await app.dispatch(signal, context=context, inline=True, fail_not_found=False)
        except Exception:
            logger.exception("a listener to %s failed", signal)

    def has_audience(self, event: str) -> bool:
        """Say whether an event has to be told, as far as can be said before the server starts."""
        return self._meter is not None or self._is_heard(event)

    def _is_heard(self, event: str) -> bool:
        """Say whether somebody listens to an event, or to all of its group."""
        if self._app is None:
            return False
        own, whole = HEARD_AS[event]
        listeners = self._app.signal_router.name_index
        return own in listeners or whole in listeners
