"""One of the few connections that carry what is asked of Postgres, a statement at a time."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from .pool import PASSING, Pool
from .queue import ALONE, Arguments, Queue, Request, Step, refuse

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
        self._end: asyncio.TimerHandle | None = None
        self._used = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    async def lead(self, step: str, request: Request) -> None:
        """Have a request carried that has found this lane free; others may come along."""
        self.is_free = False
        args, answer = request
        try:
            # What others of this turn of the loop ask comes along.
            self._queue.is_led = True
            try:
                await asyncio.sleep(0)
            finally:
                self._queue.is_led = False
            if self._may_connect() and self._queue.take_only(step, request):
                answer.set_result(await self._carry_one(step, args))
        except asyncio.CancelledError:
            answer.cancel()
            raise
        finally:
            self.go_on()

    async def close(self) -> None:
        """End the task, and give the connection back."""
        self._is_closed = True
        if self._idle is not None:
            self._idle.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.is_free:
            await self.give_back()

    async def give_back(self) -> None:
        """Give the connection back, if there is one; nobody may be using it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.give_back(connection)

    def go_on(self) -> None:
        """Carry those who wait, or be free."""
        if self._is_closed or not self._queue:
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

    def look_whether_missed(self) -> None:
        """See whether all the callers have gone whose requests are being carried.

        The server then gets a moment to answer. After it the connection is cut, or a server that
        hangs would hold the lane for good.
        """
        if not self._carried or self._end is not None:
            return
        if all(answer.done() for _, answer in self._carried):
            self._end = self._loop.call_later(GRACE_SECONDS, self._cut)

    async def _run(self) -> None:
        try:
            while self._queue and await self._connect():
                batch = self._queue.take_batch()
                if self._queue:
                    self._call_another()
                if batch is not None:
                    await self._carry(*batch)
                if self._takes_turns():
                    await self.give_back()
        finally:
            self._task = None
            if self._carried:
                self._cut()
                refuse(self._put_down(), ConnectionError("the interface was closed"))
            self._rest()

    def _call_another(self) -> None:
        """Have another lane begin with what this one leaves behind."""
        free = next((lane for lane in self._lanes if lane.is_free), None)
        if free is not None:
            free.go_on()

    async def _connect(self) -> bool:
        """Have a connection, or leave the work to another lane that has."""
        while self._connection is None:
            self._queue.drop_gone()
            if not self._queue:
                return False
            waited = set(self._queue.answers())
            try:
                self._connection = await self._pool.take()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who waited
                if not self._may_connect():
                    return False
                # But for whom another lane has taken meanwhile.
                refuse(waited.intersection(self._queue.answers()), error)
        return True

    def _may_connect(self) -> bool:
        """Whether a failure to connect is for callers to see: no other lane could serve them."""
        return self.is_connected or not any(lane.is_connected for lane in self._lanes)

    async def _carry_one(self, step: str, args: Arguments) -> Any:
        """Run a statement for one request, by whose cancellation it ends."""
        if self._connection is None:
            self._connection = await self._pool.take()
        try:
            return await self._connection.fetchrow(self._queue.steps[step].plain, *args)
        except asyncio.CancelledError:
            # Until the server has stopped the connection is of no use.
            self._let_go()
            raise
        except PASSING:
            await self.give_back()
            return ALONE
        finally:
            self.carried += 1
            if self._takes_turns():
                await self.give_back()

    async def _carry(self, step: Step, requests: list[Request]) -> None:
        """Run a statement for some requests, and answer them."""
        self._carried = requests
        try:
            packed = step.pack([args for args, _ in requests])
            results = _results(await self._connection.fetch(step.joined, *packed), len(requests))
        except Exception:  # noqa: BLE001 - each will see for itself what of it is its own
            self._answer([ALONE] * len(requests))
            # If it is broken the pool will notice.
            await self.give_back()
        else:
            self._answer(results)

    def _answer(self, results: list[Any]) -> None:
        for answer, result in zip(self._put_down(), results, strict=True):
            if not answer.done():
                answer.set_result(result)

    def _put_down(self) -> list[asyncio.Future[Any]]:
        """Have nothing to carry any more; return where the callers wait."""
        self.carried += 1
        if self._end is not None:
            self._end.cancel()
            self._end = None
        requests, self._carried = self._carried, []
        return [answer for _, answer in requests]

    def _cut(self) -> None:
        self._connection.terminate()

    def _takes_turns(self) -> bool:
        """Whether the connection goes back after each use: the pool is another's, or too small."""
        return not self._pool.is_own or self._pool.size <= LANES

    def _let_go(self) -> None:
        """Give the connection back, and do not wait for that."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back_soon(connection)


def _results(rows: list[Any], number: int) -> list[Any]:
    """Return what answers each request of a statement."""
    results: list[Any] = [None] * number
    for row in rows:
        results[row[-2] - 1] = ALONE if row[-1] else row
    return results
