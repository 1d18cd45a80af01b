"""The contract of interfaces over all that the library has, on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import redis.asyncio

from sanic_cookies.interfaces import AsyncPG, InCookieEncrypted, InMemory, Redis
from sanic_cookies.interfaces.cookie.interface import InOneCookie
from sanic_cookies.testing import InterfaceContract, LeaseContract, NewsContract, SweepContract
from stores import KEY, CookieJar, opened, postgres, table


class TestInMemory(InterfaceContract, SweepContract):
    shared = False  # each object has its own memory

    @pytest.fixture
    async def interface(self) -> AsyncIterator[InMemory]:
        async with opened(InMemory(sweep_every=3600)) as interface:
            yield interface


class OnRedis(InterfaceContract, LeaseContract, NewsContract):
    @pytest.fixture
    async def twin(self, redis_url: str) -> AsyncIterator[Redis]:
        async with opened(Redis(redis_url)) as interface:
            yield interface


class TestRedisByURL(OnRedis):
    @pytest.fixture
    async def interface(self, redis_url: str) -> AsyncIterator[Redis]:
        async with opened(Redis(redis_url)) as interface:
            yield interface


class TestRedisByClient(OnRedis):
    @pytest.fixture(params=[{}, {"decode_responses": True}, {"protocol": 3}], ids=str)
    async def interface(
        self, redis_url: str, request: pytest.FixtureRequest
    ) -> AsyncIterator[Redis]:
        async with (
            redis.asyncio.from_url(redis_url, **request.param) as client,
            opened(Redis(client)) as interface,
        ):
            yield interface


class OnPostgres(InterfaceContract, LeaseContract, NewsContract, SweepContract):
    @pytest.fixture
    async def name(self, database: asyncpg.Connection) -> AsyncIterator[str]:
        async with table(database) as name:
            yield name

    @pytest.fixture
    async def twin(self, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
        async with postgres(database_url, name) as interface:
            yield interface


class TestPostgresByURL(OnPostgres):
    @pytest.fixture
    async def interface(self, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
        async with postgres(database_url, name) as interface:
            yield interface


class TestPostgresBehindAPooler(OnPostgres):
    hears = False  # LISTEN is lost there

    @pytest.fixture
    async def interface(self, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
        async with postgres(database_url, name, statement_cache_size=0) as interface:
            yield interface


class TestPostgresByPool(OnPostgres):
    hears = False  # it may lie behind a pooler

    @pytest.fixture
    async def interface(self, database_url: str, name: str) -> AsyncIterator[AsyncPG]:
        async with (
            asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool,
            postgres(pool, name) as interface,
        ):
            yield interface


class InCookie(InterfaceContract):
    shared = False  # a cookie is in one browser only
    many = False
    largest = 2048  # sealed it must fit into 4096 bytes


class TestInOneCookie(InCookie):
    @pytest.fixture
    async def interface(self) -> AsyncIterator[InOneCookie]:
        bound = InCookieEncrypted(KEY).bind("contract", "session", None)
        async with opened(bound) as interface:
            yield interface


class TestInCookieJar(InCookie):
    @pytest.fixture(params=[False, True], ids=["plain", "revocations"])
    async def interface(self, request: pytest.FixtureRequest) -> AsyncIterator[CookieJar]:
        revocations = InMemory() if request.param else None
        async with opened(CookieJar(InCookieEncrypted(KEY, revocations=revocations))) as interface:
            yield interface

    async def test_expired_sid_is_free(self, interface: CookieJar) -> None:
        """Not with revocations: copies of former versions may live on, so they are remembered."""
        if interface.interface.revocations is None:
            await super().test_expired_sid_is_free(interface)


@pytest.mark.parametrize("interface_class", [InMemory, Redis, AsyncPG])
async def test_close_without_open_is_safe(interface_class: type) -> None:
    """An interface that was never opened, over a server that is not there, can be closed twice."""
    interface = interface_class()
    await interface.close()
    await interface.close()
