"""Four workers, one counter: the locks hold across processes.

Run it with one of the two:

    REDIS_URL=redis://127.0.0.1:6379 python examples/multi_worker.py
    DATABASE_URL=postgresql://me@127.0.0.1/shop python examples/multi_worker.py

Try it:

    $ curl -c jar localhost:8000/
    {"visits":1}
    $ curl -b jar localhost:8000/
    {"visits":2}

Now 40 more, eight at a time, on whichever worker they land, and not one is lost (42):

    seq 40 | xargs -P 8 -I{} curl -s -o /dev/null -b jar localhost:8000/
    curl -b jar localhost:8000/
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from sanic import HTTPResponse, Request, Sanic, json

from sanic_cookies import AsyncPG, Redis, Session

app = Sanic("MultiWorker")
if url := os.environ.get("REDIS_URL"):
    store: Redis | AsyncPG = Redis(url)
elif url := os.environ.get("DATABASE_URL"):
    store = AsyncPG(url)
else:
    sys.exit("Set REDIS_URL or DATABASE_URL: what is in memory is not shared by workers.")
Session(app, master_interface=store)


@app.before_server_start
async def make_table(app: Sanic[Any, Any]) -> None:
    if isinstance(store, AsyncPG):
        await store.create_table()  # if it is missing; workers that start together take turns


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    async with request.ctx.session as sess:
        visits = sess.get("visits", 0)
        await asyncio.sleep(0.01)  # without the lock, this is where updates would be lost
        sess["visits"] = visits + 1
        return json({"visits": sess["visits"]})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")), workers=4)
