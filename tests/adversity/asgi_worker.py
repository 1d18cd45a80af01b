"""The app of `worker.py` for an ASGI server; the store's URL comes from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sanic import HTTPResponse, Request, Sanic, json
from worker import app, configure

__all__ = ["app"]

configure(os.environ["STORE_URL"], {"lease": 2.0, "max_hold": 4.0, "patience": 30.0})
main_process: list[str] = []


@app.main_process_start
async def begin(app: Sanic) -> None:
    main_process.append("has started")


@app.get("/main-process")
async def told(request: Request) -> HTTPResponse:
    return json(main_process)
