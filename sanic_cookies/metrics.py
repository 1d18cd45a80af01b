"""Metrics for Prometheus: how long locks and stores take, and what happens to sessions.

    session = Session(app, Redis("redis://..."))
    Metrics(session)

Needs `prometheus_client` (the extra `metrics`). Several workers are added up by its
`multiprocess mode <https://prometheus.github.io/client_python/multiprocess/>`_, which all metrics
here support. Labels are names that the program gives (session, interface, operation, event), never
a sid, a user or anything a client sent: their number is bounded.
"""

from __future__ import annotations

from .meter import CallOutcome
from .session import Session
from .signals import SIGNALS

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "metrics need prometheus_client: pip install 'sanic-cookies[metrics]'", name=error.name
    ) from error

# From a tenth of what a local store takes to the longest wait for a lock (seconds).
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL = ["session", "interface", "role", "operation", "outcome"]


class Metrics:
    """The metrics of one or more `Session` objects in one registry."""

    def __init__(
        self,
        *sessions: Session,
        registry: CollectorRegistry = REGISTRY,
        prefix: str = "sanic_session",
    ) -> None:
        """Begin to measure sessions, before the server starts.

        Args:
            sessions: What to measure.
            registry: Where the metrics are registered.
            prefix: Begins the name of each metric.

        Raises:
            SessionConfigError: The server runs already.
            ValueError: The registry has metrics of these names; give all sessions to one `Metrics`.
        """
        one = ["session"]
        self.wait = Histogram(
            f"{prefix}_lock_wait_seconds",
            "How long blocks waited for others of the same session; 0 for those that did not.",
            one,
            registry=registry,
            buckets=_BUCKETS,
        )
        self.hold = Histogram(
            f"{prefix}_lock_hold_seconds",
            "How long blocks held their session.",
            one,
            registry=registry,
            buckets=_BUCKETS,
        )
        self.entering = Gauge(
            f"{prefix}_lock_entering",
            "Requests on their way into a block: waiting for others, or for the store.",
            one,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.calls = Histogram(
            f"{prefix}_store_seconds",
            "How long calls to stores took.",
            _CALL,
            registry=registry,
            buckets=_BUCKETS,
        )
        self.events = Counter(
            f"{prefix}_events",
            "What happened to sessions, by the names of the signals.",
            ["session", "event"],
            registry=registry,
        )
        for session in sessions:
            session.measure(_Meter(self, session.name))


class _Meter:
    """Takes note for one session, in children that are looked up once."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._name, self._calls = name, metrics.calls
        self._wait, self._hold = metrics.wait.labels(name), metrics.hold.labels(name)
        self._entering = metrics.entering.labels(name)
        # Each from the start on, so that the first one shows as an increase.
        self._events = {event: metrics.events.labels(name, event) for event in SIGNALS}
        self._known: dict[tuple[str, ...], Histogram] = {}

    def entering(self, change: int) -> None:
        self._entering.inc(change)

    def entered(self, waited: float) -> None:
        self._wait.observe(waited)

    def left(self, held: float) -> None:
        self._hold.observe(held)

    def called(
        self, interface: str, role: str, operation: str, seconds: float, outcome: CallOutcome
    ) -> None:
        labels = (self._name, interface, role, operation, outcome)
        call = self._known.get(labels)
        if call is None:
            call = self._known[labels] = self._calls.labels(*labels)
        call.observe(seconds)

    def happened(self, event: str) -> None:
        self._events[event].inc()
