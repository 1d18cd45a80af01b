"""Where sessions are kept: REDIS_URL, else DATABASE_URL, else memory."""

from __future__ import annotations

import os
import sys

from sanic import Sanic

from sanic_cookies import AsyncPG, InMemory, Redis


def workers() -> int:
    """Return how many processes are to serve."""
    wanted = int(os.environ.get("WORKERS") or 1)
    if wanted > 1 and not (os.environ.get("REDIS_URL") or os.environ.get("DATABASE_URL")):
        sys.exit("Several WORKERS need a store they share: set REDIS_URL or DATABASE_URL.")
    return wanted


def choose_store(app: Sanic) -> InMemory | Redis | AsyncPG:
    """Return the interface that the environment asks for."""
    if url := os.environ.get("REDIS_URL"):
        return Redis(url)
    if url := os.environ.get("DATABASE_URL"):
        store = AsyncPG(url)

        @app.main_process_start
        async def make_table(app: Sanic) -> None:
            await store.create_table()  # once, in the main process, before any worker
            await store.close()

        return store
    return InMemory()
