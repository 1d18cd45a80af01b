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
import time
from contextlib import suppress
from math import ceil
from secrets import token_urlsafe
from types import TracebackType
from typing import Any, NamedTuple, Self

from . import content as contents
from . import expiry
from .changes import Changes
from .content import Content, Identity
from .errors import (
    ResponseStarted,
    SessionError,
    SessionInterrupted,
    SessionLockLost,
    SessionLockTimeout,
    SessionNotLoaded,
    SessionStoreError,
    SessionTooLarge,
)
from .exchange import Exchange
from .interfaces.fan_out import BoundFanOut
from .interfaces.guard import Budget
from .locks import Hold
from .mapping import MIXED, Status, warn
from .plan import Act, Plan, Situation, decide
from .reader import SessionReader
from .record import Busy, Claim, Draft, Granted, Outcome, Record, RecordUnreadable
from .runtime import Runtime
from .token import Credential, Token

_CREATE_TRIES = 3


class _Lease(NamedTuple):
    """The store's lease that this request holds."""

    sid: str
    token: str


class SessionDict(SessionReader):
    """The session of one request: a dict that is locked, fresh and saved by `async with`."""

    def __init__(self, runtime: Runtime, exchange: Exchange) -> None:
        """Made by `Session` for each request; nothing is parsed or read here."""
        super().__init__(runtime, exchange)
        self._gate: asyncio.Lock | None = None
        self._hold: Hold | None = None
        self._lease: _Lease | None = None
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
        try:
            if kind is None:
                await self._finish()
            else:
                self._roll_back()
                await self._give_up()
        finally:
            self._content = None
            self._rotate = self._renew = self._logged_in = False
            self._owner = None
            self._leave_gate()

    async def save(self) -> None:
        """Store what is there so far and stay inside; outside of a block, merge it now."""
        if self._owner is None:
            async with self:
                return
        await self._runtime.background.settle(self._carry_out(self._plan(release=False)))

    def is_locked(self) -> bool:
        """Say whether the session is locked in this process, by this request or another."""
        if self._owner is not None:
            return True
        credential = self._located_credential()
        if credential is None:
            return False
        return self._runtime.locks.holder(self._key(credential)) is not None

    async def _enter_gate(self) -> None:
        """Let one task of this request in at a time."""
        if self._gate is None:
            self._gate = asyncio.Lock()
        if not self._gate.locked():
            await self._gate.acquire()
            return
        try:
            async with asyncio.timeout(self._runtime.settings.lock_timeout):
                await self._gate.acquire()
        except TimeoutError as error:
            raise SessionLockTimeout("another task of this request holds the session") from error

    def _leave_gate(self) -> None:
        if self._gate is not None:
            self._gate.release()

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
            await self._give_up()  # what was read cannot be decoded
        if changes.ended:
            self.destroy()
        if changes:
            changes.apply(self._content)
            self._rotate, self._renew = changes.rotate, changes.life_set

    def _fresh_content(self) -> Content:
        if self._status is Status.UNREAD:
            self._status = Status.NEW
        return self._unpack(self._payload) if self._status is Status.LIVE else Content()

    async def _lock_and_read(self, credential: Credential) -> None:
        settings, locks = self._runtime.settings, self._runtime.locks
        key = self._key(credential)
        holder = locks.holder(key)
        if holder is not None and holder != credential.secret_hash:
            # Not the secret that the holder came with: prove yours before you may queue.
            self._judge(await self._fetch(credential))
            if self._status is not Status.LIVE:
                return
        began = time.monotonic()
        hold = await locks.acquire(
            key,
            credential.secret_hash,
            timeout=settings.lock_timeout,
            max_waiters=settings.max_waiters,
        )
        try:
            granted = await self._obtain(hold, credential, began + settings.lock_timeout)
        except BaseException:
            hold.release()
            raise
        self._judge(granted.record if granted is not None else None)
        if granted is None or not granted.held or self._status is not Status.LIVE:
            hold.release()
            return
        hold.limit(settings.max_hold)
        self._hold = hold

    async def _obtain(self, hold: Hold, who: Credential, deadline: float) -> Granted | None:
        """Take the lease and read; wait for it until `deadline`."""
        settings, store = self._runtime.settings, self._store
        # One token, made before the first try: whatever is retried, it is one lease.
        token, name = token_urlsafe(16), settings.name
        claim = Claim(token, settings.lease, who.secret_hash, self._exchange.label)
        try:
            while isinstance(granted := await self._acquire(who.sid, claim), Busy):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise SessionLockTimeout(f"held by the route {granted.label!r}")
                await store.turn(name, who.sid, token, left)
        except BaseException:
            # The lease may be ours although nobody told us: give it back in any case.
            self._runtime.background.spawn(self._return(_Lease(who.sid, token)))
            raise
        if granted is not None and granted.held and store.is_shared:
            self._lease = _Lease(who.sid, token)
            self._keep_renewed(hold, self._lease)
        return granted

    async def _acquire(self, sid: str, claim: Claim) -> Granted | Busy | None:
        try:
            return await self._store.acquire(self._runtime.settings.name, sid, claim, self._budget)
        except RecordUnreadable:
            self._unreadable(sid)
            return None

    def _keep_renewed(self, hold: Hold, lease: _Lease) -> None:
        settings, store = self._runtime.settings, self._store

        async def renew() -> bool:
            try:
                budget = Budget(settings.store_timeout)
                return await store.renew(settings.name, *lease, settings.lease, budget)
            except SessionStoreError:
                return True  # unknown; the commit will find out

        hold.keep_renewed(settings.lease / 3, renew, self._runtime.background.spawn)

    async def _return(self, lease: _Lease) -> None:
        """Give a lease back; if the store does not listen, the lease ends by itself."""
        with suppress(SessionStoreError):
            settings = self._runtime.settings
            await self._store.release(settings.name, *lease, Budget(settings.store_timeout))

    # End.

    async def _finish(self) -> None:
        """Decide, then act; the acting is not to be cancelled half way."""
        try:
            plan = self._plan(release=True)
        except BaseException:
            await self._give_up()
            raise
        if plan.act is Act.NOTHING and self._hold is None and not self._doomed:
            return
        await self._runtime.background.settle(self._carry_out(plan))

    def _plan(self, release: bool) -> Plan:
        """Decide what happens to the record; nothing is written before this has succeeded."""
        if self._hold is not None and self._hold.lost:
            raise SessionLockLost("the lease or max_hold was over before the block ended")
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
        """Write, then release: one coroutine, so that the lock is free only after the write."""
        try:
            await self._end_doomed()
            if plan.act is Act.CREATE:
                await self._create(plan)
            elif plan.act is Act.SAVE:
                await self._save(plan)
            elif plan.act is Act.DELETE:
                await self._delete()
            elif plan.release and self._lease is not None:
                await self._return(self._lease)
        finally:
            if plan.release:
                self._let_go()

    async def _give_up(self) -> None:
        """Give lock and lease back without writing."""
        if self._lease is not None:
            work = self._return(self._lease)
            hold, self._hold = self._hold, None
            await self._runtime.background.settle(_then_release(work, hold))
        self._let_go()

    def _let_go(self) -> None:
        hold, self._hold, self._lease = self._hold, None, None
        if hold is not None:
            hold.release()

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
        outcome = await self._try_commit(draft, plan.release)
        if outcome is Outcome.GONE:
            self._forget(Status.DEAD)
            self._lease = None
            self._exchange.withdraw(self._runtime.settings.cookie)
            raise SessionInterrupted("the session ended while the block ran")
        if outcome is not Outcome.SAVED:
            self._lease = None
            raise SessionLockLost(f"the store refused the write: {outcome.value}")
        if plan.release:
            self._lease = None
        if plan.rotate and token is not None:
            self._token, self._credential = token, token.credential
        now = record.now + time.monotonic() - self._read_at
        self._stored(plan, record.updated(draft, now))
        self._send_cookie(plan)
        self._announce("rotated" if plan.rotate else "saved", plan)

    def _announce(self, event: str, plan: Plan) -> None:
        """Tell listeners what has been stored; a login is one from now on only."""
        emit, sid = self._runtime.emit, self.sid
        emit(event, sid=sid)
        if self._logged_in:
            self._logged_in = False
            emit("login", sid=sid, user_key=plan.user_key)

    async def _try_commit(self, draft: Draft, release: bool) -> Outcome:
        lease = self._lease
        token = None if lease is None else lease.token
        try:
            return await self._store.commit(draft, token, release, self._budget)
        except SessionError:
            if release and lease is not None:
                # It may or may not have been written; the lease at least is not to linger.
                self._runtime.background.spawn(self._return(lease))
            raise

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
        due = plan.act is Act.CREATE or plan.rotate or (plan.renew and plan.span.persistent)
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

    def _key(self, credential: Credential) -> tuple[str, str]:
        return self._runtime.settings.name, credential.sid


async def _then_release(work: Any, hold: Hold | None) -> None:
    try:
        await work
    finally:
        if hold is not None:
            hold.release()
