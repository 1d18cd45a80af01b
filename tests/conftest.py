"""Fixtures for all tests: the servers, started when the first test asks for them.

What a server has written while a test ran is shown with the test if that fails.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from servers import LocalServer, PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# The servers for all tests, each with how much it had written when the running test began.
WRITTEN = pytest.StashKey[dict[LocalServer, int]]()


def pytest_configure(config: pytest.Config) -> None:
    """Have no server yet."""
    config.stash[WRITTEN] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """See how much the servers have written before a test."""
    written = item.config.stash[WRITTEN]
    written.update((server, len(server.log)) for server in written)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """Show what the servers have written during a test that failed."""
    report = yield
    if report.failed:
        for server, before in item.config.stash[WRITTEN].items():
            if log := server.log[before:]:
                report.sections.append((f"{server.name} log {report.when}", log))
    return report


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """A Redis of our own, for all tests; who breaks it must mend it, or better start another."""
    with RedisServer() as server:
        pytestconfig.stash[WRITTEN][server] = 0
        yield server
        del pytestconfig.stash[WRITTEN][server]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, for all tests; see ``redis_server``."""
    with PostgresServer() as server:
        pytestconfig.stash[WRITTEN][server] = 0
        yield server
        del pytestconfig.stash[WRITTEN][server]


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where a Redis is: ``REDIS_URL`` if that is set, else our own."""
    return os.environ.get("REDIS_URL") or request.getfixturevalue("redis_server").url


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> str:
    """Where a PostgreSQL is: ``DATABASE_URL`` if that is set, else our own."""
    return os.environ.get("DATABASE_URL") or request.getfixturevalue("postgres_server").url
