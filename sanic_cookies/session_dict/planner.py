"""What a block's end will do, found out without I/O.

Law: everything that decides whether a session is written, moved or ended stands here and in
`plan.decide`, its table. Interfaces never decide, listeners never lock.

Everything that speaks against a write is raised here, so what is refused has left no trace.
"""

from __future__ import annotations

import logging

from .. import content as contents
from .. import expiry
from ..content import Content, Identity
from ..errors import (
    ResponseStarted,
    SessionError,
    SessionInterrupted,
    SessionLockLost,
    SessionTooLarge,
    SessionUnavailable,
)
from .locker import SessionLocker
from .plan import CREATE, NOTHING, SAVE, Plan, decide
from .state import DEAD, LIVE

logger = logging.getLogger("sanic_cookies")


class SessionPlanner(SessionLocker):
    """The half of `SessionDict` that decides."""

    __slots__ = ()

    def _plan(self, release: bool) -> Plan:
        """Decide what happens to the record; nothing is written before this has succeeded."""
        settings, content = self._runtime.settings, self._content or Content()
        exists, empty = self._status is LIVE, content.is_empty
        payload = b"" if empty else contents.pack(settings.codec, content)
        changed, age = payload != self._payload, self._age()
        span = expiry.span(settings.policy, content, age)
        periodic = settings.renew_every is not None and exists and self._renewal_due(age)
        asked = self._rotate or self._renew or settings.save_every_request
        rotate, renew = self._rotate or periodic, asked or self._touch_due(span, age)
        if not changed and self._exchange.begun and self._in_cookie:
            renew = self._rotate  # a touch would need a cookie, and is not worth an error
        ended, expired = self._status is DEAD or self._ousted, span.ttl <= 0
        act = decide(exists, ended, empty, expired, changed, rotate, renew)
        if act is not NOTHING and self._hold is not None and self._hold.lost:
            raise self._lost("lease or max_hold were over before the block ended")
        if act is None or (self._rotate and self._muted):
            raise self._overtaken()
        plan = Plan(
            act,
            span,
            payload,
            changed,
            rotate,
            periodic,
            renew,
            own_life=self._renew,
            release=release,
            age=age,
            user_key=None if content.identity is None else self._user_key(content.identity),
            login=self._logged_in,
            tell=self._once_stored,
        )
        if act is SAVE or act is CREATE:
            if self._exchange.begun:
                self._require_no_cookie(plan)
            if changed:
                self._require_storable(payload, content)
        return plan

    def _overtaken(self) -> SessionError:
        """Return why this request may not replace the token, or write: another one was faster.

        A token that was renewed has not ended the session. Only one who comes with the newer one,
        as the browser does from now on, may have the next: two that are live would be two owners.
        """
        if self._status is LIVE and self._muted:
            return SessionUnavailable("the session has a newer token than the one that came")
        return SessionInterrupted("the session ended, or its token was replaced, meanwhile")

    def _touch_due(self, span: expiry.Span, age: float) -> bool:
        """Say whether enough time has passed for the expiry to move."""
        record = self._record
        return record is not None and span.touch_due(record.created_at + age - record.last_seen)

    def _require_no_cookie(self, plan: Plan) -> None:
        """Refuse what needs a cookie, now that none can be sent, before anything is written."""
        if plan.act is CREATE or plan.rotate or self._in_cookie:
            raise ResponseStarted

    def _require_storable(self, payload: bytes, content: Content) -> None:
        """Refuse what the store would not give back as it is, before anything is written."""
        settings = self._runtime.settings
        contents.require_faithful(settings.codec, payload, content)
        if len(payload) > settings.max_bytes:
            raise SessionTooLarge(len(payload), settings.max_bytes)

    @property
    def _in_cookie(self) -> bool:
        """Whether the session itself lives in its cookie."""
        return self._store.master_lives_in_cookie

    def _renewal_due(self, age: float) -> bool:
        every, record = self._runtime.settings.renew_every, self._record
        if every is None or record is None or self._rotate or self._muted or self._exchange.begun:
            return False
        return record.created_at + age - record.rotated_at >= every

    def _user_key(self, identity: Identity) -> str | None:
        """Return whose session it is."""
        user_key = self._runtime.settings.user_key
        return None if user_key is None else user_key(identity.user)

    def _lost(self, reason: str) -> SessionLockLost:
        label, name = self._exchange.label, self._runtime.settings.name
        self._runtime.stats.locks_lost += 1
        logger.error("%s: the route %r lost its lock: %s", name, label, reason)
        self._runtime.emit("lost", sid=self.sid, route=label)
        return SessionLockLost(reason)
