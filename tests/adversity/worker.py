"""A server process for the tests: sessions on a real store, routes that need their lock.

Run as `python worker.py PORT STORE_URL [OPTION=SECONDS ...]`; prints a line when it serves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace

from sanic import Sanic, json, text

from sanic_cookies import (
    AsyncPG,
    AuthSession,
    Redis,
    Session,
    SessionError,
    login_required,
    watch,
)

app = Sanic("worker")


def configure(url: str, options: dict[str, float]) -> None:
    """Attach sessions on the store at `url`.

    `max_sessions` is for logins; `patience` is how many seconds the store has, in place of what it
    has by default, where a process that stands still is not to be taken for a store that hangs.
    """
    store = Redis(url) if url.startswith("redis") else AsyncPG(url)
    most, patience = options.pop("max_sessions", None), options.pop("patience", None)
    Session(app, master_interface=store, preload=False, max_waiters=1000, **options)
    if most is not None:
        options["max_sessions"] = int(most)
    AuthSession(app, master_interface=store, preload=False, max_waiters=1000, **options)
    if patience is not None:
        for session in (app.ctx.session, app.ctx.auth_session):
            session.settings = replace(
                session.settings, store_timeout=patience, request_timeout=patience
            )


async def stay(request):
    """Stay in the block: for so many seconds (`hold=0.5`), or until SIGUSR1 (`hold=told`)."""
    hold = request.args.get("hold", "0")
    app.ctx.inside += 1
    try:
        await (app.ctx.told.wait() if hold == "told" else asyncio.sleep(float(hold)))
    finally:
        app.ctx.inside -= 1


@app.get("/inc")
async def inc(request):
    """Add one under the lock, after holding it for as long as was asked for."""
    async with request.ctx.session as sess:
        count = sess.get("count", 0) + 1
        await stay(request)
        sess["count"] = count
    return json({"count": count})


@app.get("/count")
async def count(request):
    """Show the count, without a lock."""
    return json({"count": (await request.ctx.session.peek()).get("count", 0)})


@app.get("/login/<user>")
async def login(request, user):
    """Log a user in."""
    await app.ctx.auth_session.login_user(request, user)
    return text("ok")


@app.get("/logout")
async def logout(request):
    """Log out, without waiting for the lock."""
    await app.ctx.auth_session.logout_user(request)
    return text("ok")


@app.get("/whoami")
async def whoami(request):
    """Show who is logged in."""
    return json({"user": await app.ctx.auth_session.current_user(request)})


@app.get("/note")
async def note(request):
    """Write into the session of whoever is logged in."""
    async with request.ctx.auth_session as sess:
        user = sess.get("current_user")
        await stay(request)
        sess["notes"] = sess.get("notes", 0) + 1
    return json({"user": user})


@app.get("/rotate")
async def rotate(request):
    """Give the session of whoever is logged in another token."""
    async with request.ctx.auth_session as sess:
        sess.rotate()
    return text("ok")


@app.get("/revoke/<sid>")
async def revoke(request, sid):
    """End a login by its public id."""
    return json({"ended": await app.ctx.auth_session.revoke(sid)})


@app.get("/everywhere/<user>")
async def everywhere(request, user):
    """End all logins of a user."""
    return json({"ended": await app.ctx.auth_session.logout_everywhere(user)})


@app.get("/sessions/<user>")
async def sessions(request, user):
    """Count the sessions of a user."""
    return json({"count": len(await app.ctx.auth_session.sessions_of(user))})


@app.websocket("/feed")
async def feed(request, ws):
    """Answer each message for as long as the login lives; look by itself only every ten minutes."""
    async with watch(request, ws, every=600, session_name="auth_session"):
        # Not "async for", which the sockets that Sanic (25.12) makes under ASGI do not know.
        while (message := await ws.recv()) is not None:
            await ws.send(message)


@app.websocket("/members")
@login_required()
async def members(request, ws):
    """A socket for those who are logged in."""
    await ws.send("welcome")


@app.get("/stats")
async def stats(request):
    """Show the counters of this process, and how many requests are inside of a block."""
    return json({**app.ctx.session.stats(), "inside": app.ctx.inside, "pid": os.getpid()})


@app.get("/plain")
async def plain(request):
    """Touch no session."""
    return text("ok")


@app.exception(SessionError)
async def refused(request, error):
    """Answer with the name of the error, so that tests can tell them apart."""
    return json({"error": type(error).__name__}, status=error.status_code)


@app.before_server_start
async def listen(app):
    """Let those go on who stay until they are told."""
    app.ctx.inside, app.ctx.told = 0, asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, app.ctx.told.set)


@app.after_server_start
async def ready(app):
    """Tell the test that the process serves."""
    print("ready", flush=True)


if __name__ == "__main__":
    configure(sys.argv[2], {k: float(v) for k, _, v in (o.partition("=") for o in sys.argv[3:])})
    app.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        single_process=True,
        access_log=False,
        motd=False,
    )
