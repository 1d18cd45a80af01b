"""The demo, as programs see it: its forms, its guards, its race, on each store and several workers.

What people see of it is tested in tests/browser, where there is a browser.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from harness import Browser
from programs import ROOT, environment, running

DEMO = "examples.demo"
HTML = {"accept": "text/html"}
PASSWORD = "correct horse"
_people = count()


class Person(Browser):
    """Somebody who fills in forms: takes the token from the page, as a browser does."""

    async def send(self, page: str, action: str | None = None, **fields: str) -> httpx.Response:
        """Load `page` and send its form, or the one that leads to `action`."""
        form = (await self.get(page, headers=HTML)).text
        token = re.findall(r'name="csrf_token" value="([^"]+)"', form)[0]
        data = {"csrf_token": token, **fields}
        return await self.post(action or page, headers=HTML, data=data)

    async def sign_up(self, name: str) -> None:
        done = await self.send("/sign-up", name=name, password=PASSWORD)
        assert (done.status_code, done.headers["location"]) == (303, "/devices")

    async def is_in(self) -> bool:
        return (await self.get("/me")).json()["user"] is not None

    def socket(self, path: str) -> connect:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        url = str(self._client.base_url).rstrip("/").replace("http", "ws", 1)
        headers = {"cookie": cookies} if cookies else {}
        return connect(url + path, additional_headers=headers, proxy=None)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[str]:
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA IF EXISTS demo CASCADE; CREATE SCHEMA demo")
    yield f"{database_url}{'&' if '?' in database_url else '?'}search_path=demo"
    await connection.execute("DROP SCHEMA demo CASCADE")
    await connection.close()


@pytest.fixture(params=["memory", "redis", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The demo, in memory, or with two workers on a store that they share."""
    chosen = {
        "memory": dict,
        "redis": lambda: {"WORKERS": "2", "REDIS_URL": request.getfixturevalue("redis_url")},
        "postgres": lambda: {"WORKERS": "2", "DATABASE_URL": request.getfixturevalue("database")},
    }[request.param]()
    users = str(tmp_path / "users.sqlite3")
    with running(DEMO, tmp_path / "log", USERS_FILE=users, **chosen) as url:
        yield url


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo in memory, one for all tests that need no other."""
    directory = tmp_path_factory.mktemp("demo")
    users = str(directory / "users.sqlite3")
    with running(DEMO, directory / "log", USERS_FILE=users) as url:
        yield url


@pytest.fixture
def name() -> str:
    """The name of somebody new."""
    return f"ada{next(_people)}"


async def test_in_and_out(url: str) -> None:
    """Up, out and in by forms and back to where one came from; a copied cookie dies with logout."""
    async with Person(url) as ada:
        asked = await ada.get("/devices", headers=HTML)
        assert (asked.status_code, asked.headers["location"]) == (302, "/sign-in?next=/devices")
        await ada.sign_up("ada")
        assert "Welcome, ada." in (await ada.get("/devices", headers=HTML)).text
        async with ada.copy() as thief:
            out = await ada.send("/devices", "/sign-out")
            assert (out.status_code, ada.cookies) == (303, {})
            assert (await thief.get("/devices")).status_code == 401

        wrong = await ada.send("/sign-in", name="ada", password="wrong", next="/devices")
        assert (wrong.status_code, "Wrong name" in wrong.text) == (401, True)
        nobody = await ada.send("/sign-in", name="nobody", password=PASSWORD)
        assert nobody.text.count("Wrong name or password.") == 1
        back = await ada.send("/sign-in", name=" ADA ", password=PASSWORD, next="/devices")
        assert (back.status_code, back.headers["location"]) == (303, "/devices")
        assert await ada.is_in()


async def test_all_fifty_are_counted_under_the_lock(url: str) -> None:
    """The race: fifty sockets at once, each a request; under the lock no update is lost."""
    async with Person(url) as runner:
        await runner.post("/lab/start")
        for kind in ("locked", "unlocked"):
            await race(runner, kind)
        counted = (await runner.get("/lab/counters")).json()

        assert counted["locked"] == 50
        assert counted["unlocked"] < 50


async def race(runner: Person, kind: str) -> None:
    """Open fifty sockets, then start them all, and wait for the last."""
    async with AsyncExitStack() as stack:
        opened = [stack.enter_async_context(runner.socket(f"/lab/race/{kind}")) for _ in range(50)]
        sockets = await asyncio.gather(*opened)
        await asyncio.gather(*(socket.send("go") for socket in sockets))
        told = await asyncio.gather(*(socket.recv() for socket in sockets))
        assert all("waited" in str(text) for text in told)
        await asyncio.gather(*(socket.wait_closed() for socket in sockets))


async def test_a_race_that_nobody_has_begun(one: str) -> None:
    """A socket without the lab's session is closed, and nothing is counted."""
    async with Person(one) as stranger:
        for kind in ("locked", "unlocked"):
            async with stranger.socket(f"/lab/race/{kind}") as socket:
                await socket.send("go")
                await socket.wait_closed()
                assert socket.close_code == 1000
        assert (await stranger.get("/lab/counters")).json() == {}


async def test_a_new_password_ends_the_other_sessions(url: str) -> None:
    """Another browser is out, its socket too; the one that changed the password stays in."""
    async with Person(url) as laptop, Person(url) as phone:
        await laptop.sign_up("ada")
        await phone.send("/sign-in", name="ada", password=PASSWORD)
        async with phone.socket("/live") as socket:
            await answers(socket)
            done = await laptop.send("/password", old=PASSWORD, new="battery staple")
            assert done.status_code == 303
            await asyncio.wait_for(socket.wait_closed(), 30)
        assert socket.close_code == 1008
        assert await laptop.is_in()
        assert not await phone.is_in()
        old = await phone.send("/sign-in", name="ada", password=PASSWORD)
        assert old.status_code == 401


async def answers(socket: ClientConnection) -> None:
    """Wait until the handler has been reached: it is the one that answers a ping."""
    await (await socket.ping())


async def test_places_are_ended_one_by_one_and_all_at_once(one: str, name: str) -> None:
    """One's own places can be ended, nobody else's."""
    async with Person(one) as laptop, Person(one) as phone, Person(one) as eve:
        await laptop.sign_up(name)
        await phone.send("/sign-in", name=name, password=PASSWORD, remember="yes")
        await eve.sign_up(f"eve {name}")
        page = (await laptop.get("/devices")).text
        [sid] = re.findall(r'action="/devices/([\w-]{22})/end"', page)
        assert page.count("remembered") == 1

        assert (await eve.send("/devices", f"/devices/{sid}/end")).status_code == 404
        assert await phone.is_in()
        assert (await laptop.send("/devices", f"/devices/{sid}/end")).status_code == 303
        assert not await phone.is_in()

        await phone.send("/sign-in", name=name, password=PASSWORD)
        await laptop.send("/devices", "/devices/others/end")
        assert (await laptop.is_in(), await phone.is_in()) == (True, False)
        await phone.send("/sign-in", name=name, password=PASSWORD)
        gone = await laptop.send("/devices", "/devices/all/end")
        assert (gone.headers["location"], laptop.cookies) == ("/", {})
        assert not await phone.is_in()
        assert await eve.is_in()


async def test_remembered_cookies_outlive_the_browser(one: str, name: str) -> None:
    """With the box ticked, the cookie is kept for 30 days; without it, until the browser ends."""
    async with Person(one) as ada:
        await ada.sign_up(name)
        plain = await ada.send("/sign-in", name=name, password=PASSWORD)
        kept = await ada.send("/sign-in", name=name, password=PASSWORD, remember="yes")

        assert "Max-Age" not in plain.headers["set-cookie"]
        assert f"Max-Age={30 * 24 * 3600}" in kept.headers["set-cookie"]


async def test_deleting_the_account_asks_for_a_fresh_login(one: str, name: str) -> None:
    """A page of its own asks for the password; then the account goes, and its sessions with it."""
    async with Person(one) as ada:
        await ada.sign_up(name)
        assert (await ada.get("/account", headers=HTML)).status_code == 200
        right = await ada.send("/confirm", password=PASSWORD, next="/account")
        wrong = await ada.send("/confirm", password="wrong", next="/account")
        assert (right.status_code, right.headers["location"]) == (303, "/account")
        assert wrong.status_code == 401
        gone = await ada.send("/account", "/account/delete")
        assert (gone.status_code, ada.cookies) == (303, {})
        again = await ada.send("/sign-in", name=name, password=PASSWORD)
        assert again.status_code == 401


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "password": PASSWORD},
        {"name": "a" * 41, "password": PASSWORD},
        {"name": "a\0b", "password": PASSWORD},
        {"name": "ada", "password": "short"},
        {"name": "ada", "password": "x" * 257},
        {"name": "<script>alert(1)</script>", "password": ""},
    ],
    ids=lambda fields: fields["name"][:9] + "-" + fields["password"][:9],
)
async def test_what_cannot_be_an_account(one: str, fields: dict[str, str]) -> None:
    """What is typed wrong is told, escaped, and makes no account."""
    async with Person(one) as person:
        refused = await person.send("/sign-up", **fields)

        assert (refused.status_code, 'role="alert"' in refused.text) == (422, True)
        assert "<script>" not in refused.text.partition("<body>")[2]
        assert not await person.is_in()


async def test_a_name_is_given_once(one: str, name: str) -> None:
    """However it is written."""
    async with Person(one) as first, Person(one) as second:
        await first.sign_up(name)
        refused = await second.send("/sign-up", name=f" {name.upper()} ", password=PASSWORD)

        assert (refused.status_code, "That name is taken." in refused.text) == (422, True)
        assert not await second.is_in()


async def test_forged_and_foreign_requests(one: str, name: str) -> None:
    """Without the token, from another site, or on to another site: refused."""
    async with Person(one) as ada, Person(one) as victim:
        await ada.sign_up(name)
        bare = await ada.post("/sign-out")
        foreign = {**HTML, "sec-fetch-site": "cross-site"}
        signed_in = await victim.post("/sign-in", headers=foreign, data={"name": name})
        assert (bare.status_code, signed_in.status_code) == (403, 403)
        assert await ada.is_in()

        fields = {"name": name, "password": PASSWORD, "next": "//evil.example/"}
        done = await victim.send("/sign-in", **fields)
        assert (done.status_code, done.headers["location"]) == (303, "/")


async def test_every_answer_has_strict_headers(one: str) -> None:
    """Pages, errors, files and redirects: nothing from elsewhere, nothing inline."""
    async with Person(one) as visitor:
        for path in ("/", "/lab", "/nowhere", "/devices", "/static/style.css"):
            answer = await visitor.get(path, headers=HTML)
            policy: Any = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, path
            assert "unsafe-inline" not in policy
            assert "<script>" not in answer.text
            assert " style=" not in answer.text


def test_a_command_gets_a_redis_of_its_own() -> None:
    """What `make demo WORKERS=4` uses: a Redis that answers while the command runs."""
    ping = "import os, redis; print(redis.from_url(os.environ['REDIS_URL']).ping()); exit(3)"
    done = subprocess.run(
        [sys.executable, "tests/with_redis.py", sys.executable, "-c", ping],
        env=environment(),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (3, "True\n"), done.stderr


def test_workers_need_a_store_that_they_share(tmp_path: Path) -> None:
    """Two workers in memory would be two sites: the demo says so and does not start."""
    result = subprocess.run(
        [sys.executable, "-m", DEMO],
        env=environment(WORKERS="2", USERS_FILE=str(tmp_path / "users")),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode != 0
    assert "REDIS_URL or DATABASE_URL" in result.stderr
