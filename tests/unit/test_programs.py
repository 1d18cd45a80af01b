"""What counts as a complaint in the log of a program that served."""

from __future__ import annotations

from programs import complaints

# What Sanic 25.12 prints, told to stop between a question to its manager and the answer.
UNAWARES = """\
Main  2026-11-27 22:55:55 +0000 INFO: Received signal SIGTERM. Shutting down.
Main  2026-11-27 22:55:55 +0000 ERROR: Experienced exception while trying to serve
Main  2026-11-27 22:55:55 +0000 INFO: Server Stopped
Traceback (most recent call last):
  File "sanic/mixins/startup.py", line 1160, in serve
    manager.run()
  File "sanic/worker/manager.py", line 305, in monitor
    self._sync_states()
  File "sanic/worker/manager.py", line 444, in _sync_states
    state = self.worker_state[process.name].get("state")
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
AttributeError: 'NoneType' object has no attribute 'get'
"""
OF_OURS = UNAWARES.replace("_sync_states", "load")


def test_a_quiet_log_holds_no_complaint() -> None:
    """Information, and what a busy machine makes us say, are no complaints."""
    busy = "WARNING sanic_cookies: the route 'app.count' held its session for 1200 ms"

    assert complaints(f"INFO: Worker ready [8]\n{busy}\n") == []


def test_sanic_taken_unawares_is_no_complaint() -> None:
    """Sanic's own race between a signal and its manager is known, and is not the program's."""
    assert complaints(UNAWARES) == []


def test_any_other_traceback_is_a_complaint() -> None:
    """The same words with a traceback from elsewhere, or beside it, are shown."""
    error, traceback = OF_OURS.splitlines()[1], "Traceback (most recent call last):"

    assert complaints(OF_OURS) == [error, traceback]
    assert complaints(f"{UNAWARES}WARNING: late\n") == ["WARNING: late"]
    assert complaints(f"{UNAWARES}{traceback}\nKeyError: 'sid'\n") == [traceback]
