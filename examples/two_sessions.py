"""Two sessions on one store: a cart for everybody, and a login with a life of its own.

    python examples/two_sessions.py

Try it (the demo takes any name; login.py shows passwords):

    $ curl -c jar -d item=tea localhost:8000/cart
    {"user":null,"cart":["tea"]}
    $ curl -b jar -c jar -d name=ada localhost:8000/login
    {"user":"ada","cart":["tea"]}
    $ curl -b jar -c jar -X POST localhost:8000/logout
    {"user":null,"cart":["tea"]}

The cookies differ, and the session's name is part of every key: one never opens the other.
"""

from __future__ import annotations

import os

from sanic import HTTPResponse, Request, Sanic, json
from sanic.request import RequestParameters

from sanic_cookies import AuthSession, InMemory, Session

app = Sanic("TwoSessions")
store = InMemory()
Session(app, master_interface=store, session_name="shop")  # lives 30 days
auth = AuthSession(app, master_interface=store)  # ends with the browser, or after an idle hour


async def overview(request: Request) -> HTTPResponse:
    shop = await request.ctx.shop.peek()
    return json({"user": await auth.current_user(request), "cart": shop.get("cart", [])})


@app.post("/cart")
async def add(request: Request) -> HTTPResponse:
    item = str((request.form or RequestParameters()).get("item", ""))
    async with request.ctx.shop as sess:
        sess.setdefault("cart", []).append(item[:100])
    return await overview(request)


@app.post("/login")
async def login(request: Request) -> HTTPResponse:
    name = str((request.form or RequestParameters()).get("name", ""))
    await auth.login_user(request, name[:100])
    return await overview(request)


@app.post("/logout")
async def logout(request: Request) -> HTTPResponse:
    await auth.logout_user(request)  # the cart stays
    return await overview(request)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
