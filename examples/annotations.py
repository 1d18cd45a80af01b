"""With sanic-ext: the session and the user by annotation, and both in the OpenAPI document.

Run it (needs sanic-ext):

    python examples/annotations.py

Try it, or open http://localhost:8000/docs in a browser:

    $ curl -c jar -d name=ada localhost:8000/login
    {"hello":"ada"}
    $ curl -b jar localhost:8000/me
    {"user":"ada","visits":1}
    $ curl -b jar localhost:8000/me
    {"user":"ada","visits":2}
    $ curl localhost:8000/me
    {"description":"Unauthorized","status":401,"message":"Please log in."}
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sanic import HTTPResponse, Request, Sanic, json
from sanic.request import RequestParameters

from sanic_cookies import AuthSession, SessionDict
from sanic_cookies.ext import SessionExtension


@dataclass
class User:
    name: str


app = Sanic("Annotations")
app.config.FALLBACK_ERROR_FORMAT = "json"
auth = AuthSession(app, user_loader=User)
app.extend(extensions=[SessionExtension(user=User)])  # type: ignore[list-item]


@app.post("/login")
async def login(request: Request) -> HTTPResponse:
    form = request.form or RequestParameters()
    name = str(form.get("name", ""))[:100]  # check a password here: see login.py
    await auth.login_user(request, name)
    return json({"hello": name})


@app.get("/me")
async def me(request: Request, user: User, sess: SessionDict) -> HTTPResponse:
    async with sess:
        sess["visits"] = sess.get("visits", 0) + 1
        return json({"user": user.name, "visits": sess["visits"]})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
