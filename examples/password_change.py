"""A new password ends the user's other sessions, and keeps the one that changed it.

    python examples/password_change.py

Try it: sign in on a laptop and on a phone, then change the password on the laptop.

    $ curl -c laptop -d password=first localhost:8000/login
    {"user":"ada"}
    $ curl -c phone -d password=first localhost:8000/login
    {"user":"ada"}
    $ curl -b laptop -c laptop -d old=first -d new=second localhost:8000/password
    {"changed":true}
    $ curl -b laptop localhost:8000/me
    {"user":"ada"}
    $ curl -b phone localhost:8000/me
    {"description":"Unauthorized","status":401,"message":"Please log in."}

The session keeps a fingerprint of what `session_stamp` returns, and compares it at each request.
"""

from __future__ import annotations

import os
from typing import Any

from login_users import hashed, matches
from sanic import HTTPResponse, Request, Sanic, json
from sanic.exceptions import BadRequest, Forbidden
from sanic.request import RequestParameters

from sanic_cookies import AuthSession, fresh_login_required, login_required

app = Sanic("PasswordChange")
users: dict[int, dict[str, Any]] = {1: {"name": "ada", "password": hashed("first")}}
auth = AuthSession(app, user_loader=users.get, session_stamp=lambda user: user["password"][1])


async def check(request: Request, user: dict[str, Any], field: str) -> None:
    given = str((request.form or RequestParameters()).get(field, ""))
    if not await matches(given, user["password"]):
        raise Forbidden("wrong password")


@app.post("/login")
async def login(request: Request) -> HTTPResponse:
    await check(request, users[1], "password")
    await auth.login_user(request, 1)
    return json({"user": request.ctx.user["name"]})


@app.post("/password")
@fresh_login_required(within=300)  # else: ask for the password, then `auth.confirm_login(request)`
async def change(request: Request) -> HTTPResponse:
    await check(request, request.ctx.user, "old")
    if not (new := (request.form or RequestParameters()).get("new")):
        raise BadRequest("choose a new password")
    request.ctx.user["password"] = hashed(new)
    await auth.refresh_stamp(request)  # this session goes on; the others end at their next request
    return json({"changed": True})


@app.get("/me", error_format="json")
@login_required()
async def me(request: Request) -> HTTPResponse:
    return json({"user": request.ctx.user["name"]})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
