"""Each fault that a store can have, on a real one: what clients get, what is logged, what is left.

The table is `faults.OUTAGES`. While a fault lasts, a request that needs its session is answered
503 in time and told nothing, one that leaves it alone is not disturbed, and no cookie is touched.
When it is over the same cookie opens the same session within two seconds, without a restart, and
neither lock nor task nor connection is left.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from fault_lab import (
    RECOVERY,
    SECRET,
    SLACK,
    check_log,
    check_refusal,
    count,
    is_quiet,
    merged,
    nothing,
    peek,
    plainly,
    recovered,
)
from faults import OUTAGES, Outage, Site
from harness import set_cookies
from lab import Lab

TIMEOUT = 2.0  # long enough not to be a pause of this machine
CASES = [
    pytest.param(kind, outage, id=f"{kind}: {outage}")
    for kind, outages in OUTAGES.items()
    for outage in outages
]


@pytest.mark.parametrize(("site", "outage"), CASES, indirect=["site"])
async def test_outage(site: Site, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """Answered in time and in plain words, untouched routes go on, and it passes without trace."""
    options = {"store_timeout": TIMEOUT} if outage.hangs else {}
    if outage.reads_at_first:
        # A claim is then the first that fails; what hung is carried out when nobody waits for it.
        options["lease"] = TIMEOUT
    async with Lab(site.master(), warn_lock=False, **options) as lab:
        await lab.put(n=1, password=SECRET)
        cookies, newcomer = dict(lab.browser.cookies), await lab.open_browser()
        acknowledged = unknown = 0
        caplog.clear()

        async with outage.inject(site):
            for body, status in (
                (peek, outage.reads_at_first or outage.reads),
                (count, outage.writes),
                (nothing, 200),
                (plainly, outage.reads),
                (count, outage.writes),
                (nothing, 200),
                (merged, outage.writes),
            ):
                response = await visit(lab, body, outage)
                assert response.status_code == status, (body.__name__, response.text)
                if status == 503:
                    check_refusal(response, cookies)
                elif outage.keeps:
                    assert set_cookies(response) == []
                acknowledged += body is count and status == 200
                unknown += body is count and status == 503 and outage.hangs
            stranger = await visit(lab, count, outage, browser=newcomer)
            assert stranger.status_code == outage.writes
            assert bool(newcomer.cookies) == (outage.writes == 200)

        took = await recovered(lab)
        assert took < RECOVERY + SLACK
        print(f"back after {took:.2f} s")
        if outage.keeps:
            assert lab.browser.cookies == cookies
            kept = await lab.stored()
            assert kept["password"] == SECRET
            assert 2 + acknowledged <= kept["n"] <= 2 + acknowledged + unknown
        await is_quiet(lab, site)
    check_log(caplog, fails=503 in (outage.reads, outage.writes), says=outage.says)


async def visit(lab: Lab, body: Any, outage: Outage, **options: Any) -> httpx.Response:
    """Ask, and see that the answer comes in time."""
    began = time.monotonic()
    response = await lab.visit(body, **options)
    limit = 2 * TIMEOUT if outage.hangs else TIMEOUT
    assert time.monotonic() - began < limit + SLACK
    return response
