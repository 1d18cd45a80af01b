"""The least that a statement to Postgres takes: one connection for it, and all who ask at once.

Postgres runs one statement at a time on a connection, and each has its price in the client however
little it asks. So what comes while one is under way goes together in the next, as JSON in one
parameter: asyncpg takes several times as long to write an array.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
from msgspec import json

from benchmarks.peers.floor import WAIT

# What a statement is asked: `a` are the arguments of one request, `n` is its number, from 1.
ASKED = "json_array_elements(convert_from($1, 'UTF8')::json) WITH ORDINALITY AS asked (a, n)"
# Each row is found by its key, also where the planner believes the table to be small.
BY_KEY = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
Asked = tuple[tuple[Any, ...], asyncio.Future[Any]]
encode = json.Encoder().encode


class Lane:
    """A statement, and a connection that is made again when it fails; who waited then is told."""

    def __init__(
        self,
        url: str,
        statement: str,
        missed: Callable[..., None] | None = None,
        **settings: str,
    ) -> None:
        """Connect nothing yet.

        Args:
            url: Where the server is.
            statement: Its first column says which of those that are `ASKED` a row answers.
            missed: Called with the arguments of who was cancelled when an answer was on its way.
            settings: For the session at the server.
        """
        self._url, self._statement, self._missed = url, statement, missed
        self._settings = {**BY_KEY, **settings}
        self._waiting: list[Asked] = []
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect; to be awaited before anybody asks."""
        self._loop = asyncio.get_running_loop()
        await self._connected()

    async def execute(self, statement: str) -> None:
        """Run another statement, while nobody asks yet."""
        await self._connection.execute(statement)

    async def close(self) -> None:
        """Finish what is under way, and leave nothing behind."""
        if self._task is not None:
            await self._task
        if self._connection is not None:
            self._connection.terminate()

    def ask(self, *args: Any) -> asyncio.Future[Any]:
        """Return what the answer is awaited by: a row, or None where there is none."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((args, answer))
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        return answer

    async def _run(self) -> None:
        while self._waiting:
            asked = [each for each in self._waiting if not each[1].done()]
            self._waiting = []
            try:
                async with asyncio.timeout(WAIT):
                    rows = await (await self._connected()).fetch(
                        self._statement, encode([args for args, _ in asked])
                    )
            except Exception:  # noqa: BLE001 - whatever it is, who waits must be told
                self._fail(asked)
            else:
                self._answer(asked, rows)
        self._task = None

    async def _connected(self) -> Any:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url, server_settings=self._settings)
        return self._connection

    def _answer(self, asked: list[Asked], rows: Any) -> None:
        found = {row[0]: row for row in rows}
        for number, (args, answer) in enumerate(asked, 1):
            if not answer.done():
                answer.set_result(found.get(number))
            elif self._missed is not None:
                self._missed(*args)

    def _fail(self, asked: list[Asked]) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        for _, answer in asked:
            if not answer.done():
                answer.set_exception(ConnectionError("Postgres has failed"))
                answer.exception()  # looked at, whether it is awaited or not
