"""Hears of leases that Postgres hands to this process; without it waiters look by themselves."""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from .pg_pool import AWAY, CONNECT_SECONDS
from .wakeups import Wakeups

logger = logging.getLogger("sanic_cookies")

_LISTEN_AGAIN_SECONDS = 1.0


async def listen(url: str, wakeups: Wakeups) -> None:
    """Wake the waiters of this process for as long as this is not cancelled.

    On a connection of its own, as a transaction pooler would lose LISTEN.
    """
    while True:
        try:
            await _listen_once(url, wakeups)
        except AWAY as error:
            logger.debug("no wake-ups from Postgres: %s", type(error).__name__)
        finally:
            wakeups.listening = False
        await asyncio.sleep(_LISTEN_AGAIN_SECONDS)


async def _listen_once(url: str, wakeups: Wakeups) -> None:
    def heard(connection: object, pid: int, channel: str, payload: object) -> None:
        wakeups.wake(str(payload))

    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    try:
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        await connection.add_listener(f"sanic_cookies_{wakeups.process}", heard)
        wakeups.listening = True
        await ended.wait()
    finally:
        connection.terminate()
