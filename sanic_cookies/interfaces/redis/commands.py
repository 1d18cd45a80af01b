"""The commands of most requests, as Redis reads them: templates, filled in by one step of Python.

hiredis packs any command, and takes twice as long for it or more.
"""

from __future__ import annotations

from functools import cache

from hiredis import pack_command

from .scripts import Script

_ARGUMENT = b"$%d\r\n%b\r\n"


def step(script: Script, key: bytes, one: bytes, two: bytes, three: bytes) -> bytes:
    """Return what runs a script, for one key and three arguments."""
    args = len(key), key, len(one), one, len(two), two, len(three), three
    return _step(script.sha) % args


def read(key: bytes) -> bytes:
    """Return what asks for a session's fields, and then for the time: two commands in one piece."""
    return _READ % (len(key), key)


@cache
def _step(sha: str) -> bytes:
    return b"*7\r\n" + _without_count("EVALSHA", sha, 1) + 4 * _ARGUMENT


def _without_count(*args: str | int) -> bytes:
    """Return arguments as a command has them, behind the count of all; none may hold a "%"."""
    packed: bytes = pack_command(args)  # type: ignore[arg-type]
    return packed.partition(b"\r\n")[2]


_READ = b"*4\r\n%b%b%b*1\r\n%b" % (
    _without_count("HMGET"),
    _ARGUMENT,
    _without_count("r", "b"),
    _without_count("TIME"),
)
