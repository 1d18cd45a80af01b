"""What the session objects of a worker share."""

from __future__ import annotations

from itertools import islice

from sanic_cookies.runtime import lease_tokens


def test_no_two_leases_have_the_same_token() -> None:
    """Neither within a worker nor in two: whoever holds a token holds the lease."""
    workers = [lease_tokens() for _ in range(3)]
    tokens = [token for worker in workers for token in islice(worker, 1000)]

    assert len(set(tokens)) == 3000
