"""Writes `old_sessions.json`: what the older libraries' own code stores, for the tests.

Run once, by hand, in an environment of its own, since neither works with today's Sanic:

    python -m venv old && old/bin/pip install ujson cryptography
    pip download --no-deps sanic-cookies==0.4.3 sanic_session==0.8.0   # and unpack both here
    old/bin/python tests/migration/make_fixtures.py FOLDER > tests/migration/old_sessions.json

Their interfaces are loaded from the files, without their packages' `__init__`, which import what
Sanic no longer has. Each writes to a client that only remembers what it was told.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

DATA = {"cart": [1, "zwei", {"drei": 3.5}], "name": "Zoë ☕", "n": 7}
LOGIN = {"current_user": {"id": 5, "name": "ann"}, "_remember_me": True, "seen": 2}
KEY = base64.urlsafe_b64encode(bytes(range(100, 132)))
EXPIRY = 30 * 24 * 3600


class Recorder:
    """A client that remembers."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def setex(self, key: str, seconds: int, value: str) -> None:
        self.calls.append({"key": key, "seconds": seconds, "value": value})

    async def scalar(self, statement: str, *values: Any) -> None:
        self.calls.append({"statement": statement, "values": [str(each) for each in values]})


def load(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def main(folder: Path) -> None:
    old = folder / "sanic_cookies-0.4.3" / "sanic_cookies" / "interfaces"
    found: dict[str, Any] = {"made_at": int(time.time()), "data": DATA, "login": LOGIN}

    client = Recorder()
    interface = load(old / "aioredis.py", "old_aioredis").Aioredis(client)
    for value in (DATA, LOGIN):
        await interface.store(interface.sid_factory(), EXPIRY, value)
    found["sanic_cookies_redis"] = client.calls

    client = Recorder()
    interface = load(old / "gino_asyncpg.py", "old_gino").GinoAsyncPG(client)
    for value in (DATA, LOGIN):
        await interface.store(interface.sid_factory(), EXPIRY, value)
    found["sanic_cookies_postgres"] = client.calls

    interface = load(old / "incookie.py", "old_incookie").InCookieEncrypted(KEY)
    found["key"] = KEY.decode()
    found["sanic_cookies_cookie"] = [interface._encrypt(value) for value in (DATA, LOGIN)]

    sys.modules["aioredis"] = types.ModuleType("aioredis")  # imported for its presence only
    sys.modules["sanic_session"] = types.ModuleType("sanic_session")
    load(folder / "sanic_session" / "utils.py", "sanic_session.utils")
    base = load(folder / "sanic_session" / "base.py", "sanic_session.base")
    client = Recorder()
    interface = load(folder / "sanic_session" / "aioredis.py", "x").AIORedisSessionInterface(client)
    request = types.SimpleNamespace(ctx=types.SimpleNamespace(), cookies={})
    session = await interface.open(request)
    session.update(DATA)

    class Jar(dict):  # the cookies of a response, as that Sanic had them
        def __setitem__(self, name: str, value: Any) -> None:
            super().__setitem__(name, {"value": value})

    jar = Jar()
    await interface.save(request, types.SimpleNamespace(cookies=jar))
    assert base.SessionDict is type(session)
    found["sanic_session_redis"] = client.calls
    found["sanic_session_cookie"] = jar["session"]["value"]
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
