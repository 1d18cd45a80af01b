"""The commands of most requests, as Redis reads them: ready-made pieces, and what differs.

hiredis packs any command, and takes twice as long for it or more.
"""

from __future__ import annotations

from functools import cache

from hiredis import pack_command

from .scripts import Script


class _Lengths(dict[int, bytes]):
    """What stands before an argument, by its length: the end of the line before, and its own."""

    def __missing__(self, length: int) -> bytes:
        """Return that of an argument which is longer than most are."""
        return b"\r\n$%d\r\n" % length


_BEFORE = _Lengths((length, b"\r\n$%d\r\n" % length) for length in range(1024))


def step(script: Script, key: bytes, one: bytes, two: bytes, three: bytes) -> bytes:
    """Return what runs a script, for one key and three arguments."""
    before = _BEFORE
    return b"".join(
        (
            _step(script.sha),
            before[len(key)],
            key,
            before[len(one)],
            one,
            before[len(two)],
            two,
            before[len(three)],
            three,
            b"\r\n",
        )
    )


def read(key: bytes) -> bytes:
    """Return what asks for a session's fields, and then for the time: two commands in one piece."""
    return b"".join((_READ, _BEFORE[len(key)], key, _FIELDS_AND_TIME))


@cache
def _step(sha: str) -> bytes:
    """Return what stands before the key."""
    return b"*7\r\n" + _without_count("EVALSHA", sha, 1).removesuffix(b"\r\n")


def _without_count(*args: str | int) -> bytes:
    """Return arguments as a command has them, behind the count of all."""
    packed: bytes = pack_command(args)  # type: ignore[arg-type]
    return packed.partition(b"\r\n")[2]


_READ = b"*4\r\n" + _without_count("HMGET").removesuffix(b"\r\n")
_FIELDS_AND_TIME = b"\r\n" + _without_count("r", "b") + b"*1\r\n" + _without_count("TIME")
