"""A session and a streamed response: the cookie first, then the lines.

Run it:

    python examples/streaming.py

Try it:

    $ curl -N -c jar localhost:8000/
    download 1
    line 1 of 3
    line 2 of 3
    line 3 of 3
    $ curl -N -b jar localhost:8000/
    download 2
    line 1 of 3
    line 2 of 3
    line 3 of 3

Cookies travel in the head of a response. Once it has begun, an existing session can still be read
and written, in blocks; to begin one, or to log in, raises `ResponseStarted`.
"""

from __future__ import annotations

import asyncio
import os

from sanic import Request, Sanic

from sanic_cookies import InMemory, Session

app = Sanic("Streaming")
Session(app, master_interface=InMemory())


@app.get("/")
async def download(request: Request) -> None:
    async with request.ctx.session as sess:  # before respond(): the session may be a new one
        sess["downloads"] = sess.get("downloads", 0) + 1
        number = sess["downloads"]

    # The lock is free again: other requests of this browser need not wait for the stream's end.
    response = await request.respond(content_type="text/plain")
    await response.send(f"download {number}\n")
    for line in range(1, 4):
        await asyncio.sleep(0.1)
        await response.send(f"line {line} of 3\n")

    async with request.ctx.session as sess:  # after it: the session is there
        sess["finished"] = sess.get("finished", 0) + 1
    await response.eof()


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
