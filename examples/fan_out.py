"""Several stores at once: read from one, written to all; and how to move from one to another.

Run it:

    REDIS_URL=... DATABASE_URL=... python examples/fan_out.py

Try it:

    $ curl -c jar localhost:8000/
    {"visits":1,"read_from":"Redis"}
    $ curl -b jar localhost:8000/
    {"visits":2,"read_from":"Redis"}

Then stop it, start it again with MOVED=1, and go on with the same cookie: now Postgres is read
from, nobody was logged out, and Redis is still written to, in case you want to go back.
"""

from __future__ import annotations

import os
from typing import Any

from sanic import HTTPResponse, Request, Sanic, json

from sanic_cookies import AsyncPG, Redis, Session

app = Sanic("FanOut")
redis = Redis(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
postgres = AsyncPG(os.environ.get("DATABASE_URL", "postgresql://127.0.0.1/"))

# save_every_request: a session that is only ever read would not reach the added store.
session = Session(app, master_interface=redis, save_every_request=True)
if os.environ.get("MOVED"):
    # overwrite=False keeps the former master as an added interface.
    session.set_master_interface(postgres, overwrite=False)
else:
    session.add_interface(postgres)


@app.before_server_start
async def make_table(app: Sanic[Any, Any]) -> None:
    await postgres.create_table()


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    async with request.ctx.session as sess:
        sess["visits"] = sess.get("visits", 0) + 1
        master = type(session.master_interface).__name__
        return json({"visits": sess["visits"], "read_from": master})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
