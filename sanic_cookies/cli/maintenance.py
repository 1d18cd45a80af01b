"""Keys, tables, figures, and the clean-up of what has expired."""

from __future__ import annotations

import argparse
import asyncio
import time
from base64 import urlsafe_b64encode
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from ..interfaces.cookie.keys import KEY_BYTES
from ..interfaces.postgres.statements import sql
from .output import Output, Progress, counted, moment
from .stores import SECONDS, add_store_options, checked, is_postgres, opened

if TYPE_CHECKING:
    from ..interfaces.postgres.interface import AsyncPG

_PAUSE = 0.01
# How often to look again whether another process is through with the rows that were passed over.
_TRIES, _TRY_PAUSE = 10, 0.3


def add_commands(commands: Any) -> None:
    """Add the commands."""
    _add(commands, "key", _key, "print a new key for InCookieEncrypted, for either cipher")

    upgrade = "for a table of the older library, made by hand; its rows are kept"
    text = "print the SQL that makes the table of AsyncPG"
    print_sql = _add(commands, "sql", _sql, text)
    print_sql.add_argument("--table", default="sessions", help="name of the table (sessions)")
    print_sql.add_argument("--upgrade", action="store_true", help=upgrade)

    create = _add(commands, "create-table", _create, "make the table of AsyncPG, if it is missing")
    add_store_options(create, postgres_only=True)
    create.add_argument("--upgrade", action="store_true", help=upgrade)

    text = "drop expired rows in small batches, while the app goes on"
    purge = _add(commands, "purge", _purge, text)
    add_store_options(purge)
    purge.add_argument("--batch", type=_batch, default=1000, help="rows per statement (1000)")

    stats = _add(commands, "stats", _stats, "count sessions, users and bytes")
    add_store_options(stats)
    stats.add_argument("--session", metavar="NAME", help="only sessions of this session_name")


def new_key() -> str:
    """Return a new key: 32 random bytes in url-safe base64, for Fernet and AES-256-GCM alike."""
    return urlsafe_b64encode(token_bytes(KEY_BYTES)).decode()


def _add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _batch(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError("must be from 1 to 100,000")
    return number


async def _key(arguments: argparse.Namespace, output: Output) -> int:
    key = new_key()
    output.result({"key": key}, key)
    return 0


async def _sql(arguments: argparse.Namespace, output: Output) -> int:
    text = sql("upgrade_table" if arguments.upgrade else "create_table", arguments.table).rstrip()
    output.result({"sql": text}, text)
    return 0


async def _create(arguments: argparse.Namespace, output: Output) -> int:
    async with opened(arguments) as store:
        assert is_postgres(store)  # noqa: S101 - no other URL is accepted
        postgres: AsyncPG = store  # type: ignore[assignment]
        if arguments.upgrade:
            # No deadline: a large table is written anew.
            await postgres.upgrade_table()
        else:
            async with asyncio.timeout(SECONDS):
                await postgres.create_table()
    done = "upgraded" if arguments.upgrade else "there"
    output.result({"table": arguments.table}, f"the table {arguments.table} is {done}")
    return 0


async def _purge(arguments: argparse.Namespace, output: Output) -> int:
    began, dropped, left = time.monotonic(), 0, 0
    async with opened(arguments) as store:
        await checked(store)
        if is_postgres(store):
            dropped, left = await _drop(store, arguments.batch)  # type: ignore[arg-type]
    seconds = time.monotonic() - began
    rest = f"; left: {left:,}, locked, or another process is at them" if left else ""
    told = f"{counted(dropped, 'expired row')} dropped in {seconds:.1f} s{rest}"
    if not is_postgres(store):
        told = "Redis drops by itself what expires: nothing to do"
    output.result({"dropped": dropped, "left": left, "seconds": round(seconds, 3)}, told)
    return 0


async def _drop(store: AsyncPG, batch: int) -> tuple[int, int]:
    """Drop in batches; return how many rows went, and how many could not be had."""
    total = left = await store.expired()
    progress, dropped, tries = Progress(total, "expired rows"), 0, _TRIES
    begin: str | None = None
    while left and tries:
        gone, begin = await store.sweep_batch(batch, begin)
        dropped += gone
        progress.show(dropped)
        if gone == batch:
            await asyncio.sleep(_PAUSE)
            continue
        left, begin = await store.expired(), None
        if not gone and left:
            tries -= 1
            await asyncio.sleep(_TRY_PAUSE)
    progress.show(dropped)
    progress.end()
    return dropped, left


async def _stats(arguments: argparse.Namespace, output: Output) -> int:
    async with opened(arguments) as store:
        await checked(store)
        found = await store.census(arguments.session)
    oldest = None if found.oldest is None else moment(time.time() - found.oldest)
    data = {
        "sessions": found.sessions,
        "users": found.users,
        "expired_waiting": found.expired,
        "oldest": oldest,
        "payload_bytes": found.payload_bytes,
        "mean_payload_bytes": round(found.payload_bytes / found.sessions) if found.sessions else 0,
        "store_bytes": found.store_bytes,
    }
    lines = [f"{key.replace('_', ' '):20} {_number(value)}" for key, value in data.items()]
    output.result(data, *lines)
    return 0


def _number(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
