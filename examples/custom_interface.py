"""An interface of your own, and the whole of it: sessions in a dict.

`Record` says what each write leaves. Each method is one atomic step: here, since nothing waits in
it. `sanic_cookies.testing.contract_for` makes the tests of yours; this one passes them, too.

    python examples/custom_interface.py

    $ curl -c jar localhost:8000/
    {"visits":1}
    $ curl -b jar localhost:8000/
    {"visits":2}
"""

from __future__ import annotations

import os
from time import time

from sanic import HTTPResponse, Request, Sanic, json

from sanic_cookies import Session
from sanic_cookies.record import Draft, Outcome, Record


class InDict:
    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def fetch(self, name: str, sid: str) -> Record | None:
        record = self.records.get((name, sid))
        return record.seen_at(time()) if record and record.expires_at > time() else None

    async def create(self, draft: Draft) -> bool:
        taken = await self.fetch(draft.name, draft.sid)
        if taken is None:
            self.records[draft.name, draft.sid] = Record.begun(draft, time())
        return taken is None or taken.secret_hash == draft.secret_hash

    async def save(self, draft: Draft) -> Outcome:
        record = await self.fetch(draft.name, draft.sid)
        if record is None or record.version >= draft.version:
            return Outcome.GONE if record is None else Outcome.STALE
        self.records[draft.name, draft.sid] = record.updated(draft, time())
        return Outcome.SAVED

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        record = await self.fetch(name, sid)
        if current := record is not None and record.version == version:
            self.records[name, sid] = record.touched(time(), ttl)
        return current

    async def delete(self, name: str, sid: str) -> bool:
        return await self.fetch(name, sid) is not None and bool(self.records.pop((name, sid)))


if __name__ == "__main__":
    app = Sanic("CustomInterface")
    Session(app, master_interface=InDict())

    @app.get("/")
    async def index(request: Request) -> HTTPResponse:
        async with request.ctx.session as sess:
            sess["visits"] = sess.get("visits", 0) + 1
            return json({"visits": sess["visits"]})

    app.run(port=int(os.environ.get("PORT", "8000")), single_process=True)
