"""The floor in Postgres: the least that a session takes, locked across processes; see `floor`.

A read is one statement. A locked write is two: one takes the lease and reads, one writes, if the
lease is still ours, and gives it up. Each goes for all the requests that came while the one before
it was under way: a statement for every request costs a multiple, with or without a pool. Who finds
the lease taken by another process looks again soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from secrets import token_hex

from msgspec import Raw
from sanic import Sanic
from sanic.exceptions import Unauthorized
from sanic.request import Request
from sanic.response import HTTPResponse, text

from benchmarks.peers import floor
from benchmarks.peers.bare_sanic import serve
from benchmarks.peers.common import DATA, IDLE, arguments
from benchmarks.peers.floor_lane import ASKED, Lane

LEASE, POLL = 10, 0.005  # seconds
TABLE = """CREATE TABLE IF NOT EXISTS floor (
    sid text PRIMARY KEY, hash bytea NOT NULL, val text NOT NULL, expires_at timestamptz NOT NULL,
    lease text, lease_until timestamptz NOT NULL DEFAULT '-infinity') WITH (fillfactor = 70)"""
# Asked: id, hash of the secret, what to keep.
CREATE = f"""INSERT INTO floor (sid, hash, val, expires_at)
SELECT a ->> 0, decode(a ->> 1, 'base64'), a ->> 2, now() + interval '{IDLE} seconds' FROM {ASKED}
RETURNING 0"""  # noqa: S608
# Asked: id, hash of the secret. The hashes are compared by Postgres, so that nobody without the
# secret gets a lease; how long that takes tells of a hash only.
READ = f"""SELECT n, val FROM {ASKED} JOIN floor ON sid = a ->> 0
WHERE hash = decode(a ->> 1, 'base64') AND expires_at > now()"""  # noqa: S608
# Asked: id, hash of the secret, token. No row: no session; NULL: another has the lease. Rows are
# locked in the order of their ids, here and below, or two processes could wait for each other.
ACQUIRE = f"""WITH found AS (
    SELECT n, sid, a ->> 2 AS token, lease_until <= clock_timestamp() AS free
    FROM {ASKED} JOIN floor ON sid = a ->> 0
    WHERE hash = decode(a ->> 1, 'base64') AND expires_at > clock_timestamp()
    ORDER BY sid FOR NO KEY UPDATE OF floor
), taken AS (
    UPDATE floor SET lease = token, lease_until = clock_timestamp() + interval '{LEASE} seconds'
    FROM found WHERE floor.sid = found.sid AND free RETURNING n, val
)
SELECT n, val FROM found LEFT JOIN taken USING (n)"""  # noqa: S608
# Asked: id, token, what to keep or null. No row: the lease, or the session, has ended.
COMMIT = f"""WITH held AS (
    SELECT n, sid, a ->> 2 AS new FROM {ASKED} JOIN floor ON sid = a ->> 0
    WHERE lease = a ->> 1 AND expires_at > clock_timestamp()
    ORDER BY sid FOR NO KEY UPDATE OF floor
)
UPDATE floor SET lease = NULL, lease_until = '-infinity', val = coalesce(new, val), expires_at =
    CASE WHEN new IS NULL THEN expires_at ELSE clock_timestamp() + interval '{IDLE} seconds' END
FROM held WHERE floor.sid = held.sid RETURNING n"""  # noqa: S608


def make_app(url: str) -> Sanic:
    """Return the app."""
    app = floor.make_app()
    tokens = map(f"{token_hex(16)}:{{}}".format, count())
    turns: floor.Turns

    def give_up(sid: str, _: bytes, token: str) -> None:
        commit.ask(sid, token, None)

    # Who has lost a lease by a crash of the server is refused when it writes, so that one is taken
    # need not wait for the disk.
    create, commit = Lane(url, CREATE), Lane(url, COMMIT)
    read_one, acquire = Lane(url, READ), Lane(url, ACQUIRE, give_up, synchronous_commit="off")
    lanes = acquire, commit, create, read_one  # in this order: what is taken last is given up yet

    @app.before_server_start
    async def begin(app: Sanic) -> None:
        nonlocal turns
        turns = floor.Turns()
        for lane in lanes:
            await lane.connect()
        await create.execute(TABLE)

    @app.after_server_stop
    async def end(app: Sanic) -> None:
        for lane in lanes:
            await lane.close()

    async def acquired(sid: str, secret_hash: bytes, token: str) -> str:
        for _ in range(int(floor.WAIT / POLL)):
            row = await acquire.ask(sid, secret_hash, token)
            if row is None:
                raise Unauthorized("There is no session.")
            kept: str | None = row[1]
            if kept is not None:
                return kept
            await asyncio.sleep(POLL)
        raise TimeoutError("another process holds the lease")

    def locked(handler: floor.Handler) -> Callable[[Request], Awaitable[HTTPResponse]]:
        """Have a handler change the data while nobody else does; what it raises changes nothing."""

        async def locked_handler(request: Request) -> HTTPResponse:
            sid, secret_hash = floor.presented(request)
            turn = await turns.take(sid)
            token, done = next(tokens), None
            try:
                kept = await acquired(sid, secret_hash, token)
                data = floor.decode(kept)
                response = await handler(request, data)
                new = floor.encode(data)
                changed = Raw(new) if new != kept.encode() else None
                done = await commit.ask(sid, token, changed)
                if done is None:
                    raise TimeoutError("the lease, or the session, has ended meanwhile")
                return response
            finally:
                turns.give(sid, turn)
                if done is None:
                    # Not awaited, since we may have been cancelled.
                    commit.ask(sid, token, None)

        return locked_handler

    @app.get("/start")
    async def start(request: Request) -> HTTPResponse:
        sid, secret_hash, response = floor.issued()
        await create.ask(sid, secret_hash, Raw(floor.encode(DATA)))
        return response

    @app.get("/read")
    async def read(request: Request) -> HTTPResponse:
        row = await read_one.ask(*floor.presented(request))
        if row is None:
            raise Unauthorized("There is no session.")
        return text(str(floor.decode(row[1])["n"]), headers=floor.LEFT_ALONE)

    floor.add_write(app, locked)
    return app


if __name__ == "__main__":
    given = arguments()
    serve(make_app(given.url), given.port)
