"""Errors: what a client may read, and what stays in the log."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from sanic.exceptions import SanicException

from sanic_cookies import errors
from sanic_cookies.errors import (
    AccessDenied,
    CsrfRefused,
    FreshLoginRequired,
    LoginRequired,
    ResponseStarted,
    SessionConfigError,
    SessionError,
    SessionInterrupted,
    SessionLimitReached,
    SessionLockLost,
    SessionLockTimeout,
    SessionNotLoaded,
    SessionNotSerializable,
    SessionShapeMismatch,
    SessionStoreError,
    SessionTooLarge,
    SessionUnavailable,
)

DETAIL = "redis://user:hunter2@10.0.0.7"

MAKERS: dict[type[SessionError], Callable[[], SessionError]] = {
    SessionError: lambda: SessionError(DETAIL),
    SessionConfigError: lambda: SessionConfigError("lease must not be longer"),
    SessionNotLoaded: lambda: SessionNotLoaded(DETAIL),
    ResponseStarted: lambda: ResponseStarted(DETAIL),
    SessionNotSerializable: lambda: SessionNotSerializable(DETAIL, "sess['cart'][0]"),
    SessionShapeMismatch: lambda: SessionShapeMismatch(DETAIL),
    SessionTooLarge: lambda: SessionTooLarge(70000, 65536),
    SessionInterrupted: lambda: SessionInterrupted(DETAIL),
    SessionUnavailable: lambda: SessionUnavailable(DETAIL),
    SessionStoreError: lambda: SessionStoreError(DETAIL),
    SessionLockTimeout: lambda: SessionLockTimeout(DETAIL),
    SessionLockLost: lambda: SessionLockLost(DETAIL),
    LoginRequired: lambda: LoginRequired(DETAIL),
    FreshLoginRequired: lambda: FreshLoginRequired(DETAIL),
    AccessDenied: lambda: AccessDenied(DETAIL),
    CsrfRefused: lambda: CsrfRefused(DETAIL),
    SessionLimitReached: lambda: SessionLimitReached(DETAIL),
}
PUBLIC = [kind for kind in MAKERS if kind is not SessionConfigError]


def tree(kind: type[SessionError]) -> set[type[SessionError]]:
    return {kind}.union(*(tree(each) for each in kind.__subclasses__()))


def test_every_error_is_tested_here() -> None:
    """The list of this file is the whole tree, and all of it can be caught as `SessionError`."""
    assert set(MAKERS) == {
        each for each in tree(SessionError) if each.__module__ == errors.__name__
    }
    assert issubclass(SessionError, SanicException)


@pytest.mark.parametrize(
    ("kind", "status", "quiet"),
    [
        (SessionError, 500, False),
        (SessionConfigError, 500, False),
        (SessionNotLoaded, 500, False),
        (ResponseStarted, 500, False),
        (SessionNotSerializable, 500, False),
        (SessionShapeMismatch, 500, False),
        (SessionTooLarge, 500, False),
        (SessionInterrupted, 409, True),
        (SessionUnavailable, 503, True),
        (SessionStoreError, 503, True),
        (SessionLockTimeout, 503, True),
        (SessionLockLost, 503, True),
        (LoginRequired, 401, True),
        (FreshLoginRequired, 401, True),
        (AccessDenied, 403, True),
        (CsrfRefused, 403, True),
        (SessionLimitReached, 403, True),
    ],
)
def test_the_status_of_each_error(kind: type[SessionError], status: int, quiet: bool) -> None:
    """Every error has the status that the policy names, and only faults of the app are loud."""
    error = MAKERS[kind]()

    assert (error.status_code, error.quiet) == (status, quiet)


@pytest.mark.parametrize("kind", MAKERS)
def test_only_what_passes_by_itself_says_when_to_try_again(kind: type[SessionError]) -> None:
    """Every 503 has Retry-After, no other error has."""
    error = MAKERS[kind]()

    assert error.headers.get("Retry-After") == ("1" if error.status_code == 503 else None)


@pytest.mark.parametrize("kind", PUBLIC)
def test_the_text_for_clients_is_fixed(kind: type[SessionError]) -> None:
    """Whatever the detail, a client reads the class's own text and nothing of the detail."""
    error = MAKERS[kind]()
    shown = [str(error), repr(error), str(error.args), str(error.headers), str(error.message)]

    assert str(error) == kind.public_message
    assert error.detail
    for text in shown:
        assert error.detail not in text
        assert "hunter2" not in text
        assert "cart" not in text


@pytest.mark.parametrize("kind", PUBLIC)
def test_the_detail_is_in_the_traceback(kind: type[SessionError]) -> None:
    """The developer finds the detail where an error is looked at: below its traceback."""
    error = MAKERS[kind]()

    assert error.__notes__ == [error.detail]
    assert error.detail in "".join(traceback.format_exception(error))


def test_without_a_detail_there_is_no_note() -> None:
    """Nothing to say, nothing said."""
    assert SessionInterrupted().detail == ""
    assert not hasattr(SessionInterrupted(), "__notes__")


def test_a_wrong_option_is_explained_in_the_text() -> None:
    """No client ever sees it: it is raised at construction, so its text is the explanation."""
    error = SessionConfigError("lease must not be longer than max_hold")

    assert str(error) == error.detail == "lease must not be longer than max_hold"
    assert SessionConfigError.public_message == SessionError.public_message


def test_facts_stand_in_attributes() -> None:
    """What code may want to know of an error is an attribute, not a part of a text."""
    unserialisable = SessionNotSerializable("ValueError", "sess['cart'][0]")
    large = SessionTooLarge(70000, 65536)

    assert unserialisable.path == "sess['cart'][0]"
    assert unserialisable.detail == "sess['cart'][0]: ValueError"
    assert (large.size, large.limit) == (70000, 65536)
    assert "70000" in large.detail
    assert "65536" in large.detail


def test_errors_do_not_share_headers() -> None:
    """Changing the headers of one error changes no other."""
    first, second = SessionLockTimeout(), SessionLockTimeout()
    first.headers["Retry-After"] = "9"

    assert second.headers["Retry-After"] == "1"
