"""The contract of `Interface`, as tests: one rule each.

Subclass `InterfaceContract`, give the fixtures `interface` and `twin`, both opened, and set the
traits in which your interface differs. An interface with more abilities takes their suites too:

    class TestMine(InterfaceContract, LeaseContract, SweepContract): ...

The tests are async: set pytest-asyncio's mode to "auto", or mark your class with
`pytest.mark.asyncio`. Each test makes sessions of its own, so one store may serve them all.
"""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from ..interfaces.base import Interface, SupportsSweep
from ..record import TOMBSTONE_VERSION, Draft, Outcome, Record
from .drafts import NEAR, ROUNDING, following, near, new_draft, new_hash, same
from .traits import ABILITIES, Contract, kept, needs, stored

CROWD = 50
DAY = 86400.0


class InterfaceContract(Contract):
    """What every interface must do."""

    def test_has_the_protocol(self, interface: Interface) -> None:
        """An interface has all the methods, and takes the suite of each ability it has."""
        assert isinstance(interface, Interface)
        for ability in ABILITIES:
            assert (ability in self.abilities()) == isinstance(interface, ability), ability

    # Life cycle

    async def test_open_and_close_are_repeatable(self, interface: Interface) -> None:
        """Opening and closing twice does no harm, and a closed interface opens again."""
        await interface.open()
        await interface.close()
        await interface.close()
        await interface.open()

        assert await interface.create(new_draft()) is True

    async def test_repr_shows_no_content(self, interface: Interface) -> None:
        """What an interface prints of itself holds nothing of any session."""
        draft = new_draft(payload=b"private", user_key="somebody")
        await stored(interface, draft)
        shown = repr(interface)

        for content in ("private", "somebody", draft.sid, draft.secret_hash.hex()):
            assert content not in shown
        assert repr(draft.secret_hash)[2:-1] not in shown

    # Reading

    async def test_unknown_is_none(self, interface: Interface) -> None:
        """An unknown session is no error."""
        draft = new_draft()

        assert await interface.fetch(draft.name, draft.sid) is None

    async def test_create_gives_every_field_back(self, interface: Interface) -> None:
        """What was created is read back, its durations as times of the store's clock."""
        draft = new_draft(
            version=7, payload=b"data", ttl=1200, lifetime=5000, age=600, user_key="u1"
        )
        record = await stored(interface, draft)

        assert (record.name, record.sid) == (draft.name, draft.sid)
        assert record.version == 7
        assert record.secret_hash == draft.secret_hash
        assert record.payload == b"data"
        assert record.user_key == "u1"
        assert (record.previous_hash, record.previous_reads) == (b"", False)
        assert near(record.now - record.created_at, 600)
        assert near(record.now, record.last_seen)
        assert near(record.now, record.rotated_at)
        assert near(record.expires_at - record.now, 1200)
        assert record.deadline is not None
        assert near(record.deadline - record.now, 5000)

    async def test_types_are_exact(self, interface: Interface) -> None:
        """Bytes come back as bytes and text as text, whatever the driver prefers."""
        record = await stored(interface, new_draft(user_key="u1"))

        assert type(record.payload) is bytes
        assert type(record.secret_hash) is bytes
        assert type(record.previous_hash) is bytes
        assert type(record.user_key) is str
        assert type(record.version) is int
        assert type(record.previous_reads) is bool

    async def test_clock_shows_epoch_seconds(self, interface: Interface) -> None:
        """The store's clock counts seconds since 1970 and goes on between two readings."""
        draft = new_draft()
        first = await stored(interface, draft)
        await asyncio.sleep(0.02)
        second = await kept(interface, draft)

        assert abs(first.now - time.time()) < DAY
        assert first.now < second.now < first.now + NEAR

    async def test_payload_is_opaque(self, interface: Interface) -> None:
        """Any bytes come back as they were, those that are no text included."""
        large = (bytes(range(256)) * (self.largest // 256 + 1))[: self.largest]
        for payload in (b"", b"\0", b"a\0b\0", b"\xff\xfe\x80", b"{}\r\n'\"\\", large):
            draft = new_draft(payload=payload)

            assert (await stored(interface, draft)).payload == payload
            assert await interface.save(following(draft, payload=payload[::-1])) is Outcome.SAVED
            assert (await kept(interface, draft)).payload == payload[::-1]

    # Creating

    async def test_create_refuses_a_taken_sid(self, interface: Interface) -> None:
        """A sid that is taken is refused, and nothing of its session has changed."""
        draft = new_draft(user_key="owner")
        before = await stored(interface, draft)
        intruder = replace(
            draft, version=9, secret_hash=new_hash(), payload=b"other", user_key="x", ttl=60
        )

        assert await interface.create(intruder) is False
        assert same(await kept(interface, draft), before)

    async def test_repeated_create_is_true(self, interface: Interface) -> None:
        """A create that is repeated since its reply was lost succeeds and changes nothing."""
        draft = new_draft()
        before = await stored(interface, draft)

        assert await interface.create(draft) is True
        assert same(await kept(interface, draft), before)

    async def test_repeated_create_keeps_a_later_write(self, interface: Interface) -> None:
        """A repeated create that comes after the next write does not undo it."""
        draft = new_draft(payload=b"first")
        await stored(interface, draft)
        await interface.save(following(draft, payload=b"second"))

        assert await interface.create(draft) is True
        assert (await kept(interface, draft)).payload == b"second"

    async def test_simultaneous_repeats_of_a_create_are_all_true(
        self, interface: Interface
    ) -> None:
        """A create that is retried while the first try is still under way succeeds too."""
        draft = new_draft()
        made = await asyncio.gather(*(interface.create(draft) for _ in range(CROWD)))

        assert made == [True] * CROWD

    async def test_simultaneous_creates_have_one_winner(self, interface: Interface) -> None:
        """Of many that create one sid at once exactly one succeeds, and it is the one stored."""
        await self._one_winner([interface])

    @needs("shared")
    async def test_simultaneous_creates_of_two_objects_have_one_winner(
        self, interface: Interface, twin: Interface
    ) -> None:
        """The same is true of two objects, as two processes would have them."""
        await self._one_winner([interface, twin])

    async def _one_winner(self, interfaces: list[Interface]) -> None:
        draft = new_draft()
        rivals = [replace(draft, secret_hash=new_hash()) for _ in range(CROWD)]
        made = await asyncio.gather(
            *(
                interfaces[index % len(interfaces)].create(rival)
                for index, rival in enumerate(rivals)
            )
        )

        assert sorted(made) == [False] * (CROWD - 1) + [True]
        for interface in interfaces:
            record = await kept(interface, draft)
            assert record.secret_hash == rivals[made.index(True)].secret_hash

    # Saving

    async def test_save_replaces_an_older_version(self, interface: Interface) -> None:
        """A save writes payload and version; what makes the session stays."""
        draft = new_draft()
        before = await stored(interface, draft)

        assert await interface.save(following(draft, payload=b"new", age=999)) is Outcome.SAVED
        record = await kept(interface, draft)
        assert (record.version, record.payload) == (2, b"new")
        assert record.created_at == before.created_at

    async def test_save_of_unknown_is_gone(self, interface: Interface) -> None:
        """A save never creates."""
        draft = new_draft()

        assert await interface.save(following(draft)) is Outcome.GONE
        assert await interface.fetch(draft.name, draft.sid) is None
        assert await interface.create(draft) is True

    async def test_save_does_not_resurrect(self, interface: Interface) -> None:
        """A session that was deleted is not written again."""
        draft = new_draft()
        await stored(interface, draft)
        await interface.delete(draft.name, draft.sid)

        assert await interface.save(following(draft)) is Outcome.GONE
        assert await interface.fetch(draft.name, draft.sid) is None

    async def test_save_that_is_not_newer_is_stale(self, interface: Interface) -> None:
        """A save of the same or an older version changes nothing."""
        draft = new_draft(version=5)
        before = await stored(interface, draft)
        for version in (5, 4, 1):
            late = replace(
                draft,
                version=version,
                payload=b"late",
                ttl=60,
                rotated=True,
                secret_hash=new_hash(),
                user_key="late",
            )

            assert await interface.save(late) is Outcome.STALE
            assert same(await kept(interface, draft), before)

    async def test_simultaneous_saves_have_one_winner(self, interface: Interface) -> None:
        """Of many that save the same version at once exactly one succeeds."""
        draft = new_draft()
        await stored(interface, draft)
        writes = [following(draft, payload=str(index).encode()) for index in range(CROWD)]
        outcomes = await asyncio.gather(*(interface.save(write) for write in writes))

        assert outcomes.count(Outcome.SAVED) == 1
        assert outcomes.count(Outcome.STALE) == CROWD - 1
        winner = writes[outcomes.index(Outcome.SAVED)]
        assert (await kept(interface, draft)).payload == winner.payload

    async def test_versions_compare_as_numbers(self, interface: Interface) -> None:
        """Version 10 is newer than version 9, and 9 is not newer than 10."""
        draft = new_draft(version=9)
        await stored(interface, draft)

        assert await interface.save(replace(draft, version=10)) is Outcome.SAVED
        assert await interface.save(replace(draft, version=9)) is Outcome.STALE

    async def test_payload_none_keeps_the_payload(self, interface: Interface) -> None:
        """A save without payload writes the rest; an empty payload is one."""
        draft = new_draft(payload=b"data")
        await stored(interface, draft)

        assert await interface.save(following(draft, payload=None)) is Outcome.SAVED
        record = await kept(interface, draft)
        assert (record.version, record.payload) == (2, b"data")

        assert await interface.save(replace(draft, version=3, payload=b"")) is Outcome.SAVED
        assert (await kept(interface, draft)).payload == b""

    async def test_save_without_renew_moves_no_time(self, interface: Interface) -> None:
        """A save with `renew` off leaves last use, expiry and deadline."""
        draft = new_draft(ttl=1200, lifetime=5000)
        before = await stored(interface, draft)
        await asyncio.sleep(0.02)
        await interface.save(following(draft, renew=False, ttl=60, lifetime=None))
        record = await kept(interface, draft)

        assert record.version == 2
        assert (record.last_seen, record.deadline) == (before.last_seen, before.deadline)
        assert abs(record.expires_at - before.expires_at) < ROUNDING

    async def test_save_with_renew_moves_the_times(self, interface: Interface) -> None:
        """A save with `renew` on sets last use, expiry and deadline anew."""
        draft = new_draft(ttl=1200, lifetime=5000)
        before = await stored(interface, draft)
        await asyncio.sleep(0.02)
        await interface.save(following(draft, renew=True, ttl=600, lifetime=9000))
        record = await kept(interface, draft)

        assert record.last_seen > before.last_seen
        assert near(record.expires_at - record.now, 600)
        assert record.deadline is not None
        assert near(record.deadline - record.now, 9000)

    async def test_deadline_comes_and_goes(self, interface: Interface) -> None:
        """There is no deadline unless one is given, and a renewal without one takes it away."""
        draft = new_draft(lifetime=None)
        assert (await stored(interface, draft)).deadline is None

        await interface.save(replace(draft, version=2, lifetime=5000))
        assert (await kept(interface, draft)).deadline is not None

        await interface.save(replace(draft, version=3, lifetime=None))
        assert (await kept(interface, draft)).deadline is None

    # Rotation

    async def test_rotation_replaces_the_secret(self, interface: Interface) -> None:
        """A rotation stores the new hash and remembers the former one, its grace and its rights."""
        draft = new_draft()
        before = await stored(interface, draft)
        await asyncio.sleep(0.02)
        for version, reads in ((2, True), (3, False)):
            former = (await kept(interface, draft)).secret_hash
            fresh = new_hash()
            rotation = replace(
                draft,
                version=version,
                secret_hash=fresh,
                rotated=True,
                previous_hash=former,
                grace=300,
                previous_reads=reads,
            )

            assert await interface.save(rotation) is Outcome.SAVED
            record = await kept(interface, draft)
            assert (record.secret_hash, record.previous_hash) == (fresh, former)
            assert record.previous_reads is reads
            assert near(record.previous_until - record.now, 300)
            assert record.rotated_at > before.rotated_at

    async def test_save_without_rotation_keeps_the_secret(self, interface: Interface) -> None:
        """A save that does not rotate leaves all that concerns the secret."""
        draft = new_draft()
        await stored(interface, draft)
        rotation = following(
            draft, rotated=True, secret_hash=new_hash(), previous_hash=draft.secret_hash, grace=300
        )
        await interface.save(replace(rotation, previous_reads=True))
        before = await kept(interface, draft)
        await interface.save(replace(draft, version=3, secret_hash=new_hash(), payload=b"x"))
        record = await kept(interface, draft)

        assert record.payload == b"x"
        for field in ("secret_hash", "rotated_at", "previous_hash", "previous_until"):
            assert getattr(record, field) == getattr(before, field)
        assert record.previous_reads is True

    async def test_user_key_is_kept(self, interface: Interface) -> None:
        """The user key is stored by create and by save; nobody and an empty key differ."""
        keys = ["", None, "0", "jürgen 名", None, ""]
        for first, second in pairwise(keys):
            draft = new_draft(user_key=first)
            assert (await stored(interface, draft)).user_key == first

            await interface.save(following(draft, user_key=second))
            assert (await kept(interface, draft)).user_key == second

    # Touching

    async def test_touch_moves_last_use_and_expiry_only(self, interface: Interface) -> None:
        """A touch of the current version sets last use and expiry, and nothing else."""
        draft = new_draft(ttl=1200, lifetime=5000, user_key="u1")
        before = await stored(interface, draft)
        await asyncio.sleep(0.02)
        await interface.touch(draft.name, draft.sid, 1, 7200)
        record = await kept(interface, draft)

        assert record.last_seen > before.last_seen
        assert near(record.expires_at - record.now, 7200)
        left = replace(record, last_seen=before.last_seen, expires_at=before.expires_at)
        assert same(left, before)

    async def test_touch_of_another_version_does_nothing(self, interface: Interface) -> None:
        """Who has not seen the current version does not move its times."""
        draft = new_draft(version=5)
        before = await stored(interface, draft)
        await asyncio.sleep(0.02)
        for version in (4, 6, 50):
            await interface.touch(draft.name, draft.sid, version, 60)

        assert same(await kept(interface, draft), before)

    async def test_touch_of_unknown_leaves_nothing(self, interface: Interface) -> None:
        """A touch of an unknown session is no error and creates nothing."""
        draft = new_draft()
        await interface.touch(draft.name, draft.sid, 1, 60)

        assert await interface.fetch(draft.name, draft.sid) is None
        assert await interface.create(draft) is True

    # Expiry

    async def test_expired_is_gone(self, interface: Interface) -> None:
        """An expired session is unknown to every operation, and none revives it."""
        draft = new_draft(ttl=self.blink)
        assert await interface.create(draft) is True
        await self.outlive()

        assert await interface.fetch(draft.name, draft.sid) is None
        await interface.touch(draft.name, draft.sid, 1, 60)
        assert await interface.save(following(draft, ttl=60)) is Outcome.GONE
        assert await interface.fetch(draft.name, draft.sid) is None
        assert await interface.delete(draft.name, draft.sid) is False

    async def test_expired_sid_is_free(self, interface: Interface) -> None:
        """The sid of an expired session may be created, and nothing of the former is left."""
        former = new_draft(ttl=self.blink, user_key="former", payload=b"former")
        await interface.create(former)
        rotation = following(
            former, rotated=True, secret_hash=new_hash(), previous_hash=former.secret_hash, grace=60
        )
        await interface.save(replace(rotation, previous_reads=True))
        await self.outlive()
        draft = replace(former, secret_hash=new_hash(), payload=b"new", ttl=60, user_key=None)
        record = await stored(interface, draft)

        assert (record.secret_hash, record.payload) == (draft.secret_hash, b"new")
        assert (record.version, record.user_key) == (1, None)
        assert (record.previous_hash, record.previous_reads) == (b"", False)

    async def test_save_prolongs_a_short_life(self, interface: Interface) -> None:
        """A session that was renewed in time outlives its first expiry."""
        for life in self.lives:
            draft = new_draft(ttl=life)
            await interface.create(draft)
            if await interface.save(following(draft, ttl=600)) is Outcome.SAVED:
                break
        await self.outlive(life)

        assert (await kept(interface, draft)).version == 2

    # Deleting

    async def test_delete_says_whether_there_was_one(self, interface: Interface) -> None:
        """The first delete is True, each further one False, and none is an error."""
        draft = new_draft()
        assert await interface.delete(draft.name, draft.sid) is False
        await stored(interface, draft)

        assert await interface.delete(draft.name, draft.sid) is True
        assert await interface.fetch(draft.name, draft.sid) is None
        assert await interface.delete(draft.name, draft.sid) is False

    async def test_simultaneous_deletes_have_one_winner(self, interface: Interface) -> None:
        """Of many that delete one session at once exactly one has done it."""
        draft = new_draft()
        await stored(interface, draft)
        gone = await asyncio.gather(
            *(interface.delete(draft.name, draft.sid) for _ in range(CROWD))
        )

        assert gone.count(True) == 1

    async def test_delete_wins_over_simultaneous_saves(self, interface: Interface) -> None:
        """Whatever is written at the same moment, a deleted session stays deleted."""
        draft = new_draft()
        await stored(interface, draft)
        saves = [interface.save(replace(draft, version=version)) for version in range(2, 20)]
        saves.insert(9, interface.delete(draft.name, draft.sid))  # type: ignore[arg-type]
        answers: list[object] = list(await asyncio.gather(*saves))

        assert answers[9] is True
        assert await interface.fetch(draft.name, draft.sid) is None

    # Tombstones

    async def test_tombstone_outranks_late_writes(self, interface: Interface) -> None:
        """Over a tombstone nothing is written, and it holds nothing of the session."""
        draft = new_draft(user_key="u1")
        await stored(interface, draft)
        grave = Draft.tombstone(draft.name, draft.sid, 600)

        assert await interface.save(grave) is Outcome.SAVED
        assert await interface.save(replace(draft, version=1000)) is Outcome.STALE
        assert await interface.create(draft) is False
        self._is_buried(await kept(interface, draft))

    async def test_tombstone_holds_the_place_of_an_unknown(self, interface: Interface) -> None:
        """A tombstone that comes before the session itself keeps it from being made."""
        draft = new_draft()
        assert await interface.create(Draft.tombstone(draft.name, draft.sid, 600)) is True

        assert await interface.create(draft) is False
        assert await interface.save(following(draft)) is Outcome.STALE
        self._is_buried(await kept(interface, draft))

    def _is_buried(self, record: Record) -> None:
        assert record.is_tombstone
        assert record.version == TOMBSTONE_VERSION
        assert (record.secret_hash, record.previous_hash) == (b"", b"")
        assert (record.payload, record.user_key) == (b"", None)

    # Many sessions

    @needs("many")
    async def test_names_do_not_meet(self, interface: Interface) -> None:
        """Sessions of two names under one sid know nothing of each other."""
        mine = new_draft(name="contract_a", payload=b"mine")
        other = replace(mine, name="contract_b", payload=b"other", secret_hash=new_hash())
        await stored(interface, mine)

        assert await interface.fetch(other.name, other.sid) is None
        assert await interface.save(following(other)) is Outcome.GONE
        assert await interface.delete(other.name, other.sid) is False
        before = await stored(interface, other)
        assert before.payload == b"other"
        assert (await kept(interface, mine)).payload == b"mine"
        assert await interface.delete(mine.name, mine.sid) is True
        assert same(await kept(interface, other), before)

    @needs("many")
    async def test_sessions_do_not_meet(self, interface: Interface) -> None:
        """What is written to many sessions at once stands in each where it belongs."""
        drafts = [new_draft(payload=str(index).encode()) for index in range(CROWD)]
        assert await asyncio.gather(*map(interface.create, drafts)) == [True] * CROWD
        writes = [following(draft, payload=(draft.payload or b"") * 2) for draft in drafts]
        assert set(await asyncio.gather(*map(interface.save, writes))) == {Outcome.SAVED}
        records = await asyncio.gather(*(kept(interface, draft) for draft in drafts))

        assert [record.payload for record in records] == [write.payload for write in writes]
        assert [record.sid for record in records] == [draft.sid for draft in drafts]

    @needs("shared")
    async def test_two_objects_see_the_same(self, interface: Interface, twin: Interface) -> None:
        """What one object writes or deletes, another on the same store sees at once."""
        draft = new_draft()
        before = await stored(interface, draft)
        assert same(await twin.fetch(draft.name, draft.sid), before)

        assert await twin.save(following(draft, payload=b"twin")) is Outcome.SAVED
        assert (await kept(interface, draft)).payload == b"twin"
        assert await interface.delete(draft.name, draft.sid) is True
        assert await twin.fetch(draft.name, draft.sid) is None

    @needs("shared")
    async def test_records_outlive_the_object(self, interface: Interface, twin: Interface) -> None:
        """Closing an object takes nothing away from the others, nor from itself."""
        draft = new_draft()
        before = await stored(interface, draft)
        await interface.close()

        assert same(await twin.fetch(draft.name, draft.sid), before)
        await interface.open()
        assert same(await kept(interface, draft), before)


class SweepContract(Contract, ability=SupportsSweep):
    """What an interface must do that has `SupportsSweep`."""

    async def test_sweep_drops_the_expired_and_no_other(self, interface: Any) -> None:
        """A sweep drops what has expired, says how many that were, and leaves the rest."""
        await interface.sweep()
        alive = new_draft()
        before = await stored(interface, alive)
        for _ in range(3):
            await interface.create(new_draft(ttl=self.blink))
        # A clean-up may look at whole seconds only.
        await asyncio.sleep(1.1 + self.blink)

        assert await interface.sweep() == 3
        assert await interface.sweep() == 0
        assert same(await kept(interface, alive), before)
