"""A session in a handler: enter, body, exit.

Law 1: everything that decides whether a session is written, moved or ended stands in this file
(and in `plan.decide`, its table). Interfaces never decide, listeners never lock.
Law 2: no record is created by reading, none is revived by writing.
Law 3: every wait has an end, every lock a lease, every failure a name.

Theory of operation. `async with` takes the lock of this process, then the store's lease together
with the record. The body works on the decoded content. A clean exit compares the encoded content
with what was loaded and writes it, if it differs, in the step that gives the lease back. An
exception forgets the content and gives the lease back. Either exit is one coroutine that a
cancellation of the request does not stop half way.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from math import ceil
from types import TracebackType
from typing import Any, Self

from . import content as contents
from . import expiry
from .changes import Changes
from .content import Content, Identity
from .errors import (
    ResponseStarted,
    SessionError,
    SessionInterrupted,
    SessionLockLost,
    SessionNotLoaded,
    SessionStoreError,
    SessionTooLarge,
)
from .exchange import Exchange
from .interfaces.fan_out import BoundFanOut
from .locker import SessionLocker
from .mapping import MIXED, Status, warn
from .plan import Act, Plan, Situation, decide
from .record import Draft, Outcome, Record
from .runtime import Runtime
from .token import Token

logger = logging.getLogger("sanic_cookies")

_CREATE_TRIES = 3


class SessionDict(SessionLocker):
    """The session of one request: a dict that is locked, fresh and saved by `async with`."""

    def __init__(self, runtime: Runtime, exchange: Exchange) -> None:
        """Made by `Session` for each request; nothing is parsed or read here."""
        super().__init__(runtime, exchange)
        self._undestroyed: dict[str, Any] | None = None
        self._savepoints: list[dict[str, Any]] = []
        self._merged = Changes()
        self._doomed: list[str] = []
        self._closing = False
        self._written = False
        self._logged_in = False  # by this block, and not yet stored

    # Enter.

    async def __aenter__(self) -> Self:
        """Lock the session and read it fresh; entered again by the same task, do nothing.

        Raises:
            SessionLockTimeout: It was not free within `lock_timeout`.
            SessionStoreError: The store failed or did not answer in time.
        """
        task = asyncio.current_task()
        if self._owner is not None and self._owner is task:
            self._savepoints.append(self._savepoint())
            return self
        await self._enter_gate()
        try:
            await self._begin()
        except BaseException:
            self._leave_gate()
            raise
        self._owner = task
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save on a clean exit, roll back on an exception; release in both cases.

        Raises:
            SessionInterrupted: The session was ended meanwhile; nothing was written.
            SessionLockLost: The lock was lost meanwhile; nothing was written.
            SessionNotSerializable: A value cannot be stored; nothing was written.
            SessionTooLarge: It outgrew `max_bytes`; nothing was written.
            SessionStoreError: The store failed or did not answer in time.
            ResponseStarted: It needs a cookie, and the response has begun.
        """
        if self._savepoints:
            savepoint = self._savepoints.pop()
            if kind is not None:
                self._restore(savepoint)
            return
        plan: Plan | None = None
        try:
            if kind is None:
                plan = self._plan(release=True)
            else:
                self._roll_back()
        finally:
            # Refused or rolled back, there is no plan: lock and lease go back, nothing is written.
            await self._settle(self._leave(plan), plan)

    async def save(self) -> None:
        """Store what is there so far and stay inside; outside of a block, merge it now."""
        if self._owner is None:
            async with self:
                return
        await self._runtime.background.settle(self._carry_out(self._plan(release=False)))

    async def _begin(self) -> None:
        self._look()
        changes = self._pending_changes()
        if changes and not self._closing and self._runtime.settings.warn_lock:
            warn(MIXED)
        try:
            credential = self._located_credential()
            if credential is not None and self._status in (Status.UNREAD, Status.LIVE):
                await self._lock_and_read(credential)
        except BaseException:
            self._unlocked = changes
            raise
        self._merged = changes
        self._content = self._fresh_content()
        if self._hold is not None and self._status is not Status.LIVE:
            await self._end_lease()  # what was read cannot be decoded
            self._let_go()
        if changes.ended:
            self.destroy()
        if changes:
            changes.apply(self._content)
            self._rotate, self._renew = changes.rotate, changes.life_set

    def _fresh_content(self) -> Content:
        if self._status is Status.UNREAD:
            self._status = Status.NEW
        return self._unpack(self._payload) if self._status is Status.LIVE else Content()

    # End.

    async def _settle(self, work: Coroutine[Any, Any, None], plan: Plan | None) -> None:
        """Do `work` so that a cancellation does not stop it half way; plainly, if it has no I/O."""
        idle = plan is None or plan.act is Act.NOTHING
        if idle and self._hold is None and not self._doomed:
            await work
        else:
            await self._runtime.background.settle(work)

    async def _leave(self, plan: Plan | None) -> None:
        """Write, then release, then let the next in: in this order, whatever fails."""
        try:
            if plan is None:
                await self._end_lease()
            else:
                await self._carry_out(plan)
        finally:
            self._let_go()
            self._content = None
            self._rotate = self._renew = self._logged_in = False
            self._owner = None
            self._leave_gate()

    def _plan(self, release: bool) -> Plan:
        """Decide what happens to the record; nothing is written before this has succeeded."""
        settings, content = self._runtime.settings, self._content or Content()
        exists = self._status is Status.LIVE
        payload = b"" if content.is_empty else contents.pack(settings.codec, content)
        changed = payload != self._payload
        age = self._age()
        span = expiry.span(settings.policy, content, age)
        periodic = exists and not self._rotate and self._renewal_due(age)
        renew = self._rotate or self._renew or settings.save_every_request
        if exists and self._record is not None:
            unseen = self._record.now - self._record.last_seen
            renew = renew or span.touch_due(unseen + time.monotonic() - self._read_at)
        act = decide(
            Situation(
                exists=exists,
                ended=self._status is Status.DEAD,
                empty=content.is_empty,
                expired=span.ttl <= 0,
                changed=changed,
                rotate=self._rotate or periodic,
                renew=renew,
            )
        )
        if act is not Act.NOTHING and self._hold is not None and self._hold.lost:
            raise self._lost("lease or max_hold were over before the block ended")
        if act is None or (self._rotate and self._muted):
            raise SessionInterrupted("the session ended, or its token was replaced, meanwhile")
        plan = Plan(
            act=act,
            payload=payload,
            changed=changed,
            span=span,
            rotate=self._rotate or periodic,
            periodic=periodic,
            renew=renew,
            own_life=self._renew,
            release=release,
            user_key=self._user_key(content),
        )
        self._check(plan, content)
        return plan

    def _check(self, plan: Plan, content: Content) -> None:
        """Refuse what must not be written, before anything is."""
        settings = self._runtime.settings
        if plan.act not in (Act.CREATE, Act.SAVE):
            return
        in_cookie = isinstance(self._store, BoundFanOut) and self._store.master_lives_in_cookie
        needs_cookie = plan.act is Act.CREATE or plan.rotate or in_cookie
        if needs_cookie and self._exchange.begun:
            raise ResponseStarted
        if plan.changed and plan.payload is not None:
            contents.require_faithful(settings.codec, plan.payload, content)
            if len(plan.payload) > settings.max_bytes:
                raise SessionTooLarge(len(plan.payload), settings.max_bytes)

    def _renewal_due(self, age: float) -> bool:
        every, record = self._runtime.settings.renew_every, self._record
        if every is None or record is None or self._muted or self._exchange.begun:
            return False
        return record.created_at + age - record.rotated_at >= every

    async def _carry_out(self, plan: Plan) -> None:
        await self._end_doomed()
        if plan.act is Act.CREATE:
            await self._create(plan)
        elif plan.act is Act.SAVE:
            await self._save(plan)
        elif plan.act is Act.DELETE:
            await self._delete()
        elif plan.release:
            await self._end_lease()

    def _roll_back(self) -> None:
        """Forget the block; what had been changed without the lock before it stays to be merged."""
        self._unlocked, self._merged = self._merged, Changes()
        self._doomed.clear()
        if self._undestroyed is not None:
            self._restore(self._undestroyed)
            self._undestroyed = None

    async def _create(self, plan: Plan) -> None:
        """Store a new record. It needs no lease: nobody else knows its id."""
        for _ in range(_CREATE_TRIES):
            token = Token.generate()
            draft = self._draft(plan, token.sid, 1, token.secret_hash)
            if await self._store.create(draft, self._budget):
                break
        else:
            raise SessionStoreError("no free id was found")
        self._token, self._credential, self._located = token, token.credential, True
        self._status, self._muted, self._lease = Status.LIVE, False, None
        self._stored(plan, Record.begun(draft, self._runtime.settings.clock()))
        self._send_cookie(plan)
        self._announce("created", plan)

    async def _save(self, plan: Plan) -> None:
        record, token = self._record, self._token
        assert record is not None  # noqa: S101 - SAVE means that it exists
        if plan.rotate:
            token = Token(record.sid, Token.generate().secret)
        secret_hash = token.secret_hash if token is not None else record.secret_hash
        draft = self._draft(plan, record.sid, record.version + 1, secret_hash)
        pass_on = plan.release and not plan.rotate and self._may_pass_on()
        await self._commit(draft, plan.release and not pass_on)
        if plan.rotate and token is not None:
            self._token, self._credential = token, token.credential
        now = record.now + time.monotonic() - self._read_at
        self._stored(plan, record.updated(draft, now))
        if pass_on:
            self._prepare_gift()
        self._send_cookie(plan)
        self._announce("rotated" if plan.rotate else "saved", plan)

    def _announce(self, event: str, plan: Plan) -> None:
        """Tell listeners what has been stored; a login is one from now on only."""
        emit, sid = self._runtime.emit, self.sid
        emit(event, sid=sid)
        if self._logged_in:
            self._logged_in = False
            emit("login", sid=sid, user_key=plan.user_key)

    async def _commit(self, draft: Draft, release: bool) -> None:
        lease, settings = self._lease, self._runtime.settings
        token = None if lease is None else lease.token
        try:
            outcome = await self._store.commit(draft, token, release, self._budget, settings.lease)
        except SessionError:
            if lease is not None:
                # It may or may not have been written; the lease at least is not to linger.
                self._runtime.background.spawn(self._return(lease))
            raise
        if release:
            self._lease = None
        if outcome is Outcome.GONE:
            self._forget(Status.DEAD)
            self._lease = None
            self._exchange.withdraw(settings.cookie)
            self._runtime.stats.interrupted += 1
            raise SessionInterrupted("the session ended while the block ran")
        if outcome is not Outcome.SAVED:
            self._lease = None
            raise self._lost(f"the store refused the write: {outcome.value}")

    def _lost(self, reason: str) -> SessionLockLost:
        label, name = self._exchange.label, self._runtime.settings.name
        self._runtime.stats.locks_lost += 1
        logger.error("%s: the route %r lost its lock: %s", name, label, reason)
        self._runtime.emit("lost", sid=self.sid, route=label)
        return SessionLockLost(reason)

    async def _delete(self) -> None:
        assert self._record is not None  # noqa: S101 - DELETE means that it exists
        sid = self._record.sid
        await self._store.delete(self._runtime.settings.name, sid, self._budget)
        self._ended(sid)

    async def _end_doomed(self) -> None:
        while self._doomed:
            sid = self._doomed[-1]
            await self._store.delete(self._runtime.settings.name, sid, self._budget)
            self._doomed.pop()
            self._remove_cookie()
            self._runtime.emit("ended", sid=sid)

    def _draft(self, plan: Plan, sid: str, version: int, secret_hash: bytes) -> Draft:
        settings, record = self._runtime.settings, self._record
        former = record.secret_hash if plan.rotate and record is not None else b""
        return Draft(
            name=settings.name,
            sid=sid,
            version=version,
            secret_hash=secret_hash,
            payload=plan.payload if plan.changed else None,
            ttl=plan.span.ttl,
            renew=plan.renew or plan.rotate or record is None,
            lifetime=plan.span.lifetime,
            age=self._age(),
            rotated=plan.rotate and record is not None,
            previous_hash=former,
            grace=settings.rotation_grace,
            previous_reads=plan.periodic,
            user_key=plan.user_key,
        )

    def _user_key(self, content: Content) -> str | None:
        """Return whose session it is; without a login it is nobody's."""
        user_key = self._runtime.settings.user_key
        if content.identity is None or user_key is None:
            return None
        return user_key(content.identity.user)

    def _stored(self, plan: Plan, record: Record) -> None:
        self._record, self._read_at = record, time.monotonic()
        self._payload = plan.payload or b""
        self._merged = Changes()
        self._rotate = self._renew = False
        self._written = True

    # Cookies.

    def _send_cookie(self, plan: Plan) -> None:
        """Send the cookie if it is new, or if its age has to follow the session's expiry."""
        spec, exchange = self._runtime.settings.cookie, self._exchange
        if exchange.begun:
            return
        max_age = ceil(plan.span.ttl) if plan.span.persistent else None
        if isinstance(self._store, BoundFanOut):
            for suffix, value in self._store.take_cookies():
                exchange.send(spec, value, max_age, suffix)
            if self._store.master_lives_in_cookie:
                return
        # A cookie that is to end with the browser from now on must lose the age that it had.
        follows = plan.own_life or (plan.renew and plan.span.persistent)
        due = plan.act is Act.CREATE or plan.rotate or follows
        if due and self._token is not None and not self._muted:
            exchange.send(spec, self._token.value, max_age)

    def _remove_cookie(self) -> None:
        exchange, spec = self._exchange, self._runtime.settings.cookie
        if exchange.begun or self._muted:
            return
        exchange.send(spec, "", None)
        if isinstance(self._store, BoundFanOut):
            for suffix, value in self._store.take_cookies():
                exchange.send(spec, value, None, suffix)

    # Logging in; called by `AuthSession`.

    @property
    def age(self) -> float:
        """Seconds since the session was created; 0 before it is stored."""
        return self._age()

    def become(self, identity: Identity, *, keep_data: bool) -> None:
        """Put `identity` into the session, which gets a new token; call it inside a block.

        Args:
            identity: Who is logged in from now on.
            keep_data: Keep what the session held before.
        """
        content = self._writing()
        if content is None or self._owner is None:
            raise SessionNotLoaded
        if self._status is Status.DEAD:
            # Somebody has just proved who they are: that begins a session of its own.
            self._status, self._muted = Status.NEW, False
            self._credential, self._token = None, None
        if not keep_data:
            content.data.clear()
            content.life = None
        content.identity = identity
        self._rotate = self._renew = self._logged_in = True

    # Ways to end a session, and the close of the request.

    def reset(self) -> None:
        """Empty the session, its user included; if nothing is written afterwards, it ends."""
        self.clear()
        content = self._content
        if self._owner is None:
            # The merge at the end compares data only, so it has to be told.
            self._unlocked = Changes(ended=True)
        elif content is not None and content.identity is not None:
            self._rotate, self._logged_in = True, False
        if content is not None:
            content.identity = content.life = None

    def destroy(self) -> None:
        """End this session: record deleted, cookie removed; a later write begins a new one.

        Acts when the block ends, or with the response.
        """
        self._look()
        if self._status is Status.LIVE and self._record is not None:
            self._undestroyed = self._savepoint()
            self._doomed.append(self._record.sid)
        elif self._located_credential() is not None and self._status is Status.UNREAD:
            # Not read, so not proven to be ours: it ends once it has been.
            self._blind, self._unlocked = None, Changes(ended=True)
            return
        self._forget(Status.NEW)
        self._content, self._blind, self._unlocked = Content(), None, Changes()
        self._credential, self._token, self._located = None, None, True

    flush = destroy

    async def end(self) -> bool:
        """End this session now, without waiting for its lock; True if there was one.

        What was written into it and not stored yet is dropped too, an open block's part included.

        Raises:
            SessionStoreError: It could not be ended, and is not claimed to have been.
        """
        self._look()
        await self.load()
        ended = bool(self._doomed)
        await self._runtime.background.settle(self._end_doomed())
        if self._status is Status.LIVE and self._record is not None:
            sid, store, name = self._record.sid, self._store, self._runtime.settings.name
            await self._runtime.background.settle(store.delete(name, sid, self._budget))
            self._ended(sid)
            ended = True
        self._drop_changes()
        return ended

    def _drop_changes(self) -> None:
        """Forget all that is not stored, so that neither exit nor rollback brings it back."""
        self._content = None if self._owner is None else Content()
        self._blind, self._unlocked, self._merged = None, Changes(), Changes()
        self._rotate = self._renew = self._logged_in = False
        self._undestroyed = None
        self._savepoints = [self._savepoint() for _ in self._savepoints]

    def _ended(self, sid: str) -> None:
        self._remove_cookie()
        self._forget(Status.NEW)
        self._credential, self._token, self._located = None, None, True
        self._rotate, self._lease = False, None
        self._blind, self._unlocked = None, Changes()
        self._runtime.emit("ended", sid=sid)

    async def close(self, status: int) -> None:
        """Merge what was changed without the lock, and note that the session was used.

        Called once, with the response. After an error (5xx) nothing is merged, as after an
        exception in a block.

        Args:
            status: HTTP status of the response.
        """
        if self._owner is not None or not (self._accessed or self._must_save()):
            return
        if status >= 500:
            self._doomed.clear()
            return
        self._closing = True
        if self._doomed or self._must_save() or self.is_modified:
            async with self:
                self._renew = self._renew or self._must_save()
        elif self._status is Status.LIVE:
            await self._touch()

    def _must_save(self) -> bool:
        if not self._runtime.settings.save_every_request or self._written:
            return False
        return self._located_credential() is not None

    async def _touch(self) -> None:
        """Move the expiry if enough idle time has passed; a failure is not worth an error."""
        record, content = self._record, self._known()
        if record is None or content is None:
            return
        span = self._span()
        if self._written or not span.touch_due(record.now - record.last_seen) or span.ttl <= 0:
            return
        with suppress(SessionStoreError):
            name = self._runtime.settings.name
            await self._store.touch(name, record.sid, record.version, span.ttl, self._budget)
            self._send_cookie(Plan(Act.NOTHING, span, renew=True))

    # Nested blocks.

    def _savepoint(self) -> dict[str, Any]:
        return {
            "_content": copy.deepcopy(self._content),
            "_rotate": self._rotate,
            "_renew": self._renew,
            "_logged_in": self._logged_in,
            "_doomed": list(self._doomed),
            "_status": self._status,
            "_record": self._record,
            "_payload": self._payload,
            "_credential": self._credential,
            "_token": self._token,
        }

    def _restore(self, savepoint: dict[str, Any]) -> None:
        for name, value in savepoint.items():
            setattr(self, name, value)
