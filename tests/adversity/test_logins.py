"""Many logins of one user in four processes: the limit holds, and all end at once."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from secrets import token_hex
from typing import Any

import httpx

from crowds import logout_everywhere, many_logins

LIMIT = 3
CROWD = 50


async def test_fifty_logins_at_once_never_pass_the_limit(
    workers: Callable[..., Any], http: httpx.AsyncClient, store_url: str
) -> None:
    """Whenever one looks, the user has three sessions at most; each login is answered."""
    four = await workers(4, max_sessions=LIMIT)
    seen = await many_logins(four, http, store_url, f"user-{token_hex(8)}", CROWD)

    print(f"{CROWD} logins: at most {seen.most} alive at {seen.reads} reads")
    # On a busy machine a login may wait for the store longer than it may: that is a 503.
    assert set(seen.answers) <= {200, 503}
    assert seen.answers.count(200) >= LIMIT
    assert seen.reads > CROWD / 2
    assert (seen.most, seen.left) == (LIMIT, LIMIT)


async def test_fifty_sessions_end_everywhere_at_once(
    workers: Callable[..., Any], http: httpx.AsyncClient
) -> None:
    """After one request none of them opens anything in any process; other users notice nothing."""
    four = await workers(4)
    seen = await logout_everywhere(four, http, f"user-{token_hex(8)}", CROWD)

    print(seen)
    assert (seen.ended, seen.alive, seen.others) == (CROWD, 0, CROWD)
    assert seen.seconds < 10.0  # on any machine; a quiet one needs a tenth of a second
    assert seen.sockets < inf  # their watchers look by themselves every ten minutes only
