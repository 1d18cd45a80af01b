"""Sessions in the browser's own cookie, encrypted (Fernet: AES-128-CBC and HMAC-SHA256).

What this cannot do, whatever the lock: requests that run at once each carry their own copy, and
the last response wins; and a copy of the cookie stays valid until it expires, unless an interface
for `revocations` remembers what has ended. Keep small, unimportant data here, or none.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from hashlib import sha256

import msgspec

from ..cookies import MAX_COOKIE_BYTES
from ..errors import SessionConfigError, SessionTooLarge
from ..record import Draft, Outcome, Record
from ..token import Credential
from .base import Interface

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "InCookieEncrypted needs its driver: pip install 'sanic-cookies[cookie]'"
    ) from error

FUTURE_SECONDS = 60  # how far the clock that sealed a cookie may be ahead of this one
_KEY_BYTES = 32
_LEAST_DISTINCT = 8


# The fields of a record in their order: a list is half the size of a mapping.
_Fields = tuple[
    str, str, int, bytes, bytes, float, float, float, float | None, float, bytes, float, bool,
    str | None, float
]  # fmt: skip


class InCookieEncrypted:
    """Keeps each session in its own cookie; nothing is stored on the server.

    The first key seals, all keys open, and each write seals with the first: put a new key in
    front to rotate. Session and cookie name are part of the key, so no session's cookie opens
    another's (ASVS 5.0, 9.2.2).
    """

    def __init__(
        self,
        key: str | bytes | Sequence[str | bytes],
        *,
        revocations: Interface | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Check the keys; `sanic-cookies key` makes one.

        Args:
            key: 32 random bytes in url-safe base64, or several of them, newest first.
            revocations: Interface that remembers ended sessions and replaced secrets, so that
                logout and rotation are real.
            clock: Epoch seconds; injected by tests.

        Raises:
            SessionConfigError: A key is too short, or no random bytes.
        """
        keys = [key] if isinstance(key, str | bytes) else list(key)
        if not keys:
            raise SessionConfigError("InCookieEncrypted needs at least one key")
        self._keys = [_checked(each) for each in keys]
        self._rings: dict[tuple[str, str], MultiFernet] = {}
        self._clock = clock
        self.revocations = revocations

    def __repr__(self) -> str:
        """Show nothing of the keys."""
        return f"<InCookieEncrypted keys={len(self._keys)}>"

    async def open(self) -> None:
        """Open the interface for revocations, if there is one."""
        if self.revocations is not None:
            await self.revocations.open()

    async def close(self) -> None:
        """Close the interface for revocations, if there is one."""
        if self.revocations is not None:
            await self.revocations.close()

    def bind(self, name: str, cookie_name: str, value: str | None) -> InOneCookie:
        """See `LivesInCookie.bind`."""
        ring = self._rings.get((name, cookie_name))
        if ring is None:
            ring = self._rings[name, cookie_name] = self._ring(name, cookie_name)
        return InOneCookie(ring, cookie_name, value, self._clock, self.revocations)

    def _ring(self, name: str, cookie_name: str) -> MultiFernet:
        info = b"sanic_cookies\0" + name.encode() + b"\0" + cookie_name.encode()
        return MultiFernet(
            [
                Fernet(
                    base64.urlsafe_b64encode(
                        HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(key)
                    )
                )
                for key in self._keys
            ]
        )


class InOneCookie:
    """The interface for one request: the cookie that came, and the one to send.

    Attributes:
        credential: What the cookie that came in proves, or None.
        value: The cookie to send: a value, "" to remove it, None for no change.
    """

    def __init__(
        self,
        ring: MultiFernet,
        cookie_name: str,
        value: str | None,
        clock: Callable[[], float],
        revocations: Interface | None,
    ) -> None:
        """Unseal `value`; what does not open is no session."""
        self._ring = ring
        self._cookie_name = cookie_name
        self._clock = clock
        self._revocations = revocations
        self._record: Record | None = None
        self.credential: Credential | None = None
        self.value: str | None = None
        self._unseal(value)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def fetch(self, name: str, sid: str) -> Record | None:
        """See `Interface.fetch`."""
        record = self._live(name, sid)
        return None if record is None else await self._unless_revoked(record)

    async def create(self, draft: Draft) -> bool:
        """See `Interface.create`."""
        taken = self._live(draft.name, draft.sid)
        if taken is not None:
            return taken.secret_hash == draft.secret_hash
        self._seal(Record.begun(draft, self._clock()))
        return True

    async def save(self, draft: Draft) -> Outcome:
        """See `Interface.save`."""
        record = self._live(draft.name, draft.sid)
        if record is None or await self._unless_revoked(record) is not record:
            return Outcome.GONE
        record = self._live(draft.name, draft.sid)  # as it stands after the wait
        if record is None:
            return Outcome.GONE
        if record.version >= draft.version:
            return Outcome.STALE
        before, saved = (self._record, self.value), False
        self._seal(record.updated(draft, self._clock()))
        try:
            saved = not draft.rotated or await self._supersede(record, draft)
        finally:
            if not saved:
                self._record, self.value = before
        return Outcome.SAVED if saved else Outcome.GONE

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """See `Interface.touch`."""
        record = self._live(name, sid)
        if record is None or record.version != version:
            return False
        self._seal(record.touched(self._clock(), ttl))
        return True

    async def delete(self, name: str, sid: str) -> bool:
        """See `Interface.delete`; acts on the session that the cookie holds, and on no other."""
        record = self._live(name, sid)
        if record is None:
            return False
        if self._revocations is not None:
            await self._revocations.create(Draft.tombstone(name, sid, self._longest(record)))
        self._record, self.value = None, ""
        return True

    async def _unless_revoked(self, record: Record) -> Record | None:
        """Return `record` as it counts now: itself, one with a superseded secret, or None."""
        if self._revocations is None:
            return record
        if await self._revocations.fetch(record.name, record.sid) is not None:
            return None
        superseded = await self._revocations.fetch(record.name, _mark(record.secret_hash))
        return record if superseded is None else _superseded(record, superseded)

    async def _supersede(self, record: Record, draft: Draft) -> bool:
        """Remember that the secret of `record` is replaced; False if it has been already."""
        if self._revocations is None:
            return True
        grace = msgspec.msgpack.encode((draft.grace, draft.previous_reads))
        return await self._revocations.create(
            Draft(
                name=record.name,
                sid=_mark(record.secret_hash),
                version=1,
                secret_hash=draft.secret_hash,
                payload=grace,
                ttl=self._longest(record),
            )
        )

    def _longest(self, record: Record) -> float:
        """Return how long a copy may still live, one that is being touched now included."""
        ends = [record.expires_at, self._clock() + record.expires_at - record.last_seen]
        if record.deadline is not None:
            ends.append(record.deadline)
        return max(ends) - self._clock() + FUTURE_SECONDS

    def _live(self, name: str, sid: str) -> Record | None:
        record, now = self._record, self._clock()
        if record is None or record.sid != sid or record.name != name or record.expires_at <= now:
            return None
        return record.seen_at(now)

    def _unseal(self, value: str | None) -> None:
        if not value:
            return
        try:
            # The padding is stripped: "=" would have the value quoted on its way.
            opened = self._ring.decrypt(value.encode("ascii") + b"=" * (-len(value) % 4))
            record = Record(*msgspec.msgpack.decode(opened, type=_Fields))
        except (InvalidToken, TypeError, UnicodeEncodeError, msgspec.MsgspecError):
            return
        if record.last_seen <= self._clock() + FUTURE_SECONDS:
            self.credential = Credential(record.sid, record.secret_hash)
            self._record = record

    def _seal(self, record: Record) -> None:
        value = self._ring.encrypt(msgspec.msgpack.encode(astuple(record))).rstrip(b"=").decode()
        size = len(self._cookie_name) + len(value)
        if size > MAX_COOKIE_BYTES:
            raise SessionTooLarge(size, MAX_COOKIE_BYTES)
        self._record, self.value = record, value


def _mark(secret_hash: bytes) -> str:
    """Return the id under which it is remembered that a secret was replaced."""
    return base64.urlsafe_b64encode(sha256(b"superseded\0" + secret_hash).digest()[:16])[
        :22
    ].decode()


def _superseded(record: Record, mark: Record) -> Record:
    """Return `record` as a store with one current secret would show it to the former one."""
    grace, reads = msgspec.msgpack.decode(mark.payload, type=tuple[float, bool])
    return replace(
        record,
        secret_hash=b"",
        previous_hash=record.secret_hash,
        previous_until=record.now + grace - (mark.now - mark.created_at),
        previous_reads=reads,
    )


def _checked(key: str | bytes) -> bytes:
    """Return the key's bytes; refuse what nobody has made at random (CVE-2023-27524)."""
    if not isinstance(key, str | bytes):
        raise SessionConfigError(f"a key must be str or bytes, not {type(key).__name__}")
    try:
        raw = base64.b64decode(key, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SessionConfigError("a key must be url-safe base64: sanic-cookies key") from error
    if len(raw) != _KEY_BYTES:
        raise SessionConfigError(f"a key must be {_KEY_BYTES} bytes: sanic-cookies key")
    # 32 random bytes repeat few of each other and are never a text, but once in 10^13 keys.
    if len(set(raw)) < _LEAST_DISTINCT or all(0x20 <= byte < 0x7F for byte in raw):
        raise SessionConfigError("this key is not random: sanic-cookies key makes one")
    return raw
