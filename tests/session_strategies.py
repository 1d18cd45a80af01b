"""What Hypothesis makes up for the property tests: who does what to a session."""

from __future__ import annotations

from hypothesis import strategies as st

from sanic_cookies.auth.registry import ANYBODY
from session_changes import (
    Append,
    Block,
    Clear,
    Destroy,
    Drop,
    Expire,
    Login,
    Put,
    Reset,
    Rotate,
)

CLIENTS, USERS = 3, ("ann", "bob")

clients = st.integers(0, CLIENTS - 1)
users = st.sampled_from(USERS)
owners = st.sampled_from([ANYBODY, ANYBODY, None, *USERS])
values, numbers = st.integers(0, 10**9), st.integers(0, 1000)
plain_changes = st.one_of(
    st.builds(Put, st.sampled_from("ab"), values),
    st.builds(Drop, st.sampled_from("ab")),
    st.builds(Append, values),
    st.builds(Clear),
    st.builds(Rotate),
    st.sampled_from(
        [
            Expire(None),
            Expire("browser"),
            Expire("idle", 2050.0),
            Expire("idle", -1.0),
            Expire("end", 1550.0),
            Expire("end", -5.0),
        ]
    ),
)
changes = st.one_of(
    plain_changes,
    st.builds(Login, users, remember=st.booleans(), keep=st.booleans()),
    st.sampled_from([Reset(), Destroy()]),
)
locked_blocks = st.builds(
    Block,
    st.lists(changes, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["locked", "locked", "nested", "saved"]),
    st.sampled_from(["clean", "clean", "clean", "crash", "caught"]),
)
blocks = st.one_of(
    locked_blocks,
    st.builds(
        Block,
        st.lists(plain_changes, max_size=3).map(tuple),
        st.just("unlocked"),
        st.sampled_from(["clean", "clean", "crash"]),
    ),
)
# What comes while a session is held.
rivals = st.lists(
    st.one_of(blocks, st.sampled_from(["log_out", "log_out_everywhere"])), min_size=1, max_size=3
)
