"""Signing in and out: with a password, remembered or not, and no further without it.

Run it:

    python examples/login.py

Try it (`make demo` shows the same with forms, in a browser):

    $ curl -c jar --json '{"name":"ada","password":"wrong"}' localhost:8000/login
    {"description":"Unauthorized","status":401,"message":"Wrong name or password."}
    $ curl -c jar --json '{"name":"ada","password":"lovelace","remember":true}' localhost:8000/login
    {"user":"ada"}
    $ curl -b jar localhost:8000/me
    {"user":"ada"}
    $ curl -b jar -c jar -X POST localhost:8000/logout
    {"bye":true}
    $ curl -b jar localhost:8000/me
    {"description":"Unauthorized","status":401,"message":"Please log in."}
"""

from __future__ import annotations

import os

from login_users import verified
from sanic import HTTPResponse, Request, Sanic, json
from sanic.exceptions import BadRequest, Unauthorized

from sanic_cookies import AuthSession, InMemory, login_required

app = Sanic("Login")
app.config.FALLBACK_ERROR_FORMAT = "json"
auth = AuthSession(app, master_interface=InMemory(), csrf="fetch-metadata")


@app.post("/login", ctx_csrf=True)  # another site must not sign anybody in, either
async def login(request: Request) -> HTTPResponse:
    match request.json:
        case {"name": str(name), "password": str(password), **rest}:
            remember = rest.get("remember") is True
        case _:
            raise BadRequest("Send a name and a password.")
    if not await verified(name, password):
        raise Unauthorized("Wrong name or password.")
    await auth.login_user(request, name, remember_me=remember)
    return json({"user": name})


@app.get("/me")
@login_required()
async def me(request: Request) -> HTTPResponse:
    return json({"user": await auth.current_user(request)})


@app.post("/logout")
async def logout(request: Request) -> HTTPResponse:
    await auth.logout_user(request)
    return json({"bye": True})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
