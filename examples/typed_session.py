"""A session as an object: a dataclass says what is in it, and a type checker knows.

Run it:

    python examples/typed_session.py

Try it:

    $ curl -c jar -X POST localhost:8000/add/book
    {"items":["book"],"total":1}
    $ curl -b jar -X POST localhost:8000/add/pen
    {"items":["book","pen"],"total":2}
    $ curl -b jar localhost:8000/
    {"items":["book","pen"],"total":2}

The block has the session's lock, checks what is stored against the class, and writes what changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sanic import HTTPResponse, Request, Sanic, json

from sanic_cookies import InMemory, Session, Typed

app = Sanic("TypedSession")
Session(app, master_interface=InMemory())


@dataclass
class Cart:
    """What the session of a visitor holds."""

    items: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        return {"items": self.items, "total": len(self.items)}


carts = Typed(Cart)


@app.post("/add/<item>")
async def add(request: Request, item: str) -> HTTPResponse:
    async with carts(request) as cart:
        cart.items.append(item)
        return json(cart.summary())


@app.get("/")
async def show(request: Request) -> HTTPResponse:
    return json((await carts.peek(request)).summary())


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
