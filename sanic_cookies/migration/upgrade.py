"""Taking an old session over: at its first use, once, and with a token that is ours.

Law: an old id opens a session at most until the new cookie has reached the browser.

An old id was a bearer token, stored in plain. From it a token of ours is derived, so that all
requests that come with it at once arrive at one record, whoever creates it. Before the first of
them goes on, the old record is deleted, a mark says that it was taken over, and ours gets a random
secret. The derived one is left as a replaced token is after a periodic renewal: it reads for
`rotation_grace` seconds and never sets a cookie.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from math import ceil
from typing import Any

import msgspec
from sanic import Sanic
from sanic.request import Request

from .. import content as contents
from .. import expiry
from ..auth.session import AuthSession
from ..errors import SessionConfigError, SessionError, SessionLimitReached, SessionStoreError
from ..interfaces.base import LivesInCookie
from ..interfaces.guard import Budget
from ..record import Draft, Outcome, Record
from ..runtime import suspicious, welcome
from ..session import Session
from ..session_dict import SessionDict
from ..token import Token, same
from ..wiring import Wiring, may_preload
from .sources import OldStore
from .translation import Translation

logger = logging.getLogger("sanic_cookies")

# Longer than any request stands still between two steps.
MARK_SECONDS = 120.0


class Migration:
    """Takes over what older libraries stored for one session's cookie.

    Attributes:
        upgraded: How many sessions were taken over by this worker.
    """

    def __init__(
        self,
        session: Session,
        sources: Sequence[OldStore],
        *,
        until: datetime,
        logins: bool = False,
        auth_key: str = "current_user",
    ) -> None:
        """Begin; call it after the session was attached to its app.

        Args:
            session: Gets the sessions; its master interface must keep them on the server.
            sources: Where the old ones are, the likeliest first.
            until: From then on nothing is taken over any more; aware.
            logins: Take over who was logged in, into an `AuthSession`. Whoever could write the old
                session's data, a handler included, could have written that too.
            auth_key: Key under which the old session held its user.

        Raises:
            SessionConfigError: The session is not attached or lives in a cookie, `until` is naive,
                or there is nobody to log in.
        """
        if session._app is None:
            raise SessionConfigError("attach the session first: session.init_app(app)")
        if isinstance(session.master_interface, LivesInCookie):
            raise SessionConfigError("sessions are taken over into a store, not into a cookie")
        if until.tzinfo is None:
            raise SessionConfigError("until= needs an aware datetime: when is this over?")
        if logins and not isinstance(session, AuthSession):
            raise SessionConfigError("logins=True needs an AuthSession")
        self.upgraded = 0
        self._session, self._sources = session, list(sources)
        self._translation = Translation(session, logins, auth_key)
        self._until = until.timestamp()
        session.checks.insert(0, self._take_over)
        Wiring.of(session._app).act_before_handlers()
        session._app.register_listener(self._warn_when_over, "before_server_start")
        session._app.register_listener(self._close, "after_server_stop")

    async def _take_over(self, request: Request) -> None:
        """Have the request present a session of ours, if it came with an old one."""
        if time.time() >= self._until or not may_preload(request):
            return
        sess = self._session.of(request)
        if sess.presented is not None or sess.exchange.begun:
            return
        for source in self._sources:
            values = sess.exchange.received(source.cookie)
            known = len(values) == 1 and source.shape.fullmatch(values[0])
            if known and await self._from(source, values[0], sess):
                return

    async def _from(self, source: OldStore, value: str, sess: SessionDict) -> bool:
        """Have the request present what an old cookie stands for; False if that is nothing."""
        session, budget = self._session, Budget(self._session.settings.request_timeout)
        store, derived = session.runtime.store, _derived(session.name, value)
        record = await store.fetch(session.name, derived.sid, budget)
        if record is None:
            record = await self._created(source, value, derived, budget, sess.exchange.label)
        if record is None:
            return False
        if not _opens(record, derived):
            suspicious(session.runtime, "an old id after it was taken over", record.sid)
            return False
        if source.remembers:
            await self._ask(source.forget(value))
        if not await self._marked(source, record, derived, budget):
            return False
        token = await self._rotated(record, derived, budget)
        sess.present(token)
        await sess.load()
        if token is not derived:
            self.upgraded += 1
            self._send(sess, source, token, record)
            session.runtime.emit("created", sid=record.sid)
        return True

    async def _created(
        self, source: OldStore, value: str, derived: Token, budget: Budget, route: str
    ) -> Record | None:
        """Create our record from the old one, unless it was taken over before."""
        name, store = self._session.name, self._session.runtime.store
        if await store.fetch(name, _mark(derived), budget) is None:
            old = await self._ask(source.read(value))
            draft = None if old is None else await self._translation.draft(old, derived)
            if draft is not None:
                with suppress(SessionLimitReached):  # the old one stays, until there is room
                    await self._store_new(draft, budget, route)
        # Ours, or that of another request with the same cookie, who may just have deleted the old
        # session; if it has ended since, there is none.
        return await store.fetch(name, derived.sid, budget)

    async def _store_new(self, draft: Draft, budget: Budget, route: str) -> None:
        """Create a record; a login counts towards its user's limit like others.

        Raises:
            SessionLimitReached: The user has as many sessions as are allowed.
        """
        runtime, limit = self._session.runtime, self._session.settings.limit
        if limit is None or draft.user_key is None:
            await runtime.store.create(draft, budget)
            return
        admission = await runtime.store.admit(draft, None, limit, budget, 0.0)
        welcome(runtime, admission, draft.user_key, route)

    async def _marked(
        self, source: OldStore, record: Record, derived: Token, budget: Budget
    ) -> bool:
        """Remember that it was taken over; False if that was so before `record` was created.

        A request may read the old session, stand still while another one takes it over and its
        user logs out, and then create it once more. It is ended here, before anybody sees it.
        """
        name, store, sid = record.name, self._session.runtime.store, _mark(derived)
        seconds = MARK_SECONDS
        if not source.remembers:  # it can come back until it is over
            seconds = max(record.expires_at, record.deadline or 0.0, self._until) - record.now
        secret_hash = Token.generate().secret_hash  # of nobody: a mark opens nothing
        await store.create(Draft(name, sid, 1, secret_hash, b"", seconds), budget)
        mark = await store.fetch(name, sid, budget)
        if mark is None or mark.created_at >= record.created_at:
            return True
        await store.delete(name, record.sid, budget)
        return False

    async def _rotated(self, record: Record, derived: Token, budget: Budget) -> Token:
        """Give the record a random secret, if it has none yet; return the token to present."""
        if not same(record.secret_hash, derived.secret_hash):
            return derived  # another request was faster; its response brings the cookie
        token, settings = derived.rotated(), self._session.settings
        draft = Draft(
            name=record.name,
            sid=record.sid,
            version=record.version + 1,
            secret_hash=token.secret_hash,
            payload=None,
            ttl=record.expires_at - record.now,
            renew=False,
            rotated=True,
            previous_hash=derived.secret_hash,
            grace=settings.rotation_grace,
            previous_reads=True,
            user_key=record.user_key,
        )
        copy = msgspec.structs.replace(draft, payload=record.payload, renew=True)
        store = self._session.runtime.store
        if await store.commit(draft, None, False, budget, 0.0, copy) is not Outcome.SAVED:
            # Another request was faster; or this one, and the store was asked again, since its
            # first reply was lost.
            newest = await store.fetch(record.name, record.sid, budget)
            if newest is None or not same(newest.secret_hash, token.secret_hash):
                return derived
        return token

    def _send(self, sess: SessionDict, source: OldStore, token: Token, record: Record) -> None:
        """Send our cookie, and take the old one away."""
        content = contents.unpack(self._session.settings.codec, record.payload)
        span = expiry.span(self._session.settings.policy, content, 0.0)
        max_age = ceil(record.expires_at - record.now) if span.persistent else None
        spec, exchange = self._session.settings.cookie, sess.exchange
        exchange.send(spec, token.value, max_age)
        if spec.full_name(exchange.goes_secure(spec)) != source.cookie.name:
            exchange.send(source.cookie, "", None)

    async def _ask(self, call: Any) -> Any:
        """Await a call of an old store; its failure is one of a store, not an unknown session."""
        try:
            async with asyncio.timeout(self._session.settings.store_timeout):
                return await call
        except SessionError:
            raise
        except Exception as error:
            logger.error("%s: an old store failed: %s", self._session.name, type(error).__name__)
            raise SessionStoreError(f"an old store failed: {type(error).__name__}") from error

    async def _warn_when_over(self, _: Sanic[Any, Any]) -> None:
        if time.time() >= self._until:
            logger.warning(
                "%s: the migration is over, remove it and its sources", self._session.name
            )

    async def _close(self, _: Sanic[Any, Any]) -> None:
        for source in self._sources:
            await source.close()


def _derived(name: str, value: str) -> Token:
    """Return the token of ours that an old cookie's value stands for."""
    return Token(_digest("sid", name, value)[:22], _digest("secret", name, value))


def _mark(derived: Token) -> str:
    """Return the id under which it is remembered that a session was taken over."""
    return _digest("mark", derived.sid, "")[:22]


def _digest(purpose: str, name: str, value: str) -> str:
    raw = sha256("\0".join(("sanic_cookies migration", purpose, name, value)).encode()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _opens(record: Record, derived: Token) -> bool:
    """Say whether an old id still opens what it was taken over into."""
    if same(record.secret_hash, derived.secret_hash):
        return True
    in_grace = record.previous_reads and record.now < record.previous_until
    return in_grace and same(record.previous_hash, derived.secret_hash)
