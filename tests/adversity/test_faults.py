"""Lost replies, cut and hung stores: answers in time, nothing lost, nothing done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from auth_lab import AuthLab
from bare import bare_session, begin, request_with, value_of
from lab import Lab, down_meanwhile, until
from proxy import ToxicProxy
from sanic_cookies import AsyncPG, InCookieEncrypted, Redis, SessionDict, SessionStoreError
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.interfaces.base import Interface
from sanic_cookies.token import Credential


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[ToxicProxy]:
    """A proxy before the store."""
    parts = urlsplit(store_url)
    assert parts.hostname is not None
    assert parts.port is not None
    toxic = ToxicProxy(parts.hostname, parts.port)
    await toxic.start()
    yield toxic
    await toxic.stop()


@pytest.fixture
async def far(store_url: str, proxy: ToxicProxy) -> AsyncIterator[Interface]:
    """An interface that reaches the store through the proxy."""
    parts = urlsplit(store_url)
    userinfo = parts.netloc.rpartition("@")[0]
    host = f"127.0.0.1:{proxy.port}"
    url = urlunsplit(parts._replace(netloc=f"{userinfo}@{host}" if userinfo else host))
    interface: Interface = Redis(url) if url.startswith("redis") else AsyncPG(url)
    await interface.open()
    yield interface
    proxy.pass_through()
    await interface.close()


async def test_lost_reply_of_a_commit_is_one_write(
    far: Interface, proxy: ToxicProxy, interface: Interface
) -> None:
    """A commit whose reply was lost is repeated, applied once, and not reported lost."""
    session = bare_session(far)
    cookie = await begin(session, count=0)
    await increment(session, cookie)

    async with request_with(session, cookie) as sess:
        sess["count"] += 1
        sess["mark"] = "the-commit-to-cut"
        proxy.cut_after(b"the-commit-to-cut")

    token = Credential.parse(cookie)
    assert token is not None
    record = await interface.fetch("session", token.sid)
    assert record is not None
    assert record.version == 3
    assert (await request_with(session, cookie).peek())["count"] == 2
    await increment(session, cookie)
    assert (await request_with(session, cookie).peek())["count"] == 3


async def test_lost_reply_of_a_create_is_one_record(far: Interface, proxy: ToxicProxy) -> None:
    """A create whose reply was lost is repeated and recognises its own record."""
    session = bare_session(far)
    await begin(session, warm=True)
    proxy.cut_after(b"the-create-to-cut")

    cookie = await begin(session, mark="the-create-to-cut")

    assert dict(await request_with(session, cookie).peek()) == {"mark": "the-create-to-cut"}


async def test_lost_reply_of_the_write_after_a_create(far: Interface, proxy: ToxicProxy) -> None:
    """What is written into a session that the same block has begun is not reported lost either."""
    session = bare_session(far)
    await begin(session, warm=True)
    sess = request_with(session, None)

    async with sess:
        sess["count"] = 1
        await sess.save()
        sess["mark"] = "the-write-to-cut"
        lost = proxy.cut_after(b"the-write-to-cut")

    assert lost.is_set()
    data = dict(await request_with(session, value_of(sess)).peek())
    assert data == {"count": 1, "mark": "the-write-to-cut"}


async def test_lost_reply_beside_a_cookie(
    far: Interface, proxy: ToxicProxy, interface: Interface
) -> None:
    """A session in a cookie outlives a lost reply of the store that remembers its version."""
    sealed = InCookieEncrypted(new_key(), revocations=far)
    async with Lab(sealed, rotation_grace=0) as lab:
        await lab.put(count=0)
        await lab.put(count=1)
        remembered = await interface.fetch("session", await lab.do(sid_of))
        assert remembered is not None
        lost = proxy.cut_after(remembered.secret_hash)

        await lab.put(count=2)

        assert lost.is_set()
        assert await lab.stored() == {"count": 2}


async def test_lost_reply_of_a_revocation(
    far: Interface, proxy: ToxicProxy, interface: Interface
) -> None:
    """A login that was ended, of which the reply was lost, is counted and told of."""
    told: list[str] = []
    async with AuthLab(far) as lab:

        @lab.app.signal("session.user.revoked")
        async def revoked(**context: Any) -> None:
            told.append(context["sid"])

        user = uuid4().hex
        await lab.login(user)
        lost = proxy.cut_after(lab.sid().encode())

        assert await lab.auth.logout_everywhere(user) == 1

        assert lost.is_set()
        await until(lambda: told == [lab.sid()])
        assert await interface.fetch("auth_session", lab.sid()) is None


async def sid_of(sess: SessionDict) -> str | None:
    await sess.load()
    return sess.sid


async def test_cut_before_the_server_saw_it_is_repeated(far: Interface, proxy: ToxicProxy) -> None:
    """A commit that never reached the server is sent again, on another connection."""
    session = bare_session(far)
    cookie = await begin(session, count=0)
    await increment(session, cookie)

    async with request_with(session, cookie) as sess:
        sess["count"] += 1
        sess["mark"] = "never-arrives"
        proxy.cut_after(b"never-arrives", before_forward=True)

    assert (await request_with(session, cookie).peek())["count"] == 2


async def test_refusing_store_is_an_error_and_keeps_the_old(
    far: Interface, proxy: ToxicProxy
) -> None:
    """A store that goes away during a block gives SessionStoreError, and the old value stays."""
    session = bare_session(far)
    cookie = await begin(session, count=0)

    with pytest.raises(SessionStoreError):
        async with request_with(session, cookie) as sess:
            sess["count"] = 99
            proxy.refuse()

    proxy.pass_through()
    await asyncio.sleep(1.1)  # as long as a store that refused is taken as down
    assert (await request_with(session, cookie).peek())["count"] == 0
    await increment(session, cookie)
    assert len(session.runtime.locks) == 0


async def test_hung_store_answers_in_time(far: Interface, proxy: ToxicProxy) -> None:
    """A store that accepts and never answers costs one call its deadline, and then nothing."""
    session = bare_session(far, store_timeout=2.0)
    cookie = await begin(session, count=0)
    proxy.blackhole()
    with down_meanwhile():
        began = time.monotonic()
        with pytest.raises(SessionStoreError):
            await request_with(session, cookie).peek()
        first = time.monotonic()
        with pytest.raises(SessionStoreError):
            await request_with(session, cookie).peek()
        second = time.monotonic()

    assert first - began < 4.5
    assert second - first < 1.9
    proxy.pass_through()
    proxy.cut()
    await asyncio.sleep(1.1)
    assert (await request_with(session, cookie).peek())["count"] == 0


async def test_slow_store_only_slows(far: Interface, proxy: ToxicProxy) -> None:
    """Latency of the store delays a block and changes nothing else."""
    session = bare_session(far)
    cookie = await begin(session, count=0)
    proxy.latency(0.1)

    await asyncio.gather(*(increment(session, cookie) for _ in range(4)))

    assert (await request_with(session, cookie).peek())["count"] == 4


async def increment(session: object, cookie: str) -> None:
    """Add one under the lock."""
    async with request_with(session, cookie) as sess:  # type: ignore[arg-type]
        sess["count"] += 1
