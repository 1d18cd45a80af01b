"""The floor in memory: the least that a locked session in a dict takes; see `floor`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from time import monotonic

from sanic import Sanic
from sanic.exceptions import Unauthorized
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers import floor
from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import DATA, IDLE, arguments

# When it expires, the hash of its secret, its data. A row is replaced, never changed: the same row
# is the same version.
Row = tuple[float, bytes, bytes]


def make_app() -> Sanic:
    """Return the app."""
    app = floor.make_app()
    rows: dict[str, Row] = {}
    turns: floor.Turns

    @app.before_server_start
    async def begin(app: Sanic) -> None:
        nonlocal turns
        turns = floor.Turns()

    def live(sid: str, secret_hash: bytes) -> Row:
        row = rows.get(sid)
        if row is None or row[0] <= monotonic() or not compare_digest(row[1], secret_hash):
            raise Unauthorized("There is no session.")
        return row

    def locked(handler: floor.Handler) -> Callable[[Request], Awaitable[HTTPResponse]]:
        """Have a handler change the data while nobody else does; what it raises changes nothing."""

        async def locked_handler(request: Request) -> HTTPResponse:
            sid, secret_hash = floor.presented(request)
            turn = await turns.take(sid)
            try:
                row = live(sid, secret_hash)
                data = floor.decode(row[2])
                response = await handler(request, data)
                payload = floor.encode(data)
                if payload != row[2]:
                    if rows.get(sid) is not row:
                        raise TimeoutError("the session has ended meanwhile")
                    rows[sid] = (monotonic() + IDLE, secret_hash, payload)
                return response
            finally:
                turns.give(sid, turn)

        return locked_handler

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        sid, secret_hash, response = floor.issued()
        rows[sid] = (monotonic() + IDLE, secret_hash, floor.encode(DATA))
        return response

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        data = floor.decode(live(*floor.presented(request))[2])
        return text(str(data["n"]), headers=floor.LEFT_ALONE)

    floor.add_write(app, locked)
    return app


if __name__ == "__main__":
    serve(make_app(), arguments().port)
