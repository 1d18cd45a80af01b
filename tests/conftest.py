"""Fixtures for all tests: the servers, started when the first test asks for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of our own, for all tests; who breaks it must mend it, or better start another."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, for all tests; see ``redis_server``."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where a Redis is: ``REDIS_URL`` if that is set, else our own."""
    return os.environ.get("REDIS_URL") or request.getfixturevalue("redis_server").url


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> str:
    """Where a PostgreSQL is: ``DATABASE_URL`` if that is set, else our own."""
    return os.environ.get("DATABASE_URL") or request.getfixturevalue("postgres_server").url
