"""How what was planned is carried out.

Law: no record is created by reading, none is revived by writing; and what the client is told was
saved has been saved by the master.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine
from math import ceil
from typing import Any

from msgspec.structs import replace

from .. import content as contents
from ..errors import (
    ResponseStarted,
    SessionError,
    SessionInterrupted,
    SessionLockLost,
    SessionStoreError,
)
from ..interfaces.bound import BoundFanOut
from ..record import SAVED, Draft, Limit, Outcome, Record
from ..runtime import welcome
from ..token import Token
from .plan import CREATE, DELETE, NOTHING, SAVE, Plan
from .planner import SessionPlanner
from .state import DEAD, LIVE, NEW
from .unanswered import disown_later

logger = logging.getLogger("sanic_cookies")

_CREATE_TRIES = 3


class SessionWriter(SessionPlanner):
    """The half of `SessionDict` that writes."""

    __slots__ = ()

    def _carry_out(self, plan: Plan | None) -> Coroutine[Any, Any, None]:
        """Do what was planned; without a plan only give the lease back."""
        if plan is None:
            return self._end_lease()
        if self._doomed:
            return self._end_doomed_first(plan)
        if plan.act is SAVE:
            return self._save(plan)
        if plan.act is CREATE:
            return self._create(plan)
        return self._delete() if plan.act is DELETE else self._end_lease()

    async def _end_doomed_first(self, plan: Plan) -> None:
        await self._end_doomed()
        if plan.act is not NOTHING:
            await self._carry_out(plan)  # else all is done: their leases went with them

    async def _create(self, plan: Plan) -> None:
        """Store a new record. It needs no lease: nobody else knows its id."""
        for _ in range(_CREATE_TRIES):
            token = Token.generate()
            draft = self._first_draft(plan, token)
            if await self._store_new(plan, draft):
                break
        else:
            raise SessionStoreError("no free id was found")
        self._give_lease_back()  # of one that was left for this
        self._credential, self._status, self._muted = token.credential, LIVE, False
        record = Record.begun(draft, self._runtime.settings.clock())
        self._stored("created", plan, record, time.monotonic())

    async def _store_new(self, plan: Plan, draft: Draft) -> bool:
        limit = self._limit(draft) if plan.login else None
        try:
            if limit is None:
                return await self._store.create(draft, self._budget)
            admission = await self._store.admit(draft, None, limit, self._budget, 0.0)
        except SessionStoreError as error:
            self._disown(draft, error)
            raise
        welcome(self._runtime, admission, draft.user_key, self._exchange.label)
        return admission.outcome is SAVED

    def _disown(self, draft: Draft, error: SessionError, former: Record | None = None) -> None:
        """Have no session that nobody has the token of, if this write was made after all.

        Args:
            draft: The write.
            error: What it ended with.
            former: What the session was before, to be gone back to; None to end it.
        """
        # A store that is taken as down was not asked at all, and one that has refused has answered.
        if error.__cause__ is not None and not self._in_cookie:
            disown_later(self._runtime, self._store, draft, former)

    def _limit(self, draft: Draft) -> Limit | None:
        """Return the limit of a login's user, who has to be listed for that."""
        return None if draft.user_key is None else self._runtime.settings.limit

    async def _save(self, plan: Plan) -> None:
        record, read_at, token = self._record, self._read_at, None
        if record is None:
            raise self._overtaken()  # another task has destroyed it since this was planned
        if plan.rotate:
            token = Token(record.sid, Token.generate().secret)
        draft = self._next_draft(plan, record, token)
        limit = self._limit(draft) if plan.login else None
        pass_on = plan.release and token is None and self._may_pass_on()
        release = plan.release and not pass_on
        try:
            outcome = await self._commit(draft, limit, release, plan.payload)
        except SessionError as error:
            self._left_unknown(plan, draft, error)
            raise
        if outcome is not SAVED and not self._is_own_write(outcome, record):
            raise self._refused(outcome)
        if token is not None:
            self._credential = token.credential
        at = time.monotonic()
        record = record.updated(draft, record.now + at - read_at)
        self._stored("saved" if token is None else "rotated", plan, record, at)
        if pass_on:
            self._prepare_gift()
        elif limit is not None and release:
            await self._end_lease()  # a login under a limit has kept it
        elif release:
            self._lease = None

    def _commit(
        self, draft: Draft, limit: Limit | None, release: bool, payload: bytes | None
    ) -> Coroutine[Any, Any, Outcome]:
        """Return the call that writes `draft`, under the lease if there is one."""
        lease, seconds, budget = self._lease, self._runtime.settings.lease, self._budget
        token = None if lease is None else lease.token
        if release and budget.left < self._runtime.settings.store_timeout:
            # A block's end is not to be cut short for what the request has spent before.
            budget.left = self._runtime.settings.store_timeout
        copy = self._copy(draft, payload) if self._store.has_others else None
        if limit is not None:
            return self._admit(draft, token, limit, copy)
        return self._store.commit(draft, token, release, budget, seconds, copy)

    def _is_own_write(self, outcome: Outcome, record: Record) -> bool:
        """Say whether what made a write stale can only be that write itself.

        That is so of a session which this block has begun, whose id nobody else knows before the
        response has: the store was asked again, since its first reply was lost. A lease would have
        told, and there is none.
        """
        hold = self._hold
        is_known = (hold is not None and hold.sid == record.sid) or self._exchange.begun
        return outcome is Outcome.STALE and not is_known and not self._in_cookie

    def _left_unknown(self, plan: Plan, draft: Draft, error: SessionError) -> None:
        """Count on nothing after a write of which nobody knows whether it has been made."""
        if draft.rotated:
            self._disown(draft, error, self._record if self._may_go_back(plan) else None)
        self._bequeath_nothing()
        if self._hold is not None:
            self._hold.lost = True  # nothing more is written by a block that does not know

    def _may_go_back(self, plan: Plan) -> bool:
        """Say whether what was replaced by a plan, of which nobody has the token, may come back.

        No other user is to be in it than before, and nobody who was to be out of it.
        """
        codec = self._runtime.settings.codec
        former = contents.unpack(codec, self._payload).identity
        here = contents.unpack(codec, plan.payload or b"").identity
        return not plan.login and (former is None) == (here is None)

    def _refused(self, outcome: Outcome) -> SessionError:
        """Return what the block ends with whose write the store has refused."""
        if outcome is Outcome.GONE:
            self._forget(DEAD)
            self._lease = None
            self._runtime.stats.interrupted += 1
            return SessionInterrupted("the session ended while the block ran")
        self._give_lease_back()  # it may be ours yet, if somebody wrote without one
        if self._hold is not None:
            self._hold.lost = True  # or the next write of this block would need no lease
        reason = f"the store refused the write: {outcome.value}"
        return self._unknown(reason) if self._repeats else self._lost(reason)

    def _unknown(self, reason: str) -> SessionLockLost:
        """Return what a repetition ends with that others have written before.

        It says nothing of the first try: that may have been stored, and theirs have followed it.
        Whoever asked for it has been cancelled, so there is nobody to be told, and no alarm.
        """
        logger.info(
            "%s: the route %r was cancelled as it wrote, and others have written since: whether "
            "it was saved before is not known",
            self._runtime.settings.name,
            self._exchange.label,
        )
        return SessionLockLost(reason)

    def _copy(self, draft: Draft, payload: bytes | None) -> Draft:
        """Return a draft with everything in it: the others may have missed earlier ones."""
        record = self._record
        if draft.rotated or record is None:
            return replace(draft, payload=payload)
        grace = record.previous_until - record.now - (time.monotonic() - self._read_at)
        return replace(
            draft,
            payload=payload,
            renew=True,
            rotated=True,
            previous_hash=record.previous_hash,
            grace=max(grace, 0.0),
            previous_reads=record.previous_reads,
        )

    async def _admit(
        self, draft: Draft, token: str | None, limit: Limit, copy: Draft | None
    ) -> Outcome:
        lease = self._runtime.settings.lease
        admission = await self._store.admit(draft, token, limit, self._budget, lease, copy)
        welcome(self._runtime, admission, draft.user_key, self._exchange.label)
        return admission.outcome

    def _first_draft(self, plan: Plan, token: Token) -> Draft:
        return Draft(
            name=self._runtime.settings.name,
            sid=token.sid,
            version=1,
            secret_hash=token.secret_hash,
            payload=plan.payload,
            ttl=plan.span.ttl,
            lifetime=plan.span.lifetime,
            user_key=plan.user_key,
        )

    def _next_draft(self, plan: Plan, record: Record, token: Token | None) -> Draft:
        settings, former, span = self._runtime.settings, record.secret_hash, plan.span
        draft = Draft(
            settings.name,
            record.sid,
            record.version + 1,
            former,
            plan.payload if plan.changed else None,
            span.ttl,
            renew=plan.renew,
            lifetime=span.lifetime,
            age=plan.age,
            grace=settings.rotation_grace,
            user_key=plan.user_key,
        )
        if token is None:
            return draft
        return replace(
            draft,
            secret_hash=token.secret_hash,
            renew=True,
            rotated=True,
            previous_hash=former,
            previous_reads=plan.periodic,
        )

    def _stored(self, event: str, plan: Plan, record: Record, at: float) -> None:
        """Take over what has been stored, and tell browser and listeners.

        Args:
            event: What has happened to the record.
            plan: What was carried out.
            record: As it is now.
            at: Monotonic seconds at which `record.now` was right.

        Raises:
            ResponseStarted: No response carries its new token.
        """
        if self._exchange.begun and (plan.act is CREATE or (plan.rotate and not plan.periodic)):
            self._end_unsent(record)
            raise ResponseStarted
        self._record, self._read_at = record, at
        self._payload = plan.payload or b""
        self._merged = None
        self._written = True
        self._send_cookie(plan)
        runtime = self._runtime
        if event != "saved" or runtime.saves_are_heard:
            runtime.emit(event, sid=record.sid, user_key=plan.user_key)
        if plan.login:  # it is a login from now on only
            runtime.emit("login", sid=record.sid, user_key=plan.user_key)
        if plan.tell is not None:
            if self._once_stored is plan.tell:
                self._once_stored = self._once_undone = None
            plan.tell()

    def _end_unsent(self, record: Record) -> None:
        """End a session whose token nobody has: the response went while it was written."""
        self._forget(DEAD)
        if not self._in_cookie:
            disown_later(self._runtime, self._store, record)

    async def _delete(self) -> None:
        if self._record is None:
            return  # another task has destroyed it since this was planned
        sid = self._record.sid
        await self._store.delete(self._runtime.settings.name, sid, self._budget)
        self._ended(sid)

    async def _end_doomed(self) -> None:
        while self._doomed:
            sid = self._doomed[-1]
            await self._store.delete(self._runtime.settings.name, sid, self._budget)
            self._doomed = self._doomed[:-1]
            self._remove_cookie()
            self._runtime.emit("ended", sid=sid)

    def _ended(self, sid: str) -> None:
        self._remove_cookie()
        self._forget(NEW)
        self._credential, self._located = None, True
        self._lease = None
        self._blind = self._unlocked = None
        self._runtime.emit("ended", sid=sid)

    # Cookies.

    def _send_cookie(self, plan: Plan) -> None:
        """Send the cookie if it is new, or if its age has to follow the session's expiry."""
        span, store = plan.span, self._store
        # A cookie that is to end with the browser from now on must lose the age that it had.
        follows = plan.own_life or (plan.renew and span.persistent)
        due = follows or plan.rotate or plan.act is CREATE
        bound = store if isinstance(store, BoundFanOut) else None
        if not (due or bound) or self._exchange.begun:
            return
        exchange, spec = self._exchange, self._runtime.settings.cookie
        max_age = ceil(span.ttl) if span.persistent else None
        if bound is not None:
            for suffix, value in bound.take_cookies():
                exchange.send(spec, value, max_age, suffix)
            due = due and not bound.master_lives_in_cookie
        credential = self._credential
        if due and credential is not None and credential.value and not self._muted:
            exchange.send(spec, credential.value, max_age)

    def _remove_cookie(self) -> None:
        exchange, spec = self._exchange, self._runtime.settings.cookie
        if exchange.begun or self._muted:
            return
        exchange.send(spec, "", None)
        if isinstance(self._store, BoundFanOut):
            for suffix, value in self._store.take_cookies():
                exchange.send(spec, value, None, suffix)
