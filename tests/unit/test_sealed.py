"""Records that were opened of late: how many are known, and that nothing is decided by it."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest

from samples import Clock, a_draft
from sanic_cookies import InMemory, SessionTooLarge
from sanic_cookies.interfaces.cookie import sealed
from sanic_cookies.interfaces.cookie.interface import InCookieEncrypted
from sanic_cookies.interfaces.cookie.sealed import SealedRecords
from sanic_cookies.interfaces.cookie.seals import Ring
from sanic_cookies.record import Outcome, Record

COOKIE = "__Host-session"


def a_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(params=["aes-gcm", "fernet"])
def cipher(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def ring(cipher: Any) -> Ring:
    return Ring([secrets.token_bytes(32)], cipher, "session", COOKIE)


def a_record(**changes: Any) -> Record:
    return Record.begun(a_draft(**changes), 1000.0)


def known(records: SealedRecords) -> set[str]:
    return {*records._recent, *records._older}


def opened(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what will have been opened with the ring's keys from now on."""
    values: list[str] = []
    really = ring.open

    def open_and_note(value: str) -> bytes | None:
        values.append(value)
        return really(value)

    monkeypatch.setattr(ring, "open", open_and_note)
    return values


def test_a_cookie_that_comes_again_is_opened_once(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same record each time, as it was sealed."""
    record, values = a_record(payload=b"data"), opened(ring, monkeypatch)
    value = SealedRecords(ring).seal(record)
    records = SealedRecords(ring)

    assert [records.open(value) for _ in range(5)] == [record] * 5
    assert values == [value]


async def test_what_was_just_sealed_is_not_opened_when_it_comes_back(
    cipher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process that sealed it, whatever it was sealed for; the record is as another reads it.

    Another process opens it once.
    """
    clock, key, draft = Clock(), a_key(), a_draft(payload=b"old", lifetime=600, user_key="7")
    here, there = (InCookieEncrypted(key, cipher=cipher, clock=clock) for _ in range(2))
    value = await sealed_by(here, draft)
    [values, elsewhere] = [opened(ring_of(store), monkeypatch) for store in (here, there)]
    sent = [value]
    for step in ("save", "touch", "rotate"):
        clock.forward(1)
        bound = here.bind("session", COOKIE, value)
        if step == "touch":
            assert await bound.touch("session", draft.sid, 2, 60)
        else:
            version, rotated = (2, False) if step == "save" else (3, True)
            newer = a_draft(sid=draft.sid, version=version, payload=b"new", rotated=rotated)
            assert await bound.save(newer) is Outcome.SAVED
        assert bound.value
        value = bound.value
        sent.append(value)

    for each in sent:
        [mine, theirs] = [store.bind("session", COOKIE, each) for store in (here, there)]
        assert mine.credential == theirs.credential is not None
        sid = mine.credential.sid
        assert await mine.fetch("session", sid) == await theirs.fetch("session", sid) is not None
    assert values == []
    assert elsewhere == sent


def test_what_is_known_has_a_bound(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many browsers come, and in whatever order, no more records are kept."""
    monkeypatch.setattr(sealed, "MOST_KNOWN", 8)
    records = SealedRecords(ring)
    sessions = {records.seal(record): record for record in (a_record() for _ in range(50))}
    for _ in range(2):
        for value, record in sessions.items():
            assert records.open(value) == record
            assert len(known(records)) <= 8


def test_what_is_in_use_stays_known(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who comes now and then among many others is opened once."""
    monkeypatch.setattr(sealed, "MOST_KNOWN", 8)
    records, values = SealedRecords(ring), opened(ring, monkeypatch)
    regular = records.seal(a_record())
    for _ in range(30):
        assert records.open(regular)
        assert records.open(records.seal(a_record()))

    assert values.count(regular) == 1


def test_what_does_not_open_leaves_no_trace(ring: Ring) -> None:
    """A flood of forged cookies takes no room and drives nothing out."""
    records, theirs = SealedRecords(ring), Ring([secrets.token_bytes(32)], "aes-gcm", "", "")
    value = records.seal(a_record())
    assert records.open(value)
    for number in range(3 * sealed.MOST_KNOWN):
        assert records.open(theirs.seal(b"x" * 300)) is None
        assert records.open(ring.seal(str(number).encode())) is None

    assert known(records) == {value}


async def test_what_was_too_large_is_not_kept() -> None:
    """A cookie that was never sent takes no room."""
    store = InCookieEncrypted(a_key())
    with pytest.raises(SessionTooLarge):
        await store.bind("session", COOKIE, None).create(a_draft(payload=b"x" * 60_000))

    [records] = store._sealed.values()
    assert known(records) == set()


async def test_what_is_known_is_judged_each_time(cipher: Any) -> None:
    """By the clock, whichever way it has gone since the cookie was opened."""
    clock, draft = Clock(), a_draft(ttl=60)
    store = InCookieEncrypted(a_key(), cipher=cipher, clock=clock)
    value = await sealed_by(store, draft)
    clock.forward(59)
    before = await store.bind("session", COOKIE, value).fetch("session", draft.sid)
    clock.forward(1)
    after = await store.bind("session", COOKIE, value).fetch("session", draft.sid)
    clock.forward(-121)
    early = store.bind("session", COOKIE, value)

    assert before is not None
    assert after is None
    assert early.credential is None
    assert await early.fetch("session", draft.sid) is None


async def test_a_read_has_the_time_at_which_it_was_made(cipher: Any) -> None:
    """Two requests with one cookie, or two looks of one request: each has its own."""
    clock, draft = Clock(), a_draft(ttl=60)
    store = InCookieEncrypted(a_key(), cipher=cipher, clock=clock)
    value, times = await sealed_by(store, draft), []
    for _ in range(2):
        bound = store.bind("session", COOKIE, value)
        for _ in range(2):
            record = await bound.fetch("session", draft.sid)
            assert record is not None
            times.append((record.now, clock()))
            clock.forward(1)

    assert all(now == right for now, right in times)
    assert len(set(times)) == 4


async def test_what_is_known_can_have_ended(cipher: Any) -> None:
    """A copy of an ended session's cookie is refused, however often it was opened before."""
    draft = a_draft()
    store = InCookieEncrypted(a_key(), cipher=cipher, revocations=InMemory())
    value = await sealed_by(store, draft)
    for _ in range(3):
        assert await store.bind("session", COOKIE, value).fetch("session", draft.sid)
    assert await store.bind("session", COOKIE, value).delete("session", draft.sid)

    thief = store.bind("session", COOKIE, value)
    assert await thief.fetch("session", draft.sid) is None
    assert await thief.save(a_draft(sid=draft.sid, version=2)) is Outcome.GONE


async def test_one_request_changes_nothing_for_another(cipher: Any) -> None:
    """Of two requests with one cookie each has the record as it came."""
    draft = a_draft(payload=b"old")
    store = InCookieEncrypted(a_key(), cipher=cipher)
    value = await sealed_by(store, draft)
    writer, reader = (store.bind("session", COOKIE, value) for _ in range(2))
    newer = a_draft(sid=draft.sid, version=2, payload=b"new")
    assert await writer.save(newer) is Outcome.SAVED

    for bound in (reader, store.bind("session", COOKIE, value)):
        record = await bound.fetch("session", draft.sid)
        assert record is not None
        assert (record.version, record.payload) == (1, b"old")


async def test_what_is_known_opens_for_its_own_session_and_name_only(cipher: Any) -> None:
    """Another session or another cookie of the same store does not share what is known."""
    store = InCookieEncrypted(a_key(), cipher=cipher)
    value = await sealed_by(store, a_draft())
    assert store.bind("session", COOKIE, value).credential is not None

    for name, cookie in (("auth_session", COOKIE), ("session", "__Host-other")):
        assert store.bind(name, cookie, value).credential is None


def ring_of(store: InCookieEncrypted) -> Ring:
    """Return the ring of the only cookie of a store."""
    store.bind("session", COOKIE, None)
    [records] = store._sealed.values()
    return records._ring


async def sealed_by(store: InCookieEncrypted, draft: Any) -> str:
    """Return the cookie of a new session."""
    bound = store.bind("session", COOKIE, None)
    assert await bound.create(draft)
    assert bound.value
    return bound.value
