"""Attacks on sealed cookies: changed, cut, sealed by others, from other times and other places."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

import msgspec
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from samples import Clock
from sanic_cookies import InCookieEncrypted, InMemory
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.interfaces.cookie.interface import FUTURE_SECONDS
from target import EMPTY, NOTHING, TREASURE, Target, cookie, everything
from wire import ask_many

CIPHERS = ["aes-gcm", "fernet"]
NAMES = ["session", "auth_session"]


@pytest.fixture(params=CIPHERS)
def cipher(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def sealed(cipher: Any) -> AsyncIterator[Target]:
    """A target whose sessions live in cookies, sealed by each cipher."""
    async with Target(InCookieEncrypted(new_key(), cipher=cipher)) as target:
        yield target


def decoded(value: str) -> bytearray:
    return bytearray(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def opened(target: Target, name: str, values: Iterable[str]) -> list[str]:
    """Return those of the values that open anything, or break anything."""
    tried = list(values)
    replies = await ask_many(target.url, "/peek", [cookie(**{name: each}) for each in tried])
    return [
        value
        for value, reply in zip(tried, replies, strict=True)
        if reply.status != 200 or json.loads(reply.body) != EMPTY or reply.set_cookies
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_every_flipped_bit_is_noticed(sealed: Target, name: str) -> None:
    """Each bit of a cookie, one by one, over the wire: of all of them none opens."""
    value = (await sealed.victim()).cookies[name]
    raw, changed = decoded(value), []
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        changed.append(encoded(raw))
        raw[bit // 8] ^= 1 << bit % 8

    assert len(changed) > 8 * 200
    assert await opened(sealed, name, changed) == []
    assert await opened(sealed, name, [value]) == [value]


async def test_no_part_of_a_cookie_opens(sealed: Target) -> None:
    """Cut anywhere, at either end, doubled, shifted, or two of them spliced."""
    one, two = [(await sealed.victim()).cookies["session"] for _ in range(2)]
    raw, other = bytes(decoded(one)), bytes(decoded(two))
    changed = [one[:end] for end in range(1, len(one))]
    changed += [one[start:] for start in range(1, len(one))]
    changed += [encoded(raw[:end] + other[end:]) for end in range(20, len(raw), 7)]
    changed += [one + one, one + "AAAA", "AAAA" + one, one[::-1], one.swapcase(), one + "="]
    changed += [encoded(raw + b"\0"), encoded(raw[:-1]), encoded(raw[:-16] + bytes(16))]

    assert await opened(sealed, "session", changed) == []


@pytest.mark.parametrize("theirs", CIPHERS)
async def test_a_cookie_sealed_by_another_key_is_refused(sealed: Target, theirs: Any) -> None:
    """The attacker's own installation makes cookies that look right, and are not."""
    async with Target(InCookieEncrypted(new_key(), cipher=theirs)) as other:
        victim = await other.victim()
        assert await other.gains(cookie(**victim.cookies)) == everything()
        for name in NAMES:
            assert await opened(sealed, name, [victim.cookies[name]]) == []


async def test_a_cookie_opens_for_its_own_session_and_name_only(cipher: Any) -> None:
    """The same keys, but another session, another cookie name, or another prefix: nothing."""
    key = new_key()
    async with Target(InCookieEncrypted(key, cipher=cipher)) as target:
        cookies = (await target.victim()).cookies
        assert await opened(target, "session", [cookies["auth_session"]]) == []
        assert await opened(target, "auth_session", [cookies["session"]]) == []
    async with Target(InCookieEncrypted(key, cipher=cipher), cookie_prefix="__Secure-") as other:
        for name in NAMES:
            assert await opened(other, name, [cookies[name]]) == []
    async with Target(InCookieEncrypted(key, cipher=cipher)) as again:
        assert await again.gains(cookie(**cookies)) == everything()


FORGED: list[Any] = [
    {"current_user": "admin"},
    {"user": "admin", "exp": 99999999999},
    [
        "session",
        "A" * 22,
        1,
        b"h" * 32,
        b'{"v":1,"d":{"a":1}}',
        0.0,
        0.0,
        1e12,
        None,
        0.0,
        b"",
        0.0,
    ],
]


class Loaded:
    """What a pickle does when it is opened."""

    happened: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return Loaded.happened.append, ("executed",)


async def test_what_nobody_sealed_is_refused(sealed: Target) -> None:
    """Plain, pickled, signed or encrypted by other means: no second decoder looks at it."""
    payloads = [
        pickle.dumps(Loaded()),
        *(each for data in FORGED for each in (msgspec.msgpack.encode(data),)),
        *(msgspec.json.encode(data) for data in FORGED[:2]),
    ]
    fernet, gcm = Fernet(Fernet.generate_key()), AESGCM(bytes(32))
    forged = [
        *(encoded(payload) for payload in payloads),
        *(encoded(b"\x02" + payload.rjust(60, b"\0")) for payload in payloads),
        *(encoded(b"\x80" + payload.rjust(100, b"\0")) for payload in payloads),
        *(fernet.encrypt(payload).decode() for payload in payloads),
        *(encoded(b"\x02" + bytes(28) + gcm.encrypt(bytes(12), each, b"")) for each in payloads),
        *(base64.b64encode(payload).decode() for payload in payloads),
        *(payload.hex() for payload in payloads),
        '{"current_user":"admin"}',
        "eyJ1c2VyIjoiYWRtaW4ifQ.ZmFrZQ.ZmFrZQ",
        "A" * 60,
        "A" * 4096,
        "g" * 4096,
        "A" * 7000,
    ]
    for name in NAMES:
        assert await opened(sealed, name, forged) == []
    assert Loaded.happened == []


@pytest.mark.parametrize(
    ("seconds", "opens"),
    [
        (-31 * 24 * 3600, False),
        (-3600, True),
        (0, True),
        (FUTURE_SECONDS - 5, True),
        (FUTURE_SECONDS + 5, False),
        (3600, False),
        (10**9, False),
        (10**12, False),
    ],
)
async def test_a_cookie_of_another_time_is_refused(
    cipher: Any, seconds: float, opens: bool
) -> None:
    """Sealed long ago or by a clock that is ahead: the server's own clock judges."""
    key, clock = new_key(), Clock(time.time() + seconds)
    async with Target(InCookieEncrypted(key, cipher=cipher, clock=clock)) as sender:
        browser = await sender.browser()
        await browser.get("/write", params={"treasure": TREASURE})
    async with Target(InCookieEncrypted(key, cipher=cipher)) as target:
        value = browser.cookies["session"]
        assert await opened(target, "session", [value]) == ([value] if opens else [])


@pytest.mark.parametrize("kept", [True, False])
async def test_a_key_that_is_taken_out_ends_its_sessions(cipher: Any, kept: bool) -> None:
    """While it is in the ring all survive and are sealed anew; without it they are anonymous."""
    old, new = new_key(), new_key()
    async with Target(InCookieEncrypted(old, cipher=cipher)) as before:
        victim = await before.victim()
    async with Target(InCookieEncrypted([new, old] if kept else new)) as after:
        found = await after.gains(cookie(**victim.cookies))
        assert found == (everything() if kept else NOTHING)


async def test_the_cookie_of_an_earlier_state_is_refused() -> None:
    """With revocations a user cannot go back to what the session was before."""
    master = InCookieEncrypted(new_key(), revocations=InMemory())
    async with Target(master, rotation_grace=0) as target:
        browser, cookies = await target.victim(), []
        for number in range(5):
            cookies.append(dict(browser.cookies))
            await browser.get("/write", params={"number": number})
        for old in cookies:
            assert await target.gains(cookie(**old)) == NOTHING
        latest = await target.gains(cookie(**browser.cookies))
        assert latest == everything({"treasure": TREASURE, "number": "4"})
