"""Sessions in the browser's own cookie, encrypted (AES-256-GCM, or Fernet).

What this cannot do, whatever the lock: requests that run at once each carry their own copy, and
the last response wins; and a copy of the cookie stays valid until it expires. An interface for
`revocations` changes both: it remembers what has ended and which version of a session is the newest
(see `revocations`). Keep small, unimportant data here, or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ...cookies import MAX_COOKIE_BYTES
from ...errors import SessionConfigError, SessionTooLarge
from ...mistakes import no_interface
from ...record import Draft, Outcome, Record
from ...token import Credential
from ..base import Interface
from .keys import checked_keys
from .revocations import Revocations
from .sealed import SealedRecords
from .seals import Cipher, Ring, checked_cipher

FUTURE_SECONDS = 60  # how far the clock that sealed a cookie may be ahead of this one

Room = Callable[[], int]


class InCookieEncrypted:
    """Keeps each session in its own cookie; nothing is stored on the server.

    The first key seals, all keys open, and each write seals with the first: put a new key in
    front to rotate. What either cipher has sealed is opened, whichever seals now.
    """

    def __init__(
        self,
        key: str | bytes | Sequence[str | bytes],
        *,
        cipher: Cipher = "aes-gcm",
        revocations: Interface | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Check the keys; `sanic-cookies key` makes one.

        Args:
            key: 32 random bytes in url-safe base64, or several of them, newest first.
            cipher: What cookies are sealed with: "aes-gcm" (AES-256-GCM, OWASP ASVS 5.0, 11.3.2)
                or "fernet", while some servers cannot open the other yet.
            revocations: Interface that remembers ended sessions and their newest version, so that
                logout and rotation are real, and an older cookie is refused.
            clock: Epoch seconds; injected by tests.

        Raises:
            SessionConfigError: There is none, or it is too short, not random or a published one;
                or `revocations` cannot remember anything.
        """
        if revocations is not None and (
            isinstance(revocations, type) or not isinstance(revocations, Interface)
        ):
            raise SessionConfigError(f"revocations: {no_interface(revocations)}")
        self._keys = checked_keys(key)
        self._cipher = checked_cipher(cipher)
        self._sealed: dict[tuple[str, str], SealedRecords] = {}
        self._clock = clock
        self.revocations = revocations

    def __repr__(self) -> str:
        """Show nothing of the keys."""
        return f"<InCookieEncrypted keys={len(self._keys)} cipher={self._cipher}>"

    @property
    def never_waits(self) -> bool:
        """Whether all there is to do is done here: nothing is asked of a server."""
        return self.revocations is None

    async def open(self) -> None:
        """Open the interface for revocations, if there is one."""
        if self.revocations is not None:
            await self.revocations.open()

    async def close(self) -> None:
        """Close the interface for revocations, if there is one."""
        if self.revocations is not None:
            await self.revocations.close()

    def bind(
        self, name: str, cookie_name: str, value: str | None, room: Room | None = None
    ) -> InOneCookie:
        """See `LivesInCookie.bind`."""
        sealed = self._sealed.get((name, cookie_name))
        if sealed is None:
            sealed = SealedRecords(Ring(self._keys, self._cipher, name, cookie_name))
            self._sealed[name, cookie_name] = sealed
        if self.revocations is None:
            return InOneCookie(sealed, cookie_name, value, room, self._clock)
        remembered = Revocations(self.revocations)
        return RevocableCookie(sealed, cookie_name, value, room, self._clock, remembered)


class InOneCookie:
    """The interface for one request: the cookie that came, and the one to send.

    Attributes:
        credential: What the cookie that came in proves, or None.
        value: The cookie to send: a value, "" to remove it, None for no change.
    """

    def __init__(
        self,
        sealed: SealedRecords,
        cookie_name: str,
        value: str | None,
        room: Room | None,
        clock: Callable[[], float],
    ) -> None:
        """Unseal `value`; what does not open is no session."""
        self._sealed = sealed
        self._cookie_name = cookie_name
        self._room = room
        self._clock = clock
        self._record: Record | None = None  # as it is sealed
        self._fits = 0  # how long a value may be without a look at the room that is left
        self.credential: Credential | None = None
        self.value: str | None = None
        if value:
            self._unseal(value)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        return self._live(name, sid)

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        taken = self._live(draft.name, draft.sid)
        if taken is not None:
            return taken.secret_hash == draft.secret_hash
        self._seal(Record.begun(draft, self._clock()))
        return True

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        now = self._clock()
        record = self._held(draft.name, draft.sid, now)
        if record is None:
            return Outcome.GONE
        if record.version >= draft.version:
            return Outcome.STALE
        self._seal(record.updated(draft, now))
        return Outcome.SAVED

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        now = self._clock()
        record = self._held(name, sid, now)
        if record is None or record.version != version:
            return False
        try:
            self._seal(record.touched(now, ttl))
        except SessionTooLarge:
            return False  # looking at a session is not to fail because others have filled the head
        return True

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`; acts on the session that the cookie holds, and on no other."""
        if self._live(name, sid) is None:
            return False
        self._record, self.value = None, ""
        return True

    def _live(self, name: str, sid: str) -> Record | None:
        """Return the session as it is read now, if the cookie holds it."""
        now = self._clock()
        record = self._held(name, sid, now)
        return None if record is None else record.seen_at(now)

    def _held(self, name: str, sid: str, now: float) -> Record | None:
        record = self._record
        if record is None or record.sid != sid or record.name != name:
            return None
        return record if record.expires_at > now else None

    def _unseal(self, value: str) -> None:
        record = self._sealed.open(value)
        if record is not None and record.last_seen <= self._clock() + FUTURE_SECONDS:
            self.credential = Credential(record.sid, record.secret_hash)
            # There is room for as much as came, so mostly nothing has to be counted.
            self._record, self._fits = record, len(value)

    def _seal(self, record: Record) -> None:
        value = self._sealed.seal(record)
        if len(value) > self._fits:
            self._require_room(len(self._cookie_name) + len(value))
        self._sealed.keep(value, record)  # the browser comes back with it
        self._record, self.value = record, value

    def _require_room(self, size: int) -> None:
        limit = MAX_COOKIE_BYTES if self._room is None else min(MAX_COOKIE_BYTES, self._room())
        if size > limit:
            raise SessionTooLarge(size, limit)


class RevocableCookie(InOneCookie):
    """The same where a server remembers what has ended, and the newest version."""

    def __init__(
        self,
        sealed: SealedRecords,
        cookie_name: str,
        value: str | None,
        room: Room | None,
        clock: Callable[[], float],
        revocations: Revocations,
    ) -> None:
        """See `InOneCookie`."""
        super().__init__(sealed, cookie_name, value, room, clock)
        self._revocations = revocations
        self._former: str | None = None  # the sid of which an older version came

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        record = self._live(name, sid)
        if record is None:
            return None
        judged = await self._revocations.judged(record)
        self._former = sid if judged is not None and judged is not record else None
        return judged

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        if draft.sid == self._former:
            return Outcome.STALE
        # Sealed first: what is too large must not have made the cookie that came an older one.
        before, record = (self._record, self.value), self._live(draft.name, draft.sid)
        outcome = await super().save(draft)
        written = self._record
        if record is None or written is None or outcome is not Outcome.SAVED:
            return outcome
        moved: Outcome | None = None
        try:
            # As long as both may live: who ends the former one in its grace ends this one, too.
            ttl = max(_longest(record), _longest(written))
            moved = await self._revocations.advance(record, draft, ttl)
        finally:
            if moved is not Outcome.SAVED:
                self._record, self.value = before
        return moved

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        record = self._live(name, sid)
        # Asked anew: it was perhaps ended, or written, while the request was under way.
        if record is None or await self._revocations.judged(record) is not record:
            return False
        return await super().touch(name, sid, version, ttl)

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`; acts on the session that the cookie holds, and on no other."""
        record = self._live(name, sid)
        if record is not None:
            await self._revocations.end(record, _longest(record))
        return await super().delete(name, sid)


def _longest(record: Record) -> float:
    """Return how long a copy may still live, one that is being touched now included."""
    ends = [record.expires_at, record.now + record.expires_at - record.last_seen]
    if record.deadline is not None:
        ends.append(record.deadline)
    return max(ends) - record.now + FUTURE_SECONDS
