"""`sanic-cookies sessions`: who is there, and out with whom."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from ..codec import JSONCodec
from ..content import unpack
from ..record import Record, RecordUnreadable
from ..token import is_sid
from .output import Output, Refusal, counted, moment
from .stores import add_store_options, checked, opened

if TYPE_CHECKING:
    from ..interfaces.postgres.interface import AsyncPG
    from ..interfaces.redis.interface import Redis

# As `Session` and `AuthSession` are called unless told otherwise.
NAMES = ("session", "auth_session")
_FLAGS = ("--", "--json", "--all", "--yes", "--keys", "--help")  # options without a value


def add_commands(commands: Any) -> None:
    """Add the command and its parts."""
    parser = commands.add_parser("sessions", help="list, show and revoke sessions")
    parts = parser.add_subparsers(metavar="list|show|revoke", required=True)

    listing = _add(parts, "list", _list, "list live sessions; shown is what logs nobody in")
    listing.add_argument("--user", help="only those of this user key")
    listing.add_argument(
        "--limit", type=_count, default=100, help="at most so many (100); 0 for all"
    )

    show = _add(parts, "show", _show, "show what is known of one session")
    show.add_argument("sid", help="its public id")
    show.add_argument("--keys", action="store_true", help="also the names of its top-level keys")

    revoke = _add(parts, "revoke", _revoke, "end sessions at once, whoever uses them")
    revoke.add_argument("sid", nargs="*", help="public ids")
    revoke.add_argument("--user", help="all sessions of this user key")
    revoke.add_argument("--all", action="store_true", help="all sessions of all users")
    revoke.add_argument("--yes", action="store_true", help="has to be said with --all")


def ids_last(argv: Sequence[str]) -> list[str]:
    """Move public ids to the end, behind "--": one in 64 begins like an option."""
    if list(argv[:1]) != ["sessions"]:
        return list(argv)
    ids: list[str] = []
    others: list[str] = []
    for before, word in zip(["", *argv], argv, strict=False):
        is_value = before.startswith("--") and before not in _FLAGS
        is_id = is_sid(word) and not is_value
        (ids if is_id else others).append(word)
    return [*others, "--", *ids] if ids and "--" not in others else list(argv)


def _add(parts: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = parts.add_parser(name, help=text, description=text)
    add_store_options(parser)
    parser.add_argument(
        "--session",
        action="append",
        metavar="NAME",
        help="session_name of the app's Session; may be repeated (default: all of them for list,"
        f" {' and '.join(NAMES)} otherwise)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


async def _list(arguments: argparse.Namespace, output: Output) -> int:
    rows: list[dict[str, Any]] = []
    more = False
    async with opened(arguments) as store:
        await checked(store)
        async for record in _found(store, arguments):
            if len(rows) == arguments.limit > 0:
                more = True
                break
            rows.append(_summary(record))
    output.result({"sessions": rows, "more": more})
    if not output.as_json:
        output.table(rows)
        rest = ", and there are more: --limit 0" if more else ""
        output.say(counted(len(rows), "session") + rest)
    return 0


async def _found(store: AsyncPG | Redis, arguments: argparse.Namespace) -> AsyncIterator[Record]:
    names = arguments.session or ([None] if arguments.user is None else NAMES)
    for name in names:
        if arguments.user is not None:
            for record in await store.records_of(name, arguments.user):
                yield record
        else:
            async for record in store.records(name):
                yield record


async def _show(arguments: argparse.Namespace, output: Output) -> int:
    async with opened(arguments) as store:
        await checked(store)
        record = await _find(store, arguments, arguments.sid)
    if record is None:
        raise Refusal("there is no such session, or it has another --session NAME", status=1)
    data = {
        **_summary(record),
        "ends": moment(record.deadline),
        "token_replaced": moment(record.rotated_at),
        "version": record.version,
        "bytes": len(record.payload),
    }
    if arguments.keys:
        data["keys"] = _keys(record)
    lines = [f"{key.replace('_', ' '):15} {_plain(value)}" for key, value in data.items()]
    output.result(data, *lines)
    return 0


async def _find(store: AsyncPG | Redis, arguments: argparse.Namespace, sid: str) -> Record | None:
    for name in (arguments.session or NAMES) if is_sid(sid) else ():
        try:
            record = await store.fetch(name, sid)
        except RecordUnreadable as error:
            raise Refusal("what is stored under this id is no session") from error
        if record is not None and not record.is_tombstone:
            return record
    return None


async def _revoke(arguments: argparse.Namespace, output: Output) -> int:
    chosen = [bool(arguments.sid), arguments.user is not None, arguments.all]
    if chosen.count(True) != 1:
        raise Refusal("revoke whom? Give ids, or --user KEY, or --all")
    if arguments.all and not arguments.yes:
        raise Refusal("--all logs everybody out: say so once more with --yes")
    ended: list[str] = []
    async with opened(arguments) as store:
        await checked(store)
        async for name, sid in _chosen(store, arguments):
            if await store.delete(name, sid):
                ended.append(sid)
    output.result({"revoked": ended}, f"{counted(len(ended), 'session')} revoked")
    return 1 if len(ended) < len(set(arguments.sid)) else 0


async def _chosen(
    store: AsyncPG | Redis, arguments: argparse.Namespace
) -> AsyncIterator[tuple[str, str]]:
    for sid in filter(is_sid, arguments.sid):
        for name in arguments.session or NAMES:
            yield name, sid
    if not arguments.sid:
        async for record in _found(store, arguments):
            yield record.name, record.sid


def _summary(record: Record) -> dict[str, Any]:
    return {
        "sid": record.sid,
        "session": record.name,
        "user": record.user_key,
        "created": moment(record.created_at),
        "last_seen": moment(record.last_seen),
        "expires": moment(record.expires_at),
    }


def _keys(record: Record) -> list[str]:
    """Return the names of the data, never a value; they may be told from the outside anyway."""
    try:
        return sorted(unpack(JSONCodec(), record.payload).data)
    except RecordUnreadable as error:
        raise Refusal("the data are not in the standard codec") from error


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "-"
    return "-" if value is None else "".join(c if c.isprintable() else "?" for c in str(value))
