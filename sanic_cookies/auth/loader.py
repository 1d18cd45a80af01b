"""The user behind a session: loaded once per request, and logged out when it is gone or changed.

Law: whoever asks for the user gets the same answer throughout a request, and nobody is let in on
the word of a session whose user is gone, or whose stamp has changed.

A session whose stamp is a former one, still good, gets the newest: by a task of its own that takes
the lock when it is free, so that a request which only reads never waits for one. Should that fail,
the next request tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import Any

import msgspec
from sanic import Sanic
from sanic.request import Request

from ..content import Identity
from ..errors import (
    LoginRequired,
    SessionConfigError,
    SessionError,
    SessionLockTimeout,
    SessionStoreError,
)
from ..exchange import Exchange
from ..interfaces.base import LivesInCookie
from ..session_dict import SessionDict
from ..settings import Options
from ..wiring import Wiring, may_preload
from . import stamps
from .registry import Place, UserSessions
from .stamps import SessionStamp

security = logging.getLogger("sanic_cookies.security")

UserLoader = Callable[[Any], Any]
LOADER_OPTIONS = frozenset({"session_stamp", "user_loader", "user_name"})
GONE, CHANGED = "the user is gone", "the stamp has changed"


@dataclass(slots=True)
class Known:
    """What a request knows of its user.

    Attributes:
        identity: What the session said when the user was loaded.
        user: The user; None for nobody.
        is_known: Whether anybody has asked.
        lock: Lets one task load.
        owner: The task that loads.
    """

    identity: Identity | None = None
    user: Any = None
    is_known: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    owner: object = None


class LoadedUsers(UserSessions):
    """The half of `AuthSession` that turns what a session holds into a user."""

    user_loader: UserLoader | None
    session_stamp: SessionStamp | None
    user_name: str

    def _set_loader(self, options: Options) -> None:
        self.user_loader = options.raw("user_loader")
        self.session_stamp = options.raw("session_stamp")
        self.user_name = options.text("user_name", "user")
        for name in ("user_loader", "session_stamp"):
            if options.raw(name) is not None and not callable(options.raw(name)):
                raise SessionConfigError(f"{name} must be callable with a user")
        if options.has("user_name") and self.user_loader is None:
            raise SessionConfigError("user_name needs user_loader=")
        if not self.user_name.isidentifier():
            raise SessionConfigError("user_name must be an identifier")
        self.checks = [each for each in self.checks if each != self._load_early]
        if self._judges_users:
            self.checks.insert(0, self._load_early)

    def start(self) -> None:
        """Make the parts anew; nothing is under way in a new event loop."""
        super().start()
        self._restamping: set[str] = set()

    def init_app(self, app: Sanic[Any, Any]) -> None:
        """Attach to `app`; see `Session.init_app`.

        Raises:
            SessionConfigError: `user_name` is taken on `request.ctx`, too.
        """
        wiring = Wiring.of(app)
        others = wiring.sessions
        loaded = {getattr(each, "loaded_name", None) for each in others} - {None}
        taken = {
            self.name,
            *(each.name for each in others),
            *vars(wiring.blank_context()),
        }
        if self.name in loaded or self.loaded_name in (taken | loaded):
            name = self.loaded_name if self.name not in loaded else self.name
            raise SessionConfigError(f"request.ctx.{name} is taken: choose another user_name")
        super().init_app(app)

    @property
    def loaded_name(self) -> str | None:
        """The attribute on `request.ctx` that holds the loaded user; None without a loader."""
        return None if self.user_loader is None else self.user_name

    @property
    def _judges_users(self) -> bool:
        return self.user_loader is not None or self.session_stamp is not None

    async def current_user(self, request: Request | None = None) -> Any:
        """Return the user who is logged in, as `user_loader` gives it; None if nobody is.

        The loader is asked once per request (on a websocket, which may last for hours, each time).
        A user that is gone, or whose stamp has changed, ends the session.

        Args:
            request: The request; None for the one that is being served.

        Raises:
            SessionStoreError: The store failed: that is not the same as nobody.
        """
        request = request or Request.get_current()
        sess = self.of(request)
        identity = await sess.identity()
        if not self._judges_users:
            return None if identity is None else identity.user
        known = self._known_of(request)
        if known.owner is not None and known.owner is asyncio.current_task():
            raise SessionConfigError("user_loader must not ask for the current user", served=True)
        try:
            async with asyncio.timeout(self.settings.lock_timeout):
                await known.lock.acquire()
        except TimeoutError as error:
            raise SessionLockTimeout("another task of this request loads the user") from error
        known.owner = asyncio.current_task()
        try:
            return await self._user_of(request, sess, known, identity)
        finally:
            known.owner = None
            known.lock.release()

    async def refresh_stamp(self, request: Request) -> None:
        """Keep this session when the user's stamp has changed, say after a new password.

        The user's other sessions end at their next request. The session gets a new token.

        Args:
            request: The request, whose user was known before the change: a guard or
                `current_user()` has found the former stamp to be right.

        Raises:
            LoginRequired: Nobody is logged in any more.
            SessionConfigError: There is no `session_stamp`, or nobody asked for the user before.
            ResponseStarted: The response has begun, so no cookie can be set.
        """
        known = self._known_of(request)
        if self.session_stamp is None or not known.is_known:
            # Else a session that the change has ended already could be brought back by this.
            raise SessionConfigError(
                "refresh_stamp() needs session_stamp=, and current_user() before the change",
                served=True,
            )
        if known.identity is None:
            raise LoginRequired
        user = await self._load(known.identity.user)
        if user is None:
            await self._end_login(self.of(request), known.identity, GONE)
            self._show(request, None, None)
            raise LoginRequired
        stamp = await stamps.newest(self.session_stamp, user)
        async with self.of(request) as sess:
            identity = await sess.identity()
            if identity is None:
                raise LoginRequired  # it has ended meanwhile
            identity = replace(identity, stamp=stamp)
            sess.amend(identity)
        self._show(request, identity, user)

    # For `AuthSession`.

    async def _recognise(self, user: Any) -> tuple[Any, str]:
        """Return a user who logs in as the loader gives it, and the stamp of it.

        Raises:
            ValueError: The loader does not know the user.
        """
        loaded = await self._load(user)
        if loaded is None:
            raise ValueError("user_loader knows no such user")
        if self.session_stamp is None:
            return loaded, ""
        return loaded, await stamps.newest(self.session_stamp, loaded)

    def _show(self, request: Request, identity: Identity | None, user: Any) -> None:
        """Remember for the rest of the request who it is."""
        if not self._judges_users:
            return
        known = self._known_of(request)
        known.identity, known.user, known.is_known = identity, user, True
        if self.loaded_name is not None:
            if isinstance(getattr(request.ctx, self.loaded_name, None), SessionDict):
                raise SessionConfigError("user_name is the name of a session", served=True)
            setattr(request.ctx, self.loaded_name, user)

    # Underneath.

    def _known_of(self, request: Request) -> Known:
        name = f"_sanic_cookies_{self.name}_user"
        known = getattr(request.ctx, name, None)
        if known is None:
            known = Known()
            setattr(request.ctx, name, known)
        return known

    async def _user_of(
        self, request: Request, sess: SessionDict, known: Known, identity: Identity | None
    ) -> Any:
        is_fresh_look = sess.exchange.is_websocket and identity is not None
        if known.is_known and known.identity == identity and not is_fresh_look:
            return known.user
        user = None
        if identity is not None:
            user, stamp = await self._judged(sess, identity)
            if user is None:
                identity = None
            elif stamp != identity.stamp:
                await self._restamp(request, sess, identity, stamp)
        self._show(request, identity, user)
        return user

    async def look(self, request: Request) -> float | None:
        """Look at a session anew, and at its user; see `Session.look`."""
        sess = self.make(Exchange(request))
        left, identity = await sess.look()
        if left is not None and identity is not None and self._judges_users:
            user, _ = await self._judged(sess, identity)
            return None if user is None else left
        return left

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
        return await loaded if isawaitable(loaded) else loaded

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
        security.warning("%s: session ended: %s sid=%s", self.name, reason, sid or "-")
        await sess.end()
        user_key = self.user_key(identity.user)
        self._emit("revoked", sid=sid, user_key=user_key, reason=reason)

    async def _load_early(self, request: Request) -> None:
        """Load the user before the handler, wherever the session is read before it."""
        if self.settings.preload and may_preload(request):
            try:
                await self.current_user(request)
            except SessionStoreError:
                return  # raised to whoever asks; the route may do without
