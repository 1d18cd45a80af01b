"""Where login.py keeps its sessions: REDIS_URL, else DATABASE_URL, else memory."""

from __future__ import annotations

import os

from sanic import Sanic

from sanic_cookies import AsyncPG, InMemory, Redis


def store_for(app: Sanic) -> InMemory | Redis | AsyncPG:
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
