"""Attacks on the log: nothing that a client sends may forge a line, hide one, or flood it.

Every line of the library, at every level, is looked at while each of its events is provoked with
what an attacker would like to see there (OWASP ASVS 5.0, 16.4.1; CWE-117).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import pytest
from sanic import Request
from sanic import json as answer

from lab import until
from sanic_cookies import InMemory
from sanic_cookies.token import Token
from target import Target, cookie
from wire import ask, ask_many

MARK = "FORGED"
LINE = f"2026-01-01 00:00:00 CRITICAL {MARK} root logged in"
PAYLOADS = [
    f"\\015\\012{LINE}",
    quote(f"\r\n{LINE}"),
    f"%0a{LINE}",
    f"%250a{LINE}",
    f"\\n{LINE}",
    f"\x1b[2J\x1b[31m{LINE}",
    f"\x07\x08\x0b\x0c{LINE}",
    f"\u2028{LINE}\u2029{LINE}\x85{LINE}",
    f"\u202e{LINE}",
    f'"\\012{LINE}"',
    f"%s%d%n{{0}}{{x.__class__}}{MARK}",
    f"${{jndi:ldap://{MARK}/a}}",
    f"{LINE}" + "x" * 5000,
]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the library has logged, as it would be written."""
    ours = [record for record in caplog.records if record.name.startswith("sanic_cookies")]
    return [f"{record.getMessage()}{record.exc_text or ''}" for record in ours]


def are_clean(texts: list[str]) -> bool:
    """Say whether these are single lines of plain text, not long, and without what was sent."""
    return all(
        text.isprintable() and text.isascii() and len(text) < 300 and MARK not in text
        for text in texts
    )


async def provoked(target: Target, value: str) -> None:
    """Provoke whatever the library may log of a request, with `value` wherever a client may."""
    victim = await target.victim()
    sid = victim.cookies["session"].partition(".")[0]
    odd = value.encode()
    for header in (
        b"Cookie: session=" + odd,
        b"Cookie: session=" + odd + b"; session=" + odd,
        b"Cookie: session" + odd + b"=1; auth_session=" + odd,
        b"Cookie: session=" + f"{sid}.{Token.generate().secret}".encode() + b"; a=" + odd,
        b"Cookie: session=" + f"{sid}.".encode() + odd,
        cookie(**victim.cookies) + b"\r\nUser-Agent: " + odd,
        cookie(**victim.cookies) + b"\r\nX-Forwarded-For: " + odd,
        cookie(**victim.cookies) + b"\r\nReferer: " + odd + b"\r\nOrigin: " + odd,
    ):
        for path in ("/block", "/guarded", "/login/x"):
            reply = await ask(target.url, path, header)
            assert reply.status in (200, 400, 401, 413)
    await ask(target.url, "/login/" + quote(value, safe=""), cookie(**victim.cookies))
    await ask(target.url, "/write?" + quote(value, safe="") + "=" + quote(value, safe=""))
    await ask(target.url, "/" + quote(value, safe=""), cookie(**victim.cookies))


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
async def test_nothing_that_a_client_sends_is_logged(
    payload: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Cookie names and values, addresses, user agents, user names, keys: in no line of ours."""
    caplog.set_level(logging.DEBUG)
    async with Target(InMemory()) as target:
        await provoked(target, payload)

    assert len(lines(caplog)) > 2  # events there were
    assert are_clean(lines(caplog))


async def test_each_store_logs_as_cleanly(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    """The same with each kind of interface, which has lines of its own."""
    caplog.set_level(logging.DEBUG)
    for payload in PAYLOADS[::4]:
        await provoked(target, payload)

    assert len(lines(caplog)) > 2
    assert are_clean(lines(caplog))


async def test_no_token_and_no_data_are_logged(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a token only the public half, at any level, by anybody's logger (ASVS 5.0, 16.2.5)."""
    caplog.set_level(logging.DEBUG)
    victim = await target.victim("somebody-by-name")
    await victim.get("/write", params={"card": "4111111111111111"})
    for name, value in victim.cookies.items():
        sid = value.partition(".")[0]
        twice = f"{name}={value}; {name}={value}".encode()
        await ask(target.url, "/block", b"Cookie: " + twice)
        await ask(target.url, "/block", cookie(**{name: f"{sid}.{Token.generate().secret}"}))
    await victim.get("/rotate")
    await victim.get("/fail")
    servers = [each for each in caplog.records if not each.name.startswith(("http", "asyncio"))]
    everybodys = "\n".join(record.getMessage() + str(record.exc_text) for record in servers)

    assert lines(caplog)
    for value in victim.cookies.values():
        assert value not in everybodys
        assert value[-40:] not in everybodys
    assert "4111111111111111" not in everybodys
    assert "somebody-by-name" not in everybodys


async def test_the_name_of_a_route_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """It is the application's own, and stands in lines of locks: escaped, whatever is in it."""
    caplog.set_level(logging.DEBUG)
    target = Target(InMemory(), lock_timeout=0.1, lease=2, max_hold=2)
    held, free = asyncio.Event(), asyncio.Event()

    @target.app.get("/hold", name=f"hold\r\n\x1b[31m{MARK}")
    async def hold(request: Request) -> Any:
        async with request.ctx.session as sess:
            sess["changed"] = True
            held.set()
            await free.wait()
        return answer(None)

    async with target:
        header = cookie(session=(await target.victim()).cookies["session"])
        holding = asyncio.create_task(ask(target.url, "/hold", header))
        await asyncio.wait_for(held.wait(), 10)
        assert (await ask(target.url, "/hold", header)).status == 503
        await until(lambda: target.session.stats()["locked"] == 0)  # max_hold is over
        free.set()
        assert (await holding).status == 503
    told = [line for line in lines(caplog) if "the route" in line]
    assert any("did not get its session" in line for line in told)
    assert any("lost its lock" in line for line in told)
    assert all(line.isprintable() for line in told)


async def test_a_flood_of_strangers_is_not_a_flood_of_lines(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """A made-up cookie is no session at all, and worth no line: nobody fills a disk with them."""
    caplog.set_level(logging.DEBUG)
    made_up = [cookie(session=Token.generate().value) for _ in range(500)]
    replies = await ask_many(target.url, "/peek", made_up)

    assert {reply.status for reply in replies} == {200}
    assert [line for line in lines(caplog) if "sid=" in line] == []
