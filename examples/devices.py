"""Where you are signed in: list the places, end one of them, the others, or all.

    python examples/devices.py

Try it (the demo takes any name; login.py shows passwords):

    $ curl -c laptop -A Laptop -d name=ada localhost:8000/login
    {"places":[["Laptop","here"]]}
    $ curl -c phone -A Phone -d name=ada localhost:8000/login
    {"places":[["Phone","here"],["Laptop","there"]]}
    $ curl -b laptop -c laptop -d where=Phone localhost:8000/revoke
    {"places":[["Laptop","here"]]}
    $ curl -b phone localhost:8000/places
    {"description":"Unauthorized","status":401,"message":"Please log in."}
    $ curl -b laptop -c laptop -X POST localhost:8000/everywhere
    {"ended":1}

A place is named by its public id: show it, log it, revoke by it. It opens nothing.
"""

from __future__ import annotations

import os

from sanic import HTTPResponse, Request, Sanic, json
from sanic.request import RequestParameters

from sanic_cookies import AuthSession, InMemory, login_required

app = Sanic("Devices")
auth = AuthSession(app, master_interface=InMemory(), max_sessions=10)


async def overview(request: Request) -> HTTPResponse:
    found = await auth.sessions_of(await auth.current_user(request), request)
    return json({"places": [(it.user_agent, "here" if it.current else "there") for it in found]})


@app.post("/login")
async def login(request: Request) -> HTTPResponse:
    name = str((request.form or RequestParameters()).get("name", ""))
    await auth.login_user(request, name[:100])
    return await overview(request)


@app.get("/places", error_format="json")
@login_required()
async def places(request: Request) -> HTTPResponse:
    return await overview(request)


@app.post("/revoke")
@login_required()
async def revoke(request: Request) -> HTTPResponse:
    user = await auth.current_user(request)
    for place in await auth.sessions_of(user):
        if place.user_agent == (request.form or RequestParameters()).get("where"):
            await auth.revoke(place.sid, user)  # only if it is this user's
    return await overview(request)


@app.post("/everywhere")
@login_required()
async def everywhere(request: Request) -> HTTPResponse:
    return json({"ended": await auth.logout_everywhere(await auth.current_user(request))})


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
