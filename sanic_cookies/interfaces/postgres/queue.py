"""What waits to be asked of Postgres, and how it is put together into statements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

# A statement keeps its rows locked until it is done.
BATCH = 64

ALONE = object()

Arguments: TypeAlias = tuple[Any, ...]
# The arguments of the plain statement, name and id of the session first, and where the caller
# waits; no class, of which an object would be made for each request.
Request: TypeAlias = tuple[Arguments, asyncio.Future[Any]]


class Step(NamedTuple):
    """What can be asked, in two ways.

    Attributes:
        plain: SQL for one request, which returns one row or none.
        joined: SQL for several. Its last two columns tell which request a row answers, counted
            from 1, and whether that request must ask alone. It waits for no row.
        pack: Makes the arguments of `joined` from those of `plain`.
        writes: Whether a statement must not have two requests for one session.
    """

    plain: str
    joined: str
    pack: Callable[[Sequence[Arguments]], Sequence[bytes]]
    writes: bool = True


class Queue:
    """The requests that wait, by their step.

    Attributes:
        is_led: Whether one of them, that has found a lane free, takes all to it at the end of this
            turn of the loop.
    """

    def __init__(self, steps: Mapping[str, Step]) -> None:
        """Begin empty.

        Args:
            steps: What can be asked, by name.
        """
        self.steps = steps
        self.is_led = False
        self._waiting: dict[str, list[Request]] = {}

    def __bool__(self) -> bool:
        """Whether requests wait, perhaps only some whose callers have gone."""
        return bool(self._waiting)

    def add(self, step: str, request: Request) -> None:
        """Have a request wait."""
        waiting = self._waiting.get(step)
        if waiting is None:
            self._waiting[step] = [request]
        else:
            waiting.append(request)

    def drop_gone(self) -> None:
        """Forget the requests whose callers have gone."""
        kept = {
            step: [request for request in waiting if not request[1].done()]
            for step, waiting in self._waiting.items()
        }
        self._waiting = {step: waiting for step, waiting in kept.items() if waiting}

    def answers(self) -> list[asyncio.Future[Any]]:
        """Return where the callers wait of whom nobody has taken the request."""
        return [answer for waiting in self._waiting.values() for _, answer in waiting]

    def take_only(self, step: str, request: Request) -> bool:
        """Take a request if no other waits; say whether that was so."""
        waiting = self._waiting.get(step)
        if waiting is None or len(self._waiting) > 1 or len(waiting) > 1:
            return False
        if waiting[0] is not request:
            return False
        self._waiting.clear()
        return True

    def take_batch(self) -> tuple[Step, list[Request]] | None:
        """Take the step that waits longest, and who asks for it; of each session one request."""
        while self._waiting:
            name = next(iter(self._waiting))
            step, waiting = self.steps[name], self._waiting.pop(name)
            now = [request for request in waiting if not request[1].done()]
            if step.writes or len(now) > BATCH:
                now, later = _parted(now, step.writes)
                if later:
                    self._waiting[name] = later
            if now:
                return step, now
        return None


def refuse(answers: Iterable[asyncio.Future[Any]], error: Exception) -> None:
    """Raise an error where callers still wait."""
    for answer in answers:
        if not answer.done():
            answer.set_exception(error)


def _parted(requests: list[Request], writes: bool) -> tuple[list[Request], list[Request]]:
    """Return what one statement can carry, and the rest."""
    sessions = {args[:2] for args, _ in requests} if writes else requests
    if len(sessions) == len(requests) <= BATCH:
        return requests, []
    now: list[Request] = []
    later: list[Request] = []
    taken: set[Any] = set()
    for request in requests:
        session = request[0][:2] if writes else request
        if len(now) == BATCH or session in taken:
            later.append(request)
        else:
            now.append(request)
            taken.add(session)
    return now, later
