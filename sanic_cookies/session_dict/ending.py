"""How a session ends, and how its state is kept to come back to if that is undone."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from ..content import Content
from .changes import Changes
from .state import DEAD, LIVE, NEW, UNREAD
from .writer import SessionWriter


class SessionEnding(SessionWriter):
    """The half of `SessionDict` that ends it."""

    __slots__ = ()

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
            content.end()

    def destroy(self) -> None:
        """End this session: record deleted, cookie removed; a later write begins a new one.

        Acts when the block ends, or with the response.

        Raises:
            ResponseStarted: The response has begun, and there is no block.
        """
        self._look()
        self._require_close()
        if self._is_passing:
            self._end_later()  # what another task's block is about, or about to be, is not known
        else:
            self._destroy()

    flush = destroy

    def _destroy(self) -> None:
        self._exchange.unsettled = True
        if self._status is LIVE and self._record is not None:
            self._undestroyed = self._savepoint()
            self._doomed = (*self._doomed, self._record.sid)
        elif self._located_credential() is not None and self._status is UNREAD:
            self._end_later()  # not read, so not proven to be ours
            return
        self._forget(NEW)
        self._content, self._blind, self._unlocked = Content(), None, None
        self._rotate = self._renew = self._logged_in = False  # as was asked of what ends
        self._credential, self._located = None, True

    def _end_later(self) -> None:
        """Have the session end with the response, as it is then."""
        self._exchange.unsettled = True
        self._blind, self._unlocked = Changes(cleared=True), Changes(ended=True)

    async def end(self) -> bool:
        """End this session now, without waiting for its lock; True if there was one.

        What was written into it and not stored yet is dropped too, an open block's part included.
        What the open block of another task writes from now on is refused (`SessionInterrupted`): it
        was meant for this session, so it begins no other one. A session that another task is just
        beginning, by a login say, ends as soon as that is stored; and one ends whose token another
        request has just replaced.

        Raises:
            SessionStoreError: It could not be ended, and is not claimed to have been.
        """
        self._look()
        await self.outlast()
        await self.load()
        ended = bool(self._doomed)
        await self._runtime.background.settle(self._end_doomed())
        while (sid := self._sid_to_end()) is not None:
            store, name = self._store, self._runtime.settings.name
            await self._runtime.background.settle(store.delete(name, sid, self._budget))
            await self.outlast()  # or a write beside this would have the last word
            if self._credential is None or self._credential.sid == sid:
                self._ended(sid)
            ended = True  # and so is what another task has begun meanwhile, by a login say
        self._drop_changes()
        self._ousted = self._owner not in (None, asyncio.current_task())
        return ended

    def _sid_to_end(self) -> str | None:
        """Return which session the request may end; None for none.

        In the grace its own, too, whose token a login has replaced: a logout that was under way
        then wins, as one does that comes a moment sooner. That gives nobody a right.
        """
        if self._credential is None:
            return None
        is_recognised = self._status is DEAD and self._muted
        return self._credential.sid if self._status is LIVE or is_recognised else None

    async def outlast(self) -> None:
        """Wait for writes under way, of whichever task: nothing is decided beside them."""
        while pending := [each for each in self._under_way if not each.done()]:
            await asyncio.wait(pending)
        self._under_way = ()

    def _drop_changes(self) -> None:
        """Forget all that is not stored, so that neither exit nor rollback brings it back."""
        self._content = None if self._owner is None else Content()
        self._blind = self._unlocked = self._merged = None
        self._rotate = self._renew = self._logged_in = False
        self._undo_news()
        self._settle_for_this()

    def _settle_for_this(self) -> None:
        """Have this block and its inner ones go back to what is now, if they fail."""
        self._undestroyed = None
        self._savepoints = tuple(self._savepoint() for _ in self._savepoints)

    def _undo_news(self) -> None:
        """Tell whoever waits for it that what the block held has not been stored."""
        undone, self._once_stored, self._once_undone = self._once_undone, None, None
        if undone is not None:
            undone()

    def _savepoint(self) -> dict[str, Any]:
        return {
            "_content": copy.deepcopy(self._content),
            "_rotate": self._rotate,
            "_renew": self._renew,
            "_logged_in": self._logged_in,
            "_once_stored": self._once_stored,
            "_once_undone": self._once_undone,
            "_doomed": self._doomed,
            "_status": self._status,
            "_muted": self._muted,
            "_record": self._record,
            "_payload": self._payload,
            "_credential": self._credential,
        }

    def _restore(self, savepoint: dict[str, Any]) -> None:
        if self._once_undone is not savepoint["_once_undone"]:
            self._undo_news()
        for name, value in savepoint.items():
            setattr(self, name, value)
