"""A process that locks and writes sessions, many at once, in ever other orders.

    python joining_worker.py URL TABLE SEED SID ...

It says "ready" and begins when a line comes in, so that several begin together. At the end it
prints how many writes were saved.
"""

from __future__ import annotations

import asyncio
import random
import sys

from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.record import Claim, Draft, Granted, Outcome

ROUNDS, STORM = 20, 20


async def main(url: str, table: str, seed: int, sids: list[str]) -> int:
    """Use all sessions at once, so many times; return the number of writes."""
    interface, rng = AsyncPG(url, table=table, sweep_every=0), random.Random(seed)

    async def write(sid: str, number: int) -> int:
        record = await interface.fetch("contract", sid)
        assert record is not None
        claim = Claim(f"{seed}.{number}.{sid}", 30.0, record.secret_hash)
        granted = await interface.acquire("contract", sid, claim)
        while not isinstance(granted, Granted):
            await interface.turn("contract", sid, claim.token, 5.0)
            granted = await interface.acquire("contract", sid, claim)
        version = granted.record.version + 1
        draft = Draft("contract", sid, version, record.secret_hash, b"x", 60.0, renew=False)
        return await interface.commit(draft, claim.token, release=True) is Outcome.SAVED

    async def storm() -> None:
        """Lock all rows, and again, and change none: what is given up here was never held."""
        for _ in range(STORM):
            rng.shuffle(sids)
            await asyncio.gather(*(interface.release("contract", sid, "nobody") for sid in sids))

    saved = 0
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for number in range(ROUNDS):
        await storm()
        rng.shuffle(sids)
        saved += sum(await asyncio.gather(*(write(sid, number) for sid in sids)))
    await interface.close()
    return saved


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])))
