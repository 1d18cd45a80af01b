"""Two logins on one store: users, and admins with a shorter life and a cookie of their own.

    python examples/admin_and_user.py

Try it (the demo takes any name; login.py shows passwords):

    $ curl -b jar -c jar -d name=ada localhost:8000/login
    {"user":"ada"}
    $ curl -b jar localhost:8000/admin/users
    {"description":"Unauthorized","status":401,"message":"Please log in."}
    $ curl -b jar -c jar -d name=root localhost:8000/admin/login
    {"admin":"root"}
    $ curl -b jar localhost:8000/admin/users
    {"admin":"root","user":"ada"}
    $ curl -b jar -c jar -X POST localhost:8000/admin/logout
    {"admin":null,"user":"ada"}

The session's name is part of every key and cookie: no cookie of one opens the other.
"""

from __future__ import annotations

import os
from datetime import timedelta

from sanic import Blueprint, HTTPResponse, Request, Sanic, json
from sanic.request import RequestParameters

from sanic_cookies import AuthSession, InMemory, public

app = Sanic("AdminAndUser")
app.config.FALLBACK_ERROR_FORMAT = "json"
store, back_office = InMemory(), Blueprint("back_office", url_prefix="/admin")
users = AuthSession(app, store, session_name="user")
admins = AuthSession(app, store, session_name="admin", expiry=timedelta(minutes=10), path="/admin")
admins.protect(back_office)  # all of it, but what is public


@app.post("/login")
async def login(request: Request) -> HTTPResponse:
    name = str((request.form or RequestParameters()).get("name", ""))
    await users.login_user(request, name[:100])
    return json({"user": await users.current_user(request)})


@back_office.post("/login")
@public
async def admin_login(request: Request) -> HTTPResponse:
    name = str((request.form or RequestParameters()).get("name", ""))
    await admins.login_user(request, name[:100])
    return json({"admin": await admins.current_user(request)})


@back_office.get("/users")
async def overview(request: Request) -> HTTPResponse:
    admin, user = await admins.current_user(request), await users.current_user(request)
    return json({"admin": admin, "user": user})


@back_office.post("/logout")
async def admin_logout(request: Request) -> HTTPResponse:
    await admins.logout_user(request)
    return json({"admin": None, "user": await users.current_user(request)})


app.blueprint(back_office)

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
