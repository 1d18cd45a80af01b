"""How a request comes to know its session: finding the cookie, reading, judging, peeking.

Nothing is written here, and nothing is created by it.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from .. import content as contents
from ..content import Content, Identity
from ..errors import SessionStoreError
from ..expiry import touch_may_be_due
from ..interfaces.bound import BoundFanOut
from ..interfaces.guard import Budget
from ..record import Record, RecordUnreadable
from ..runtime import suspicious
from ..token import Credential, same
from .lifetime import SessionLifetime
from .state import DEAD, LIVE, NEW, UNREAD, Status


class SessionReader(SessionLifetime):
    """The half of `SessionDict` that reads."""

    __slots__ = ()

    async def peek(self) -> Mapping[str, Any]:
        """Return the session's data to look at: no lock, one read, kept for the request.

        Returns:
            A read-only mapping, with the user of an `AuthSession` under its `auth_key`. What is
            changed inside of its values is not saved.

        Raises:
            SessionStoreError: The store failed or did not answer in time.
        """
        if (credential := self._to_see()) is not None:
            await self._read(credential)
        content, auth_key = self._view(), self._runtime.settings.auth_key
        if auth_key is None:
            return MappingProxyType(content.data)
        view = {key: value for key, value in content.data.items() if key != auth_key}
        if (identity := self._vouched(content)) is not None:
            view[auth_key] = identity.user
        return MappingProxyType(view)

    async def identity(self) -> Identity | None:
        """Return who is logged in, as `peek` would see it."""
        if (credential := self._to_see()) is not None:
            await self._read(credential)
        return self._view().identity

    async def kept(self, name: str) -> Any:
        """Return what a feature of this library keeps under `name`, as `peek` would see it."""
        self._look()
        if self._content is not None:
            return copy.deepcopy(self._content.extra.get(name))
        await self.load()
        return self._view().extra.get(name)

    async def look(self) -> tuple[float | None, Identity | None]:
        """Read the session once more, for one who watches it.

        Returns:
            The seconds it lives if nobody uses it, None if it has ended, and who is logged in. For
            a token that has been replaced it has ended, even if that may read for a while yet.

        Raises:
            SessionStoreError: The store failed or did not answer in time.
        """
        identity = await self.identity()
        record = self._record
        if self._status is not LIVE or record is None or self._muted:
            return None, None
        return max(0.0, record.expires_at - record.now), identity

    async def load(self) -> None:
        """Read the session without a lock, unless that has been done.

        Raises:
            SessionStoreError: The store failed or did not answer in time.
        """
        if (credential := self._to_ask()) is not None:
            await self._read(credential)

    def _to_see(self) -> Credential | None:
        """Return what to ask the store for before the content can be viewed; None for nothing."""
        self._look()
        if self._content is not None:
            if not self._looks_anew():
                return None
            self._content = None
        return self._to_ask()

    def _to_ask(self) -> Credential | None:
        """Return what to ask the store for; None if what the session is has been settled."""
        if self._status is UNREAD:
            if self._failure is not None and self._looking is None and self._store.is_down:
                raise self._failure
        elif not (self._status is LIVE and self._looks_anew()):
            return None
        if self._exchange.begun:
            self._count_anew()
        credential = self._located_credential()
        if credential is None:
            self._judge(None)
        return credential

    async def _read(self, credential: Credential, *, to_write: bool = False) -> None:
        """Ask the store, and settle what the session is; what is unreadable is none.

        Args:
            credential: What is asked for.
            to_write: Settle nothing by what is not the newest: see `FanOut.require_newest`.
        """
        if self._failure is not None:
            await self._hear()
        try:
            record = await self._store.read(
                self._runtime.settings.name, credential.sid, self._budget
            )
        except RecordUnreadable:
            self._unreadable(credential.sid)
            record = None
        if to_write:
            self._store.require_newest(record)
        self._judge(record)

    def _looks_anew(self) -> bool:
        """Say whether each look is to be a fresh one: at a socket's session outside of a block."""
        return self._exchange.is_websocket and self._owner is None

    def _count_anew(self) -> None:
        """Bound each look by itself once the response has begun: a socket lives for hours."""
        self._budget = Budget(self._runtime.settings.request_timeout)

    async def preload(self) -> None:
        """Read the session before the handler; a failure waits until the session is touched."""
        if self._status is not UNREAD or self._located_credential() is None:
            return
        if self._store.is_suspect:
            # The route may never touch the session: it must not wait for a store that is perhaps
            # still down. Somebody else looks whether it is back.
            self._failure = SessionStoreError("the store is taken as down")
            if not self._store.is_down:
                self._looking = self._runtime.background.spawn(self._probe())
            return
        try:
            await self.load()
        except SessionStoreError as error:
            self._failure = error

    async def _hear(self) -> None:
        """Wait for what this very request has asked a store that was down: it may be back."""
        if (looking := self._looking) is not None:
            await asyncio.wait({looking})
            self._looking = None

    async def _probe(self) -> None:
        """Ask the store once, so that it is known to be back."""
        credential, settings = self._credential, self._runtime.settings
        if credential is not None:
            with suppress(SessionStoreError, RecordUnreadable):
                budget = Budget(settings.store_timeout)
                await self._store.fetch(settings.name, credential.sid, budget)

    def _view(self) -> Content:
        """Return the content as it stands, in objects that nobody writes to."""
        if self._content is not None:
            return copy.deepcopy(self._content)
        if self._status is not LIVE:
            return Content()
        if self._peeked is None or self._peeked[0] is not self._payload:
            self._peeked = (self._payload, self._unpack(self._payload))
        return self._peeked[1]

    def _locate(self) -> Credential | None:
        """Find what the request presents; its shape is checked before any I/O, lock or log."""
        if self._store.lives_in_cookie:
            bound = self._store = self._bound()
            if bound.master_lives_in_cookie:
                return bound.credential
        values = self._exchange.received(self._runtime.settings.cookie)
        value = values[0] if len(values) == 1 else self._only(values)
        return None if value is None else Credential.parse(value)

    def _bound(self) -> BoundFanOut:
        """Return the store, bound to this request's own cookies."""
        store, settings, exchange = self._store, self._runtime.settings, self._exchange
        spec = settings.cookie
        bound = BoundFanOut(store, settings.name, spec.full_name(True))
        for place, suffix in store.suffixes.items():
            value = self._only(exchange.received(spec, suffix))
            # Not by way of `self`, who holds the store: that would be a cycle in each request.
            bound.bind(place, suffix, value, partial(exchange.room, spec, suffix))
        return bound

    def _only(self, values: list[str]) -> str | None:
        """Return the one value; two of a name mean that somebody else set one of them."""
        if len(values) > 1:
            suspicious(self._runtime, "two cookies of the session's name")
            return None
        return values[0] if values else None

    def _judge(self, record: Record | None) -> None:
        """Settle what the request's session is, now that the store has spoken."""
        self._read_at, credential = time.monotonic(), self._credential
        if record is None or credential is None:
            self._forget(self._ended_status())
            return
        if not same(record.secret_hash, credential.secret_hash):
            standing = self._standing(record, credential)
            if standing is not LIVE:
                self._forget(standing)
                return
        self._status, self._record, self._failure = LIVE, record, None
        if self._payload != record.payload:
            self._payload, self._content = record.payload, None
        if touch_may_be_due(record):
            self._exchange.unsettled = True

    def _ended_status(self) -> Status:
        return DEAD if self._status is LIVE else NEW

    def _standing(self, record: Record, credential: Credential) -> Status:
        """Say what a session is to one whose secret is not, or no more, the current one."""
        ended, self._muted = self._ended_status(), False
        if record.is_tombstone:
            return ended  # no attack: the copy of a session that has ended, become the master
        if not same(record.previous_hash, credential.secret_hash):
            self._suspect("wrong secret for a known session", record)
            return ended
        if record.now >= record.previous_until:
            self._suspect("superseded token after its grace", record)
            return ended
        # In flight while the token was replaced: recognised, and never sets a cookie. It reads on
        # only if nobody gained rights by the replacement.
        self._muted = True
        return LIVE if record.previous_reads else DEAD

    def _suspect(self, event: str, record: Record) -> None:
        suspicious(self._runtime, event, record.sid, user_key=record.user_key)

    def _forget(self, status: Status) -> None:
        """Know nothing any more but `status`; no live cookie goes out for what has ended."""
        if status is DEAD:
            self._exchange.withdraw(self._runtime.settings.cookie)
        self._status, self._record, self._payload = status, None, b""
        self._content, self._failure = None, None

    def _unreadable(self, sid: str) -> None:
        suspicious(self._runtime, "unreadable record, kept as it is", sid)

    def _unpack(self, payload: bytes) -> Content:
        """Decode what the store returned; what cannot be decoded is no session."""
        try:
            return contents.unpack(self._runtime.settings.codec, payload)
        except RecordUnreadable:
            self._unreadable(self.sid or "")
            self._forget(NEW)
            self._credential = None
            return Content()
