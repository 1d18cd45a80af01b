"""Where a user is signed in: list the sessions, end one, the others, or all of them.

Needs a master interface that keeps an index of users (memory, Redis, Postgres). Sessions are named
by their public id, which opens nothing (OWASP ASVS 5.0, 7.4.3, 7.4.5 and 7.5.2).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sanic.request import Request

from .. import content as contents
from ..content import Identity
from ..errors import SessionConfigError
from ..interfaces.base import LivesInCookie
from ..interfaces.guard import Budget
from ..record import Record, RecordUnreadable
from ..session import Session
from ..token import is_sid

_END_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A place where a user is signed in.

    Attributes:
        sid: Public id; show it, log it, revoke by it.
        created_at: Epoch seconds of its beginning.
        last_seen: Epoch seconds of the last use that was written down (touches are throttled).
        expires_at: Epoch seconds of its end if nobody uses it any more.
        user_agent: The browser that signed in, as it calls itself; shortened, never trusted.
        address: Network address that signed in, IPv4 or IPv6.
        remembered: Whether the login asked to be remembered.
        current: Whether it is the session of the request that asks.
    """

    sid: str
    created_at: float
    last_seen: float
    expires_at: float
    user_agent: str
    address: str
    remembered: bool
    current: bool


UNLISTED = (
    "the sessions of this user are in no list: give the user a user_id or an id, or have user_key= "
    "make a key of it"
)
ANYBODY: Any = object()  # not None, which is what `current_user()` says of a stranger
MISTAKEN = (
    "this takes the user, not the request: give it await current_user(request); for the other "
    "sessions of who is logged in there is logout_others(request)"
)
Place = tuple[Record, Identity | None]  # a session of a user, and the login that it holds


class UserSessions(Session):
    """The half of `AuthSession` that knows all sessions of a user."""

    def user_key(self, user: Any) -> str | None:
        """Return the key of the per-user index for `user`; None for a user that is not listed."""
        raise NotImplementedError

    async def current_user(self, request: Request | None = None) -> Any:
        """Return the user who is logged in, None if nobody is."""
        raise NotImplementedError

    def start(self) -> None:
        """Make the parts anew; a limit needs an index.

        Raises:
            SessionConfigError: `max_sessions` is given, and the master interface has no index.
        """
        super().start()
        if self.settings.limit is not None and not self.runtime.store.has_index:
            kind = type(self.master_interface).__name__
            raise SessionConfigError(f"max_sessions needs an index of users, {kind} keeps none")

    def warnings(self) -> list[str]:
        """Return what the operator should know about the set-up."""
        master = self.master_interface
        if isinstance(master, LivesInCookie) and getattr(master, "revocations", None) is None:
            endless = "logins in a cookie cannot be ended before they expire: give revocations="
            return [endless, *super().warnings()]
        return super().warnings()

    async def sessions_of(self, user: Any, request: Request | None = None) -> list[SessionInfo]:
        """Return the live sessions of a user, the newest login first.

        One that its next use will end is not among them: its user is gone, or its stamp has
        changed (`user_loader` and `session_stamp` are asked).

        Args:
            user: As given to `login_user`, or as loaded, if it has the same key (see `user_key`).
            request: The request that asks; its own session is marked as current.

        Raises:
            SessionStoreError: The store failed or did not answer in time.
            SessionConfigError: The master interface keeps no index of users.
            TypeError: `user` names nobody: there is no key for it (see `user_key`), or it is the
                request.
        """
        current = None if request is None else await self._sid_of(request)
        places = [(record, self._login_of(record)) for record in await self._records_of(user)]
        living = await self._going_on(places)
        return [_info(record, login, current) for record, login in reversed(living)]

    async def revoke(self, sid: str, user: Any = ANYBODY) -> bool:
        """End a login now, in all interfaces, without waiting for its lock.

        Args:
            sid: Its public id.
            user: End it only if it is this user's, so nothing if that is None; by default
                anybody's.

        Returns:
            Whether there was such a session, with somebody logged in.

        Raises:
            SessionStoreError: It could not be ended, and is not claimed to have been.
            SessionConfigError: The master interface keeps no index of users.
            TypeError: `user` names nobody: there is no key for it (see `user_key`), or it is the
                request.
        """
        self._require_index()
        if not is_sid(sid):
            return False
        try:
            record = await self.runtime.store.fetch(self.name, sid, self._new_budget())
        except RecordUnreadable:
            return False
        if record is None or (record.user_key is None and self._login_of(record) is None):
            return False
        if user is not ANYBODY and (user is None or record.user_key != self._listed_key(user)):
            return False
        await self._end(record)
        return True

    async def logout_others(self, request: Request) -> int:
        """End all other sessions of the user who is logged in; return how many there were.

        Args:
            request: The request, whose own session goes on.

        Raises:
            SessionStoreError: Not all could be ended.
            SessionConfigError: The master interface keeps no index of users.
            TypeError: There is no key for the user (see `user_key`).
        """
        # Not on the session's word: one that a new password has shut out is to end none of them.
        user, sess = await self.current_user(request), self.of(request)
        identity = await sess.identity()
        if user is None or identity is None:
            return 0
        records = await self._records_of(identity.user)
        return await self._end_all([each for each in records if each.sid != sess.sid])

    async def logout_everywhere(self, user: Any) -> int:
        """End all sessions of a user; return how many there were.

        Args:
            user: As given to `login_user`, or as loaded, if it has the same key (see `user_key`).

        Raises:
            SessionStoreError: Not all could be ended.
            SessionConfigError: The master interface keeps no index of users.
            TypeError: `user` names nobody: there is no key for it (see `user_key`), or it is the
                request.
        """
        return await self._end_all(await self._records_of(user))

    async def _records_of(self, user: Any) -> list[Record]:
        self._require_index()
        if user is None:
            return []
        key = self._listed_key(user)
        return await self.runtime.store.records_of(self.name, key, self._new_budget())

    def _listed_key(self, user: Any) -> str:
        """Return the key of a user; that one without a key has no sessions would be a lie.

        So would it be of a request, which has an id as well: nobody would be logged out.
        """
        if isinstance(user, Request):
            raise TypeError(MISTAKEN)
        key = self.user_key(user)
        if key is None:
            raise TypeError(UNLISTED)
        return key

    async def _end_all(self, records: list[Record]) -> int:
        """End sessions, some at a time: all at once, other requests would wait behind them."""
        ended, failure = 0, None
        for start in range(0, len(records), _END_AT_ONCE):
            some = records[start : start + _END_AT_ONCE]
            results = await asyncio.gather(*map(self._end, some), return_exceptions=True)
            failures = [each for each in results if isinstance(each, BaseException)]
            ended += len(some) - len(failures)
            failure = failure or next(iter(failures), None)
        if failure is not None:
            raise failure
        return ended

    async def _end(self, record: Record) -> None:
        """End a session that has just been read; whether it was there is known by that alone.

        A store that is asked again, since its first reply was lost, finds it gone already.
        """
        runtime = self.runtime
        # To its end even if who asked for it hangs up: the others must not keep what is gone.
        await runtime.background.settle(
            runtime.store.delete(self.name, record.sid, self._new_budget())
        )
        runtime.emit("revoked", sid=record.sid, user_key=record.user_key)

    async def _sid_of(self, request: Request) -> str | None:
        sess = self.of(request)
        await sess.load()
        return sess.sid

    def _new_budget(self) -> Budget:
        return Budget(self.settings.request_timeout)

    def _require_index(self) -> None:
        if not self.runtime.store.has_index:
            kind = type(self.master_interface).__name__
            raise SessionConfigError(f"{kind} keeps no index of users", served=True)

    async def _going_on(self, places: list[Place]) -> list[Place]:
        """Leave out the sessions that their next use will end."""
        return places

    def _login_of(self, record: Record) -> Identity | None:
        try:
            return contents.unpack(self.settings.codec, record.payload).identity
        except RecordUnreadable:
            return None


def _info(record: Record, login: Identity | None, current: str | None) -> SessionInfo:
    return SessionInfo(
        sid=record.sid,
        created_at=record.created_at,
        last_seen=record.last_seen,
        expires_at=record.expires_at,
        user_agent=login.agent if login is not None else "",
        address=login.address if login is not None else "",
        remembered=login is not None and login.remembered,
        current=record.sid == current,
    )
