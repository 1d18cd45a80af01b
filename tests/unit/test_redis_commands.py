"""The commands that are put together from pieces are those that hiredis would pack."""

from __future__ import annotations

from hiredis import pack_command
from hypothesis import given
from hypothesis import strategies as st

from sanic_cookies.interfaces.redis import commands
from sanic_cookies.interfaces.redis.scripts import ACQUIRE, COMMIT, Script

ODD = [b"", b"\r\n", b"$3\r\nGET\r\n", b"%d%b%%"]
LONG = [b"x" * length for length in (1023, 1024, 70_000)]  # most arguments are shorter than 1024
TEXTS = st.binary(max_size=300) | st.sampled_from(ODD + LONG)


@given(script=st.sampled_from([ACQUIRE, COMMIT]), texts=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS))
def test_a_step_is_packed_as_any_command(
    script: Script, texts: tuple[bytes, bytes, bytes, bytes]
) -> None:
    """Whatever key and arguments hold, the server gets each of them as it is."""
    assert commands.step(script, *texts) == pack_command(("EVALSHA", script.sha, 1, *texts))


@given(key=TEXTS)
def test_a_read_is_two_commands(key: bytes) -> None:
    """The fields of one key, and the time behind them."""
    both = pack_command(("HMGET", key, "r", "b")) + pack_command(("TIME",))

    assert commands.read(key) == both
