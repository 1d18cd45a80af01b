"""The contract of `SupportsNews`, as tests: one rule each."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..interfaces.base import Interface, SupportsIndex, SupportsNews
from ..record import Draft, Limit, Outcome
from .drafts import NAME, following, new_draft, new_hash
from .traits import Contract, needs

_SECONDS = 10.0  # within which news that are sent at once must have come, however slow the machine


class Telling(Interface, SupportsIndex, SupportsNews, Protocol):
    """An interface that tells news, and has an index."""


class Listener:
    """Somebody who watches the sessions of one name."""

    def __init__(self, interface: Telling, name: str = NAME) -> None:
        """Listen by `interface`."""
        self.news: asyncio.Queue[str | None] = asyncio.Queue()
        interface.listen(name, self.hear)

    def hear(self, sid: str | None) -> None:
        """Take news."""
        self.news.put_nowait(sid)

    async def next(self) -> str | None:
        """Return the next news."""
        async with asyncio.timeout(_SECONDS):
            return await self.news.get()


async def listener(interface: Telling, name: str = NAME) -> Listener:
    """Return somebody whose channel is open."""
    made = Listener(interface, name)
    assert await made.next() is None
    return made


async def rotated(interface: Telling, draft: Draft) -> None:
    """Give the session of `draft` another token."""
    write = following(draft, rotated=True, secret_hash=new_hash(), previous_hash=draft.secret_hash)
    assert await interface.save(write) is Outcome.SAVED


class NewsContract(Contract, ability=SupportsNews):
    """What an interface must do that has `SupportsNews`; `twin` stands for another process.

    Attributes:
        hears: News reach this object. False for one without a channel of its own, such as an
            interface on somebody else's pool: then watchers look by themselves.
    """

    hears = True

    @needs("hears")
    async def test_an_end_is_told(self, interface: Telling, twin: Telling) -> None:
        """Who listens hears that another process has ended a session."""
        draft, hearing = new_draft(), await listener(interface)
        await twin.create(draft)
        assert await twin.delete(draft.name, draft.sid)

        assert await hearing.next() == draft.sid

    @needs("hears")
    async def test_a_new_token_is_told(self, interface: Telling, twin: Telling) -> None:
        """Who listens hears that another process has replaced a token."""
        draft, hearing = new_draft(), await listener(interface)
        await twin.create(draft)
        await rotated(twin, draft)

        assert await hearing.next() == draft.sid

    @needs("hears")
    async def test_who_goes_for_a_login_is_told(self, interface: Telling, twin: Telling) -> None:
        """Who listens hears of a session that ends to make room for another of its user."""
        user_key = new_hash().hex()
        first, second = new_draft(user_key=user_key), new_draft(user_key=user_key)
        hearing = await listener(interface)
        await twin.create(first)
        admission = await twin.admit(second, None, Limit(1, evict=True))

        assert admission.ended == (first.sid,)
        assert await hearing.next() == first.sid

    @needs("hears")
    async def test_what_goes_on_is_not_told(self, interface: Telling, twin: Telling) -> None:
        """Neither a beginning nor a write nor a use is news, nor an end of what was not there."""
        draft, other, hearing = new_draft(), new_draft(), await listener(interface)
        await twin.create(draft)
        await twin.touch(draft.name, draft.sid, 1, 600.0)
        await twin.save(following(draft, payload=b"more"))
        await twin.delete(other.name, other.sid)
        await twin.delete(draft.name, draft.sid)

        assert await hearing.next() == draft.sid

    @needs("hears")
    async def test_names_have_news_of_their_own(self, interface: Telling, twin: Telling) -> None:
        """Who listens to the sessions of one name hears nothing of those of another."""
        draft = new_draft(name="elsewhere")
        mine, theirs = await listener(interface), await listener(interface, "elsewhere")
        while not mine.news.empty():
            mine.news.get_nowait()  # the second channel may have been opened for both
        await twin.create(draft)
        await twin.delete(draft.name, draft.sid)

        assert await theirs.next() == draft.sid
        assert mine.news.empty()

    @needs("hears")
    async def test_listening_twice_is_once(self, interface: Telling, twin: Telling) -> None:
        """The same listener is called once for each news, however often it has been given."""
        hearing = await listener(interface)
        interface.listen(NAME, hearing.hear)
        drafts = [new_draft(), new_draft()]
        for draft in drafts:
            await twin.create(draft)
            await twin.delete(draft.name, draft.sid)

        assert [await hearing.next(), await hearing.next()] == [each.sid for each in drafts]

    async def test_listening_does_no_harm(self, interface: Telling) -> None:
        """Where news are heard or not, who listens can close the interface and open it again."""
        Listener(interface)
        await interface.close()
        await interface.open()
        Listener(interface)
        draft = new_draft()
        assert await interface.create(draft)
        assert await interface.delete(draft.name, draft.sid)
