"""The two operations on a session whose cost is compared as sessions grow in number, and how.

A machine that others use too is at times half as fast for seconds. So sizes take turns, in another
order each round, and each is compared with the smallest in the same round: what slows the machine
slows both.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from benchmarks.peers.common import DATA
from sanic_cookies import InMemory
from sanic_cookies.codec import JSONCodec
from sanic_cookies.content import Content, Identity, pack
from sanic_cookies.record import Claim, Draft, Granted, Outcome, Record

NAME, HOUR = "session", 3600.0
SECRET_HASH = hashlib.sha256(b"of all of them").digest()
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ROUNDS = 31
# Reads at each size that are not counted. A store that has just been filled first finds its pages,
# maps them, and settles which of them it keeps: what that takes is no cost of the sessions' number.
WARM, TURN = 20_000, 1_000
ALONE = 1_000  # operations from which a store's own share is taken

Sids = Callable[[int], str]
BySize = dict[int, float]


def payload(user: str | None = None) -> bytes:
    """Return a session's content as the library encodes it."""
    who = None if user is None else Identity(user, since=0.0, agent=AGENT, address="203.0.113.7")
    return pack(JSONCodec(), Content(data=dict(DATA), identity=who))


def draft(sid: str, version: int = 1, **changes: Any) -> Draft:
    """Return a write of a session."""
    values = {"secret_hash": SECRET_HASH, "payload": payload(), "ttl": HOUR, **changes}
    return Draft(NAME, sid, version, **values)


def sid_of(number: int) -> str:
    """Return the id of a session, as long as a real one and never made twice."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:22]


def _next(record: Record) -> Draft:
    return draft(record.sid, record.version + 1, user_key=record.user_key, renew=False)


async def read(interface: Any, sid: str) -> None:
    """Read a session, as `peek` does."""
    if await interface.fetch(NAME, sid) is None:
        raise RuntimeError(f"{interface!r} has lost {sid}")


async def locked_write(interface: Any, sid: str) -> None:
    """Read and write a session under its lease, if the interface has leases, as a block does.

    The expiry stays: a block moves it on only now and then, when a tenth of it has passed. So does
    the user, or Postgres would have to write to each index.
    """
    if isinstance(interface, InMemory):
        record = await interface.fetch(NAME, sid)
        if record is None:
            raise RuntimeError(f"{interface!r} has lost {sid}")
        outcome = await interface.save(_next(record))
    else:
        claim = Claim(random.randbytes(16).hex(), 10.0, SECRET_HASH)
        granted = await interface.acquire(NAME, sid, claim)
        if not isinstance(granted, Granted):
            raise RuntimeError(f"{interface!r} gave no lease: {granted!r}")
        outcome = await interface.commit(_next(granted.record), claim.token, True)
    if outcome is not Outcome.SAVED:
        raise RuntimeError(f"{interface!r} has not saved: {outcome}")


Operation = Callable[[Any, str], Awaitable[None]]
OPERATIONS: dict[str, Operation] = {"read": read, "write": locked_write}


async def compare(
    places: dict[int, Any], sids: Sids, times: int, cpu: Callable[[], float]
) -> dict[str, BySize]:
    """Return the microseconds of CPU of each operation at each size.

    Args:
        places: An interface for each size, filled.
        sids: The id of a session by its number.
        times: Operations in a round.
        cpu: Seconds of CPU that client and store have spent so far.

    Returns:
        Of the smallest size the median of the rounds; of another that, times the median of what
        it took in each round as a multiple of the smallest.
    """
    for _ in range(WARM // TURN):
        for size, interface in places.items():
            for sid in _some(sids, size, TURN):
                await read(interface, sid)
    samples: dict[str, dict[int, list[float]]] = {
        operation: {size: [] for size in places} for operation in OPERATIONS
    }
    for _ in range(ROUNDS):
        for operation, run in OPERATIONS.items():
            for size in random.sample(list(places), len(places)):
                chosen, interface = _some(sids, size, times), places[size]
                before = cpu()
                for sid in chosen:
                    await run(interface, sid)
                samples[operation][size].append((cpu() - before) / times * 1e6)
    return {operation: in_pairs(by_size) for operation, by_size in samples.items()}


def _some(sids: Sids, size: int, count: int) -> list[str]:
    return [sids(random.randrange(size)) for _ in range(count)]


def in_pairs(samples: dict[int, list[float]]) -> BySize:
    """Return what each size takes, judged by its ratio to the smallest in the same round.

    Args:
        samples: Of each size what it took in each round.
    """
    base = samples[min(samples)]
    return {
        size: median(base) * median(one / other for one, other in zip(each, base, strict=True))
        for size, each in samples.items()
    }


async def store_alone(
    interface: Any, sids: Sids, size: int, cpu: Callable[[], float]
) -> dict[str, float]:
    """Return the microseconds of CPU that an operation costs the store, one at a time."""
    found = {}
    for operation, run in OPERATIONS.items():
        chosen = _some(sids, size, ALONE)
        before = cpu()
        for sid in chosen:
            await run(interface, sid)
        found[operation] = (cpu() - before) / ALONE * 1e6
    return found
