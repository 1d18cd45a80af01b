"""What a full Redis does with sessions, told to the operator when the server starts.

Every session has an expiry, so every policy but `noeviction` may end living ones. The `volatile-*`
policies at least keep to keys that expire anyway; the `allkeys-*` ones, which suit a cache, take
whatever lies there, and nobody hears of it: users are logged out now and then, for no reason that
a log would show.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping

logger = logging.getLogger("sanic_cookies")

_POLICY = re.compile(r"^maxmemory_policy:(\S+)", re.MULTILINE)


def warn_of_eviction(info: object) -> None:
    """Log one line if the server may evict any key it likes.

    Args:
        info: The answer to `INFO memory`: text, or as redis-py has read it; of a cluster's client
            such an answer for each node. Anything else says nothing.
    """
    for policy in sorted(set(_policies(info))):
        if policy.startswith("allkeys"):
            logger.warning(
                "Redis has maxmemory-policy %s: when it is full it ends living sessions without a "
                "word; use noeviction, or a volatile policy such as volatile-ttl",
                policy,
            )


def _policies(info: object) -> Iterator[str]:
    if isinstance(info, bytes):
        info = info.decode("utf-8", "replace")
    if isinstance(info, str):
        yield from _POLICY.findall(info)
    elif isinstance(info, Mapping):
        yield str(info.get("maxmemory_policy", ""))
        for node in info.values():
            if isinstance(node, Mapping):
                yield from _policies(node)
