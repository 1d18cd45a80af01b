"""A shopping list that says what it has done: messages that survive the redirect, and no longer.

Run it, and open http://localhost:8000/ in a browser:

    python examples/flash.py

Or try it:

    $ curl -c jar -d item=milk localhost:8000/add
    $ curl -b jar localhost:8000/
    <p class="success">milk is on the list.</p>
    <p>On the list: milk</p>
    $ curl -b jar localhost:8000/
    <p>On the list: milk</p>
    $ curl -b jar -d item=milk localhost:8000/add
    $ curl -b jar localhost:8000/
    <p class="error">milk is on the list already.</p>
    <p>On the list: milk</p>

A page answers `curl` with what is new only; a browser gets the form as well.
"""

from __future__ import annotations

import os
from html import escape

from sanic import HTTPResponse, Request, Sanic, html, redirect
from sanic.request import RequestParameters

from sanic_cookies import InMemory, Session, flash, get_flashes

app = Sanic("Flash")
Session(app, master_interface=InMemory())
FORM = """<!doctype html><title>Shopping</title>
<style>.success {color: green} .error {color: crimson}</style>
<form action="/add" method="post"><input name="item" autofocus required><button>Add</button></form>
"""


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    async with request.ctx.session as sess:
        lines = [
            f'<p class="{each.category}">{escape(each.message)}</p>'
            for each in await get_flashes(request)
        ]
        lines.append(f"<p>On the list: {escape(', '.join(sess.get('list', [])))}</p>")
    by_browser = "text/html" in request.headers.get("accept", "")
    return html((FORM if by_browser else "") + "\n".join(lines))


@app.post("/add")
async def add(request: Request) -> HTTPResponse:
    item = str((request.form or RequestParameters()).get("item", ""))
    async with request.ctx.session as sess:  # the item and its message: both, or neither
        if item in sess.setdefault("list", []):
            await flash(request, f"{item} is on the list already.", "error")
        else:
            sess["list"].append(item)
            await flash(request, f"{item} is on the list.", "success")
    return redirect("/")


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
