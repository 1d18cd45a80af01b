"""A session in a websocket: read and written for each message, never locked in between.

Run it:

    python examples/websocket.py

Try it, or open http://localhost:8000/ in a browser and type:

    $ curl -c jar -X POST localhost:8000/join
    {"messages":0}
    $ curl -b jar localhost:8000/count
    {"messages":0}

A handshake cannot set a cookie, so the session is begun by a plain request before it. Each
`async with` looks afresh: a session that was ended meanwhile is found empty at the next message.
"""

from __future__ import annotations

import os

from sanic import HTTPResponse, Request, Sanic, Websocket, html, json

from sanic_cookies import InMemory, Session

app = Sanic("Websocket")
Session(app, master_interface=InMemory())
PAGE = """<!doctype html><title>Echo</title><input placeholder="type, then Enter"><ol></ol><script>
fetch("/join", {method: "POST"}).then(() => {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/echo")
  const [input, list] = [document.querySelector("input"), document.querySelector("ol")]
  input.onchange = () => { socket.send(input.value); input.value = "" }
  socket.onmessage = e => list.appendChild(document.createElement("li")).textContent = e.data
})</script>"""


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    return html(PAGE)


@app.post("/join")
async def join(request: Request) -> HTTPResponse:
    async with request.ctx.session as sess:
        return json({"messages": sess.setdefault("messages", 0)})


@app.get("/count")
async def count(request: Request) -> HTTPResponse:
    return json({"messages": (await request.ctx.session.peek()).get("messages")})


@app.websocket("/echo")
async def echo(request: Request, ws: Websocket) -> None:
    async for message in ws:
        async with request.ctx.session as sess:  # one message, not the socket's whole life
            if "messages" not in sess:
                return  # no session, or it has ended: the socket closes
            sess["messages"] += 1
            number = sess["messages"]
        await ws.send(f"{number}: {message}")


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
