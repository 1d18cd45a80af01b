"""Sessions in Postgres: one row a session, in a table that the app makes when it starts.

Install and run it:

    pip install '.[postgres]'
    DATABASE_URL=postgresql://me@127.0.0.1/shop python examples/postgres_store.py

Try it:

    $ curl -c jar localhost:8000/
    {"visits":1}
    $ curl -b jar localhost:8000/
    {"visits":2}

If your tables are made by migrations, put into one what `sanic-cookies sql` prints instead.
"""

from __future__ import annotations

import os
from typing import Any

from sanic import HTTPResponse, Request, Sanic, json

from sanic_cookies import AsyncPG, Session

app = Sanic("PostgresStore")
store = AsyncPG(os.environ.get("DATABASE_URL", "postgresql://127.0.0.1/"))
Session(app, master_interface=store)


@app.before_server_start
async def make_table(app: Sanic[Any, Any]) -> None:
    await store.create_table()  # if it is missing; workers that start together take turns


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    async with request.ctx.session as sess:
        sess["visits"] = sess.get("visits", 0) + 1
        return json({"visits": sess["visits"]})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
