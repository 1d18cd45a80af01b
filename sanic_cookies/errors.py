"""Every error of the library, in one tree.

The text of a `SessionError` is what a client may see, so it is fixed and says nothing of the
store, the token or the data. What helps the developer stands in `detail` and in `__cause__`, and
reaches the log only.
"""

from __future__ import annotations

from collections.abc import Mapping

from sanic.exceptions import SanicException


class SessionError(SanicException):
    """Base of everything that this library raises.

    Attributes:
        detail: What happened, for the log and the developer; never part of a response.
    """

    status_code = 500
    quiet = False
    public_message = "The session could not be used."
    response_headers: Mapping[str, str] = {}

    def __init__(self, detail: str = "") -> None:
        """Make the error.

        Args:
            detail: What happened, for the log only.
        """
        super().__init__(self.public_message, headers=dict(self.response_headers))
        self.detail = detail
        if detail:
            self.add_note(detail)


class SessionConfigError(SessionError):
    """Options contradict each other or cannot work; raised at construction wherever that shows."""

    def __init__(self, detail: str, *, served: bool = False) -> None:
        """Make the error.

        Args:
            detail: What is wrong, and what to change.
            served: It shows in a request only: its text is then public and says nothing.
        """
        if not served:
            self.public_message = detail
        super().__init__(detail if served else "")
        self.detail = detail


class SessionNotLoaded(SessionError):
    """The session was read without a lock before anything had loaded it."""

    public_message = (
        "The session is not loaded: use 'async with request.ctx.<session> as sess:', or call "
        "'await request.ctx.<session>.peek()' first, or leave preload=True for this route."
    )


class ResponseStarted(SessionError):
    """A cookie is needed (new session, rotation) but the response has already begun."""

    public_message = (
        "The response has begun, so no session cookie can be set: create or rotate the session "
        "before request.respond() and before a websocket handshake."
    )


class SessionNotSerializable(SessionError):
    """A value in the session is not something that JSON can give back equal.

    Attributes:
        path: Where it stands, such as `sess['cart'][0]`.
    """

    public_message = "The session holds a value that cannot be stored."

    def __init__(self, detail: str, path: str = "sess") -> None:
        """Make the error.

        Args:
            detail: What is wrong with the value.
            path: Where it stands in the session.
        """
        super().__init__(f"{path}: {detail}")
        self.path = path


class SessionShapeMismatch(SessionError):
    """What a session holds does not fit the class of a `Typed` view; nothing was written."""

    public_message = "The session does not hold what this application expects."


class SessionTooLarge(SessionError):
    """The session's data outgrew `max_bytes`, or its cookie the 4096 bytes browsers keep.

    Attributes:
        size: Bytes it would take.
        limit: Bytes allowed.
    """

    public_message = "The session is too large to be stored."

    def __init__(self, size: int, limit: int) -> None:
        """Make the error.

        Args:
            size: Bytes it would take.
            limit: Bytes allowed.
        """
        super().__init__(f"{size} bytes, allowed are {limit}; keep large things elsewhere")
        self.size = size
        self.limit = limit


class SessionInterrupted(SessionError):
    """The session was ended (logout, revoke, expiry) while this request was using it."""

    status_code = 409
    quiet = True
    public_message = "The session ended while the request was being served."


class SessionUnavailable(SessionError):
    """Base of what passes by itself: the client may try again (503 with Retry-After)."""

    status_code = 503
    quiet = True
    response_headers: Mapping[str, str] = {"Retry-After": "1"}
    public_message = "The session is not available right now, please try again."


class SessionStoreError(SessionUnavailable):
    """The store failed, refused or did not answer in time; `__cause__` is the driver's error."""


class SessionLockTimeout(SessionUnavailable):
    """The lock was not free within `lock_timeout` seconds, or `max_waiters` were waiting."""

    public_message = "The session is busy, please try again."


class SessionLockLost(SessionUnavailable):
    """The lock was lost (lease or `max_hold` over) before the block ended: nothing was written."""

    public_message = "The session could not be saved, please try again."


class SessionLimitReached(SessionError):
    """The user has `max_sessions` sessions already, and `on_max_sessions` is "refuse"."""

    status_code = 403
    quiet = True
    public_message = "You are signed in at too many places: sign out somewhere else first."


class LoginRequired(SessionError):
    """Nobody is logged in, and the route asks for somebody."""

    status_code = 401
    quiet = True
    # A cache that kept it would answer the user who has logged in meanwhile (ASVS 5.0, 14.3.2).
    response_headers: Mapping[str, str] = {"Cache-Control": "no-store"}
    public_message = "Please log in."


class FreshLoginRequired(LoginRequired):
    """Somebody is logged in, but has not proved who they are recently enough for this route."""

    public_message = "Please log in again to confirm that it is you."


class AccessDenied(SessionError):
    """Somebody is logged in, but may not do this."""

    status_code = 403
    quiet = True
    response_headers: Mapping[str, str] = {"Cache-Control": "no-store"}
    public_message = "You may not do this."


class CsrfRefused(SessionError):
    """The request may have been made by a page of another site in the user's name."""

    status_code = 403
    quiet = True
    public_message = "The request was refused: it does not come from a page of this site."
