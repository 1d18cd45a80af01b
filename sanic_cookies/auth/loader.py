"""The user behind a session: loaded once per request.

Law: whoever asks for the user gets the same answer throughout a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sanic.request import Request

from ..content import Identity
from ..errors import (
    LoginRequired,
    SessionConfigError,
    SessionLockTimeout,
    SessionStoreError,
)
from ..options import Options
from ..session_dict import SessionDict
from ..wiring import Wiring, may_preload
from . import stamps
from .judgement import GONE, JudgedUsers

logger = logging.getLogger("sanic_cookies")


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


class LoadedUsers(JudgedUsers):
    """The half of `AuthSession` that turns what a session holds into a user."""

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

    def _require_free(self, wiring: Wiring) -> None:
        """Refuse names that are taken on `request.ctx`, that of the user too."""
        super()._require_free(wiring)
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

    @property
    def loaded_name(self) -> str | None:
        """The attribute on `request.ctx` that holds the loaded user; None without a loader."""
        return None if self.user_loader is None else self.user_name

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
            SessionUnavailable: `renew_every` has just replaced the token for another request of the
                browser. After the change that ends the session at its next use; who calls
                `confirm_login()` before the change is refused there.
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

    def _show(self, request: Request, identity: Identity | None, user: Any) -> None:
        """Remember for the rest of the request who it is."""
        if not self._judges_users:
            return
        known = self._known_of(request)
        known.identity, known.user, known.is_known = identity, user, True
        self.of(request).doubt(None)
        if self.loaded_name is not None:
            if isinstance(getattr(request.ctx, self.loaded_name, None), SessionDict):
                raise SessionConfigError("user_name is the name of a session", served=True)
            setattr(request.ctx, self.loaded_name, user)

    def _as_shown(self, request: Request) -> Callable[[], None]:
        """Return what brings back whom the request knows now, for a login that is undone."""
        known, name = self._known_of(request), self.loaded_name
        seen = known.identity, known.user, known.is_known

        def show_again() -> None:
            known.identity, known.user, known.is_known = seen
            if name is not None and known.is_known:
                setattr(request.ctx, name, known.user)
            elif name is not None and hasattr(request.ctx, name):
                delattr(request.ctx, name)

        return show_again

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

    async def _load_early(self, request: Request) -> None:
        """Load the user before the handler, wherever the session is read before it.

        A failure is raised to whoever asks for the user: the route may do without, as a logout.
        """
        if not (self.settings.preload and may_preload(request)):
            return
        try:
            await self.current_user(request)
        except SessionConfigError:
            raise  # a mistake, which is to show at once
        except Exception as error:
            self.of(request).doubt(error)
            if not isinstance(error, SessionStoreError):
                logger.exception("%s: the user could not be loaded before the handler", self.name)
