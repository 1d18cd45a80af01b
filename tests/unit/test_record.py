"""Records: what a store keeps after each kind of write."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from samples import a_draft
from sanic_cookies.record import TOMBSTONE_VERSION, Draft, Record
from sanic_cookies.token import Token

NOW = 5000.0


def a_record(**changes: Any) -> Record:
    return replace(Record.begun(a_draft(ttl=60, lifetime=600), NOW), **changes)


def differences(old: Record, new: Record) -> set[str]:
    """Return the names of the fields in which two records differ."""
    return {name for name in Record.__slots__ if getattr(old, name) != getattr(new, name)}


def test_a_new_record_begins_now_and_ends_by_the_drafts_durations() -> None:
    """Every time in a new record is the store's now, plus or minus a duration of the draft."""
    token = Token.generate()
    draft = a_draft(token, ttl=60, lifetime=600, age=7, user_key="ann", payload=b"p")

    expected = Record(
        name="session",
        sid=token.sid,
        version=1,
        secret_hash=token.secret_hash,
        payload=b"p",
        created_at=NOW - 7,
        last_seen=NOW,
        expires_at=NOW + 60,
        deadline=NOW + 600,
        rotated_at=NOW,
        user_key="ann",
        now=NOW,
    )
    assert expected == Record.begun(draft, NOW)


def test_a_record_without_lifetime_or_payload() -> None:
    """No lifetime means no deadline, and no payload means an empty one."""
    record = Record.begun(a_draft(payload=None), NOW)

    assert record.deadline is None
    assert record.payload == b""


@pytest.mark.parametrize(
    ("changes", "touched"),
    [
        ({"payload": None, "renew": False}, {"version", "now"}),
        ({"payload": b"new", "renew": False}, {"version", "now", "payload"}),
        ({"payload": b"", "renew": False}, {"version", "now", "payload"}),
        (
            {"payload": None, "renew": True, "lifetime": 900},
            {"version", "now", "last_seen", "expires_at", "deadline"},
        ),
        (
            {"payload": None, "renew": False, "rotated": True, "previous_hash": b"old"},
            {
                "version",
                "now",
                "secret_hash",
                "rotated_at",
                "previous_hash",
                "previous_until",
            },
        ),
        ({"payload": None, "renew": False, "user_key": "bob"}, {"version", "now", "user_key"}),
    ],
)
def test_a_save_changes_what_its_draft_names_and_nothing_else(
    changes: dict[str, Any], touched: set[str]
) -> None:
    """A save replaces payload, expiry and secret only where its draft says so."""
    old = a_record()
    new = old.updated(a_draft(sid=old.sid, version=2, grace=15, **changes), NOW + 10)

    assert touched == differences(old, new)


def test_a_renewing_save_moves_times_by_the_drafts_durations() -> None:
    """Last use is now; expiry and absolute end are the draft's seconds from now."""
    new = a_record().updated(a_draft(version=2, ttl=90, lifetime=900), NOW + 10)

    assert (new.now, new.last_seen) == (NOW + 10, NOW + 10)
    assert (new.expires_at, new.deadline) == (NOW + 100, NOW + 910)


def test_a_rotation_remembers_the_previous_secret_for_its_grace() -> None:
    """After a rotation the record knows the former hash, until when, and whether it may read."""
    old = a_record()
    draft = a_draft(
        version=2, rotated=True, previous_hash=old.secret_hash, grace=15, previous_reads=True
    )
    new = old.updated(draft, NOW + 10)

    assert draft.secret_hash == new.secret_hash
    assert old.secret_hash == new.previous_hash
    assert (new.rotated_at, new.previous_until, new.previous_reads) == (NOW + 10, NOW + 25, True)


def test_a_renewal_without_lifetime_takes_the_deadline_away() -> None:
    """A renewing draft decides about the deadline, also that there is none."""
    assert a_record().updated(a_draft(version=2, lifetime=None), NOW).deadline is None


def test_a_touch_moves_last_seen_and_expiry_only() -> None:
    """A touch neither counts as a write nor changes data, deadline or secret."""
    old = a_record()
    new = old.touched(NOW + 5, 60)

    assert {"last_seen", "expires_at", "now"} == differences(old, new)
    assert (new.last_seen, new.expires_at, new.now) == (NOW + 5, NOW + 65, NOW + 5)


def test_reading_changes_nothing_but_the_clock() -> None:
    """A record as read later is the same record."""
    old = a_record(previous_hash=b"p", previous_until=7.0, previous_reads=True, user_key="ann")

    assert {"now"} == differences(old, old.seen_at(NOW + 5))
    assert old.seen_at(NOW + 5).now == NOW + 5


def test_a_tombstone_outranks_every_late_write() -> None:
    """What remembers an ended session has a version that no session ever reaches, and no secret."""
    draft = Draft.tombstone("session", "a" * 22, 60)
    record = Record.begun(draft, NOW)

    assert (draft.name, draft.sid) == ("session", "a" * 22)
    assert (draft.rotated, draft.renew) == (True, True)
    assert record.version == TOMBSTONE_VERSION
    assert record.is_tombstone
    assert (record.secret_hash, record.payload, record.user_key) == (b"", b"", None)
    assert record.expires_at == NOW + 60
    assert not a_record(version=TOMBSTONE_VERSION - 1).is_tombstone


def test_a_tombstone_laid_over_a_record_takes_its_secrets_and_data_away() -> None:
    """After a session has ended its record opens with nothing and holds nothing."""
    record = a_record(user_key="ann").updated(Draft.tombstone("session", "a" * 22, 60), NOW)

    assert record.is_tombstone
    assert (record.secret_hash, record.previous_hash, record.payload) == (b"", b"", b"")
    assert record.user_key is None


@pytest.mark.parametrize("value", [a_record(), a_draft()])
def test_records_and_drafts_are_values(value: Any) -> None:
    """Nobody can change a record that somebody else holds."""
    with pytest.raises(AttributeError):
        value.version = 9
