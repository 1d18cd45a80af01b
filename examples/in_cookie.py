"""A session in the browser's own cookie, encrypted; the server stores nothing.

Install and run it, with a key that stays out of the code:

    pip install '.[cookie]'
    COOKIE_KEYS=$(sanic-cookies key) python examples/in_cookie.py

Try it:

    $ curl -c jar -d theme=dark localhost:8000/theme
    {"theme":"dark"}
    $ curl -b jar localhost:8000/theme
    {"theme":"dark"}

For a few unimportant values only. No lock can help here: of two requests that run at once, the
one that answers last wins. And a copied cookie stays valid until it expires.
"""

from __future__ import annotations

import os

from sanic import HTTPResponse, Request, Sanic, json
from sanic.request import RequestParameters

from sanic_cookies import InCookieEncrypted, Session

app = Sanic("InCookie")
# The first key seals, all of them open. To change keys, run for a while with "new,old".
keys = os.environ.get("COOKIE_KEYS", "").split(",")
Session(app, master_interface=InCookieEncrypted(keys))


@app.post("/theme")
async def choose(request: Request) -> HTTPResponse:
    theme = (request.form or RequestParameters()).get("theme")
    async with request.ctx.session as sess:
        sess["theme"] = "dark" if theme == "dark" else "light"
        return json({"theme": sess["theme"]})


@app.get("/theme")
async def show(request: Request) -> HTTPResponse:
    sess = await request.ctx.session.peek()
    return json({"theme": sess.get("theme", "light")})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
