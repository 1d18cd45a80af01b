"""Attacks with tokens: made up, planted, carried in other ways, of another session, superseded."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from itertools import count
from pickle import dumps
from typing import Any
from urllib.parse import quote

import pytest

from sanic_cookies.token import Token
from target import EMPTY, NOTHING, Target, cookie, everything
from wire import ask

NAMES = ("session", "auth_session")
A_TOKEN = Token.generate()

# Ids that a client makes up. None of them may ever be the id of a session.
MADE_UP = [
    A_TOKEN.value,
    f"{'A' * 22}.{'A' * 43}",
    f"{'-' * 22}.{'_' * 43}",
    A_TOKEN.sid,
    A_TOKEN.secret,
    f"{A_TOKEN.sid}.",
    f".{A_TOKEN.secret}",
    f"{A_TOKEN.sid}:{A_TOKEN.secret}",
    A_TOKEN.value + "A",
    A_TOKEN.value[:-1],
    f'"{A_TOKEN.value}"',
    quote(A_TOKEN.value).replace(".", "%2e"),
    A_TOKEN.value + "%00",
    A_TOKEN.value.upper(),
    f"{A_TOKEN.value},{A_TOKEN.value}",
    str(uuid.uuid4()),
    uuid.uuid4().hex,
    "",
    "0",
    "1",
    "-1",
    "null",
    "None",
    "undefined",
    "true",
    "{}",
    "[]",
    '{"sid":"admin"}',
    "admin",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "*",
    "session:*",
    "%",
    "_" * 66,
    "' OR '1'='1",
    "'||pg_sleep(10)||'",
    b"\r\nSET x 1\r\n".hex(),
    "s:" + A_TOKEN.value,
    "A" * 65,
    "A" * 67,
    "A" * 3000,
    "\u0661" * 22 + "." + "\u0661" * 43,
    "\u00e9" * 66,
    urlsafe_b64encode(dumps({"current_user": "admin"})).decode(),
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
]


@pytest.mark.parametrize("name", NAMES)
async def test_an_id_that_the_client_made_up_is_never_adopted(target: Target, name: str) -> None:
    """Whatever is sent opens nothing, and what is stored then has an id of the server's own."""
    for made_up in MADE_UP:
        header = cookie(**{name: made_up})
        reply = await ask(target.url, "/write?a=1", header)
        assert reply.status == 200
        given = [line.partition("=")[2].partition(";")[0] for line in reply.set_cookies]
        assert len(given) == 2
        assert all(value not in made_up for value in given)
        assert len(made_up) < 20 or all(made_up not in value for value in given)
        assert await target.sees("/block", header) == (200, EMPTY), made_up
    assert await target.gains(cookie(**{name: A_TOKEN.value})) == NOTHING


@pytest.mark.parametrize("name", NAMES)
async def test_a_sid_without_its_secret_opens_nothing(shared_master: Any, name: str) -> None:
    """The public half of a token is no secret: with any other half it is a stranger's."""
    async with Target(shared_master) as target:
        victim, attacker = await target.victim(), await target.victim("attacker")
        sid = victim.cookies[name].partition(".")[0]
        own_secret = attacker.cookies[name].partition(".")[2]
        for secret in (Token.generate().secret, own_secret, "A" * 43, sid + "A" * 21):
            assert await target.gains(cookie(**{name: f"{sid}.{secret}"})) == NOTHING
            reply = await ask(target.url, "/logout", cookie(**{name: f"{sid}.{secret}"}))
            assert reply.status == 200
        assert await target.gains(cookie(**victim.cookies)) == everything()
        assert set(target.events) == {"wrong secret for a known session"}


async def test_a_planted_session_does_not_become_the_victims(target: Target) -> None:
    """Fixation: the attacker's own sessions in the victim's browser gain nothing by a login."""
    attacker = await target.browser()
    await attacker.get("/write", params={"planted": "1"})
    victim = await target.browser()
    victim.cookies = dict(attacker.cookies)
    await victim.get("/login/victim")
    await victim.get("/write", params={"treasure": "t"})
    planted = {"auth_session": attacker.cookies["auth_session"]}

    assert victim.cookies["auth_session"] != planted["auth_session"]
    assert await target.gains(cookie(**planted)) == NOTHING
    auth = (await victim.get("/peek")).json()["auth"]
    assert auth == {"current_user": "victim", "treasure": "t"}


async def test_a_planted_login_does_not_become_the_next_users(target: Target) -> None:
    """Nor does a session in which the attacker is logged in already (ASVS 5.0, 7.2.4)."""
    attacker = await target.victim("attacker")
    victim = await target.browser()
    victim.cookies = {"auth_session": attacker.cookies["auth_session"]}
    await victim.get("/login/victim")

    thief = await target.gains(cookie(auth_session=attacker.cookies["auth_session"]))
    assert thief == NOTHING
    assert (await victim.get("/peek")).json()["user"] == "victim"


@pytest.mark.parametrize("value_of", ["token", "sid", "secret"])
async def test_an_id_is_taken_from_the_cookie_only(target: Target, value_of: str) -> None:
    """Not from the address, nor another header, whatever it is called (ASVS 5.0, 14.2.1)."""
    victim = await target.victim()
    for name, value in victim.cookies.items():
        parts = {"token": value, "sid": value.partition(".")[0], "secret": value[-43:]}
        carried = parts[value_of]
        for parameter in (name, "sid", "session_id", "token", "jsessionid", "PHPSESSID", "cookie"):
            assert await target.gains(query=f"?{parameter}={carried}") == NOTHING
            assert await target.gains(query=f"?{parameter}={name}%3D{carried}") == NOTHING
        for header in (
            f"{name}: {carried}",
            f"X-Session-Id: {carried}",
            f"Authorization: Bearer {carried}",
            f"Authorization: {name}={carried}",
            f"X-Cookie: {name}={carried}",
            f"Cookie2: {name}={carried}",
            f"Set-Cookie: {name}={carried}",
            f"X-Original-Cookie: {name}={carried}",
        ):
            assert await target.gains(header.encode()) == NOTHING
    assert await target.gains(cookie(**victim.cookies)) == everything()


async def test_the_cookie_of_one_session_is_none_of_another(target: Target) -> None:
    """Two sessions on one interface: each under the other's name opens nothing (CVE-2022-46170)."""
    victim = await target.victim()
    mine, login = victim.cookies["session"], victim.cookies["auth_session"]

    assert await target.gains(cookie(session=login)) == NOTHING
    assert await target.gains(cookie(auth_session=mine)) == NOTHING
    assert await target.gains(cookie(session=login, auth_session=mine)) == NOTHING
    reply = await ask(target.url, "/write?a=1", cookie(session=login, auth_session=mine))
    assert len(reply.set_cookies) == 2
    assert await target.gains(cookie(**victim.cookies)) == everything()


async def test_an_anonymous_session_put_under_the_logins_name_logs_nobody_in(
    target: Target,
) -> None:
    """What an attacker may write into the open session says nothing as a login."""
    attacker = await target.browser()
    for key in ("current_user", "user", "identity", "i", "d", "auth_key", "_user"):
        await attacker.get("/write", params={key: "admin"})
    thief = await target.gains(cookie(auth_session=attacker.cookies["session"]))

    assert thief == NOTHING


# Superseded tokens.


async def test_a_token_from_before_a_login_is_dead_at_once(target: Target) -> None:
    """Somebody gained rights: the former token neither reads nor writes nor sets a cookie."""
    browser = await target.browser()
    await browser.get("/write", params={"a": "1"})
    before = {"auth_session": browser.cookies["auth_session"]}
    await browser.get("/login/victim")
    await is_dead(target, before)
    again = {"auth_session": browser.cookies["auth_session"]}
    await browser.get("/login/victim")  # the same user, again
    await is_dead(target, again)
    await is_dead(target, before)


async def is_dead(target: Target, cookies: dict[str, str]) -> None:
    header = cookie(**cookies)
    assert await target.gains(header) == NOTHING
    reply = await ask(target.url, "/peek", header)
    assert reply.set_cookies == []


async def test_a_token_from_before_a_rotation_is_dead_at_once(target: Target) -> None:
    """A handler that rotates does so because rights have changed."""
    browser = await target.victim()
    before = dict(browser.cookies)
    await browser.get("/rotate")

    assert all(browser.cookies[name] != before[name] for name in NAMES)
    await is_dead(target, before)
    assert await target.gains(cookie(**browser.cookies)) == everything()


async def test_a_token_from_before_a_logout_is_dead_for_good(target: Target) -> None:
    """No copy of it opens anything, whoever kept it."""
    browser = await target.victim()
    stolen = {"auth_session": browser.cookies["auth_session"]}
    await browser.get("/logout")

    assert "auth_session" not in browser.cookies
    await is_dead(target, stolen)
    reply = await ask(target.url, "/write?a=1", cookie(**stolen))
    assert await target.gains(cookie(**stolen)) == NOTHING
    assert stolen["auth_session"] not in "".join(reply.set_cookies)


@pytest.mark.parametrize("grace", [0, 60])
async def test_a_token_from_before_a_renewal_ends_with_the_grace(master: Any, grace: float) -> None:
    """In the grace it still reads, but no cookie is set for it; after it, it is an event."""
    async with Target(master, renew_every=0.001, rotation_grace=grace) as target:
        browser = await target.victim()
        before = dict(browser.cookies)
        await browser.get("/write", params={"more": "1"})
        assert all(browser.cookies[name] != before[name] for name in NAMES)

        reply = await ask(target.url, "/peek", cookie(**before))
        assert reply.set_cookies == []
        assert (b"victim" in reply.body) is (grace > 0)
        assert ("superseded token after its grace" in target.events) is (grace == 0)
        written = await ask(target.url, "/write?stolen=1", cookie(**before))
        if grace:
            assert written.set_cookies == []
        else:
            given = [line.partition(";")[0] for line in written.set_cookies]
            thief = await target.sees("/peek", b"Cookie: " + "; ".join(given).encode())
            assert "victim" not in str(thief)


# User data named like our metadata.

OURS = [
    *("current_user", "user", "user_key", "identity", "i", "v", "d", "l", "x", "id", "sid"),
    *("secret_hash", "previous_hash", "version", "expires_at", "deadline", "payload", "csrf"),
    *("_content", "_identity", "__class__", "__dict__", "__init__", "__proto__", "constructor"),
    *("prototype", "auth_key", "session_key", "_session_expiry", "_override_expiry", "_user_id"),
    *("since", "remembered", "confirmed", "stamp", "persistent", "testcookie", "lease", "now"),
]


async def test_data_named_like_metadata_say_nothing(target: Target) -> None:
    """Whatever keys a handler lets a client choose: nobody is logged in by them, nothing breaks."""
    attacker = await target.browser()
    number = count()
    for key in OURS:
        await attacker.get("/write", params={key: "admin"})
        seen = (await attacker.get("/peek")).json()
        assert seen["user"] is None, key
        assert "current_user" not in seen["auth"]
        assert key == "current_user" or seen["auth"][key] == "admin"
        assert seen["session"][key] == "admin"
        assert (await attacker.get("/guarded")).status_code == 401
        assert next(number) == len(seen["session"]) - 1


async def test_data_named_like_metadata_do_not_change_a_login(target: Target) -> None:
    """Nor does a user become another one by them, nor live longer."""
    browser = await target.victim()
    await browser.get("/write", params=dict.fromkeys(OURS, "admin"))
    seen = (await browser.get("/peek")).json()

    assert seen["user"] == seen["auth"]["current_user"] == "victim"
    assert (await browser.get("/guarded")).status_code == 200
    await browser.get("/logout")
    assert (await browser.get("/guarded")).status_code == 401
