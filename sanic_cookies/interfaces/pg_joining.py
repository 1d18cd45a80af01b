"""Joins what is asked for different sessions at the same time into one statement.

Few connections, the lanes, carry one statement at a time each. A request that finds a lane free
goes at once; those that come while all lanes are busy make up the next statements. Who shares a
statement only waits for its answer: if that request is cancelled, its answer is dropped and nobody
else notices. A row that somebody has locked, or a failure, must not concern the others of a
statement: whom it may concern is told to ask alone. Where a lane is stuck, at a row or with a
server that hangs, another is opened, so that the others need not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Context
from typing import Any, NamedTuple

from .pg_pool import CUT, Pool

LANES = 2
# A statement keeps its rows locked until it is done.
BATCH = 64
# When no lane has got ahead for so long, there may be one more.
STUCK_SECONDS = 0.05
# A connection that nobody has needed for so long goes back to the pool, which knows when to end it.
KEEP_SECONDS = 10.0
# What a server may still take for an answer that nobody waits for any more.
GRACE_SECONDS = 1.0

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
        args: Arguments of its statement, name and id of the session first.
        answer: Where the caller waits.
        lane: The lane that carries it now, among others.
    """

    __slots__ = ("answer", "args", "lane")

    def __init__(self, args: tuple[Any, ...], answer: asyncio.Future[Any]) -> None:
        """Begin unanswered."""
        self.args = args
        self.answer = answer
        self.lane: Lane | None = None

    async def wait(self) -> Any:
        """Return the answer."""
        try:
            return await self.answer
        except asyncio.CancelledError:
            if self.lane is not None:
                self.lane.miss_one()
            raise

    def settle(self, answer: Any) -> None:
        """Answer, if the caller still waits."""
        self.lane = None
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Raise an error where the caller waits."""
        self.lane = None
        if not self.answer.done():
            self.answer.set_exception(error)


class Joiner:
    """Takes requests, and finds lanes for them."""

    def __init__(self, pool: Pool, steps: Mapping[str, Step]) -> None:
        """Begin with nothing to do.

        Args:
            pool: Where connections come from.
            steps: What can be asked, by name.
        """
        self.pool = pool
        self.steps = steps
        self.carried = 0
        self._waiting: dict[str, list[Request]] = {}
        self._lanes: list[Lane] = []
        self._watch: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, step: str, args: tuple[Any, ...]) -> Any:
        """Return the row that answers a request, None if none does, or `ALONE`.

        Args:
            step: Name of the step.
            args: Arguments of its plain statement, name and id of the session first.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._waiting, self._lanes, self._watch = loop, {}, [], None
        request = Request(args, loop.create_future())
        self._waiting.setdefault(step, []).append(request)
        for lane in self._lanes:
            if lane.is_free:
                return await lane.lead(step, request)
        if len(self._lanes) < LANES:
            return await self._add_lane().lead(step, request)
        if self._watch is None:
            self._watch = loop.call_later(STUCK_SECONDS, self._look_whether_stuck, self.carried)
        return await request.wait()

    async def close(self) -> None:
        """End the lanes; what still waits for them fails."""
        if self._loop is asyncio.get_running_loop():
            if self._watch is not None:
                self._watch.cancel()
            await asyncio.gather(*(lane.close() for lane in self._lanes))
            for request in self.waiting():
                request.fail(ConnectionError("the interface was closed"))
        self._loop = None

    def waiting(self) -> list[Request]:
        """Return the requests that wait for a lane."""
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

    def has_lane_beside(self, lane: Lane) -> bool:
        """Say whether another lane has a connection."""
        return any(other.is_connected for other in self._lanes if other is not lane)

    def drop_surplus(self, lane: Lane) -> bool:
        """Forget a lane if there are more than usual; say whether that was so."""
        if len(self._lanes) <= LANES:
            return False
        self._lanes.remove(lane)
        return True

    def _add_lane(self) -> Lane:
        assert self._loop is not None  # noqa: S101 - known since the first request
        lane = Lane(self, self._loop)
        self._lanes.append(lane)
        return lane

    def _look_whether_stuck(self, carried: int) -> None:
        """Open another lane if some wait and no statement has ended since `carried` was right."""
        self._watch = None
        if self._loop is None or not self.waiting():
            return
        if carried == self.carried and len(self._lanes) < max(LANES, self.pool.size // 2):
            self._add_lane().go_on()
        self._watch = self._loop.call_later(STUCK_SECONDS, self._look_whether_stuck, self.carried)


class Lane:
    """A connection, and who uses it: one request by itself, or a task for several."""

    def __init__(self, joiner: Joiner, loop: asyncio.AbstractEventLoop) -> None:
        """Begin free, and without a connection."""
        self.is_free = True
        self._joiner = joiner
        self._loop = loop
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None
        self._carried: list[Request] = []
        self._missed = 0
        self._end: asyncio.TimerHandle | None = None
        self._used = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    async def lead(self, step: str, request: Request) -> Any:
        """Have a request carried that has found this lane free; return its answer."""
        self.is_free = False
        try:
            # What others of this turn of the loop ask comes along.
            await asyncio.sleep(0)
            if self._joiner.take_only(step, request):
                return await self._carry_one(step, request)
        except asyncio.CancelledError:
            request.answer.cancel()
            raise
        finally:
            self.go_on()
        return await request.wait()

    def miss_one(self) -> None:
        """Take note that one of the callers who are being carried has gone.

        When all have, the server gets a moment to answer. Then the connection is cut, or a server
        that hangs would hold the lane for good.
        """
        self._missed += 1
        if self._missed == len(self._carried):
            self._end = self._loop.call_later(GRACE_SECONDS, self._cut)

    async def close(self) -> None:
        """End the task, and give the connection back."""
        self._is_closed = True
        if self._idle is not None:
            self._idle.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.is_free:
            await self._give_back()

    def go_on(self) -> None:
        """Carry those who wait, or be free."""
        if self._is_closed or not self._joiner.waiting():
            self._rest()
            return
        self.is_free = False
        # In a context of its own, or what this caller has in its context would live on.
        self._task = self._loop.create_task(
            self._run(), name="sanic_cookies.postgres", context=Context()
        )

    def _rest(self) -> None:
        self.is_free = True
        self._used = self._loop.time()
        if self._is_closed or self._joiner.drop_surplus(self):
            self._let_go()
        elif self._connection is not None and self._idle is None:
            self._idle = self._loop.call_later(KEEP_SECONDS, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        self._idle = None
        left = self._used + KEEP_SECONDS - self._loop.time()
        if not self.is_free or left > 0:
            self._idle = self._loop.call_later(max(left, 1), self._look_whether_idle)
        else:
            self._let_go()

    async def _run(self) -> None:
        try:
            while self._joiner.waiting() and await self._connect():
                batch = self._joiner.take_batch()
                if batch is not None:
                    await self._carry(*batch)
                await self._take_turns()
        finally:
            self._task = None
            if self._carried:
                self._cut()
            for request in self._carried:
                request.fail(ConnectionError("the interface was closed"))
            self._rest()

    async def _connect(self) -> bool:
        """Have a connection, or leave the work to another lane that has."""
        while self._connection is None:
            waited = self._joiner.waiting()
            try:
                self._connection = await self._joiner.pool.take()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who waited
                if self._joiner.has_lane_beside(self):
                    return False
                for request in waited:
                    if request.lane is None:
                        request.fail(error)
                if not self._joiner.waiting():
                    return False
        return True

    async def _carry_one(self, step: str, request: Request) -> Any:
        """Run a statement for one request, by whose cancellation it ends."""
        if self._connection is None:
            self._connection = await self._joiner.pool.take()
        try:
            return await self._connection.fetchrow(self._joiner.steps[step].plain, *request.args)
        except asyncio.CancelledError:
            # Until the server has stopped the connection is of no use.
            self._let_go()
            raise
        except CUT:
            await self._give_back()
            return ALONE
        finally:
            self._joiner.carried += 1
            await self._take_turns()

    async def _carry(self, step: str, requests: list[Request]) -> None:
        """Run a statement for some requests, and answer them."""
        self._carried, self._missed = requests, 0
        for request in requests:
            request.lane = self
        joined, width = self._joiner.steps[step].joined, self._joiner.steps[step].width
        try:
            columns = _columns([request.args[:width] for request in requests])
            rows = await self._connection.fetch(joined, *columns)
            answers = _answers(rows, len(requests))
        except Exception:  # noqa: BLE001 - each will see for itself what of it is its own
            self._put_down([ALONE] * len(requests))
            # If it is broken the pool will notice.
            await self._give_back()
        else:
            self._put_down(answers)

    def _put_down(self, answers: list[Any]) -> None:
        self._joiner.carried += 1
        if self._end is not None:
            self._end.cancel()
            self._end = None
        requests, self._carried = self._carried, []
        for request, answer in zip(requests, answers, strict=True):
            request.settle(answer)

    def _cut(self) -> None:
        self._connection.terminate()

    async def _take_turns(self) -> None:
        """Give the connection back after each use, unless the pool is ours and large enough."""
        if not self._joiner.pool.is_own or self._joiner.pool.size <= LANES:
            await self._give_back()

    async def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._joiner.pool.give_back(connection)

    def _let_go(self) -> None:
        """Give the connection back, and do not wait for that."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._joiner.pool.give_back_soon(connection)


def _columns(rows: list[tuple[Any, ...]]) -> list[list[str | None]]:
    """Return the arguments of a joined statement.

    All are text: for arrays of any other type asyncpg first asks the server what they are, with
    three statements on each new connection, which a transaction pooler may tear apart.
    """
    return [
        [value if type(value) is str else _text(value) for value in column]
        for column in zip(*rows, strict=True)
    ]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _answers(rows: list[Any], number: int) -> list[Any]:
    """Return what answers each request of a statement."""
    answers: list[Any] = [None] * number
    for row in rows:
        answers[row["n"] - 1] = ALONE if row["passed_over"] else row
    return answers
