"""The app of the soak: `python soak_worker.py PORT STORE_URL`. It logs one line a record."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from sanic import Sanic, json

from sanic_cookies import (
    AsyncPG,
    AuthSession,
    InMemory,
    Redis,
    Session,
    SessionError,
    flash,
    get_flashes,
    login_required,
)

EXPIRY = 15.0  # so that the number of sessions levels off soon
LEASE = 2.0

app = Sanic("soak", configure_logging=False)
# Sanic's timer keeps a websocket that is gone, and its 17 KB, for up to half of this: 30 s, for as
# long as which each worker grew.
app.config.REQUEST_TIMEOUT = 4


class OneLine(logging.Formatter):
    """Level, logger and message; of an exception only that there was one, and its class."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname} {record.name} {record.getMessage()}"
        if record.exc_info and record.exc_info[0] is not None:
            text += f" [{record.exc_info[0].__name__}]"
        return text.replace("\n", " | ")


def configure(url: str) -> None:
    """Attach sessions on the store at `url`."""
    master: Any
    if url.startswith("redis"):
        master = Redis(url, prefix="soak:")
    elif url.startswith("postgresql"):
        master = AsyncPG(url, table="site", sweep_every=2.0)
    else:
        master = InMemory()
    options: dict[str, Any] = {"warn_lock": False, "lease": LEASE, "expiry": EXPIRY}
    Session(app, master, **options)
    AuthSession(app, master, max_sessions=3, **options)


@app.get("/inc")
async def inc(request):
    async with request.ctx.session as sess:
        sess["n"] = sess.get("n", 0) + 1
        await asyncio.sleep(0.001)
        return json(sess["n"])


@app.get("/unlocked")
async def unlocked(request):
    request.ctx.session["seen"] = True
    return json(None)


@app.get("/peek")
async def peek(request):
    return json(dict(await request.ctx.session.peek()))


@app.get("/untouched")
async def untouched(request):
    return json(None)


@app.get("/login/<user>")
async def login(request, user):
    await app.ctx.auth_session.login_user(request, user)
    return json(user)


@app.get("/me")
@login_required()
async def me(request):
    return json(await app.ctx.auth_session.current_user(request))


@app.get("/logout")
async def logout(request):
    await app.ctx.auth_session.logout_user(request)
    return json(None)


@app.get("/revoke/<user>")
async def revoke(request, user):
    return json(await app.ctx.auth_session.logout_everywhere(user))


@app.get("/flash")
async def leave(request):
    await flash(request, "saved")
    return json(None)


@app.get("/flashes")
async def show(request):
    return json(len(await get_flashes(request)))


@app.websocket("/socket")
async def socket(request, ws):
    async for _ in ws:
        await ws.send(str(len(await request.ctx.session.peek())))


@app.get("/stats")
async def stats(request):
    auth, session = app.ctx.auth_session, app.ctx.session
    return json(
        {
            "tasks": len(asyncio.all_tasks()),
            "locks": len(session.runtime.locks) + len(auth.runtime.locks),
            "background": len(session.runtime.background) + len(auth.runtime.background),
        }
    )


@app.exception(SessionError)
async def refused(request, error):
    return json(type(error).__name__, status=error.status_code)


@app.after_server_start
async def ready(app):
    print("ready", flush=True)


if __name__ == "__main__":
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    configure(sys.argv[2])
    app.run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, motd=False)
