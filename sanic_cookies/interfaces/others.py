"""The interfaces beside the master, which follow it.

They take only newer versions, so writes that arrive in another order do no harm; what one of them
misses, the next write heals. Deletes leave a tombstone, which outranks the late writes of requests
that were still under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

from ..background import Background
from ..errors import SessionStoreError
from ..record import Draft, Outcome
from .guard import BoundGuard, Budget, Guard

logger = logging.getLogger("sanic_cookies")

OTHER_SECONDS = 1.0
TOMBSTONE_SECONDS = 120.0  # longer than any hold, so longer than any late write
RETRY_PAUSES = (0.1, 0.5, 2.0, 5.0, 15.0)
MAX_RETRIES_UNDER_WAY = 1000

OnError = Literal["log", "raise"]


class Others:
    """All that is written to beside the master, at once.

    Attributes:
        guards: One for each interface; none if there is nothing to do.
    """

    def __init__(self, guards: Sequence[Guard], on_error: OnError, background: Background) -> None:
        """Write to what `guards` call.

        Args:
            guards: One for each interface.
            on_error: What a failed write does: "log" or "raise".
            background: Where deletes are retried.
        """
        self.guards = guards
        self._on_error = on_error
        self._background = background

    def but_for(self, guards: Sequence[Guard]) -> Others:
        """Return others that are treated alike, called by `guards`."""
        return Others(guards, self._on_error, self._background)

    async def write(self, draft: Draft) -> None:
        """Bring each up to `draft`, unless it has something newer already."""
        await self._each([_apply(guard, draft) for guard in self.guards])

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> None:
        """Record a use."""
        await self._each(
            [
                guard.call(guard.interface.touch, name, sid, version, ttl, budget=_one())
                for guard in self.guards
            ]
        )

    async def end(self, name: str, sids: Iterable[str]) -> None:
        """End sessions; what fails is retried in the background."""
        await asyncio.gather(
            *(self._bury_or_retry(guard, name, sid) for sid in sids for guard in self.guards)
        )

    async def _each(self, calls: Sequence[Coroutine[Any, Any, object]]) -> None:
        """Run calls at once; report failures after all have been tried."""
        if not calls:
            return
        results = await asyncio.gather(*calls, return_exceptions=True)
        failure: BaseException | None = None
        for result in results:
            if isinstance(result, BaseException):
                failure = result
        if failure is not None and self._on_error == "raise":
            raise failure

    async def _bury_or_retry(self, guard: Guard, name: str, sid: str) -> None:
        try:
            await _bury(guard, name, sid)
        except SessionStoreError:
            if len(self._background) < MAX_RETRIES_UNDER_WAY:
                self._background.spawn(_bury_later(guard, name, sid))
            else:
                _tell_left(guard, name, sid)


async def _apply(guard: Guard, draft: Draft) -> None:
    """Bring one of them up to `draft`, unless it has something newer already.

    Two writers may meet here; whoever finds the record missing and then taken looks again.
    """
    interface, budget = guard.interface, _one()
    if await guard.call(interface.save, draft, budget=budget) is not Outcome.GONE:
        return
    if draft.payload is None:
        return  # nothing to make it from; the next real write brings it
    if not await guard.call(interface.create, draft, budget=budget):
        await guard.call(interface.save, draft, budget=budget)


async def _bury(guard: Guard, name: str, sid: str) -> None:
    if isinstance(guard, BoundGuard):
        await guard.call(guard.interface.delete, name, sid, budget=_one())
    else:
        await _apply(guard, Draft.tombstone(name, sid, TOMBSTONE_SECONDS))


async def _bury_later(guard: Guard, name: str, sid: str) -> None:
    try:
        for pause in RETRY_PAUSES:
            await asyncio.sleep(pause)
            with suppress(SessionStoreError):
                await _bury(guard, name, sid)
                return
    except asyncio.CancelledError:
        _tell_left(guard, name, sid)  # the server stops
        raise
    _tell_left(guard, name, sid)


def _tell_left(guard: Guard, name: str, sid: str) -> None:
    """Tell the operator, who may have to end it by hand if that interface is ever the master."""
    logger.error("%s: %s still holds a session that has ended: sid=%s", name, guard.label, sid)


def _one() -> Budget:
    """Return the budget of one call to one of them; they do not spend the request's."""
    return Budget(OTHER_SECONDS)
