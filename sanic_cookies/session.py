"""`Session`: settings, interfaces, and their life with the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from sanic import Sanic
from sanic.request import Request

from .announcer import Announcer
from .background import Background
from .errors import SessionConfigError
from .exchange import Exchange
from .expiry import Policy
from .hub import Hub
from .interfaces.base import LivesInCookie, SupportsSweep
from .interfaces.fan_out import FanOut
from .interfaces.guard import Budget
from .interfaces.memory.interface import InMemory
from .locks import LockTable
from .meter import Meter
from .options import Options
from .record import RecordUnreadable
from .runtime import Runtime
from .session_dict import SessionDict
from .session_dict.telling import telling
from .settings import DAY, SessionOptions, Settings, build
from .setup_checks import AnyInterface, checked_interface, cut_short, require_app, require_free
from .token import is_sid
from .wiring import Check, Wiring


class Session:
    """Locked sessions on an app.

    Examples:
        >>> app = Sanic("shop")                                   # doctest: +SKIP
        >>> Session(app, master_interface=Redis("redis://..."))   # doctest: +SKIP

        Then, in a handler: `async with request.ctx.session as sess: sess["n"] = 1`.
    """

    default_name: ClassVar[str] = "session"
    default_policy: ClassVar[Policy] = Policy(idle=30 * DAY, absolute=None, persistent=True)
    own_options: ClassVar[frozenset[str]] = frozenset()

    settings: Settings

    def __init__(
        self,
        app: Sanic[Any, Any] | None = None,
        master_interface: AnyInterface | None = None,
        **options: Unpack[SessionOptions],
    ) -> None:
        """Configure sessions; no I/O happens before the server starts.

        Args:
            app: The app; None to call `init_app` later.
            master_interface: Where sessions are read from and written to first; memory if None.
            options: See `SessionOptions`.

        Raises:
            SessionConfigError: Options contradict each other, or the name is taken.
        """
        self._setup(app, master_interface, options)

    def _setup(
        self,
        app: Sanic[Any, Any] | None,
        master_interface: AnyInterface | None,
        options: Mapping[str, Any],
    ) -> None:
        self._given = dict(options)
        # Called with each request, after it was given its sessions and before its handler; what
        # one raises or returns is the answer.
        self.checks: list[Check] = []
        # The same, for the handshakes of websockets only.
        self.handshake_checks: list[Check] = []
        self._interfaces: list[AnyInterface] = []
        self._runtime: Runtime | None = None
        self._factory = SessionDict
        self._meter: Meter | None = None
        self.serving = False
        self._app: Sanic[Any, Any] | None = None
        self._default_master = master_interface is None
        self._interfaces.append(
            checked_interface(InMemory() if master_interface is None else master_interface)
        )
        # Checked now, without the app's config, so that mistakes show where they are made.
        self.settings = self._settings({})
        if app is not None:
            self.init_app(app)

    def __repr__(self) -> str:
        """Show name and interfaces."""
        kinds = ", ".join(type(each).__name__ for each in self._interfaces)
        return f"<{type(self).__name__} {self.name} on {kinds}>"

    @property
    def name(self) -> str:
        """The attribute on `request.ctx` and `app.ctx`."""
        return self.settings.name

    def init_app(self, app: Sanic[Any, Any]) -> None:
        """Attach to `app`; for factories, where the app comes later.

        Args:
            app: An app that does not serve yet; options in its `config` count from now on.

        Raises:
            SessionConfigError: It is no app, the name is taken on `app.ctx` or `request.ctx`,
                another session of this app has the same cookie, or `app.config` holds an option
                that cannot be.
        """
        if self._app is not None:
            raise SessionConfigError(
                f"{self.name} is attached to an app already: make one for each app"
            )
        require_app(app)
        self.settings = self._settings(app.config)
        wiring = Wiring.of(app)
        self._require_free(wiring)
        self._app = app
        self.start()
        wiring.add(self)
        setattr(app.ctx, self.name, self)

    def _require_free(self, wiring: Wiring) -> None:
        """Refuse names that the app has for something else; the options are known."""
        require_free(wiring, self.settings)

    # Interfaces.

    @property
    def interfaces(self) -> tuple[AnyInterface, ...]:
        """The master interface, then the others in the order they were added."""
        return tuple(self._interfaces)

    @property
    def master_interface(self) -> AnyInterface:
        """The interface that is read from."""
        return self._interfaces[0]

    @property
    def is_shared(self) -> bool:
        """Whether processes see each other's sessions."""
        master = self.master_interface
        return not isinstance(master, InMemory)

    def add_interface(self, interface: AnyInterface) -> None:
        """Write to `interface` too, after the master; if none was given yet, make it the master.

        Args:
            interface: An object with the seven methods of `Interface`, or `InCookieEncrypted`.

        Raises:
            SessionConfigError: It is no interface, or the server runs already.
        """
        self._require_stopped()
        interface = checked_interface(interface)
        if self._default_master:
            self._interfaces[0], self._default_master = interface, False
        else:
            self._interfaces.append(interface)
        self.start()

    def set_master_interface(self, interface: AnyInterface, overwrite: bool = True) -> None:
        """Read from `interface` from now on.

        Args:
            interface: The new master.
            overwrite: Drop the present master; False keeps it as an added interface, which is how
                to move to another store without logging anybody out.

        Raises:
            SessionConfigError: It is no interface, or the server runs already.
        """
        self._require_stopped()
        interface = checked_interface(interface)
        rest = [each for each in self._interfaces if each is not interface]
        if (overwrite or self._default_master) and self._interfaces[0] is not interface:
            rest = rest[1:]
        self._interfaces, self._default_master = [interface, *rest], False
        self.start()

    def _require_stopped(self) -> None:
        if self.serving:
            raise SessionConfigError("interfaces are chosen before the server starts")

    # Use from outside of a request.

    async def exists(self, sid: str) -> bool:
        """Say whether there is a session with this public id.

        Args:
            sid: As `SessionDict.sid` and `SessionInfo.sid` have it.

        Returns:
            False as well for text that is no id, for a record that cannot be read, and always if
            sessions live in cookies, where only the browser could say.

        Raises:
            SessionStoreError: The store failed or did not answer in time.
        """
        runtime = self.runtime
        if not is_sid(sid) or isinstance(self.master_interface, LivesInCookie):
            return False
        budget = Budget(self.settings.request_timeout)
        try:
            return await runtime.store.fetch(self.name, sid, budget) is not None
        except RecordUnreadable:
            return False

    async def clear_expired(self) -> int:
        """Drop expired records now, where a store does not forget them by itself.

        Returns:
            How many went, in all interfaces together; Redis, which needs no help, adds none.

        Raises:
            Exception: What the driver raises if a store is away: no request waits for this, so
                nothing is turned into an answer.
        """
        count = 0
        for interface in self._interfaces:
            if isinstance(interface, SupportsSweep):
                count += await interface.sweep()
        return count

    def stats(self) -> dict[str, float]:
        """Return counters of this worker since its start, and how things stand now.

        Returns:
            The counters of `Stats`, and `locked` and `waiting`: sessions locked and requests
            waiting for a lock in this process.
        """
        runtime = self.runtime
        now = {"locked": len(runtime.locks), "waiting": runtime.locks.waiting}
        return {**runtime.stats.snapshot(), **now}

    def refresh_sid(self, sess: SessionDict) -> SessionDict:
        """Give `sess` a new token when its block ends, and return it; as `sess.rotate()`.

        Args:
            sess: The session of a request.
        """
        sess.rotate()
        return sess

    def of(self, request: Request) -> SessionDict:
        """Return the session of `request`, also before request middleware has run.

        The same object as `request.ctx.<session_name>`, but with its type.

        Args:
            request: The request.

        Raises:
            SessionConfigError: This session is attached to no app, or something else was put in
                its place.
        """
        sess = getattr(request.ctx, self.name, None)
        if sess is None and self._app is None:
            raise SessionConfigError(f"{self.name} lacks init_app(app)", served=True)
        if not isinstance(sess, SessionDict):
            raise SessionConfigError(
                f"request.ctx.{self.name} is not a session: who set it?", served=True
            )
        return sess

    # Life with the server.

    @property
    def runtime(self) -> Runtime:
        """The parts in use; new for each start of the server."""
        if self._runtime is None:
            raise SessionConfigError(f"{self.name} is not attached: call init_app(app)")
        return self._runtime

    def start(self) -> None:
        """Make the parts anew, for a new event loop: locks and tasks belong to one loop."""
        settings, background, hub = self.settings, Background(), Hub()
        announcer = Announcer(self._app, self.name, background, hub, self._meter)
        self._factory = settings.store_factory or SessionDict
        if announcer.has_audience("loaded"):
            self._factory = telling(self._factory)
        master, *others = self._interfaces
        store = FanOut(
            master,
            others,
            # What takes all the time that a request has says of the store that it is down.
            timeout=min(settings.store_timeout, settings.request_timeout),
            on_error=settings.on_interface_error,
            background=background,
            on_failure=self._interface_failed,
            meter=self._meter,
        )
        locks = LockTable(
            background.spawn, max_hold=settings.max_hold, renew_every=settings.lease / 3
        )
        self._runtime = Runtime(
            settings,
            store,
            locks,
            background,
            announcer.tell,
            hub=hub,
            meter=self._meter,
            saves_are_heard=announcer.has_audience("saved"),
        )

    def measure(self, meter: Meter) -> None:
        """Have a meter told how long locks and stores take; see `sanic_cookies.metrics`.

        Args:
            meter: Told from now on, or until the next call.

        Raises:
            SessionConfigError: The server runs already.
        """
        self._require_stopped()
        self._meter = meter
        self.start()

    def make(self, exchange: Exchange) -> SessionDict:
        """Return the session of one request."""
        # Attached it is, or there would be no request: `runtime` need not be asked for that.
        return self._factory(self._runtime or self.runtime, exchange)

    async def look(self, request: Request) -> float | None:
        """Look at the session of `request` anew, for `watch`.

        Returns:
            The seconds it lives if nobody uses it, None if it has ended.

        Raises:
            SessionStoreError: The store failed or did not answer in time.
        """
        left, _ = await self.make(Exchange(request)).look()
        return left

    def warnings(self) -> list[str]:
        """Return what the operator should know about the set-up, once a start."""
        sessions = () if self._app is None else Wiring.of(self._app).sessions
        others = [other.name for other in sessions if other is not self]
        short = cut_short(self._options, self.settings.policy)
        return [*short, *self._options.misspelt(others), *self._options.late(self._given)]

    async def drain(self, timeout: float) -> None:
        """Wait for commits that are under way, `timeout` seconds at most."""
        await self.runtime.background.drain(timeout)

    def _interface_failed(self, label: str, is_master: bool) -> None:
        runtime = self.runtime
        if is_master:
            runtime.stats.store_failures += 1
        else:
            runtime.stats.interface_failures += 1
        runtime.emit("interface_failed", interface=label, is_master=is_master)

    def _settings(self, config: Mapping[str, Any]) -> Settings:
        given = dict(self._given)
        own = {name: given.pop(name) for name in list(given) if name in self.own_options}
        name = given.pop("session_name", self.default_name)
        known = set(SessionOptions.__annotations__) - {"session_name"}
        self._options = options = Options(given, config, str(name), known | self.own_options)
        self._set_own(Options(own, config, str(name), set(self.own_options)))
        factory = options.raw("store_factory")
        if factory is not None and not (
            isinstance(factory, type) and issubclass(factory, SessionDict)
        ):
            raise SessionConfigError("store_factory must be a subclass of SessionDict")
        return build(options, name, self.default_policy, self._auth())

    def _set_own(self, options: Options) -> None:
        """Take the options that a subclass adds."""

    def _auth(self) -> Mapping[str, Any]:
        """Return the settings that a subclass adds."""
        return {}


def session_of(request: Request, session_name: str | None = None) -> Session:
    """Return the `Session` of this name on the app that serves `request`.

    Args:
        request: The request.
        session_name: Its name; None for the first that was attached.

    Raises:
        SessionConfigError: There is none.
    """
    for session in Wiring.of(request.app).sessions:
        if isinstance(session, Session) and session_name in (None, session.name):
            return session
    raise SessionConfigError(f"the app has no session {session_name or ''!r}", served=True)
