"""Signing in and out: by form or JSON, remembered or not, and back to where you came from.

    python examples/login.py

Open http://localhost:8000/ in a browser, or try:

    $ curl -c jar --json '{"name":"ada","password":"lovelace"}' localhost:8000/login
    {"user":"ada"}
    $ curl -b jar localhost:8000/me
    {"user":"ada"}
"""

from __future__ import annotations

import os

from login_forms import ask_first, by_browser, local, posted
from login_pages import sign_in_page, signed_in_page
from login_store import store_for
from login_users import verified
from sanic import HTTPResponse, Request, Sanic, json, redirect

from sanic_cookies import AuthSession, login_required

app = Sanic("Login")
auth = AuthSession(app, master_interface=store_for(app), no_auth_handler=ask_first)


@app.get("/")
@login_required()
async def index(request: Request) -> HTTPResponse:
    async with request.ctx.auth_session as sess:
        sess["views"] = sess.get("views", 0) + 1
        return signed_in_page(sess, auth)


@app.get("/me")
@login_required()
async def me(request: Request) -> HTTPResponse:
    return json({"user": await auth.current_user(request)})


@app.get("/login")
async def form(request: Request) -> HTTPResponse:
    return sign_in_page(request.args.get("next", "/"))


@app.post("/login")
async def sign_in(request: Request) -> HTTPResponse:
    given = posted(request)
    name, back = given.get("name", ""), given.get("next", "/")
    if not await verified(name, given.get("password", "")):
        if by_browser(request):
            return sign_in_page(back, 401, "Wrong name or password.")
        return json({"error": "wrong name or password"}, 401)
    await auth.login_user(request, name, remember_me="remember" in given)
    return redirect(local(back)) if by_browser(request) else json({"user": name})


@app.post("/logout")
async def sign_out(request: Request) -> HTTPResponse:
    await auth.logout_user(request)
    return redirect("/login")


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Open http://127.0.0.1:{port}/ and sign in as ada, password lovelace.")
    app.run(port=port, workers=int(os.environ.get("WORKERS", "1")))
