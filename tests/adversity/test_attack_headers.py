"""Attacks with the Cookie header: forged prefixes, twin names, duplicates, split and odd lines.

A sub-domain, or whoever answers plain http, may set cookies for the whole domain, only never one
with the `__Host-` prefix. So whatever is not exactly the session's name must count for nothing: an
attacker would have the victim work in the attacker's own session ("Cookie Chaos", PortSwigger).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from itertools import permutations
from typing import Any

import pytest

from sanic_cookies import InMemory
from target import NOTHING, Target, cookie, everything

HOST = "shop.example"
NAME = "__Host-auth_session"
SPACES = [
    *(character for character in map(chr, range(sys.maxunicode)) if character.isspace()),
    *("\u200b", "\u2060", "\ufeff", "\u00ad", "\x00", "\x7f", "\x80"),  # unseen, but no space
]
ODD = [each for each in SPACES if each not in " \t\r\n"]  # what HTTP itself allows, or splits at

FORGED = [
    "auth_session",
    "__Secure-auth_session",
    "__Http-auth_session",
    "__Host-Http-auth_session",
    "__host-auth_session",
    "__HOST-auth_session",
    "__Host-Auth_Session",
    "__Host-__Host-auth_session",
    "__Host-auth_session_data",
    "_Host-auth_session",
    "__Host_auth_session",
    "%5F%5FHost-auth_session",
    "__Host%2Dauth_session",
    "__Host-auth%5Fsession",
    '"__Host-auth_session"',
    "'__Host-auth_session'",
    "__Host-auth_session[]",
    "__Host-auth_session[0]",
    "$Version=1,__Host-auth_session",
    "a=1,__Host-auth_session",
    "a=1 __Host-auth_session",
    "=__Host-auth_session",
    "\uff3f\uff3fHost-auth_session",
    "__Ho\u017ft-auth_session",
    "__Host\u2010auth_session",
]


@pytest.fixture
async def public(master: Any) -> AsyncIterator[Target]:
    """A target that is reached by its public name, over each kind of interface."""
    async with Target(master, host=HOST) as target:
        yield target


async def test_a_forged_name_is_no_session_of_ours(public: Target) -> None:
    """Alone it opens nothing; beside the victim's own cookie, in any place, it changes nothing."""
    victim = cookie(**(await public.victim()).cookies)
    attackers = (await public.victim("attacker")).cookies[NAME]
    for name in FORGED:
        forged = f"{name}={attackers}".encode()
        assert await public.sees("/block", b"Cookie: " + forged) == NOTHING[1], name
        for header in (victim + b"; " + forged, b"Cookie: " + forged + b"; " + victim[8:]):
            assert await public.sees("/block", header) == everything()[1], name
    assert public.events == []


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_no_space_that_http_does_not_know_is_stripped(encoding: str) -> None:
    """`U+2000__Host-...` and its kin: a prefix with anything before it is no prefix."""
    async with Target(InMemory(), host=HOST) as target:
        victim = cookie(**(await target.victim()).cookies)
        attackers = (await target.victim("attacker")).cookies[NAME]
        tried = 0
        for space in ODD:
            if encoding == "latin-1" and ord(space) > 0xFF:
                continue
            for name in (space + NAME, NAME + space, space + NAME + space, NAME[:2] + space):
                forged = f"{name}={attackers}".encode(encoding)
                status, seen = await target.sees("/block", b"Cookie: " + forged)
                assert (status, seen) in (NOTHING[1], (400, None)), name
                status, seen = await target.sees("/block", victim + b"; " + forged)
                assert (status, seen) in (everything()[1], (400, None)), name
                tried += 1
        assert tried >= 4 * (12 if encoding == "latin-1" else 30)


@pytest.mark.parametrize("name", ["session", "auth_session"])
async def test_of_two_cookies_with_one_name_none_counts(target: Target, name: str) -> None:
    """Which one is the victim's cannot be known, so neither is (RFC 6265bis); it is an event."""
    victim, attacker = await target.victim(), await target.victim("attacker")
    values = [victim.cookies[name], attacker.cookies[name], "", "x", victim.cookies[name]]
    for first, second in set(permutations(values, 2)):
        target.events.clear()
        one, other = f"{name}={first}".encode(), f"{name}={second}".encode()
        for headers in (
            [b"Cookie: " + one + b"; " + other],
            [b"Cookie: " + one + b";" + other + b";"],
            [b"Cookie: " + one + b"; a=b; " + other],
            [b"Cookie: " + one, b"Cookie: " + other],
            [b"cookie: " + one, b"X-Between: 1", b"COOKIE: " + other],
        ):
            assert await target.sees("/block", *headers) == NOTHING[1], headers
        assert target.events == ["two cookies of the session's name"] * 5
    assert await target.gains(cookie(**victim.cookies)) == everything()


async def test_cookies_over_several_headers_are_one_list(target: Target) -> None:
    """HTTP/2 splits them, and proxies do (RFC 9113, 8.2.3): none is lost, none is doubled."""
    cookies = [f"{k}={v}".encode() for k, v in (await target.victim()).cookies.items()]
    for lines in (
        [b"Cookie: " + each for each in cookies],
        [b"Cookie: a=b", *(b"cookie: " + each for each in cookies), b"Cookie: c=d"],
        [b"COOKIE:" + b";".join(cookies)],
        [b"Cookie:\t" + b" ; ".join(cookies) + b" ; "],
        [b"Cookie: ;;; =; a; " + b"; ".join(cookies) + b"; b=\xff\xfe; ="],
    ):
        assert await target.gains(*lines) == everything(), lines


async def test_a_line_that_is_no_cookie_header_is_none(target: Target) -> None:
    """What only looks like one, to somebody who splits lines otherwise, is none."""
    victim = await target.victim()
    pairs = cookie(**victim.cookies)[8:]
    for lines in (
        [b"X-Cookie: " + pairs],
        [b"X: y\nCookie: " + pairs],
        [b"X: y\rCookie: " + pairs],
        [b"X: y\x00Cookie: " + pairs],
        [b"X: y\x0bCookie: " + pairs],
        [b"X: y\xc2\x85Cookie: " + pairs],
        [b"X: y\\r\\nCookie: " + pairs],
        [b"X: y%0d%0aCookie: " + pairs],
        [b"Cookie : " + pairs],
        [b"\xe2\x80\x80Cookie: " + pairs],
        [b"X: y", b" Cookie: " + pairs],
    ):
        status, seen = await target.sees("/block", *lines)
        assert (status, seen) in (NOTHING[1], (400, None)), lines
