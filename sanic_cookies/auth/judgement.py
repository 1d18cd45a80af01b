"""Whether the user behind a session is still one: gone or changed, they end it.

Law: nobody is let in on the word of a session whose user is gone, or whose stamp has changed.

A session whose stamp is a former one, still good, gets the newest: by a task of its own that takes
the lock when it is free, so that a request which only reads never waits for one. Should that fail,
the next request tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from inspect import isawaitable
from typing import Any

import msgspec
from sanic.request import Request

from ..content import Identity
from ..errors import SessionError
from ..exchange import Exchange
from ..interfaces.base import LivesInCookie
from ..session_dict import SessionDict
from . import stamps
from .registry import Place, UserSessions
from .stamps import SessionStamp

logger = logging.getLogger("sanic_cookies")
security = logging.getLogger("sanic_cookies.security")

UserLoader = Callable[[Any], Any]
TWO_KEYS = (
    "%s: user_loader returns users of another key than login_user() is given: sessions_of(), "
    "revoke() and logout_everywhere() do not find their sessions by what it returns. Give those "
    "what login_user() was given, or have user_key= make the same key of both"
)
GONE, CHANGED = "the user is gone", "the stamp has changed"


class JudgedUsers(UserSessions):
    """The half of `AuthSession` that asks whether a login still holds."""

    user_loader: UserLoader | None
    session_stamp: SessionStamp | None

    def start(self) -> None:
        """Make the parts anew; nothing is under way in a new event loop."""
        super().start()
        self._restamping: set[str] = set()
        self._has_two_keys = False

    @property
    def _judges_users(self) -> bool:
        return self.user_loader is not None or self.session_stamp is not None

    async def look(self, request: Request) -> float | None:
        """Look at a session anew, and at its user; see `Session.look`."""
        sess = self.make(Exchange(request))
        left, identity = await sess.look()
        if identity is None:
            return left
        user, _ = await self._judged(sess, identity)
        return None if user is None else left

    # For `AuthSession`.

    async def _recognise(self, user: Any) -> tuple[Any, str]:
        """Return a user who logs in as the loader gives it, and the stamp of it.

        Raises:
            ValueError: The loader does not know the user.
        """
        loaded = await self._load(user)
        if loaded is None:
            raise ValueError("user_loader knows no such user")
        self._compare_keys(user, loaded)
        if self.session_stamp is None:
            return loaded, ""
        return loaded, await stamps.newest(self.session_stamp, loaded)

    def _compare_keys(self, user: Any, loaded: Any) -> None:
        """Say once a start if who is loaded is somebody else to the index than who logs in."""
        if self.user_loader is None or self._has_two_keys or not self.runtime.store.has_index:
            return
        with suppress(Exception):  # of one without a key: who asks for its sessions is told
            keys = self.user_key(user), self.user_key(loaded)
            if None not in keys and keys[0] != keys[1]:
                self._has_two_keys = True
                logger.warning(TWO_KEYS, self.name)

    async def _make_room(self, user: Any, current: str | None) -> None:
        """End what is no good any more before a login has to find a place within the limit.

        Such a session ends at its next use, which may never come. Until then it must not keep its
        user out, nor have a good one evicted.

        Args:
            user: Who logs in.
            current: Public id of the session that becomes the login.
        """
        limit = self.settings.limit
        if limit is None or not self._judges_users or self.user_key(user) is None:
            return
        others = [each for each in await self._records_of(user) if each.sid != current]
        if len(others) >= limit.most:
            places = [(record, self._login_of(record)) for record in others]
            good = {record.sid for record, _ in await self._going_on(places)}
            await self._end_all([record for record in others if record.sid not in good])

    # Underneath.

    async def _judged(self, sess: SessionDict, identity: Identity) -> tuple[Any, str]:
        """Return the user and the stamp to keep; without a user the session has been ended."""
        user = await self._load(identity.user)
        objection, stamp = await self._objection(user, identity)
        if objection is not None:
            await self._end_login(sess, identity, objection)
            return None, ""
        return user, stamp

    async def _objection(self, user: Any, identity: Identity) -> tuple[str | None, str]:
        """Return what ends the login of a loaded user, None for nothing; and the stamp to keep."""
        if user is None:
            return GONE, ""
        if self.session_stamp is None:
            return None, identity.stamp
        is_good, newest = await stamps.judge(self.session_stamp, user, identity.stamp)
        return None if is_good else CHANGED, newest

    async def _going_on(self, places: list[Place]) -> list[Place]:
        """Leave out the sessions that their next use will end; each user is loaded once."""
        if not self._judges_users:
            return places
        loaded: dict[bytes, Any] = {}
        found = []
        for record, identity in places:
            if identity is not None:
                key = msgspec.json.encode(identity.user)
                if key not in loaded:
                    loaded[key] = await self._load(identity.user)
                objection, _ = await self._objection(loaded[key], identity)
                if objection is not None:
                    continue
            found.append((record, identity))
        return found

    async def _load(self, user: Any) -> Any:
        if self.user_loader is None:
            return user
        loaded = self.user_loader(user)
        if isawaitable(loaded):
            loaded = await loaded
        return None if loaded is False else loaded  # as of `found and found.active`

    async def _restamp(
        self, request: Request, sess: SessionDict, identity: Identity, stamp: str
    ) -> None:
        """Have the session keep `stamp`, so that the former one can be given up some day."""
        sid = sess.sid or ""
        if isinstance(self.master_interface, LivesInCookie):
            # Only this response can carry it.
            if not (sess.exchange.begun or sess.is_locked()):
                await self._write_stamp(sess, identity.stamp, stamp)
        elif sid not in self._restamping:
            self._restamping.add(sid)
            exchange = Exchange(request)
            exchange.begun = True  # no cookie of this one reaches anybody
            work = self._write_stamp(self.make(exchange), identity.stamp, stamp)
            task = self.runtime.background.spawn(work)
            task.add_done_callback(lambda _: self._restamping.discard(sid))

    async def _write_stamp(self, sess: SessionDict, former: str, stamp: str) -> None:
        with suppress(SessionError):
            async with sess:
                identity = await sess.identity()
                if identity is not None and identity.stamp == former:
                    sess.amend(replace(identity, stamp=stamp), rotate=False)

    async def _end_login(self, sess: SessionDict, identity: Identity, reason: str) -> None:
        sid = sess.sid
        await sess.end()
        security.warning("%s: session ended: %s sid=%s", self.name, reason, sid or "-")
        user_key = self.user_key(identity.user)
        self.runtime.emit("revoked", sid=sid, user_key=user_key, reason=reason)
