"""One of the few connections that carry what is asked of Postgres, a statement at a time."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from .pool import CUT, Pool
from .queue import ALONE, Queue, Request

LANES = 2
# A connection that nobody has needed for so long goes back to the pool, which knows when to end it.
KEEP_SECONDS = 10.0
# What a server may still take for an answer that nobody waits for any more.
GRACE_SECONDS = 1.0


class Lane:
    """A connection, and who uses it: one request by itself, or a task for several.

    Attributes:
        is_free: Whether nobody uses it.
        carried: How many statements it has carried.
    """

    def __init__(self, queue: Queue, pool: Pool, lanes: list[Lane]) -> None:
        """Begin free, and without a connection.

        Args:
            queue: What is to be carried.
            pool: Where connections come from.
            lanes: All lanes; this one leaves them when it is one too many.
        """
        self.is_free = True
        self.carried = 0
        self._queue, self._pool, self._lanes = queue, pool, lanes
        self._loop = asyncio.get_running_loop()
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
            if self._may_connect() and self._queue.take_only(step, request):
                return await self._carry_one(step, request)
        except asyncio.CancelledError:
            request.answer.cancel()
            raise
        finally:
            self.go_on()
        return await request.wait()

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
        if self._is_closed or not self._queue.waiting():
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
        if len(self._lanes) > LANES:
            self._lanes.remove(self)
            self._is_closed = True
        if self._is_closed:
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
            while self._queue.waiting() and await self._connect():
                batch = self._queue.take_batch()
                if batch is not None:
                    await self._carry(*batch)
                await self._take_turns()
        finally:
            self._task = None
            if self._carried:
                self._cut()
                self._put_down([ConnectionError("the interface was closed")] * len(self._carried))
            self._rest()

    async def _connect(self) -> bool:
        """Have a connection, or leave the work to another lane that has."""
        while self._connection is None:
            waited = self._queue.waiting()
            try:
                self._connection = await self._pool.take()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who waited
                if not self._may_connect():
                    return False
                for request in waited:
                    if request.missed is None:  # nor has another lane taken it meanwhile
                        request.settle(error)
                if not self._queue.waiting():
                    return False
        return True

    def _may_connect(self) -> bool:
        """Whether a failure to connect is for callers to see: no other lane could serve them."""
        others = (lane for lane in self._lanes if lane is not self)
        return self.is_connected or not any(lane.is_connected for lane in others)

    async def _carry_one(self, step: str, request: Request) -> Any:
        """Run a statement for one request, by whose cancellation it ends."""
        if self._connection is None:
            self._connection = await self._pool.take()
        try:
            return await self._connection.fetchrow(self._queue.steps[step].plain, *request.args)
        except asyncio.CancelledError:
            # Until the server has stopped the connection is of no use.
            self._let_go()
            raise
        except CUT:
            await self._give_back()
            return ALONE
        finally:
            self.carried += 1
            await self._take_turns()

    async def _carry(self, step: str, requests: list[Request]) -> None:
        """Run a statement for some requests, and answer them."""
        self._carried, self._missed = requests, 0
        for request in requests:
            request.missed = self._miss_one
        joined, width = self._queue.steps[step].joined, self._queue.steps[step].width
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
        self.carried += 1
        if self._end is not None:
            self._end.cancel()
            self._end = None
        requests, self._carried = self._carried, []
        for request, answer in zip(requests, answers, strict=True):
            request.settle(answer)

    def _miss_one(self) -> None:
        """Take note that one of the callers who are being carried has gone.

        When all have, the server gets a moment to answer. Then the connection is cut, or a server
        that hangs would hold the lane for good.
        """
        self._missed += 1
        if self._missed == len(self._carried):
            self._end = self._loop.call_later(GRACE_SECONDS, self._cut)

    def _cut(self) -> None:
        self._connection.terminate()

    async def _take_turns(self) -> None:
        """Give the connection back after each use, unless the pool is ours and large enough."""
        if not self._pool.is_own or self._pool.size <= LANES:
            await self._give_back()

    async def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.give_back(connection)

    def _let_go(self) -> None:
        """Give the connection back, and do not wait for that."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back_soon(connection)


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
