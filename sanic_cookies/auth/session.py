"""`AuthSession`: who is logged in, on top of a locked session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Literal, Unpack

from sanic import Sanic
from sanic.request import Request

from ..content import Identity
from ..errors import SessionConfigError
from ..expiry import Policy
from ..options import Options, Seconds
from ..record import Limit
from ..settings import DAY, SessionOptions
from ..setup_checks import AnyInterface
from .arguments import flag_of, seconds_of
from .csrf import CsrfGuard, make_token, require_token
from .gatekeeper import Gatekeeper
from .guards import NoAuthHandler
from .judgement import UserLoader
from .site_data import ClearSiteData, site_data
from .stamps import SessionStamp
from .user_keys import default_user_key, index_key

UserKey = Callable[[Any], Any]
MAX_AGENT = 200  # characters of a user agent that are kept
MAX_ADDRESS = 64  # characters; an IPv6 address with its zone takes fewer


class AuthOptions(SessionOptions, total=False):
    """Keywords of `AuthSession`, beside those of `SessionOptions`.

    Attributes:
        auth_key: Key under which the session shows the logged-in user ("current_user").
        no_auth_handler: Called instead of a guarded handler when nobody is logged in; sync or
            async; by default `LoginRequired` is raised (401).
        remember_expiry: Seconds that a remembered login lives (30 days).
        user_key: Makes the key of the per-user index from a user, None for one who is in no list
            and under no limit; by default the value itself, or its "user_id" or "id". Give it one
            that takes what `user_loader` returns as well, if you ask for the sessions of that.
        max_sessions: How many sessions a user may have at once (None: any number; OWASP ASVS 5.0,
            7.1.2).
        on_max_sessions: What one more login does: "evict_oldest" (default) ends the session whose
            login is longest ago, or whose last new token is (`confirm_login()`, `renew_every`);
            "refuse" raises `SessionLimitReached`.
        login_url: Path of the login page: browsers that have to log in are sent there, with `next`
            (None: they get what other clients get, a 401).
        user_loader: Called with the stored user once per request, sync or async; what it returns
            is the current user, None or False ends the session.
        user_name: Attribute on `request.ctx` for what the loader returned ("user").
        session_stamp: Called with the current user, sync or async; what it returns (str or bytes,
            or a list: the newest first, then those still good) ends the user's sessions when it
            changes, as a hash of the password does (OWASP ASVS 5.0, 7.4.3).
        csrf: Refuse requests that other sites make in the user's name: "fetch-metadata" judges by
            what browsers tell, "token" wants a token of the session as well (None: neither).
        csrf_origins: Other sites whose pages may make requests, such as "https://app.example".
        clear_site_data: What a browser is asked to forget at logout, besides the session's cookie
            (W3C Clear Site Data; OWASP ASVS 5.0, 14.3.1): True for `["cache", "storage"]`, or a
            list of your own (False).
    """

    auth_key: str
    no_auth_handler: NoAuthHandler
    remember_expiry: Seconds
    user_key: UserKey
    max_sessions: int | None
    on_max_sessions: Literal["evict_oldest", "refuse"]
    login_url: str | None
    user_loader: UserLoader
    user_name: str
    session_stamp: SessionStamp
    csrf: Literal["fetch-metadata", "token"] | None
    csrf_origins: Collection[str]
    clear_site_data: ClearSiteData


class AuthSession(Gatekeeper):
    """Sessions that know who is logged in.

    By default they end with the browser, after an hour without a request, and after 24 hours in
    any case (NIST SP 800-63B-4, AAL2); a remembered login lives 30 days.
    """

    default_name: ClassVar[str] = "auth_session"
    default_policy: ClassVar[Policy] = Policy(idle=3600.0, absolute=DAY, persistent=False)
    own_options: ClassVar[frozenset[str]] = frozenset(
        set(AuthOptions.__annotations__) - set(SessionOptions.__annotations__)
    )

    def __init__(
        self,
        app: Sanic[Any, Any] | None = None,
        master_interface: AnyInterface | None = None,
        **options: Unpack[AuthOptions],
    ) -> None:
        """Configure sessions with logins; no I/O happens before the server starts.

        Args:
            app: The app; None to call `init_app` later.
            master_interface: Where sessions are read from and written to first; memory if None.
            options: See `AuthOptions`.

        Raises:
            SessionConfigError: Options contradict each other, or the name is taken.
        """
        self._setup(app, master_interface, options)

    def _set_own(self, options: Options) -> None:
        self.auth_key = options.text("auth_key", "current_user")
        self.remember_expiry = options.seconds("remember_expiry", 30 * DAY)
        self._user_key: UserKey = options.raw("user_key") or default_user_key
        self.limit = _limit(options)
        self._site_data = site_data(options.raw("clear_site_data", False))
        if not callable(self._user_key):
            raise SessionConfigError("user_key must be callable")
        self.checks = [each for each in self.checks if not isinstance(each, CsrfGuard)]
        if options.raw("csrf") is not None:
            csrf = CsrfGuard(self, options.raw("csrf"), options.raw("csrf_origins", ()))
            self.checks.append(csrf)
        elif options.has("csrf_origins"):
            raise SessionConfigError("csrf_origins needs csrf=")
        self._set_guards(options)
        self._set_loader(options)

    def _auth(self) -> Mapping[str, Any]:
        return {"auth_key": self.auth_key, "user_key": self.user_key, "limit": self.limit}

    async def login_user(
        self,
        request: Request,
        user: Any,
        duration: Seconds | None = None,
        remember_me: bool | None = None,
        reset_session: bool = True,
    ) -> None:
        """Log `user` in: the session gets a new token, and the former one is dead at once.

        Works inside an open block of the same session and on its own. Rotates always, also when
        somebody is logged in already (OWASP ASVS 5.0, 7.2.4). A lifetime that `set_expiry()` gave
        the session before ends with this; one that it gives afterwards is the login's.

        Args:
            request: The request.
            user: Any JSON value but None; 0 and "" are users like others.
            duration: Seconds to the absolute end; shortens the policy's, never prolongs it.
            remember_me: True for a cookie that outlives the browser and a life of
                `remember_expiry`; False for one that ends with the browser; None for the policy.
            reset_session: Drop what the anonymous session held.

        Raises:
            TypeError: `user` is None or, with `max_sessions`, a dict without an id.
            ValueError: `user_loader` does not know the user.
            SessionConfigError: `duration` is no time, or not positive; or a flag is no bool, such
                as the "no" of a form.
            ResponseStarted: The response has begun, so no cookie can be set.
        """
        if user is None:
            raise TypeError("login_user() needs a user; None means nobody")
        reset_session = flag_of("reset_session", reset_session)
        remember_me = None if remember_me is None else flag_of("remember_me", remember_me)
        limit = self.remember_expiry if remember_me else self.settings.policy.absolute
        if duration is not None:
            seconds = seconds_of("duration", duration, served=True)
            limit = seconds if limit is None else min(limit, seconds)
        if self.limit is not None and self._user_key is default_user_key:
            self._listed_key(user)  # or there would be no limit
        loaded, stamp = await self._recognise(user)
        sess = self.of(request)
        async with sess:
            await self._make_room(user, sess.sid)
            identity = Identity(
                user=user,
                since=sess.age,
                confirmed=sess.age,
                stamp=stamp,
                limit=limit,
                idle=self.remember_expiry if remember_me else None,
                persistent=remember_me,
                remembered=bool(remember_me),
                agent=_text(request.headers.get("user-agent", ""), MAX_AGENT),
                address=_address(request),
            )
            identity = sess.become(identity, keep_data=not reset_session)
            self._begin_run(request, identity, undone=self._as_shown(request))
        self._show(request, identity, loaded)

    async def logout_user(
        self,
        request: Request,
        logout_anon: bool = True,
        clear_site_data: ClearSiteData | None = None,
    ) -> None:
        """End the session now, in all interfaces, without waiting for its lock.

        Nothing happens without a session. The writes of requests that are under way are refused.

        Args:
            request: The request.
            logout_anon: False leaves a session alone in which nobody is logged in.
            clear_site_data: What the browser is asked to forget as well, by the header
                `Clear-Site-Data` (W3C Clear Site Data, section 3.1): True for its cache and what
                scripts have stored, False, or a list; None for the option's choice. It goes with
                requests that bring the session's cookie, over https or on a loopback host.

        Raises:
            SessionStoreError: It could not be ended, and is not claimed to have been.
            SessionConfigError: `clear_site_data` names what no browser knows.
        """
        types = (
            self._site_data if clear_site_data is None else site_data(clear_site_data, served=True)
        )
        sess = self.of(request)
        await sess.outlast()  # a login that another task is making is to end, too
        identity = await sess.identity()
        if identity is None and not logout_anon:
            return
        sid = sess.sid
        if await sess.end() and identity is not None:
            self.runtime.emit("logout", sid=sid, user_key=self.user_key(identity.user))
        self._show(request, None, None)
        self._send_run(request, "")
        sess.exchange.forget_site_data(self.settings.cookie, types)

    async def csrf_token(self, request: Request) -> str:
        """Return a token for a form (field `csrf_token`) or a script (header `X-CSRF-Token`).

        A visitor without a session gets one by this. Each login replaces what tokens are made of.

        Args:
            request: The request.

        Raises:
            SessionStoreError: The store failed.
            ResponseStarted: There is no session yet, and the response has begun.
        """
        return await make_token(self.of(request))

    async def check_csrf(self, request: Request) -> None:
        """Refuse a request without the token of its session; `csrf="token"` does it by itself.

        Args:
            request: The request; its header `X-CSRF-Token` or form field `csrf_token` is read.

        Raises:
            CsrfRefused: It came without the token, or with that of another session.
            SessionStoreError: The store failed.
        """
        await require_token(self, request)

    def user_key(self, user: Any) -> str | None:
        """Return the key of the per-user index for `user`; None for a user that is not listed."""
        return index_key(self._user_key(user))


def _address(request: Request) -> str:
    """Return who connects, or whom a trusted proxy names (an IPv6 address in brackets)."""
    return _text((request.remote_addr or request.ip).strip("[]"), MAX_ADDRESS)


def _text(given: str, most: int) -> str:
    """Return what a header said, shortened; bytes that were no text become question marks."""
    return given[:most].encode("utf-8", "replace").decode()


def _limit(options: Options) -> Limit | None:
    """Return how many sessions a user may have, None for any number."""
    action = options.text("on_max_sessions", "evict_oldest")
    if action not in ("evict_oldest", "refuse"):
        raise SessionConfigError("on_max_sessions must be 'evict_oldest' or 'refuse'")
    if options.raw("max_sessions") is None:
        return None
    return Limit(options.number("max_sessions", 1), evict=action == "evict_oldest")
