"""A session in a handler: enter, body, exit.

Law: every wait has an end, every lock a lease, every failure a name. (What is decided at the exit
stands in `planner`.)

Theory of operation. `async with` takes the lock of this process, then the store's lease together
with the record. The body works on the decoded content. A clean exit compares the encoded content
with what was loaded and writes it, if it differs, in the step that gives the lease back. An
exception forgets the content and gives the lease back. Either exit is one coroutine that a
cancellation of the request does not stop half way.

The class is built in storeys, each of one idea: see the package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from .. import expiry
from ..content import Content, Identity
from ..errors import SessionNotLoaded, SessionStoreError
from ..record import Record
from .ending import SessionEnding
from .mapping import MIXED, warn
from .plan import NOTHING, SAVE, Plan
from .state import DEAD, LIVE, NEW, UNREAD


class SessionDict(SessionEnding):
    """The session of one request: a dict that is locked, fresh and saved by `async with`."""

    __slots__ = ()

    # Enter.

    async def __aenter__(self) -> Self:
        """Lock the session and read it fresh; entered again by the same task, do nothing.

        Raises:
            SessionLockTimeout: It was not free within `lock_timeout`.
            SessionStoreError: The store failed or did not answer in time.
        """
        task = asyncio.current_task()
        if task is self._owner and task is not None:
            self._savepoints = (*self._savepoints, self._savepoint())
            return self
        if self._inside:
            await self._wait_at_gate()
        self._inside = True
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
            *outer, savepoint = self._savepoints
            self._savepoints = tuple(outer)
            if kind is not None:
                self._restore(savepoint)
            return
        plan: Plan | None = None
        try:
            if kind is None:
                plan = self._plan(release=True)
        finally:
            # Failed or refused, there is no plan: lock and lease go back, nothing is written.
            if plan is None:
                self._roll_back()
            self._owner = None  # what others write from here on is not saved with this
            if self._store.never_waits:
                await self._leave(plan)  # nothing there that a cancellation could stop
            else:
                await self._settle(plan)

    async def save(self) -> None:
        """Store what is there so far and stay inside; outside of a block, merge it now.

        Another task's block is not saved half done: it is waited for, like by `async with`. Who is
        cancelled meanwhile, by a timeout say, hears of that when the store has answered, for which
        it has `store_timeout`: a block goes on, or back, from what is known to be stored.

        Raises:
            SessionInterrupted: The session has ended meanwhile.
            SessionLockLost: The lock was lost before; nothing is written.
            SessionNotSerializable: JSON cannot give a value back equal.
            SessionTooLarge: It has outgrown `max_bytes`, or its cookie.
            ResponseStarted: It is a new one, and no cookie can be set any more.
            SessionStoreError: The store failed or did not answer in time.
        """
        if self._owner is not asyncio.current_task():
            async with self:
                return
        plan, marks = self._plan(release=False), (self._rotate, self._renew, self._logged_in)
        if plan.act is not NOTHING:
            # What other tasks ask for from now on, beside the write, is not in it.
            self._rotate = self._renew = self._logged_in = False
        try:
            await self._see_through(self._save_inside(plan, marks))
        except asyncio.CancelledError:
            while self._under_way:
                with suppress(asyncio.CancelledError):
                    await self.outlast()
            raise

    async def _save_inside(self, plan: Plan, marks: tuple[bool, bool, bool]) -> None:
        """Write, so that no failure of a block takes the request back behind it.

        Args:
            plan: What to write.
            marks: What is in it: a rotation, a lifetime, a login. They stay asked for if it fails.
        """
        if plan.act is not NOTHING or self._doomed:
            try:
                await self._carry_out(plan)
            except BaseException:
                rotate, renew, logged_in = marks
                self._rotate, self._renew = self._rotate or rotate, self._renew or renew
                self._logged_in = self._logged_in or logged_in
                raise
            self._settle_for_this()

    async def _begin(self) -> None:
        self._look()
        changes = self._pending_changes()
        if changes and not self._closing and self._runtime.settings.warn_lock:
            warn(MIXED)
        try:
            credential, status = self._located_credential(), self._status
            if credential is not None and (status is UNREAD or status is LIVE):
                await self._lock_and_read(credential)
        except BaseException:
            self._content, self._merged = None, changes
            self._unmerge()
            raise
        # Nothing is rolled back to when the request closes.
        self._merged = changes.copied() if changes and not self._closing else changes
        self._undestroyed = None
        if self._status is LIVE:
            self._content = self._fresh_content()
        else:
            self._content = Content()
            if self._status is UNREAD:
                self._status = NEW
        if changes:
            if changes.ended:
                self._destroy()
            changes.apply(self._content)
            self._rotate, self._renew = changes.rotate, changes.life_set

    def _fresh_content(self) -> Content:
        content = self._unpack(self._payload)
        if self._hold is not None and self._status is not LIVE:
            self._give_lease_back()  # what was read cannot be decoded
            self._let_go()
        return content

    # End.

    def _settle(self, plan: Plan | None) -> Coroutine[Any, Any, None]:
        """Leave so that a cancellation does not stop it half way."""
        if self._may_repeat(plan):
            return self._leave_inline(plan)
        return self._see_through(self._leave(plan))

    async def _see_through(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`; whoever is cancelled meanwhile leaves it to itself, but not unnoticed."""
        task = self._set_out(work)
        try:
            await asyncio.shield(task)
        finally:
            self._under_way = tuple(each for each in self._under_way if not each.done())

    def _set_out(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a write that goes on whatever becomes of who asks for it; see `outlast`."""
        task = self._runtime.background.spawn(work)
        self._under_way = (*self._under_way, task)
        return task

    async def _leave_inline(self, plan: Plan | None) -> None:
        """Leave without a task of its own, which would cost more than a plain write.

        Whoever is cancelled in it has it done once more in the background, since a store that is
        asked twice for the same write answers as if it had been asked once.
        """
        try:
            await self._carry_out(plan)
        except asyncio.CancelledError:
            self._set_out(self._leave_again(plan))
            raise
        except BaseException:
            self._failed()
            self._left()
            raise
        self._left()

    async def _leave_again(self, plan: Plan | None) -> None:
        """Leave after a first try of which nobody knows whether it has given the lease back.

        So the lease is left to nobody: the next block might write under one that has gone. And it
        goes back in any case: the first try may have kept it for a block that is not coming.
        """
        lease = self._lease
        self._bequeath_nothing()
        self._repeats = True
        try:
            await self._leave(plan)
        finally:
            self._repeats = False
            if lease is not None:
                await self._return(lease)

    def _may_repeat(self, plan: Plan | None) -> bool:
        if self._doomed or not self._store.is_repeatable:
            return False
        return plan is None or plan.act is NOTHING or (plan.act is SAVE and not plan.rotate)

    async def _leave(self, plan: Plan | None) -> None:
        """Write, then release, then let the next in: in this order, whatever fails."""
        try:
            await self._carry_out(plan)
        except BaseException:
            self._failed()
            raise
        finally:
            self._left()

    def _failed(self) -> None:
        """Give the lease back; what had been changed without the lock stays to be merged."""
        self._give_lease_back()
        self._unmerge()

    def _left(self) -> None:
        self._let_go()
        if self._once_stored is not None:
            self._undo_news()
        self._content = None
        self._rotate = self._renew = self._logged_in = self._ousted = False
        self._leave_gate()

    def _roll_back(self) -> None:
        """Forget the block; what had been changed without the lock before it stays to be merged."""
        self._unmerge()
        if self._undestroyed is not None:
            self._restore(self._undestroyed)

    # Logging in; called by `AuthSession`.

    @property
    def age(self) -> float:
        """Seconds since the session was created; 0 before it is stored."""
        return self._age()

    def become(self, identity: Identity, *, keep_data: bool) -> Identity:
        """Put `identity` into the session, which gets a new token; call it inside a block.

        Args:
            identity: Who is logged in from now on.
            keep_data: Keep what the session held before.

        Returns:
            What the session says of it: in one that begins with the login, its times are 0.
        """
        content = self._writing()
        if content is None or self._owner is None:
            raise SessionNotLoaded
        if self._status is DEAD or self._muted:
            # Somebody has just proved who they are, and cannot have the token that took the place
            # of theirs: that begins a session of its own.
            self._undestroyed = self._undestroyed or self._savepoint()
            self._status, self._muted = NEW, False
            self._credential, self._record, self._payload = None, None, b""
            identity = replace(identity, since=0.0, confirmed=0.0)
        content.begin(identity, keep_data=keep_data)
        self._rotate = self._renew = self._logged_in = True
        self._ousted = False
        return identity

    def amend(self, identity: Identity, *, rotate: bool = True) -> None:
        """Put what is now known of the same login into the session; call it inside a block.

        Args:
            identity: The login's, changed.
            rotate: Give the session a new token, as for all that gains its user rights.

        Raises:
            SessionUnavailable: The token was renewed: who has the newer one may try again.
        """
        content = self._writing()
        if content is None or self._owner is None or content.identity is None:
            raise SessionNotLoaded
        if rotate and self._muted:
            raise self._overtaken()  # now, before the handler relies on it
        content.identity, self._rotate = identity, self._rotate or rotate

    def once_stored(
        self, tell: Callable[[], object], undone: Callable[[], object] | None = None
    ) -> None:
        """Have `tell` called when what the open block holds is stored, or else `undone`.

        Args:
            tell: Takes the place of one that was given before.
            undone: Called if it never is; takes a place, too.
        """
        self._once_stored, self._once_undone = tell, undone

    # The close of the request.

    @property
    def needs_closing(self) -> bool:
        """Whether there is something to do with the response."""
        if self._owner is not None:
            return False
        if self._runtime.settings.save_every_request and self._must_save():
            return True
        if not self._accessed:
            return False
        return bool(self._doomed or self.is_modified or self._touchable())

    async def close(self, status: int) -> None:
        """Merge what was changed without the lock, and note that the session was used.

        Called with the response, if `needs_closing`. After an error (5xx) nothing is merged, as
        after an exception in a block. What cannot be done is forgotten: who answers for the failure
        may write, and that alone is saved.

        Args:
            status: HTTP status of the response.
        """
        if status >= 500:
            self._doomed = ()
            return
        self._closing = True
        try:
            must_save = self._runtime.settings.save_every_request and self._must_save()
            if self._doomed or must_save or self.is_modified:
                async with self:
                    self._renew = self._renew or must_save
            elif (record := self._touchable()) is not None:
                await self._touch(record)
        except Exception:
            self._blind = self._unlocked = None
            self._doomed, self._written = (), True
            raise
        finally:
            self._closing = False

    def _must_save(self) -> bool:
        """Say whether there is a session that this request has not written yet.

        A page's images come all at once, and would wait for each other.
        """
        if self._written or self._exchange.is_static:
            return False
        return self._located_credential() is not None

    def _touchable(self) -> Record | None:
        """Return the record if its expiry may have to move, since nothing else has moved it."""
        record = self._record
        if self._written or record is None or not expiry.touch_may_be_due(record):
            return None
        return record

    async def _touch(self, record: Record) -> None:
        """Move the expiry if enough idle time has passed; a failure is not worth an error."""
        span = self._span()
        if not span.touch_due(record.now - record.last_seen) or span.ttl <= 0:
            return
        with suppress(SessionStoreError):
            name = self._runtime.settings.name
            touched = await self._store.touch(
                name, record.sid, record.version, span.ttl, self._budget
            )
            # Somebody may have written since, and replaced the token: then theirs is the last word.
            if touched:
                self._send_cookie(Plan(NOTHING, span, renew=True))
