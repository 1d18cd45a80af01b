"""What an interface is. The contract is written here once; classes do not repeat it.

An interface reads and writes records and decides nothing. It never raises for an unknown or
expired session; it lets the errors of its driver through, and whoever calls turns them into
`SessionStoreError`. It does no I/O in its constructor.

To write one of your own, implement `Interface` (see `examples/custom_interface.py`) and run the
contract suite of `sanic_cookies.testing` over it. The other protocols are capabilities; they are
asked for when a `Session` is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from ..record import Admission, Busy, Census, Claim, Draft, Granted, Limit, Outcome, Record
from ..token import Credential

# Called with the sid of a session that has news, or with None when some may have been missed.
Hear = Callable[[str | None], None]


@runtime_checkable
class Interface(Protocol):
    """A place where sessions are kept.

    One whose methods never wait for anything, as memory, may say so by an attribute
    `never_waits = True` of its class; it is then called without a deadline.
    """

    async def open(self) -> None:
        """Connect. Called in each worker before it serves, and again after `close`."""

    async def close(self) -> None:
        """Disconnect. Safe to call twice, and without `open`."""

    async def fetch(self, name: str, sid: str) -> Record | None:
        """Read a record; None if unknown or expired.

        Raises:
            RecordUnreadable: What is stored is not a record. It is left as it is.
        """

    async def create(self, draft: Draft) -> bool:
        """Store a new record; False if the sid is taken, and then nothing has changed.

        Asked again with the same `secret_hash` (a retry whose first reply was lost) it says True.
        """

    async def save(self, draft: Draft) -> Outcome:
        """Replace a record that exists and is older, in one atomic step; never create one."""

    async def touch(self, name: str, sid: str, version: int, ttl: float) -> bool:
        """Set `last_seen` to now and expiry to `ttl` seconds from now, if `version` is current.

        False if it is not, or there is no record; nothing has changed then. The payload is neither
        read nor written.
        """

    async def delete(self, name: str, sid: str) -> bool:
        """Forget a record, whoever holds its lease; True if there was one."""


@runtime_checkable
class SupportsLease(Protocol):
    """A lock that other processes see, kept in the session's own record."""

    async def acquire(self, name: str, sid: str, claim: Claim) -> Granted | Busy | None:
        """Take the lease and read the record in one atomic step; None if there is no record.

        While another holds it, or has waited longer, the token waits in a queue, first in first
        out. A waiter who was given the lease must ask again within a second.
        """

    async def commit(
        self, draft: Draft, token: str, release: bool, seconds: float = 0.0
    ) -> Outcome:
        """Save, if the lease is `token`'s; give it up in the same step, or prolong it.

        With `release` the longest waiter, if there is one, is given the lease in the same step;
        otherwise the lease lasts `seconds` from now.

        Asked again after a lost reply it says `SAVED` once more and applies nothing twice.
        """

    async def renew(self, name: str, sid: str, token: str, seconds: float) -> bool:
        """Prolong the lease; False if it is not `token`'s any more."""

    async def release(self, name: str, sid: str, token: str) -> None:
        """Give the lease up if it is `token`'s, and its place in the queue if it waits."""

    async def turn(self, name: str, sid: str, token: str, timeout: float) -> None:
        """Return when it may be `token`'s turn, after `timeout` seconds at the latest."""


@runtime_checkable
class SupportsIndex(Protocol):
    """A store that finds the sessions of a user."""

    async def records_of(self, name: str, user_key: str) -> list[Record]:
        """Return the live records with this `user_key`, the one with the oldest token at the front.

        Each login replaces the token, so that is the one whose login is longest ago, or whose last
        proof or renewal is (`Record.rotated_at`).
        """

    async def admit(
        self, draft: Draft, token: str | None, limit: Limit, seconds: float = 0.0
    ) -> Admission:
        """Write a login and keep the user within a limit, in one atomic step.

        A draft of version 1 is created, any other committed under the lease `token` (None: saved
        without one), which is kept and lasts `seconds` from now. However many logins of one user
        run at once, at no moment has the user more than `limit.most` live sessions.
        """


@runtime_checkable
class SupportsNews(Protocol):
    """A store that tells other processes at once when a session ends or its token is replaced.

    It does so in the same step, at no round trip of its own, whether anybody listens or not.
    """

    def listen(self, name: str, hear: Hear) -> None:
        """Have `hear` called with each such session of one name, from now until `close`.

        Called on the running loop, perhaps often with the same arguments; no I/O before it
        returns. `hear(None)` follows when the channel is open, and each time it was interrupted.
        """


@runtime_checkable
class SupportsSweep(Protocol):
    """A store that does not forget expired records by itself."""

    async def sweep(self) -> int:
        """Drop expired records in short steps; return how many went."""


@runtime_checkable
class SupportsInspection(Protocol):
    """A store that shows what it holds to the people who run it; no request does any of this."""

    def records(self, name: str | None = None) -> AsyncIterator[Record]:
        """Go through all live sessions, those of one name or of all, in pages.

        Each that is there from beginning to end comes once; of those that come or go meanwhile
        some do. Unreadable records are left out.
        """

    async def census(self, name: str | None = None) -> Census:
        """Count the sessions of one name, or of all; it may take as long as reading them all."""


@runtime_checkable
class BoundInterface(Interface, Protocol):
    """An interface for one request's cookie.

    Attributes:
        credential: What the cookie that came in proves; None if it opens nothing.
        value: The cookie to send: a value, "" to remove it, None for no change.
    """

    credential: Credential | None
    value: str | None


@runtime_checkable
class LivesInCookie(Protocol):
    """The record lives in the browser, sealed; there is nothing to share between requests."""

    def bind(
        self, name: str, cookie_name: str, value: str | None, room: Callable[[], int] | None = None
    ) -> BoundInterface:
        """Return an interface for one request whose cookie came with `value`.

        Args:
            name: Name of the session.
            cookie_name: Name of the cookie.
            value: Its value; None if none came.
            room: Gives how many bytes name and value may have, so that the next request is read.
        """
