"""The index of a user's sessions, and the limit on them, over every store that keeps one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from secrets import token_hex

import pytest

from sanic_cookies import AsyncPG, InMemory, Redis
from sanic_cookies.interfaces.base import SupportsIndex, SupportsLease
from sanic_cookies.record import Granted, Limit, Outcome
from sanic_cookies.testing import following, new_claim, new_draft

EVICT, REFUSE = Limit(3, evict=True), Limit(3, evict=False)


@pytest.fixture(params=["memory", "redis", "postgres"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[list[SupportsIndex]]:
    """Two interfaces on one store, as two processes have them; the same one twice for memory."""
    if request.param == "memory":
        pair: list[InMemory] | list[Redis] | list[AsyncPG] = [InMemory()] * 2
    elif request.param == "redis":
        pair = [Redis(request.getfixturevalue("redis_url")) for _ in range(2)]
    else:
        pair = [AsyncPG(request.getfixturevalue("database_url")) for _ in range(2)]
        await pair[0].create_table()
    for store in pair:
        await store.open()
    yield list(pair)
    for store in pair:
        await store.close()


@pytest.fixture
def store(stores: list[SupportsIndex]) -> SupportsIndex:
    """One interface."""
    return stores[0]


@pytest.fixture
def user() -> str:
    """A user that no other test has."""
    return f"user-{token_hex(8)}"


async def sids(store: SupportsIndex, user: str, name: str = "contract") -> list[str]:
    """Return the sids of a user's sessions, the oldest login first."""
    return [record.sid for record in await store.records_of(name, user)]


async def a_moment() -> None:
    """Let a millisecond go by on the store's own clock: no two logins are to be at the same."""
    await asyncio.sleep(0.002)


async def test_sessions_are_listed_by_their_logins(store: SupportsIndex, user: str) -> None:
    """The login that is longest ago comes first, whenever the sessions began and are used."""
    drafts = [new_draft(user_key=user, age=age) for age in (10, 30, 20)]
    for draft in drafts:
        await store.create(draft)
        await a_moment()
    await store.create(new_draft(user_key=user + "x"))
    first, second, third = (draft.sid for draft in drafts)
    assert await sids(store, user) == [first, second, third]

    login = following(drafts[0], user_key=user, rotated=True)
    assert await store.save(login) is Outcome.SAVED
    assert await store.save(following(drafts[1], user_key=user)) is Outcome.SAVED
    assert await store.touch(login.name, third, 1, 60)
    assert await sids(store, user) == [second, third, first]


async def test_a_login_into_a_session_is_listed(store: SupportsIndex, user: str) -> None:
    """A session that becomes a user's is listed, and no longer as the former user's."""
    draft = new_draft()
    await store.create(draft)
    login = following(draft, user_key=user, rotated=True, previous_hash=draft.secret_hash)
    assert await store.save(login) is Outcome.SAVED
    assert await sids(store, user) == [draft.sid]

    other = following(login, user_key=user + "2", rotated=True)
    assert await store.save(other) is Outcome.SAVED

    assert await sids(store, user) == []
    assert await sids(store, user + "2") == [draft.sid]


async def test_what_has_ended_is_not_listed(store: SupportsIndex, user: str) -> None:
    """Deleted and expired sessions are gone from the list, and the list heals itself."""
    kept, deleted = new_draft(user_key=user), new_draft(user_key=user)
    expired = new_draft(user_key=user, ttl=0.05)
    for draft in (kept, deleted, expired):
        await store.create(draft)
    await store.delete(deleted.name, deleted.sid)
    await asyncio.sleep(0.1)  # the store's own clock

    assert await sids(store, user) == [kept.sid]
    assert await sids(store, user) == [kept.sid]


async def test_a_user_with_very_many_sessions(store: SupportsIndex, user: str) -> None:
    """However many there are, and however many of them have ended, the living are listed."""
    drafts = [new_draft(user_key=user, age=1000 - number) for number in range(250)]
    for draft in drafts:
        await store.create(draft)
    for draft in drafts[20:180]:
        await store.delete(draft.name, draft.sid)
    living = sorted(draft.sid for draft in (*drafts[:20], *drafts[180:]))

    for _ in range(2):  # what was named wrongly has gone by the second time
        assert sorted(await sids(store, user)) == living


async def test_names_keep_users_apart(store: SupportsIndex, user: str) -> None:
    """The same user key under another session's name is another user."""
    one, two = new_draft(user_key=user), new_draft(user_key=user, name="other")
    await store.create(one)
    await store.create(two)

    assert await sids(store, user) == [one.sid]
    assert await sids(store, user, "other") == [two.sid]


async def test_a_touched_session_stays_listed(store: SupportsIndex, user: str) -> None:
    """A session that lives on by being used is listed as long as it lives."""
    for life in (0.3, 3.0, 20.0):  # the longer ones for a machine that stands still before the use
        draft = new_draft(user_key=user, ttl=life, lifetime=60)
        await store.create(draft)
        await store.touch(draft.name, draft.sid, 1, 50)
        if await store.fetch(draft.name, draft.sid) is not None:
            break
    await asyncio.sleep(life + 0.1)  # the store's own clock

    assert await sids(store, user) == [draft.sid]


async def test_the_oldest_goes_for_the_newest(store: SupportsIndex, user: str) -> None:
    """With `evict` a login beyond the limit ends the session of the oldest one and says so."""
    begun = new_draft(age=100)  # long ago, by somebody who logs in now
    await store.create(begun)
    drafts = [new_draft(user_key=user, age=age) for age in (0, 50)]
    drafts.append(following(begun, user_key=user, rotated=True))
    for draft in drafts:
        assert (await store.admit(draft, None, EVICT)).ended == ()
        await a_moment()
    await store.touch(drafts[1].name, drafts[1].sid, 1, 60)
    await store.save(following(drafts[2], user_key=user, rotated=False))

    for draft in drafts.copy():
        newest = new_draft(user_key=user, age=200)
        admission = await store.admit(newest, None, EVICT)
        await a_moment()

        assert (admission.outcome, admission.ended) == (Outcome.SAVED, (draft.sid,))
        assert await store.fetch(draft.name, draft.sid) is None
        drafts = [*drafts[1:], newest]
        assert await sids(store, user) == [each.sid for each in drafts]


async def test_logins_that_would_end_each_other(stores: list[SupportsIndex], user: str) -> None:
    """Two users who log in at once, each in the other's only session, never wait for each other.

    Whoever comes first ends the other one's session, into which nobody logs in then.
    """
    alone, users = Limit(1, evict=True), (user, user + "2")
    for _ in range(5):
        drafts = [new_draft(user_key=each) for each in users]
        for draft in drafts:
            await stores[0].create(draft)
        swapped = [following(drafts[1 - n], user_key=users[n], rotated=True) for n in (0, 1)]

        admissions = await asyncio.gather(
            *(stores[n].admit(swapped[n], None, alone) for n in (0, 1))
        )

        outcomes = [each.outcome for each in admissions]
        assert {*outcomes} == {Outcome.SAVED, Outcome.GONE}
        first = outcomes.index(Outcome.SAVED)
        assert admissions[first].ended == (drafts[first].sid,)
        assert await sids(stores[0], users[first]) == [swapped[first].sid]
        await stores[0].delete(drafts[0].name, swapped[first].sid)


async def test_a_full_user_is_refused(store: SupportsIndex, user: str) -> None:
    """Without `evict` a login beyond the limit is refused and changes nothing."""
    drafts = [new_draft(user_key=user) for _ in range(3)]
    for draft in drafts:
        assert (await store.admit(draft, None, REFUSE)).outcome is Outcome.SAVED
    one_more = new_draft(user_key=user)

    assert (await store.admit(one_more, None, REFUSE)).outcome is Outcome.FULL

    assert await store.fetch(one_more.name, one_more.sid) is None
    assert set(await sids(store, user)) == {draft.sid for draft in drafts}


async def test_one_s_own_session_is_no_surplus(store: SupportsIndex, user: str) -> None:
    """Logging in again in a session that is counted already needs no more room."""
    drafts = [new_draft(user_key=user) for _ in range(3)]
    for draft in drafts:
        await store.admit(draft, None, REFUSE)

    again = following(drafts[1], user_key=user, rotated=True)
    admission = await store.admit(again, None, REFUSE)

    assert (admission.outcome, admission.ended) == (Outcome.SAVED, ())


async def test_dead_sessions_take_no_place(store: SupportsIndex, user: str) -> None:
    """Expired and deleted sessions do not count."""
    for draft in (new_draft(user_key=user), new_draft(user_key=user)):
        await store.admit(draft, None, REFUSE)
        await store.delete(draft.name, draft.sid)
    await store.admit(new_draft(user_key=user, ttl=0.05), None, REFUSE)
    await asyncio.sleep(0.1)  # the store's own clock

    for _ in range(3):
        draft = new_draft(user_key=user)
        assert (await store.admit(draft, None, REFUSE)).outcome is Outcome.SAVED


async def test_a_login_under_a_lease_keeps_it(store: SupportsIndex, user: str) -> None:
    """A login inside a block is fenced by the block's lease, which it keeps."""
    if not isinstance(store, SupportsLease):
        assert isinstance(store, InMemory), "every other store here has leases"
        return
    draft = new_draft()
    await store.create(draft)
    claim = new_claim(draft)
    assert isinstance(await store.acquire(draft.name, draft.sid, claim), Granted)
    login = following(draft, user_key=user, rotated=True)

    assert (await store.admit(login, "other", EVICT, 10)).outcome is Outcome.LOST
    assert (await store.admit(login, claim.token, EVICT, 10)).outcome is Outcome.SAVED
    assert await store.renew(draft.name, draft.sid, claim.token, 10)


async def test_simultaneous_logins_never_pass_the_limit(
    stores: list[SupportsIndex], user: str
) -> None:
    """However many logins run at once, nobody ever sees more than the limit alive."""
    drafts = [new_draft(user_key=user) for _ in range(50)]
    seen: list[int] = []
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            seen.append(len(await sids(stores[1], user)))
            await asyncio.sleep(0)  # memory never waits, the logins are to have their turn

    async def login(number: int) -> Outcome:
        return (await stores[number % 2].admit(drafts[number], None, EVICT)).outcome

    looking = asyncio.create_task(look())
    outcomes = await asyncio.gather(*map(login, range(50)))
    done.set()
    await looking

    alive = [each for each in drafts if await stores[0].fetch(each.name, each.sid) is not None]
    assert set(outcomes) == {Outcome.SAVED}
    assert len(alive) == 3
    assert max(seen) <= 3
    assert set(await sids(stores[0], user)) == {draft.sid for draft in alive}


async def test_simultaneous_logins_are_refused_beyond_the_limit(
    stores: list[SupportsIndex], user: str
) -> None:
    """With `refuse` exactly as many of the simultaneous logins succeed as are allowed."""
    drafts = [new_draft(user_key=user) for _ in range(30)]

    admissions = await asyncio.gather(
        *(stores[number % 2].admit(draft, None, REFUSE) for number, draft in enumerate(drafts))
    )

    outcomes = [admission.outcome for admission in admissions]
    assert outcomes.count(Outcome.SAVED) == 3
    assert outcomes.count(Outcome.FULL) == 27
