"""What an old session becomes in our terms: a first write, or nothing."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from .. import content as contents
from .. import expiry
from ..auth.session import AuthSession
from ..content import Content, Identity
from ..record import Draft
from ..session import Session
from ..token import Token
from .sources import OldSession

logger = logging.getLogger("sanic_cookies")

REMEMBER_KEY, DURATION_KEY = "_remember_me", "_override_expiry"
# A login that was taken over proves nothing of now: it is never a fresh one.
LONG_AGO = -1e9


class Translation:
    """Reads what older libraries stored, for one session."""

    def __init__(self, session: Session, logins: bool, auth_key: str) -> None:
        """Say for whom.

        Args:
            session: Gets the sessions.
            logins: Believe who was logged in.
            auth_key: Key under which the old session held its user.
        """
        self._session, self._logins, self._auth_key = session, logins, auth_key

    async def draft(self, old: OldSession, token: Token) -> Draft | None:
        """Return the first write of a session with this token, None if there is nothing in it."""
        session, content = self._session, await self._content(old)
        if content is None or content.is_empty:
            return None
        span = expiry.span(session.settings.policy, content, 0.0)
        payload = contents.pack(session.settings.codec, content)
        if len(payload) > session.settings.max_bytes:
            logger.warning("%s: an old session is too large to be taken over", session.name)
            return None
        user_key = None
        if content.identity is not None and isinstance(session, AuthSession):
            user_key = session.user_key(content.identity.user)
        return Draft(
            name=session.name,
            sid=token.sid,
            version=1,
            secret_hash=token.secret_hash,
            payload=payload,
            ttl=min(span.ttl, old.ttl),
            lifetime=span.lifetime,
            user_key=user_key,
        )

    async def _content(self, old: OldSession) -> Content | None:
        """Return what an old session holds in our terms; None if it is not one."""
        try:
            data = msgspec.json.decode(old.payload, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            logger.warning("%s: an old session is unreadable, it is left alone", self._session.name)
            return None
        identity = None
        if isinstance(self._session, AuthSession):
            user, remember = data.pop(self._auth_key, None), data.pop(REMEMBER_KEY, None)
            data.pop(DURATION_KEY, None)
            if self._logins and user is not None:
                identity = await self._identity(self._session, user, remember is True, old.ttl)
                if identity is None:
                    return None
        return Content(data=data, identity=identity)

    async def _identity(
        self, auth: AuthSession, user: Any, remember: bool, left: float
    ) -> Identity | None:
        try:
            _, stamp = await auth._recognise(user)
        except ValueError:
            return None  # the loader knows no such user any more
        longest = auth.remember_expiry if remember else auth.settings.policy.absolute
        return Identity(
            user=user,
            since=0.0,
            limit=left if longest is None else min(left, longest),
            idle=auth.remember_expiry if remember else None,
            persistent=remember or None,
            remembered=remember,
            confirmed=LONG_AGO,
            stamp=stamp,
        )
