"""The contract of `SupportsLease`, as tests: one rule each."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any, Protocol

from msgspec.structs import replace

from ..interfaces.base import Interface, SupportsLease
from ..record import Busy, Claim, Draft, Granted, Outcome
from .drafts import following, near, new_claim, new_draft, new_hash, same
from .traits import Contract, kept, needs, stored

CROWD = 20
PATIENCE = 20.0  # a third of what a claim asks for
BOTH = (True, False)  # most writes of a session leave its times alone


class Leasing(Interface, SupportsLease, Protocol):
    """An interface with leases."""


async def held(interface: Leasing, draft: Draft, claim: Claim) -> Granted:
    """Take the lease, which must be free."""
    granted = await interface.acquire(draft.name, draft.sid, claim)
    assert isinstance(granted, Granted)
    assert granted.held is True
    return granted


async def busy(interface: Leasing, draft: Draft) -> bool:
    """Say whether one who knows the secret has to wait now."""
    answer = await interface.acquire(draft.name, draft.sid, new_claim(draft, seconds=0.001))
    return isinstance(answer, Busy)


class LeaseContract(Contract, ability=SupportsLease):
    """What an interface must do that has `SupportsLease`."""

    async def test_acquire_grants_and_reads(self, interface: Leasing) -> None:
        """Taking the lease gives the record in the same step, and changes nothing of it."""
        draft = new_draft(payload=b"data", user_key="u1", lifetime=5000)
        before = await stored(interface, draft)
        granted = await held(interface, draft, new_claim(draft))

        assert same(granted.record, before)
        assert granted.record.now >= before.now
        assert same(await kept(interface, draft), before)

    async def test_second_claim_is_busy(self, interface: Leasing) -> None:
        """Who comes second is told who holds the lease, and for how long."""
        draft = new_draft()
        await stored(interface, draft)
        await held(interface, draft, new_claim(draft, seconds=120, label="checkout"))
        answer = await interface.acquire(draft.name, draft.sid, new_claim(draft, label="cart"))

        assert isinstance(answer, Busy)
        assert answer.label == "checkout"
        assert near(answer.seconds, 120)

    async def test_same_token_is_one_lease(self, interface: Leasing) -> None:
        """A claim that is repeated since its reply was lost is granted again."""
        draft = new_draft()
        await stored(interface, draft)
        claim = new_claim(draft)
        await held(interface, draft, claim)
        await held(interface, draft, claim)

        assert await busy(interface, draft)

    async def test_stranger_reads_but_never_holds(self, interface: Leasing) -> None:
        """Who does not know the secret keeps nobody waiting, and waits for nobody."""
        draft = new_draft()
        before = await stored(interface, draft)
        stranger = new_claim(draft, secret_hash=new_hash())
        for _ in range(2):  # while the lease is free, and while it is held
            answer = await interface.acquire(draft.name, draft.sid, stranger)

            assert isinstance(answer, Granted)
            assert answer.held is False
            assert same(answer.record, before)
            await held(interface, draft, new_claim(draft, token="owner"))  # noqa: S106 - a name

    async def test_stranger_cannot_commit(self, interface: Leasing) -> None:
        """A claim that was not granted gives no right to write."""
        draft = new_draft()
        before = await stored(interface, draft)
        stranger = new_claim(draft, secret_hash=new_hash())
        await interface.acquire(draft.name, draft.sid, stranger)

        assert await interface.commit(following(draft), stranger.token, True) is Outcome.LOST
        assert await interface.renew(draft.name, draft.sid, stranger.token, 60) is False
        assert same(await kept(interface, draft), before)

    async def test_unknown_is_none_and_leaves_nothing(self, interface: Leasing) -> None:
        """No step of a lease makes a record that was not there."""
        draft = new_draft()
        claim = new_claim(draft)

        assert await interface.acquire(draft.name, draft.sid, claim) is None
        assert await interface.renew(draft.name, draft.sid, claim.token, 60) is False
        await interface.release(draft.name, draft.sid, claim.token)
        assert await interface.commit(following(draft), claim.token, True) is Outcome.GONE
        assert await interface.fetch(draft.name, draft.sid) is None
        await stored(interface, draft)
        await held(interface, draft, new_claim(draft))

    async def test_expired_has_no_lease(self, interface: Leasing) -> None:
        """An expired session is unknown to a claim, to a renewal and to a commit."""
        draft = new_draft(ttl=self.blink)
        claim = new_claim(draft)
        await interface.create(draft)
        await interface.acquire(draft.name, draft.sid, claim)
        await self.outlive()

        assert await interface.acquire(draft.name, draft.sid, claim) is None
        assert await interface.commit(following(draft), claim.token, True) is Outcome.GONE
        assert await interface.fetch(draft.name, draft.sid) is None

    async def test_lease_is_not_inherited(self, interface: Leasing) -> None:
        """A session that takes the sid of an expired or deleted one is free."""
        draft = new_draft(ttl=self.blink)
        await interface.create(draft)
        await interface.acquire(draft.name, draft.sid, new_claim(draft))
        await self.outlive()
        await stored(interface, replace(draft, ttl=60))
        await held(interface, draft, new_claim(draft))

        await interface.delete(draft.name, draft.sid)
        await stored(interface, replace(draft, ttl=60))
        await held(interface, draft, new_claim(draft))

    # Committing

    async def test_commit_saves_and_releases(self, interface: Leasing) -> None:
        """A commit writes, and the next claim is granted and reads what was written."""
        draft = new_draft()
        await stored(interface, draft)
        claim = new_claim(draft)
        await held(interface, draft, claim)
        write = following(draft, payload=b"new", user_key="u2", ttl=600, lifetime=900)

        assert await interface.commit(write, claim.token, True) is Outcome.SAVED
        record = (await held(interface, draft, new_claim(draft))).record
        assert (record.version, record.payload, record.user_key) == (2, b"new", "u2")
        assert near(record.expires_at - record.now, 600)
        assert record.deadline is not None
        assert near(record.deadline - record.now, 900)

    async def test_commit_without_release_keeps_the_lease(self, interface: Leasing) -> None:
        """A commit may keep the lease for a while from now, to be followed by another one."""
        draft = new_draft()
        await stored(interface, draft)
        claim = new_claim(draft)
        await held(interface, draft, claim)

        assert await interface.commit(following(draft), claim.token, False, 120) is Outcome.SAVED
        answer = await interface.acquire(draft.name, draft.sid, new_claim(draft))
        assert isinstance(answer, Busy)
        assert near(answer.seconds, 120)
        second = replace(draft, version=3, payload=b"second")
        assert await interface.commit(second, claim.token, True) is Outcome.SAVED
        assert (await kept(interface, draft)).payload == b"second"

    async def test_commit_by_a_foreign_token_is_lost(self, interface: Leasing) -> None:
        """Who has not the lease writes nothing, and takes nothing from who has it."""
        for renew in BOTH:
            draft = new_draft()
            before = await stored(interface, draft)
            claim = new_claim(draft)
            late = following(draft, payload=b"late", renew=renew)
            assert await interface.commit(late, "nobody", True) is Outcome.LOST
            await held(interface, draft, claim)

            assert await interface.commit(late, "somebody", True) is Outcome.LOST
            assert same(await kept(interface, draft), before)
            assert await busy(interface, draft)
            write = following(draft, renew=renew)
            assert await interface.commit(write, claim.token, True) is Outcome.SAVED

    async def test_repeated_commit_is_saved_once(self, interface: Leasing) -> None:
        """A commit that is repeated since its reply was lost is saved, and applied once."""
        for release, more in product(BOTH, BOTH):
            draft = new_draft()
            await stored(interface, draft)
            claim = new_claim(draft)
            await held(interface, draft, claim)
            write = following(draft, payload=b"new", renew=more, rotated=more)
            write = replace(write, secret_hash=new_hash() if more else draft.secret_hash)
            assert await interface.commit(write, claim.token, release, 60) is Outcome.SAVED
            before = await kept(interface, draft)
            await asyncio.sleep(0.02)

            assert await interface.commit(write, claim.token, release, 60) is Outcome.SAVED
            assert same(await kept(interface, draft), before)

    async def test_repeated_commit_does_not_disturb_the_next(self, interface: Leasing) -> None:
        """A repeated commit takes the lease from nobody who has got it meanwhile."""
        for renew in BOTH:
            draft = new_draft()
            await stored(interface, draft)
            first, second = new_claim(draft), new_claim(draft)
            await held(interface, draft, first)
            write = following(draft, payload=b"first", renew=renew)
            await interface.commit(write, first.token, True)
            await held(interface, draft, second)

            assert await interface.commit(write, first.token, True) is Outcome.SAVED
            assert await busy(interface, draft)
            last = replace(draft, version=3, payload=b"second", renew=renew)
            assert await interface.commit(last, second.token, True) is Outcome.SAVED

    async def test_commit_that_is_not_newer_writes_nothing(self, interface: Leasing) -> None:
        """The lease does not stand above the version: an older write is refused."""
        for renew in BOTH:
            draft = new_draft(version=5)
            before = await stored(interface, draft)
            claim = new_claim(draft)
            await held(interface, draft, claim)

            older = replace(draft, version=4, payload=b"old", renew=renew)
            for release in BOTH:
                assert await interface.commit(older, claim.token, release, 60) is Outcome.STALE
            assert same(await kept(interface, draft), before)

    async def test_commit_writes_what_a_save_writes(self, interface: Leasing) -> None:
        """Payload kept, times left, secret rotated: a commit obeys its draft as a save does."""
        draft = new_draft(payload=b"data", ttl=1200, lifetime=5000)
        before = await stored(interface, draft)
        claim = new_claim(draft)
        await held(interface, draft, claim)
        rotation = following(
            draft,
            payload=None,
            renew=False,
            ttl=60,
            rotated=True,
            secret_hash=new_hash(),
            previous_hash=draft.secret_hash,
            grace=300,
            previous_reads=True,
        )
        assert await interface.commit(rotation, claim.token, True) is Outcome.SAVED
        record = await kept(interface, draft)

        assert record.payload == b"data"
        assert (record.last_seen, record.deadline) == (before.last_seen, before.deadline)
        assert near(record.expires_at - record.now, 1200)
        assert record.secret_hash == rotation.secret_hash
        assert (record.previous_hash, record.previous_reads) == (draft.secret_hash, True)
        assert near(record.previous_until - record.now, 300)

    async def test_delete_ends_what_is_held(self, interface: Leasing) -> None:
        """Nobody has to wait to end a session; its holder's commit finds it gone."""
        draft = new_draft()
        await stored(interface, draft)
        claim = new_claim(draft)
        await held(interface, draft, claim)

        assert await interface.delete(draft.name, draft.sid) is True
        assert await interface.commit(following(draft), claim.token, True) is Outcome.GONE
        assert await interface.fetch(draft.name, draft.sid) is None

    async def test_touch_leaves_the_lease(self, interface: Leasing) -> None:
        """A use that is written down meanwhile disturbs no holder."""
        draft = new_draft()
        await stored(interface, draft)
        claim = new_claim(draft)
        await held(interface, draft, claim)
        await interface.touch(draft.name, draft.sid, 1, 600)

        assert await busy(interface, draft)
        assert await interface.commit(following(draft), claim.token, True) is Outcome.SAVED

    # Time

    async def test_lease_ends_by_itself(self, interface: Leasing) -> None:
        """A holder that never comes back keeps others out no longer than its lease."""
        draft = new_draft()
        await stored(interface, draft)
        await held(interface, draft, new_claim(draft, seconds=self.blink))
        await self.outlive()

        await held(interface, draft, new_claim(draft))

    async def test_former_holder_is_refused(self, interface: Leasing) -> None:
        """Who lost the lease to somebody else writes nothing and renews nothing."""
        draft = new_draft()
        await stored(interface, draft)
        former, present = new_claim(draft, seconds=self.blink), new_claim(draft)
        await held(interface, draft, former)
        await self.outlive()
        await held(interface, draft, present)

        late = following(draft, payload=b"late")
        assert await interface.commit(late, former.token, True) is Outcome.LOST
        assert await interface.renew(draft.name, draft.sid, former.token, 60) is False
        await interface.release(draft.name, draft.sid, former.token)
        assert await busy(interface, draft)
        assert await interface.commit(following(draft), present.token, True) is Outcome.SAVED

    async def test_renewed_lease_outlives_its_end(self, interface: Leasing) -> None:
        """A renewal is True for the holder and prolongs the lease from now on."""
        for life in self.lives:
            draft = new_draft()
            await stored(interface, draft)
            claim = new_claim(draft, seconds=life)
            await held(interface, draft, claim)
            if renewed := await interface.renew(draft.name, draft.sid, claim.token, 120):
                break
        assert renewed is True
        await self.outlive(life)

        answer = await interface.acquire(draft.name, draft.sid, new_claim(draft))
        assert isinstance(answer, Busy)
        assert near(answer.seconds, 120)

    async def test_only_the_holder_renews(self, interface: Leasing) -> None:
        """A renewal by another token, or after the release, is False and gives no lease."""
        draft = new_draft()
        await stored(interface, draft)
        claim = new_claim(draft)
        assert await interface.renew(draft.name, draft.sid, claim.token, 60) is False
        await held(interface, draft, claim)
        assert await interface.renew(draft.name, draft.sid, "other", 60) is False
        await interface.release(draft.name, draft.sid, claim.token)

        assert await interface.renew(draft.name, draft.sid, claim.token, 60) is False
        await held(interface, draft, new_claim(draft))

    async def test_only_the_holder_releases(self, interface: Leasing) -> None:
        """A release by another token does nothing; the holder's frees the lease."""
        draft = new_draft()
        before = await stored(interface, draft)
        claim, waiter = new_claim(draft), new_claim(draft)
        await held(interface, draft, claim)
        await interface.release(draft.name, draft.sid, "other")
        assert isinstance(await interface.acquire(draft.name, draft.sid, waiter), Busy)

        await interface.release(draft.name, draft.sid, claim.token)
        assert same((await held(interface, draft, waiter)).record, before)

    async def test_released_holder_cannot_commit(self, interface: Leasing) -> None:
        """Who gave the lease up without writing cannot write any more."""
        for renew in BOTH:
            draft = new_draft()
            before = await stored(interface, draft)
            claim = new_claim(draft)
            await held(interface, draft, claim)
            await interface.release(draft.name, draft.sid, claim.token)

            assert (
                await interface.commit(following(draft, renew=renew), claim.token, True)
                is Outcome.LOST
            )
            assert same(await kept(interface, draft), before)

    async def test_turn_ends_in_time(self, interface: Leasing) -> None:
        """A wait for one's turn ends after its timeout at the latest."""
        draft = new_draft()
        await stored(interface, draft)
        await held(interface, draft, new_claim(draft))
        waiter = new_claim(draft)
        await interface.acquire(draft.name, draft.sid, waiter)

        async with asyncio.timeout(PATIENCE):
            await interface.turn(draft.name, draft.sid, waiter.token, 0.2)

    async def test_waiter_gets_its_turn(self, interface: Leasing) -> None:
        """Who was busy, waits for its turn and asks again, gets the lease once it is released."""
        draft = new_draft()
        await stored(interface, draft)
        holder, waiter = new_claim(draft), new_claim(draft)
        await held(interface, draft, holder)
        assert isinstance(await interface.acquire(draft.name, draft.sid, waiter), Busy)

        waiting = asyncio.ensure_future(self._come_in(interface, draft, waiter))
        await interface.commit(following(draft, payload=b"new"), holder.token, True)
        granted = await asyncio.wait_for(waiting, 10)
        assert granted.held is True
        assert granted.record.payload == b"new"

    async def test_first_in_line_is_first(self, interface: Leasing) -> None:
        """The lease goes to whoever has waited longest, and to nobody who comes later."""
        draft = new_draft()
        await stored(interface, draft)
        holder, *line = [new_claim(draft, label=str(index)) for index in range(4)]
        await held(interface, draft, holder)
        for waiter in line:
            assert isinstance(await interface.acquire(draft.name, draft.sid, waiter), Busy)
        write = following(draft, renew=False)
        assert await interface.commit(write, holder.token, True) is Outcome.SAVED

        while line:
            for early in (*line[1:], new_claim(draft, secret_hash=new_hash())):
                answer = await interface.acquire(draft.name, draft.sid, early)
                assert isinstance(answer, Busy) or (answer is not None and not answer.held)
            first = line.pop(0)
            await held(interface, draft, first)
            await interface.release(draft.name, draft.sid, first.token)
        await held(interface, draft, new_claim(draft))

    async def test_newcomer_passes_nobody(self, interface: Leasing) -> None:
        """When a lease ends by itself, whoever has waited longest comes before a newcomer."""
        for life in self.lives:
            draft = new_draft()
            await stored(interface, draft)
            waiter, newcomer = new_claim(draft), new_claim(draft)
            await held(interface, draft, new_claim(draft, seconds=life))
            answer = await interface.acquire(draft.name, draft.sid, waiter)
            if isinstance(answer, Busy):
                break
        assert isinstance(answer, Busy)
        await self.outlive(life)

        assert isinstance(await interface.acquire(draft.name, draft.sid, newcomer), Busy)
        await held(interface, draft, waiter)
        await interface.release(draft.name, draft.sid, waiter.token)
        await held(interface, draft, newcomer)

    async def test_waiter_takes_what_has_ended(self, interface: Leasing) -> None:
        """A waiter that finds the lease ended takes it, and stands in the line no more."""
        for life in self.lives:
            draft = new_draft()
            await stored(interface, draft)
            line = [new_claim(draft) for _ in range(2)]
            await held(interface, draft, new_claim(draft, seconds=life))
            answers = [await interface.acquire(draft.name, draft.sid, each) for each in line]
            if all(isinstance(each, Busy) for each in answers):
                break
        assert all(isinstance(each, Busy) for each in answers)
        await self.outlive(life)

        for waiter in line:
            await held(interface, draft, waiter)
            await interface.release(draft.name, draft.sid, waiter.token)

    async def test_waiter_may_leave_the_line(self, interface: Leasing) -> None:
        """A waiter that gives its place up keeps nobody waiting."""
        draft = new_draft()
        await stored(interface, draft)
        holder, gone, waiter = (new_claim(draft) for _ in range(3))
        await held(interface, draft, holder)
        for claim in (gone, waiter):
            assert isinstance(await interface.acquire(draft.name, draft.sid, claim), Busy)
        await interface.release(draft.name, draft.sid, gone.token)
        assert await interface.commit(following(draft), holder.token, True) is Outcome.SAVED

        await held(interface, draft, waiter)

    async def test_waiter_that_does_not_come_is_passed_over(self, interface: Leasing) -> None:
        """Who is given the lease and does not come for it delays the next for less than a lease."""
        draft = new_draft()
        await stored(interface, draft)
        holder, absent, waiter = (new_claim(draft) for _ in range(3))
        await held(interface, draft, holder)
        for claim in (absent, waiter):
            assert isinstance(await interface.acquire(draft.name, draft.sid, claim), Busy)
        await interface.commit(following(draft), holder.token, True)

        async with asyncio.timeout(PATIENCE):
            await self._come_in(interface, draft, waiter)

    # Crowds

    async def test_simultaneous_claims_have_one_winner(self, interface: Leasing) -> None:
        """Of many that ask for the lease at once exactly one gets it."""
        await self._one_holder([interface])

    @needs("shared")
    async def test_simultaneous_claims_of_two_objects_have_one_winner(
        self, interface: Leasing, twin: Leasing
    ) -> None:
        """The same is true of two objects, as two processes would have them."""
        await self._one_holder([interface, twin])

    async def _one_holder(self, interfaces: list[Leasing]) -> None:
        draft = new_draft()
        await stored(interfaces[0], draft)
        answers: list[Any] = await asyncio.gather(
            *(
                interfaces[index % len(interfaces)].acquire(
                    draft.name, draft.sid, new_claim(draft, label=str(index))
                )
                for index in range(CROWD)
            )
        )
        winners = [answer for answer in answers if isinstance(answer, Granted)]

        assert [answer.held for answer in winners] == [True]
        assert sum(isinstance(answer, Busy) for answer in answers) == CROWD - 1

    @needs("shared")
    async def test_counter_under_the_lease_is_exact(
        self, interface: Leasing, twin: Leasing
    ) -> None:
        """Read, add and write under the lease lose nothing, whichever object does it."""
        draft = new_draft(payload=b"0")
        await stored(interface, draft)

        async def add_one(store: Leasing) -> None:
            claim = new_claim(draft)
            answer = await self._come_in(store, draft, claim)
            count = int(answer.record.payload) + 1
            write = replace(draft, version=answer.record.version + 1, payload=b"%d" % count)
            assert await store.commit(write, claim.token, True) is Outcome.SAVED

        stores = [interface, twin] * (CROWD // 2)
        await asyncio.wait_for(asyncio.gather(*map(add_one, stores)), 30)
        assert (await kept(twin, draft)).payload == b"%d" % CROWD

    async def _come_in(self, interface: Leasing, draft: Draft, claim: Claim) -> Granted:
        """Ask for the lease, and wait and ask again until it is granted."""
        while True:
            answer = await interface.acquire(draft.name, draft.sid, claim)
            if isinstance(answer, Granted):
                return answer
            await interface.turn(draft.name, draft.sid, claim.token, 1)

    # The former secret

    async def test_former_secret_may_hold_after_a_renewal(self, interface: Leasing) -> None:
        """Where the former secret still reads, it holds too, until its grace is over."""
        draft, former = await self._rotated(interface, reads=True, grace=600)
        claim = new_claim(draft, secret_hash=former)
        granted = await held(interface, draft, claim)

        assert granted.record.previous_hash == former
        assert await busy(interface, draft)

    async def test_former_secret_may_not_hold_after_a_login(self, interface: Leasing) -> None:
        """Where the former secret does not read any more, it never holds."""
        draft, former = await self._rotated(interface, reads=False, grace=600)
        answer = await interface.acquire(
            draft.name, draft.sid, new_claim(draft, secret_hash=former)
        )

        assert isinstance(answer, Granted)
        assert answer.held is False
        assert not await busy(interface, draft)

    async def test_former_secret_may_not_hold_after_its_grace(self, interface: Leasing) -> None:
        """When its grace is over the former secret is a stranger's."""
        draft, former = await self._rotated(interface, reads=True, grace=self.blink)
        await self.outlive()
        answer = await interface.acquire(
            draft.name, draft.sid, new_claim(draft, secret_hash=former)
        )

        assert isinstance(answer, Granted)
        assert answer.held is False
        assert not await busy(interface, draft)

    async def _rotated(
        self, interface: Leasing, *, reads: bool, grace: float
    ) -> tuple[Draft, bytes]:
        """Return the draft of a rotated session, and the hash of its former secret."""
        draft = new_draft()
        await stored(interface, draft)
        rotation = following(
            draft,
            rotated=True,
            secret_hash=new_hash(),
            previous_hash=draft.secret_hash,
            grace=grace,
            previous_reads=reads,
        )
        assert await interface.save(rotation) is Outcome.SAVED
        return rotation, draft.secret_hash
