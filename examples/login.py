"""Signing in and out by a form: remembered or not, and on to the page that one came for.

    python examples/login.py

Open http://localhost:8000/me as ada, password lovelace. Or so; a browser is sent to the form:

    $ curl localhost:8000/me
    {"description":"Unauthorized","status":401,"message":"Please log in."}
    $ curl -c jar -d name=ada -d password=lovelace -d remember=yes -d next=/me localhost:8000/login
    $ curl -b jar localhost:8000/me
    Hello, ada. <form method=post action=/logout><button>Sign out</button></form>
    $ curl -b jar -c jar -X POST localhost:8000/logout
    $ curl -b jar localhost:8000/me
    {"description":"Unauthorized","status":401,"message":"Please log in."}
"""

from __future__ import annotations

import os
from html import escape

from login_users import verified
from sanic import HTTPResponse, Request, Sanic, html, redirect
from sanic.request import RequestParameters

from sanic_cookies import AuthSession, InMemory, login_required, safe_next

app = Sanic("Login")
auth = AuthSession(app, master_interface=InMemory(), csrf="fetch-metadata", login_url="/login")

FORM = """<form method=post action=/login>
<p role=alert>{problem}</p>
<label>Name <input name=name autocomplete=username required></label>
<label>Password <input name=password type=password autocomplete=current-password required></label>
<label><input name=remember type=checkbox value=yes> Keep me signed in</label>
<input name=next type=hidden value="{next}"> <button>Sign in</button></form>"""


@app.get("/login")
async def form(request: Request) -> HTTPResponse:
    return html(FORM.format(problem="", next=escape(safe_next(request, "/me"))))


@app.post("/login", ctx_csrf=True)  # another site must not sign anybody in, either
async def sign_in(request: Request) -> HTTPResponse:
    given = request.form or RequestParameters()
    name, back = str(given.get("name", "")), safe_next(request, "/me")  # never another site's page
    if not await verified(name, str(given.get("password", ""))):
        return html(FORM.format(problem="Wrong name or password.", next=escape(back)), 401)
    await auth.login_user(request, name, remember_me=given.get("remember") == "yes")
    return redirect(back, status=303)


@app.get("/me", error_format="json")
@login_required()
async def me(request: Request) -> HTTPResponse:
    name, out = escape(await auth.current_user(request)), "<button>Sign out</button></form>"
    return html(f"Hello, {name}. <form method=post action=/logout>{out}")


@app.post("/logout")
async def sign_out(request: Request) -> HTTPResponse:
    await auth.logout_user(request)
    return redirect("/login", status=303)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
