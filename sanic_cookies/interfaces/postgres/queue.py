"""What waits to be asked of Postgres, and how it is put together into statements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# A statement keeps its rows locked until it is done.
BATCH = 64

ALONE = object()


class Step(NamedTuple):
    """What can be asked, in two ways.

    Attributes:
        plain: SQL for one request, which returns one row or none.
        joined: SQL for several. Its parameters are arrays of text, with an element for each
            request. Its last two columns tell which request a row answers, counted from 1, and
            whether that request must ask alone. It waits for no row.
        width: How many arguments of `plain`, the first ones, `joined` has.
        writes: Whether a statement must not have two requests for one session.
    """

    plain: str
    joined: str
    width: int
    writes: bool = True


class Request:
    """What one caller asks, and the answer.

    Attributes:
        args: Arguments of its plain statement, name and id of the session first.
        answer: Where the caller waits.
        missed: Called when the caller goes while its request is being carried; else None.
    """

    __slots__ = ("answer", "args", "missed")

    def __init__(self, args: tuple[Any, ...], answer: asyncio.Future[Any]) -> None:
        """Begin unanswered."""
        self.args = args
        self.answer = answer
        self.missed: Callable[[], None] | None = None

    async def wait(self) -> Any:
        """Return the answer."""
        try:
            return await self.answer
        except asyncio.CancelledError:
            if self.missed is not None:
                self.missed()
            raise

    def settle(self, answer: Any) -> None:
        """Answer, or raise an error, if the caller still waits."""
        self.missed = None
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Queue:
    """The requests that wait, by their step."""

    def __init__(self, steps: Mapping[str, Step]) -> None:
        """Begin empty.

        Args:
            steps: What can be asked, by name.
        """
        self.steps = steps
        self._waiting: dict[str, list[Request]] = {}

    def add(self, step: str, request: Request) -> None:
        """Have a request wait."""
        self._waiting.setdefault(step, []).append(request)

    def waiting(self) -> list[Request]:
        """Return the requests that wait, without those whose callers have gone."""
        requests = (request for waiting in self._waiting.values() for request in waiting)
        return [request for request in requests if not request.answer.done()]

    def take_only(self, step: str, request: Request) -> bool:
        """Take a request if no other waits; say whether that was so."""
        if len(self._waiting) > 1 or self._waiting.get(step) != [request]:
            return False
        self._waiting.clear()
        return True

    def take_batch(self) -> tuple[str, list[Request]] | None:
        """Take the step that waits longest, and who asks for it; of each session one request."""
        while self._waiting:
            step = next(iter(self._waiting))
            now: list[Request] = []
            later: list[Request] = []
            sessions: set[Any] = set()
            for request in self._waiting.pop(step):
                session = request.args[:2] if self.steps[step].writes else request
                if request.answer.done():
                    continue
                if len(now) == BATCH or session in sessions:
                    later.append(request)
                else:
                    now.append(request)
                    sessions.add(session)
            if later:
                self._waiting[step] = later
            if now:
                return step, now
        return None
