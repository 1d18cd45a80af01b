"""What counts as a complaint in the log of a program that served."""

from __future__ import annotations

import pytest

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
# The same with several workers: the handler met the wrong answer, and so did the end of `serve`.
LATE = """\
Main  2026-11-28 12:20:17 +0000 ERROR: Experienced exception while trying to serve
Srv 0 2026-11-28 12:20:17 +0000 INFO: Stopping worker [17764]
Traceback (most recent call last):
  File "sanic/mixins/startup.py", line 1160, in serve
    manager.run()
  File "sanic/worker/manager.py", line 444, in _sync_states
    state = self.worker_state[process.name].get("state")
            ~~~~~~~~~~~~~~~~~^^^^^^^^^^^^^^
  File "sanic/worker/process.py", line 58, in set_state
    self.worker_state[self.name] = {
                                   ^
Srv 1 2026-11-28 12:20:17 +0000 INFO: Stopping worker [17765]
TypeError: 'NoneType' object is not a mapping

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "examples/multi_worker.py", line 58, in <module>
    app.run(port=8000, workers=4)
  File "sanic/mixins/startup.py", line 1190, in serve
    while cls._get_process_states(worker_state):
  File "sanic/mixins/startup.py", line 1210, in _get_process_states
    return [
           ^
AttributeError: 'str' object has no attribute 'get'
Srv 0 2026-11-28 12:20:17 +0000 INFO: Worker complete [17764]
"""
# And so did a worker, which asked a manager that was gone.
GONE = f"""\
{LATE}\
Srv 0 2026-11-28 22:08:02 +0000 ERROR:
Traceback (most recent call last):
  File "sanic/worker/multiplexer.py", line 93, in set_serving
    **self._state._state[self.name],
      ~~~~~~~~~~~~~~~~~~^^^^^^^^^^^
multiprocessing.managers.RemoteError:
KeyError: '7fa5df5dd300'
"""
OF_OURS = UNAWARES.replace("_sync_states", "load")


def test_a_quiet_log_holds_no_complaint() -> None:
    """Information, and what a busy machine makes us say, are no complaints."""
    busy = "WARNING sanic_cookies: the route 'app.count' held its session for 1200 ms"

    assert complaints(f"INFO: Worker ready [8]\n{busy}\n") == []


@pytest.mark.parametrize("log", [UNAWARES, LATE, GONE])
def test_sanic_taken_unawares_is_no_complaint(log: str) -> None:
    """Sanic's own race between a signal and its manager is known, and is not the program's."""
    assert complaints(log) == []


def test_any_other_traceback_is_a_complaint() -> None:
    """The same words with a traceback from elsewhere, or after one, are shown."""
    error, traceback = OF_OURS.splitlines()[1], "Traceback (most recent call last):"

    assert complaints(OF_OURS) == [error, traceback]
    assert complaints(f"WARNING: early\n{UNAWARES}") == ["WARNING: early"]
    assert complaints(f"{traceback}\nKeyError: 'sid'\n{UNAWARES}") == [traceback]
    assert complaints(UNAWARES.replace("ERROR", "INFO")) == [traceback]
