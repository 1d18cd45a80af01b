"""The command line: `sanic-cookies`, or `python -m sanic_cookies`."""

from __future__ import annotations

import argparse
import sys
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from secrets import token_bytes

from .errors import SessionConfigError
from .interfaces.statements import sql

_KEY_BYTES = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; those of the process if None.

    Returns:
        The exit status: 0, or 2 for arguments that cannot be.
    """
    parser = argparse.ArgumentParser(prog="sanic-cookies", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("key", help="print a new key for InCookieEncrypted")
    sql = commands.add_parser("sql", help="print the SQL that makes the table of AsyncPG")
    sql.add_argument("--table", default="sessions", help="name of the table")
    sql.add_argument(
        "--upgrade", action="store_true", help="for a table of the older library, made by hand"
    )
    arguments = parser.parse_args(argv)
    try:
        print(_key() if arguments.command == "key" else _sql(arguments))
    except SessionConfigError as error:
        print(f"sanic-cookies: {error}", file=sys.stderr)
        return 2
    return 0


def _key() -> str:
    return urlsafe_b64encode(token_bytes(_KEY_BYTES)).decode()


def _sql(arguments: argparse.Namespace) -> str:
    return sql("upgrade_table" if arguments.upgrade else "create_table", arguments.table).rstrip()
