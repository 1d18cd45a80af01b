"""The store that a command works on, and what its failures mean to the person before the screen."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import SessionConfigError
from .output import Refusal

if TYPE_CHECKING:
    from ..interfaces.postgres.interface import AsyncPG
    from ..interfaces.redis.interface import Redis

VARIABLES = ("DATABASE_URL", "REDIS_URL")
POSTGRES = ("postgresql", "postgres")
REDIS = ("redis", "rediss", "unix")
SECONDS = 10.0

# By the class of the driver's error, which is not to be imported here. Its text stays unsaid: it
# may hold an address, a statement or a value.
_MEANINGS = {
    "UndefinedTableError": "no such table: give --table NAME, or sanic-cookies create-table",
    "UndefinedColumnError": "the table is an older one: sanic-cookies create-table --upgrade",
    "InvalidCatalogNameError": "there is no such database",
    "InvalidPasswordError": "the server refuses this user or password",
    "InvalidAuthorizationSpecificationError": "the server refuses this user or password",
    "AuthenticationError": "the server refuses this user or password",
    "AuthenticationWrongNumberOfArgsError": "the server refuses this user or password",
    "InsufficientPrivilegeError": "this user may not do that",
    "NoPermissionError": "this user may not do that",
    "ReadOnlySQLTransactionError": "the server is read-only",
    "ReadOnlyError": "the server is read-only",
    "TooManyConnectionsError": "the server has no connection left",
    "ClusterNodeError": "the server is a node of a cluster, which these commands cannot go through",
    "gaierror": "there is no such host",
}


def add_store_options(parser: argparse.ArgumentParser, *, postgres_only: bool = False) -> None:
    """Let a command be told its store."""
    schemes = "postgresql://" if postgres_only else "redis:// or postgresql://"
    variables = VARIABLES[0] if postgres_only else " or ".join(VARIABLES)
    parser.add_argument("--url", help=f"{schemes} URL of the store (default: {variables})")
    parser.add_argument(
        "--table", default="sessions", help="name of the table in Postgres (sessions)"
    )
    if not postgres_only:
        text = "what keys in Redis begin with (session:)"
        parser.add_argument("--prefix", default="session:", help=text)


@asynccontextmanager
async def opened(arguments: argparse.Namespace) -> AsyncIterator[AsyncPG | Redis]:
    """Give the store that the arguments, or the environment, name.

    Raises:
        Refusal: There is none, it does not answer, or it refuses what the block asks.
    """
    url = _url(arguments)
    store = _store(url, arguments)
    try:
        yield store
    except (Refusal, SessionConfigError):
        raise
    except Exception as error:
        raise Refusal(f"{_place(url)}: {_meaning(error)}") from error
    finally:
        await store.close()


async def checked(store: AsyncPG | Redis) -> None:
    """See that the store is there, and its table."""
    async with asyncio.timeout(SECONDS):
        await store.fetch("session", "-")


def is_postgres(store: AsyncPG | Redis) -> bool:
    """Whether this store is the one with a table."""
    return hasattr(store, "create_table")


def _may_be_redis(arguments: argparse.Namespace) -> bool:
    """Whether the command has options for Redis; see `add_store_options`."""
    return hasattr(arguments, "prefix")


def _url(arguments: argparse.Namespace) -> str:
    if arguments.url:
        return str(arguments.url)
    variables = VARIABLES if _may_be_redis(arguments) else VARIABLES[:1]
    found = [os.environ[name] for name in variables if os.environ.get(name)]
    if not found:
        raise Refusal(f"which store? Give --url, or set {' or '.join(variables)}")
    if len(found) > 1:
        both = " and ".join(variables)
        raise Refusal(f"which store? {both} are both set: give --url, or unset one")
    return found[0]


def _store(url: str, arguments: argparse.Namespace) -> Any:
    scheme = url.partition(":")[0]
    try:
        if scheme in POSTGRES:
            from ..interfaces.postgres.interface import AsyncPG

            # Behind a transaction pooler prepared statements of several commands would meet.
            options = {"max_size": 3, "statement_cache_size": 0}
            return AsyncPG(url, table=arguments.table, sweep_every=0, **options)
        if scheme in REDIS and _may_be_redis(arguments):
            from ..interfaces.redis.interface import Redis

            return Redis(url, prefix=arguments.prefix)
    except ImportError as error:
        raise Refusal(str(error)) from error
    kinds = "redis:// or postgresql://" if _may_be_redis(arguments) else "postgresql://"
    raise Refusal(f"the URL must begin with {kinds}")


def _place(url: str) -> str:
    """Return what of a URL may be shown: never the password."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _meaning(error: BaseException) -> str:
    """Return what an error says of the store."""
    seen: BaseException | None = error
    while seen is not None:
        for kind in type(seen).__mro__:
            if kind.__name__ in _MEANINGS:
                return _MEANINGS[kind.__name__]
        if isinstance(seen, ValueError) and not isinstance(seen, UnicodeError):
            return "this is no URL that the driver understands"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, OSError | TimeoutError) or "Connection" in type(error).__name__:
        return f"no answer ({type(error).__name__}); is the server there?"
    return f"the store failed ({type(error).__name__})"
