"""What a site needs: memory, operations and cores, reckoned from the published measurements.

    python -m benchmarks.capacity --sessions 1000000 --rate 5000 --store redis

Nothing here is a guess but `--busy`: every constant comes from the files in `benchmarks/results/`,
and is printed with the result. They were measured on one machine; yours differs, so measure there
(`make bench bench-growth bench-hot`) and give its files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.figures import Results, bare_us, medians, route
from benchmarks.rig import ROOT

FOLDER = ROOT / "benchmarks" / "results"
FILES = {"run": "published.json", "growth": "published-growth.json", "hot": "published-hot.json"}
STORES = ("memory", "redis", "postgres")
GIGA, MEGA = 1e9, 1e6


@dataclass(frozen=True)
class Constants:
    """What was measured for one store.

    Attributes:
        bare_us: Microseconds of CPU of a request without a session, in the app.
        read_us: What a read adds to it.
        write_us: What a locked write adds to it.
        store_read_us: Microseconds of the store's CPU for a read, one at a time; joined under load
            it is less.
        store_write_us: The same for a locked write.
        anonymous: Bytes of a session of nobody, in the store.
        logged_in: Bytes of a session of a user, his place in the index included.
        wal: Bytes that a locked write adds to Postgres's write-ahead log.
        hot: Locked writes a second that one session can take, of two processes.
    """

    bare_us: float
    read_us: float
    write_us: float
    store_read_us: float
    store_write_us: float
    anonymous: float
    logged_in: float
    wal: float
    hot: float | None


@dataclass(frozen=True)
class Site:
    """What a site does.

    Attributes:
        sessions: Live ones.
        logged_in: The part of them that has a user, from 0 to 1.
        rate: Requests a second at the worst of times.
        reads: The part of the requests that reads its session.
        writes: The part that changes it in a block.
        busy: How busy a core may be at the worst of times.
        handler_us: Microseconds of CPU that the app's own work takes for a request.
    """

    sessions: int
    logged_in: float = 0.5
    rate: float = 1000.0
    reads: float = 0.6
    writes: float = 0.2
    busy: float = 0.6
    handler_us: float = 0.0


@dataclass(frozen=True)
class Need:
    """What that takes.

    Attributes:
        store_bytes: Where the sessions live.
        store_operations: A second; a locked write is two.
        app_cores: For all of a request, sessions included.
        session_cores: Of these, for sessions.
        store_cores: In the store.
        wal_rate: Bytes a second in the write-ahead log.
    """

    store_bytes: float
    store_operations: float
    app_cores: float
    session_cores: float
    store_cores: float
    wal_rate: float


def constants(
    run: Results, growth: Mapping[str, Any], hot: Mapping[str, Any], store: str
) -> Constants:
    """Return what the files of measurements say about a store."""
    key, grown = f"ours-{store}", growth["stores"][store]
    sizes = grown["bytes"]
    alone = grown.get("store_us", {"read": 0.0, "write": 0.0})
    # In memory what is beside the JSON is measured, elsewhere all of a session.
    own = growth["json_bytes"] if store == "memory" else 0
    contended = hot["hot"].get(key)
    return Constants(
        bare_us=bare_us(run, "sanic"),
        read_us=route(run, key, "read").added_us,
        write_us=route(run, key, "write").added_us,
        store_read_us=alone["read"],
        store_write_us=alone["write"],
        anonymous=own + sizes["anonymous"],
        logged_in=own + sizes["logged in"],
        wal=grown.get("wal_bytes", 0.0),
        hot=medians(contended)["rate"] if contended else None,
    )


def need(site: Site, per: Constants) -> Need:
    """Return what a site takes."""
    each = site.logged_in * per.logged_in + (1 - site.logged_in) * per.anonymous
    read, write = site.rate * site.reads, site.rate * site.writes
    sessions = (read * per.read_us + write * per.write_us) / MEGA
    rest = site.rate * (per.bare_us + site.handler_us) / MEGA
    store = (read * per.store_read_us + write * per.store_write_us) / MEGA
    return Need(
        store_bytes=site.sessions * each,
        store_operations=read + 2 * write,
        app_cores=(sessions + rest) / site.busy,
        session_cores=sessions / site.busy,
        store_cores=store / site.busy,
        wal_rate=write * per.wal,
    )


def advice(store: str, found: Need) -> str:
    """Return where a design ends for this need."""
    match store:
        case "memory" if found.app_cores > 1:
            return "more than one process: InMemory cannot do that, take Redis or AsyncPG"
        case "memory":
            return "one process is enough; its sessions end when it does"
        case "redis" if found.store_cores > 1:
            return (
                f"more than one core: Redis has one for commands, so {ceil(found.store_cores)} "
                "nodes of a cluster, among which sessions are spread by their ids"
            )
        case "redis":
            return "one Redis is enough"
    return "a disk that takes the log at this rate, and vacuum that keeps up with the writes"


def lines(site: Site, per: Constants, store: str) -> list[str]:
    """Return the reckoning as text."""
    found = need(site, per)
    shown = [
        f"{site.sessions:,} sessions in {store}, {site.rate:,.0f} requests a second, of them "
        f"{site.reads:.0%} read and {site.writes:.0%} write",
        f"  memory or disk of the store  {found.store_bytes / GIGA:8.2f} GB",
        f"  operations of the store      {found.store_operations:8,.0f} a second",
        f"  cores of the store, at most  {found.store_cores:8.2f}",
        f"  cores of the app             {found.app_cores:8.2f}, "
        f"of them {found.session_cores:.2f} for sessions",
    ]
    if found.wal_rate:
        shown.append(f"  write-ahead log              {found.wal_rate / MEGA:8.2f} MB a second")
    if per.hot:
        shown.append(f"  writes to one session        {per.hot:8,.0f} a second, and no more")
    shown += [f"  {advice(store, found)}", f"from: {per}"]
    return shown


def load(folder: Path) -> tuple[Results, dict[str, Any], dict[str, Any]]:
    """Return the measurements in a folder."""
    run, growth, hot = (json.loads((folder / name).read_text()) for name in FILES.values())
    return run, growth, hot


def main() -> None:
    """Reckon and print."""
    parser = argparse.ArgumentParser(description="Reckon what a site needs.")
    parser.add_argument("--store", choices=STORES, default="redis")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--logged-in", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--reads", type=float, default=0.6)
    parser.add_argument("--writes", type=float, default=0.2)
    parser.add_argument("--busy", type=float, default=0.6)
    parser.add_argument("--handler-us", type=float, default=0.0)
    parser.add_argument("--results", type=Path, default=FOLDER)
    given = vars(parser.parse_args())
    store, folder = given.pop("store"), given.pop("results")
    per = constants(*load(folder), store)
    print(*lines(Site(**given), per, store), sep="\n")


if __name__ == "__main__":
    main()
