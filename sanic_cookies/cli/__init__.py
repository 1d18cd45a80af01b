"""The command line: `sanic-cookies`, or `python -m sanic_cookies`.

What a command has found goes to standard output, everything else to standard error. The exit
status is 0, 1 for "not as it should be" (an error found by `doctor`, a session that is not there),
2 for a command that could not be carried out. Nothing prints a token, a hash or what a session
holds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import SessionConfigError
from . import doctor, maintenance, sessions
from .output import Output, Refusal

_EPILOG = (
    "Stores are named by --url, or by REDIS_URL or DATABASE_URL in the environment."
    " sanic-cookies COMMAND --help tells more of each."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; those of the process if None.

    Returns:
        The exit status: 0, 1 if something is not as it should be, 2 if the command failed.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(sessions.ids_last(words))
    output = Output(arguments.json)
    try:
        status: int = asyncio.run(arguments.run(arguments, output))
    except (SessionConfigError, Refusal) as error:
        print(f"sanic-cookies: {error}", file=sys.stderr)
        return error.status if isinstance(error, Refusal) else 2
    except BrokenPipeError:
        return 0  # who reads has seen enough
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sanic-cookies", description="Look after the sessions of an app.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for part in (maintenance, sessions, doctor):
        part.add_commands(commands)
    return parser
