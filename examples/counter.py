"""A counter in a session, kept in memory: the smallest whole app.

Run it:

    python examples/counter.py

Try it:

    $ curl -c jar localhost:8000/
    {"visits":1}
    $ curl -b jar localhost:8000/
    {"visits":2}

The block is locked: however many requests of one browser run at once, each counts.
"""

from __future__ import annotations

import os

from sanic import HTTPResponse, Request, Sanic, json

from sanic_cookies import InMemory, Session

app = Sanic("Counter")
Session(app, master_interface=InMemory())


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    async with request.ctx.session as sess:
        sess["visits"] = sess.get("visits", 0) + 1
        return json({"visits": sess["visits"]})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
