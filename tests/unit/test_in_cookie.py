"""Sessions in the browser's own cookie: what opens, what does not, and what ended stays ended."""

from __future__ import annotations

import asyncio
import base64
import pickle
import secrets
from itertools import count
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from samples import Clock, a_draft
from sanic_cookies import InMemory, SessionConfigError, SessionTooLarge
from sanic_cookies.cli import main
from sanic_cookies.cookies import MAX_COOKIE_BYTES as MAX_BYTES
from sanic_cookies.interfaces.cookie.interface import InCookieEncrypted, InOneCookie
from sanic_cookies.interfaces.cookie.keys import PUBLISHED
from sanic_cookies.interfaces.cookie.seals import Ring
from sanic_cookies.record import Draft, Outcome
from sanic_cookies.token import Token

COOKIE = "__Host-session"


def a_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def bind(store: InCookieEncrypted, value: str | None = None) -> InOneCookie:
    return store.bind("session", COOKIE, value)


async def sealed(store: InCookieEncrypted, draft: Draft | None = None) -> str:
    """Return the cookie of a new session."""
    bound = bind(store)
    assert await bound.create(draft or a_draft())
    assert bound.value
    return bound.value


@pytest.fixture(params=["aes-gcm", "fernet"])
def store(request: pytest.FixtureRequest) -> InCookieEncrypted:
    return InCookieEncrypted(a_key(), cipher=request.param)


@pytest.mark.parametrize(
    "key", [a_key(), a_key().encode(), [a_key()], (a_key(), a_key())], ids=count()
)
async def test_a_random_key_is_taken(key: Any) -> None:
    """32 random bytes in url-safe base64, as str or bytes, alone or several."""
    store, draft = InCookieEncrypted(key), a_draft(payload=b"data")
    record = await bind(store, await sealed(store, draft)).fetch("session", draft.sid)

    assert record is not None
    assert record.payload == b"data"


def test_the_command_line_makes_keys_that_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """What `sanic-cookies key` prints can be used as it is, and is never the same."""
    keys = set()
    for _ in range(20):
        assert main(["key"]) == 0
        keys.add(capsys.readouterr().out.strip())

    assert len(keys) == 20
    InCookieEncrypted(list(keys))


@pytest.mark.parametrize(
    "key",
    [
        "",
        b"",
        "secret",
        "change-me",
        encoded(secrets.token_bytes(16)),
        encoded(secrets.token_bytes(31)),
        encoded(secrets.token_bytes(33)),
        a_key()[:-1],
        a_key() + "=",
        a_key() + "\n",
        a_key()[:-2] + "ü=",
        "!" * 44,
        secrets.token_bytes(32).hex(),
        encoded(bytes(32)),
        encoded(b"\xff" * 32),
        encoded(b"ab" * 16),
        encoded(b"secret!!" * 4),
        encoded(b"change-me-change-me-change-me-32"),
        encoded(b"this-is-a-secret-key-change-me-!"),
        encoded(b"0123456789abcdef0123456789abcdef"),
        encoded(b"your 32 byte key goes right here"),
        encoded(bytes(range(32))),
        encoded(bytes(range(64, 0, -2))),
        "this-is-a-key-that-somebody-typed-in-a-hur0=",
        "THIS-IS-A-KEY-THAT-SOMEBODY-TYPED-IN-A-HUR0=",
        "MySuper-SECRET-Key_that_is_Long_enough_f0r0=",
        "Please-CHANGE-me_before_YOU_go_to_productio=",
        *PUBLISHED,
        *(key.encode() for key in PUBLISHED),
    ],
    ids=count(),
)
def test_a_key_that_nobody_made_at_random_is_refused(key: str | bytes) -> None:
    """Short, repeated, typed by a person or no base64: refused, and the error says what to do."""
    with pytest.raises(SessionConfigError, match="sanic-cookies key") as caught:
        InCookieEncrypted(key)
    with pytest.raises(SessionConfigError, match="sanic-cookies key"):
        InCookieEncrypted([a_key(), key])
    assert not key or str(key) not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        secrets.token_urlsafe(32),
        secrets.token_hex(32),
        b"\xc8" + secrets.token_bytes(15),
        b"\xc8," + secrets.token_bytes(30),
    ],
    ids=["unpadded", "hexadecimal", "bytes", "bytes with a comma"],
)
def test_a_key_made_otherwise(key: str | bytes) -> None:
    """Who made a key by the standard library is told which spelling is wanted."""
    with pytest.raises(SessionConfigError, match="in url-safe base64, with its padding"):
        InCookieEncrypted(key)


@pytest.mark.parametrize("keys", [[], (), None, 7, [None], [7], [[a_key()]]])
def test_no_key_is_an_error(keys: Any) -> None:
    """An empty ring seals nothing, and what is no text is no key, such as an unset variable."""
    with pytest.raises(SessionConfigError):
        InCookieEncrypted(keys)


def test_nothing_of_the_keys_is_shown() -> None:
    """Its `repr` counts keys and shows none."""
    assert (
        repr(InCookieEncrypted([a_key(), a_key()])) == "<InCookieEncrypted keys=2 cipher=aes-gcm>"
    )


async def test_every_key_of_the_ring_opens_and_the_first_one_seals() -> None:
    """A new key in front: old cookies open, and are sealed with the new key when written."""
    old, new = a_key(), a_key()
    draft = a_draft()
    value = await sealed(InCookieEncrypted(old), draft)
    bound = bind(InCookieEncrypted([new, old]), value)

    assert bound.credential == bind(InCookieEncrypted(old), value).credential is not None
    assert await bound.save(a_draft(sid=draft.sid, version=2)) is Outcome.SAVED

    assert bind(InCookieEncrypted(new), bound.value).credential is not None
    assert bind(InCookieEncrypted(old), bound.value).credential is None


async def test_a_removed_key_opens_nothing_any_more() -> None:
    """Without the key that sealed it, a cookie is no session, and no error."""
    old, new, draft = a_key(), a_key(), a_draft()
    bound = bind(InCookieEncrypted(new), await sealed(InCookieEncrypted(old), draft))

    assert bound.credential is None
    assert await bound.fetch("session", draft.sid) is None


async def test_every_flipped_bit_is_noticed(store: InCookieEncrypted) -> None:
    """Of fifty cookies each with any one bit changed, none opens."""
    for number in range(50):
        value = await sealed(store, a_draft(payload=bytes([number]) * number))
        assert bind(store, value).credential is not None
        raw = bytearray(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
        for bit in range(len(raw) * 8):
            raw[bit // 8] ^= 1 << bit % 8
            changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
            assert bind(store, changed).credential is None
            raw[bit // 8] ^= 1 << bit % 8


async def test_a_shortened_or_doubled_cookie_is_refused(store: InCookieEncrypted) -> None:
    """No part of a cookie opens, nor does anything put before or behind it."""
    value = await sealed(store)
    changed = [value[:end] for end in range(len(value))]
    changed += [value + "A", "A" + value, value + value, value + "é"]

    assert [each for each in changed if bind(store, each).credential is not None] == []


@pytest.mark.parametrize(
    ("name", "cookie"),
    [("auth_session", COOKIE), ("session", "__Host-auth_session"), ("session", "session")],
)
async def test_a_cookie_of_another_session_is_refused(
    store: InCookieEncrypted, name: str, cookie: str
) -> None:
    """Sealed for one session under one name, it opens for no other, with the very same keys."""
    value = await sealed(store)

    assert store.bind(name, cookie, value).credential is None
    assert store.bind("session", COOKIE, value).credential is not None


@pytest.mark.parametrize(("ahead", "opens"), [(0, True), (60, True), (61, False), (10**6, False)])
async def test_a_cookie_from_the_future_is_refused(ahead: int, opens: bool) -> None:
    """Sealed by a clock a minute ahead it is taken, by more it is not."""
    key = a_key()
    value = await sealed(InCookieEncrypted(key, clock=Clock(1000.0 + ahead)))
    bound = bind(InCookieEncrypted(key, clock=Clock(1000.0)), value)

    assert (bound.credential is not None) is opens


async def test_an_expired_cookie_is_no_session() -> None:
    """The server's clock decides when it is over, whatever the browser kept."""
    clock, draft = Clock(), a_draft(ttl=60)
    store = InCookieEncrypted(a_key(), clock=clock)
    value = await sealed(store, draft)
    clock.forward(59)
    assert await bind(store, value).fetch("session", draft.sid) is not None
    clock.forward(1)

    bound = bind(store, value)
    assert await bound.fetch("session", draft.sid) is None
    assert await bound.save(a_draft(sid=draft.sid, version=2)) is Outcome.GONE
    assert bound.value is None


def fields(**changes: Any) -> list[Any]:
    values = {
        "name": "session",
        "sid": Token.generate().sid,
        "version": 1,
        "secret_hash": b"h" * 32,
        "payload": b"",
        "created_at": 0.0,
        "last_seen": 0.0,
        "expires_at": 1e12,
        "deadline": None,
        "rotated_at": 0.0,
        "previous_hash": b"",
        "previous_until": 0.0,
        "previous_reads": False,
        "user_key": None,
        "now": 0.0,
    }
    return list({**values, **changes}.values())


def sealed_by_hand(store: InCookieEncrypted, plain: bytes) -> str:
    return Ring(store._keys, store._cipher, "session", COOKIE).seal(plain)


async def test_the_hand_made_record_of_these_tests_would_open(store: InCookieEncrypted) -> None:
    """So the refusals below are due to what is wrong in them."""
    value = sealed_by_hand(store, msgspec.msgpack.encode(fields()))

    assert bind(store, value).credential is not None


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"plain text",
        b"{}",
        pickle.dumps(fields()),
        pickle.dumps({"user": "admin"}),
        msgspec.json.encode({"v": 1, "d": {}}),
        msgspec.msgpack.encode(None),
        msgspec.msgpack.encode({}),
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode(fields()[:-1]),
        msgspec.msgpack.encode([*fields(), 1]),
        msgspec.msgpack.encode(fields(version="1")),
        msgspec.msgpack.encode(fields(sid=7)),
        msgspec.msgpack.encode(fields(expires_at="never")),
        msgspec.msgpack.encode(fields()) + b"x",
    ],
    ids=count(),
)
async def test_what_is_sealed_but_no_record_is_refused(
    store: InCookieEncrypted, plain: bytes
) -> None:
    """Even under the right key only a record opens: no pickle, no text, nothing half read."""
    assert bind(store, sealed_by_hand(store, plain)).credential is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "=",
        "plain",
        "a" * 4096,
        "ü" * 20,
        "\udcff",
        base64.urlsafe_b64encode(pickle.dumps({"user": "admin"})).decode(),
        base64.urlsafe_b64encode(msgspec.msgpack.encode(fields())).decode(),
        Fernet(Fernet.generate_key()).encrypt(msgspec.msgpack.encode(fields())).decode(),
        Token.generate().value,
    ],
    ids=count(),
)
async def test_what_is_not_sealed_is_refused(store: InCookieEncrypted, value: str | None) -> None:
    """Plain, pickled, foreign or no value at all: no session, no error, nothing to send."""
    bound = bind(store, value)

    assert bound.credential is None
    assert bound.value is None
    assert not await bound.delete("session", "a" * 22)


async def test_the_value_needs_no_quotes(store: InCookieEncrypted) -> None:
    """What is sent holds url-safe characters only, no padding."""
    values = [await sealed(store, a_draft(payload=b"x" * size)) for size in range(40)]

    for value in values:
        assert value.replace("-", "").replace("_", "").isalnum()


async def test_the_size_that_counts_is_that_of_the_cookie(store: InCookieEncrypted) -> None:
    """Name and sealed value together fit into what browsers keep, or nothing is sent."""
    fits, too_much, largest = 1000, 4000, 0
    while too_much - fits > 1:
        size = (fits + too_much) // 2
        try:
            value = await sealed(store, a_draft(payload=bytes(size)))
        except SessionTooLarge:
            too_much = size
        else:
            fits, largest = size, len(COOKIE) + len(value)
    bound, draft = bind(store), a_draft(payload=bytes(too_much))
    with pytest.raises(SessionTooLarge) as caught:
        await bound.create(draft)

    assert MAX_BYTES == caught.value.limit == 4096
    assert MAX_BYTES - 32 < largest <= MAX_BYTES < caught.value.size < MAX_BYTES + 32
    assert bound.value is None
    assert await bound.fetch("session", draft.sid) is None


async def test_a_save_that_is_too_large_keeps_what_was_there(store: InCookieEncrypted) -> None:
    """The old value stays good, and no cookie is sent."""
    draft = a_draft(payload=b"old")
    bound = bind(store, await sealed(store, draft))
    with pytest.raises(SessionTooLarge):
        await bound.save(a_draft(sid=draft.sid, version=2, payload=b"x" * 5000))
    record = await bound.fetch("session", draft.sid)

    assert bound.value is None
    assert record is not None
    assert (record.version, record.payload) == (1, b"old")


async def test_only_its_own_session_is_in_a_cookie(store: InCookieEncrypted) -> None:
    """Another sid or another name finds, saves, touches and deletes nothing."""
    draft, other = a_draft(), Token.generate().sid
    bound = bind(store, await sealed(store, draft))

    for name, sid in (("session", other), ("auth_session", draft.sid)):
        assert await bound.fetch(name, sid) is None
        assert await bound.save(a_draft(name=name, sid=sid, version=2)) is Outcome.GONE
        await bound.touch(name, sid, 1, 60)
        assert not await bound.delete(name, sid)
    assert bound.value is None


@pytest.mark.parametrize("revocable", [True, False])
async def test_a_copy_of_an_ended_sessions_cookie(revocable: bool) -> None:
    """With an interface for revocations logout is real; without one a copy stays good."""
    store = InCookieEncrypted(a_key(), revocations=InMemory() if revocable else None)
    draft = a_draft()
    value = await sealed(store, draft)
    bound = bind(store, value)
    assert await bound.delete("session", draft.sid)
    assert bound.value == ""
    assert await bound.fetch("session", draft.sid) is None

    thief = bind(store, value)
    fetched = await thief.fetch("session", draft.sid)
    saved = await thief.save(a_draft(sid=draft.sid, version=2))

    assert (fetched is None) is revocable
    assert saved is (Outcome.GONE if revocable else Outcome.SAVED)


async def test_a_revocation_outlives_every_copy_of_the_cookie() -> None:
    """It is remembered at least until the last copy has expired, and not for ever."""
    clock = Clock()
    revocations = InMemory(clock=clock)
    store, draft = InCookieEncrypted(a_key(), revocations=revocations, clock=clock), a_draft(ttl=60)
    value = await sealed(store, draft)
    await bind(store, value).delete("session", draft.sid)
    clock.forward(59)

    assert await revocations.fetch("session", draft.sid) is not None
    assert await bind(store, value).fetch("session", draft.sid) is None
    clock.forward(1000)
    assert await revocations.fetch("session", draft.sid) is None


async def test_revocations_are_opened_and_closed_with_it() -> None:
    """The interface for revocations has the life of the one that uses it."""
    store = InCookieEncrypted(a_key(), revocations=InMemory())
    before = asyncio.all_tasks()
    await store.open()
    assert len(asyncio.all_tasks() - before) == 1
    await store.close()
    assert asyncio.all_tasks() == before

    without = InCookieEncrypted(a_key())
    await without.open()
    await without.close()


async def test_a_cookie_is_created_once(store: InCookieEncrypted) -> None:
    """A repeated creation with the same secret is a retry; with another the id is taken."""
    token = Token.generate()
    bound = bind(store, await sealed(store, a_draft(token)))

    assert await bound.create(a_draft(token))
    assert not await bound.create(a_draft(token.rotated()))
    assert bound.value is None


async def test_an_older_write_is_stale(store: InCookieEncrypted) -> None:
    """A version that is not newer changes nothing and sends nothing."""
    draft = a_draft(version=5)
    bound = bind(store, await sealed(store, draft))

    assert await bound.save(a_draft(sid=draft.sid, version=5)) is Outcome.STALE
    assert bound.value is None


async def test_a_touch_seals_a_new_expiry() -> None:
    """A touch of the current version sends a cookie that lives longer; of another, none."""
    clock, draft = Clock(), a_draft(ttl=60)
    store = InCookieEncrypted(a_key(), clock=clock)
    bound = bind(store, await sealed(store, draft))
    clock.forward(50)
    await bound.touch("session", draft.sid, 2, 60)
    assert bound.value is None
    await bound.touch("session", draft.sid, 1, 60)
    clock.forward(50)
    record = await bind(store, bound.value).fetch("session", draft.sid)

    assert record is not None
    assert record.last_seen == clock.now - 50


def rotating(token: Token, former: Token, **changes: Any) -> Draft:
    """Return the write that replaces the secret of `former`."""
    return a_draft(
        token,
        **{
            "version": 2,
            "rotated": True,
            "previous_hash": former.secret_hash,
            "grace": 15.0,
            **changes,
        },
    )


@pytest.mark.parametrize("reads", [True, False])
async def test_a_copy_from_before_a_rotation_is_recognised_as_that(reads: bool) -> None:
    """With revocations, what was sealed before a rotation has the former secret, as in a store."""
    clock, token = Clock(), Token.generate()
    store = InCookieEncrypted(a_key(), revocations=InMemory(clock=clock), clock=clock)
    value = await sealed(store, a_draft(token))
    new = token.rotated()
    bound = bind(store, value)
    assert await bound.save(rotating(new, token, previous_reads=reads)) is Outcome.SAVED
    clock.forward(5)

    current = await bind(store, bound.value).fetch("session", token.sid)
    assert current is not None
    assert (current.secret_hash, current.previous_hash) == (new.secret_hash, token.secret_hash)

    former = await bind(store, value).fetch("session", token.sid)
    assert former is not None
    assert (former.secret_hash, former.previous_hash) == (b"", token.secret_hash)
    assert former.previous_until - former.now == pytest.approx(10)
    assert former.previous_reads is reads


def versioned(clock: Clock) -> InCookieEncrypted:
    """Return an interface that knows the newest version of each session."""
    return InCookieEncrypted(a_key(), revocations=InMemory(clock=clock), clock=clock)


async def written(store: InCookieEncrypted, value: str, token: Token, version: int) -> str:
    """Return the cookie that a write of this version sends to a browser that had `value`."""
    bound = bind(store, value)
    assert await bound.fetch("session", token.sid) is not None
    saved = await bound.save(a_draft(token, version=version, payload=b"new", grace=15.0))
    assert saved is Outcome.SAVED
    assert bound.value
    return bound.value


async def judged(store: InCookieEncrypted, value: str, token: Token) -> str:
    """Say how a session would take this cookie: "current", "seen" (in the grace), "refused"."""
    record = await bind(store, value).fetch("session", token.sid)
    if record is not None and record.secret_hash == token.secret_hash:
        return "current"
    assert record is None or (record.secret_hash, record.previous_hash) == (b"", token.secret_hash)
    in_grace = record is not None and record.previous_until > record.now
    return "seen" if record is not None and in_grace and record.previous_reads else "refused"


async def test_an_older_cookie_is_refused() -> None:
    """With revocations only the newest version is the session; the one before ends in the grace."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    values = [await sealed(store, a_draft(token))]
    for version in range(2, 6):
        values.append(await written(store, values[-1], token, version))

    assert [await judged(store, value, token) for value in values] == [
        *("refused", "refused", "refused"), "seen", "current",
    ]  # fmt: skip
    clock.forward(15)
    assert [await judged(store, value, token) for value in values] == [
        *("refused", "refused", "refused"), "refused", "current",
    ]  # fmt: skip


async def test_without_revocations_any_version_opens() -> None:
    """Nobody remembers what is the newest: that is what the interface for revocations is for."""
    store, token = InCookieEncrypted(a_key()), Token.generate()
    value = await sealed(store, a_draft(token))
    newer = await written(store, value, token, 2)

    assert [await judged(store, each, token) for each in (value, newer)] == ["current"] * 2


async def test_an_older_cookie_writes_and_touches_nothing() -> None:
    """It cannot become the newest again, and no cookie is sent for it."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    value = await sealed(store, a_draft(token))
    await written(store, value, token, 2)
    for version in (2, 3, 100):
        bound = bind(store, value)
        assert await bound.fetch("session", token.sid) is not None
        assert await bound.touch("session", token.sid, 1, 60) is False
        assert await bound.save(a_draft(token, version=version)) is Outcome.STALE
        assert bound.value is None


async def test_of_two_writes_with_one_cookie_one_is_refused() -> None:
    """So neither is undone by the other without anybody being told."""
    for made_before in (False, True):
        clock, token = Clock(), Token.generate()
        store = versioned(clock)
        value, version = await sealed(store, a_draft(token)), 2
        if made_before:
            value, version = await written(store, value, token, 2), 3
        both = [bind(store, value) for _ in range(2)]
        drafts = [a_draft(token, version=version, payload=payload) for payload in (b"1", b"2")]
        outcomes = await asyncio.gather(
            *(bound.save(draft) for bound, draft in zip(both, drafts, strict=True))
        )

        assert sorted(each.value for each in outcomes) == ["saved", "stale"]
        assert [bound.value for bound in both].count(None) == 1


async def test_a_write_that_is_too_large_leaves_the_cookie_the_newest() -> None:
    """What was never sent has not replaced what the browser has."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    value = await sealed(store, a_draft(token))
    with pytest.raises(SessionTooLarge):
        await bind(store, value).save(a_draft(token, version=2, payload=b"x" * 5000))

    assert await judged(store, value, token) == "current"


async def test_an_ended_session_is_not_written() -> None:
    """Neither version of it opens, and a write that was under way is told that it ended."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    first = await sealed(store, a_draft(token))
    second = await written(store, first, token, 2)
    under_way = bind(store, second)
    assert await bind(store, second).delete("session", token.sid)

    assert await under_way.save(a_draft(token, version=3)) is Outcome.GONE
    assert [await judged(store, each, token) for each in (first, second)] == ["refused"] * 2


@pytest.mark.parametrize("meanwhile", ["ended", "written"])
async def test_what_is_no_more_the_newest_is_not_touched(meanwhile: str) -> None:
    """A request that was under way sends no cookie of what another one has ended or replaced."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    value = await sealed(store, a_draft(token))
    late = bind(store, value)
    assert await late.fetch("session", token.sid) is not None
    if meanwhile == "ended":
        assert await bind(store, value).delete("session", token.sid)
    else:
        await written(store, value, token, 2)

    assert await late.touch("session", token.sid, 1, 60) is False
    assert late.value is None


async def test_versions_are_remembered_as_long_as_a_former_copy_may_live() -> None:
    """A newer version that ends sooner does not open the door to an older one."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    oldest = await sealed(store, a_draft(token, ttl=3600))
    bound = bind(store, oldest)
    assert await bound.save(a_draft(token, version=2, ttl=10)) is Outcome.SAVED
    assert bound.value
    short = bind(store, bound.value)
    assert await short.fetch("session", token.sid) is not None
    assert await short.save(a_draft(token, version=3, ttl=10)) is Outcome.SAVED
    clock.forward(3500)

    assert await judged(store, oldest, token) == "refused"


async def test_an_end_is_remembered_as_long_as_any_version_may_live() -> None:
    """Whichever version is ended, no older or newer one that lasts longer opens afterwards."""
    for ttls in ((3600, 10), (10, 3600)):
        for ended in (0, 1):
            clock, token = Clock(), Token.generate()
            store = versioned(clock)
            first = await sealed(store, a_draft(token, ttl=ttls[0]))
            bound = bind(store, first)
            newer = a_draft(token, version=2, ttl=ttls[1], grace=15.0)
            assert await bound.save(newer) is Outcome.SAVED
            assert bound.value
            values = (first, bound.value)
            assert await bind(store, values[ended]).delete("session", token.sid)
            clock.forward(3500)

            assert [await judged(store, each, token) for each in values] == ["refused"] * 2


async def test_a_lost_memory_takes_cookies_for_what_they_say() -> None:
    """Revocations that were wiped log nobody out; the next write begins them anew."""
    clock, token = Clock(), Token.generate()
    store = versioned(clock)
    value = await written(store, await sealed(store, a_draft(token)), token, 2)
    store.revocations = InMemory(clock=clock)

    assert await judged(store, value, token) == "current"
    newer = await written(store, value, token, 3)
    assert [await judged(store, each, token) for each in (value, newer)] == ["seen", "current"]


@pytest.mark.parametrize("cipher", ["aes", "AES-GCM", "", None, b"fernet", ["fernet"]])
def test_an_unknown_cipher_is_refused(cipher: Any) -> None:
    """The error names those that there are."""
    with pytest.raises(SessionConfigError, match=r"aes-gcm.*fernet"):
        InCookieEncrypted(a_key(), cipher=cipher)


@pytest.mark.parametrize("former", ["aes-gcm", "fernet"])
@pytest.mark.parametrize("latter", ["aes-gcm", "fernet"])
async def test_the_cipher_is_changed_without_ending_a_session(former: Any, latter: Any) -> None:
    """Whichever cipher seals, with whichever key: both open, and a write seals with the new one."""
    old, new, draft = a_key(), a_key(), a_draft()
    value = await sealed(InCookieEncrypted(old, cipher=former), draft)
    bound = bind(InCookieEncrypted([new, old], cipher=latter), value)

    assert bound.credential is not None
    assert await bound.save(a_draft(sid=draft.sid, version=2)) is Outcome.SAVED
    assert bound.value
    assert bound.value.startswith("gAAA" if latter == "fernet" else "A")
    assert bind(InCookieEncrypted(new, cipher=former), bound.value).credential is not None


async def test_a_cookie_of_an_earlier_release_opens() -> None:
    """A Fernet token under the key that was derived for it, as it was before there was a choice."""
    key, context = a_key(), b"sanic_cookies\0session\0" + COOKIE.encode()
    derived = HKDF(SHA256(), length=32, salt=None, info=context).derive(
        base64.urlsafe_b64decode(key)
    )
    fernet = Fernet(base64.urlsafe_b64encode(derived))
    value = fernet.encrypt(msgspec.msgpack.encode(fields())).rstrip(b"=").decode()

    assert bind(InCookieEncrypted(key), value).credential is not None


async def test_no_two_seals_are_alike(store: InCookieEncrypted) -> None:
    """The same record sealed again shares no nonce, nor anything behind it."""
    ring, plain = Ring(store._keys, store._cipher, "session", COOKIE), b"the same"
    values = {ring.seal(plain) for _ in range(1000)}

    assert len(values) == len({value[14:38] for value in values}) == 1000


def test_each_purpose_has_a_key_of_its_own() -> None:
    """Neither cipher's key is the ring's, nor the other's, nor that of another session."""
    key = secrets.token_bytes(32)
    rings = [Ring([key], "fernet", name, COOKIE) for name in ("session", "auth_session")]
    keys = [each for ring in rings for each in (*ring._ciphers._keys, *fernet_keys(ring))]

    assert len({key, *keys}) == 5


def fernet_keys(ring: Ring) -> list[bytes]:
    return [each._signing_key + each._encryption_key for each in ring._fernet._fernets]


def test_what_is_too_short_or_too_long_meets_no_cipher(store: InCookieEncrypted) -> None:
    """Lengths and alphabet are looked at first, so rubbish costs next to nothing."""
    ring = Ring(store._keys, store._cipher, "session", COOKIE)
    ring._ciphers, ring._fernet = None, None  # type: ignore[assignment] - whoever uses them fails

    for value in (
        "A",
        "A" * 59,
        "g" * 59,
        "A" * 4097,
        "g" * 4097,
        "A" * 100 + "!",
        "g" * 100 + " ",
    ):
        assert ring.open(value) is None


async def test_a_cookie_has_one_spelling(store: InCookieEncrypted) -> None:
    """Whichever single character is put into whichever place: no other spelling opens."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. "
    for size in range(3):
        value = await sealed(store, a_draft(payload=b"x" * size))
        for place in (0, 1, 5, 40, len(value) - 2, len(value) - 1):
            for character in alphabet:
                changed = value[:place] + character + value[place + 1 :]
                opened = bind(store, changed).credential is not None
                assert opened is (changed == value)


async def test_no_other_alphabet_opens(store: InCookieEncrypted) -> None:
    """Neither that of plain base64, nor signs that decoders pass over, wherever they are put."""
    value = await sealed(store, a_draft(payload=secrets.token_bytes(500)))
    plain = value.replace("-", "+").replace("_", "/")
    changed = [plain, value.replace("-", "+"), value.replace("_", "/")]
    for signs in ("====", "!!!!", "    ", "....", "\n\n\n\n", "\0\0\0\0", "=A==", "+/+/"):
        changed += [value[:place] + signs + value[place:] for place in (1, 5, 200, len(value))]

    assert len(set(changed)) == len(changed)
    assert [each for each in changed if bind(store, each).credential is not None] == []


async def test_a_cookie_keeps_within_the_room_that_is_left(store: InCookieEncrypted) -> None:
    """The room of the next request's head counts too, as it is when the cookie is sealed."""
    room = 4096
    bound = store.bind("session", COOKIE, None, lambda: room)
    draft = a_draft(payload=b"x" * 1000)
    room = 1000
    with pytest.raises(SessionTooLarge) as caught:
        await bound.create(draft)
    assert caught.value.limit == 1000
    assert bound.value is None
    room = 2000
    assert await bound.create(draft)
    bound.value, room = None, 1000
    assert await bound.touch("session", draft.sid, 1, 60) is False
    assert bound.value is None
    assert await bound.fetch("session", draft.sid) is not None


async def test_what_does_not_open_makes_no_room(store: InCookieEncrypted) -> None:
    """A long cookie of this name that nobody has sealed is no measure for what may be sent."""
    bound = store.bind("session", COOKIE, "A" * 6000, lambda: 1000)
    with pytest.raises(SessionTooLarge):
        await bound.create(a_draft(payload=b"x" * 1000))

    assert bound.value is None


async def test_what_is_as_long_as_what_came_needs_no_room(store: InCookieEncrypted) -> None:
    """What the browser sends already it can send again, and a little more needs to be counted."""
    draft = a_draft(payload=b"x" * 1000)
    bound = store.bind("session", COOKIE, await sealed(store, draft), lambda: 0)
    same = a_draft(sid=draft.sid, version=2, payload=b"y" * 1000)
    assert await bound.save(same) is Outcome.SAVED
    with pytest.raises(SessionTooLarge):
        await bound.save(a_draft(sid=draft.sid, version=3, payload=b"z" * 1100))

    record = await bound.fetch("session", draft.sid)
    assert record is not None
    assert (record.version, record.payload) == (2, b"y" * 1000)


async def test_a_copy_from_before_a_rotation_cannot_write() -> None:
    """Of two copies of a cookie one can rotate; the other is refused and sends nothing."""
    token = Token.generate()
    store = InCookieEncrypted(a_key(), revocations=InMemory())
    value = await sealed(store, a_draft(token))
    first, second = bind(store, value), bind(store, value)
    outcomes = await asyncio.gather(
        first.save(rotating(token.rotated(), token)), second.save(rotating(token.rotated(), token))
    )
    third = bind(store, value)

    assert sorted(each.value for each in outcomes) == ["saved", "stale"]
    assert [first.value, second.value].count(None) == 1
    assert await third.save(a_draft(token, version=2)) is Outcome.STALE
    assert third.value is None


async def test_a_revocation_lasts_as_long_as_the_absolute_end() -> None:
    """A copy that somebody keeps using lives up to its absolute end, and so does the revocation."""
    clock = Clock()
    revocations = InMemory(clock=clock)
    store = InCookieEncrypted(a_key(), revocations=revocations, clock=clock)
    draft = a_draft(ttl=60, lifetime=600)
    await bind(store, await sealed(store, draft)).delete("session", draft.sid)
    clock.forward(600)

    assert await revocations.fetch("session", draft.sid) is not None
