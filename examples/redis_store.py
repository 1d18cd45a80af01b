"""Sessions in Redis: they survive a restart, and all processes and machines share them.

Install and run it:

    pip install '.[redis]'
    REDIS_URL=redis://127.0.0.1:6379 python examples/redis_store.py

Try it:

    $ curl -c jar -d item=tea localhost:8000/cart
    {"cart":["tea"]}
    $ curl -b jar -d item=milk localhost:8000/cart
    {"cart":["tea","milk"]}

A locked block costs two round trips: one locks and reads, one writes and unlocks.
"""

from __future__ import annotations

import os

from sanic import HTTPResponse, Request, Sanic, json
from sanic.request import RequestParameters

from sanic_cookies import Redis, Session

app = Sanic("RedisStore")
Session(
    app,
    master_interface=Redis(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")),
    expiry=7 * 24 * 3600,  # forgotten after a week without a request
    preload=False,  # the blocks read for themselves, so nothing needs to be read before them
)


@app.post("/cart")
async def add(request: Request) -> HTTPResponse:
    item = str((request.form or RequestParameters()).get("item", ""))
    async with request.ctx.session as sess:
        sess.setdefault("cart", []).append(item[:100])  # a nested change is saved too
        return json({"cart": sess["cart"]})


@app.get("/cart")
async def show(request: Request) -> HTTPResponse:
    sess = await request.ctx.session.peek()  # to look at: one round trip, no lock
    return json({"cart": sess.get("cart", [])})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
