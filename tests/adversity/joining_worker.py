"""A process that locks and writes sessions, many at once, in ever other orders.

    python joining_worker.py URL TABLE SEED SID ...

It prints how many writes were saved.
"""

from __future__ import annotations

import asyncio
import random
import sys

from sanic_cookies.interfaces import AsyncPG
from sanic_cookies.record import Claim, Draft, Granted, Outcome

ROUNDS = 20


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

    saved = 0
    for number in range(ROUNDS):
        rng.shuffle(sids)
        saved += sum(await asyncio.gather(*(write(sid, number) for sid in sids)))
    await interface.close()
    return saved


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])))
