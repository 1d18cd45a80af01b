"""What is often given by mistake is refused where it is given, by an error that names the fix."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import redis
import redis.asyncio as redis_asyncio
from sanic import Blueprint

from harness import make_app, serve
from sanic_cookies import (
    AsyncPG,
    AuthSession,
    InCookieEncrypted,
    InMemory,
    Redis,
    Session,
    SessionConfigError,
)
from sanic_cookies.cli.maintenance import new_key

SECRET_URL = "redis://:hunter2@127.0.0.1"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("cookie_nmae", "'cookie_name'"),
        ("http_only", "'httponly'"),
        ("same_site", "'samesite'"),
        ("sessioncookie", "'session_cookie'"),
        ("interface", "'master_interface'"),
        ("store", "'master_interface'"),
        ("name", "'session_name'"),
        ("max_age", "'expiry'"),
        ("ttl", "'expiry'"),
        ("cookie_secure", "'secure'"),
    ],
)
def test_an_option_that_nobody_has(given: str, meant: str) -> None:
    """The error names the option that was meant: by its spelling, or by its name elsewhere."""
    options: dict[str, Any] = {given: 1}
    with pytest.raises(SessionConfigError) as caught:
        Session(**options)
    assert str(caught.value) == f"unknown option {given!r}: did you mean {meant}?"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("SESSION_EXPIRES", "SESSION_EXPIRY"),
        ("SESSION_MAX_WAITER", "SESSION_MAX_WAITERS"),
        ("SESSION_COOKIE_AGE", "SESSION_EXPIRY"),  # Django's
        ("SESSION_COOKIE_SECURE", "SESSION_SECURE"),  # Flask's
        ("AUTH_SESSION_LOGIN_URLS", "AUTH_SESSION_LOGIN_URL"),
        ("SESSION_B_EXPIRES", "SESSION_B_EXPIRY"),
        ("SESSION_B_EXPIRY", None),
        ("SESSION_STORE", None),
        ("SESSION_AFFINITY", None),
        ("SESSIONS_EXPIRY", None),
    ],
)
async def test_a_key_of_the_config_that_nobody_reads(
    key: str, meant: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What looks like an option and is none is warned of at the start; other keys are the app's."""
    app = make_app(**{key: "1" if meant else 60})
    for session in (Session(), Session(session_name="session_b"), AuthSession()):
        session.init_app(app)
    async with serve(app):
        told = [line for line in caplog.messages if "app.config." in line]

    assert [line.partition(": ")[2] for line in told] == (
        [f"app.config.{key} is no option, meant is {meant}"] if meant else []
    )


@pytest.mark.parametrize(
    ("key", "value", "is_late"),
    [
        ("AUTH_SESSION_CSRF", "token", True),
        ("AUTH_SESSION_SAMESITE", "Strict", True),  # another one than was read
        ("AUTH_SESSION_SAMESITE", "Lax", False),  # the same
        ("AUTH_SESSION_LOGIN_URL", "/other", False),  # the keyword wins in any case
        ("AUTH_SESSION_STORE", 1, False),
        ("SESSION_EXPIRY", 60, False),  # nobody's
    ],
)
async def test_a_key_of_the_config_that_comes_too_late(
    key: str, value: Any, is_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is set when the session has read its options is warned of at the start."""
    app = make_app(AUTH_SESSION_SAMESITE="Lax")
    AuthSession(app, login_url="/login")
    app.config[key] = value
    async with serve(app):
        told = [line for line in caplog.messages if "app.config." in line]

    assert told == (
        [f"auth_session: app.config.{key} came too late: set it before the session is attached"]
        if is_late
        else []
    )


@pytest.mark.parametrize(
    ("kind", "options", "is_warned"),
    [
        (AuthSession, {"expiry": timedelta(days=7)}, True),
        (AuthSession, {"expiry": timedelta(hours=24)}, False),
        (AuthSession, {"expiry": 7 * 86400, "absolute_timeout": 30 * 86400}, False),
        (AuthSession, {"expiry": 7 * 86400, "absolute_timeout": None}, False),
        (AuthSession, {"absolute_timeout": 60}, False),
        (Session, {"absolute_timeout": 60}, False),
        (Session, {"expiry": 365 * 86400}, False),
    ],
)
@pytest.mark.parametrize("in_config", [False, True])
async def test_an_idle_time_that_is_never_reached(
    kind: Any,
    options: dict[str, Any],
    is_warned: bool,
    in_config: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who asks for more idle time than a login may last by default is told so at the start."""
    app = make_app()
    if in_config:
        prefix = kind.default_name.upper()
        app.config.update({f"{prefix}_{name.upper()}": each for name, each in options.items()})
    kind(app, **({} if in_config else options))
    async with serve(app):
        told = [line for line in caplog.messages if "absolute_timeout" in line]

    ends = "auth_session: absolute_timeout ends each session after 24 hours, before its expiry: "
    assert told == ([f"{ends}give both"] if is_warned else [])


def test_an_option_of_the_other_class() -> None:
    """What only `AuthSession` has is said to be there; its own error does not send one on."""
    for name in AuthSession.own_options:
        options: dict[str, Any] = {name: "token"}
        with pytest.raises(SessionConfigError, match=r"known are .*; AuthSession has more"):
            Session(**options)
    options = {"qqq": 1}
    with pytest.raises(SessionConfigError, match=r"known are .*warn_lock$"):
        AuthSession(**options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (InMemory, "InMemory is a class: give an object of it, such as InMemory(...)"),
        (SECRET_URL, "a str is no interface: give Redis(url)"),
        ("postgresql://me:hunter2@127.0.0.1", "a str is no interface: give AsyncPG(url)"),
        ("memory", "a str is no interface: give Redis(url) or AsyncPG(url)"),
        (
            redis_asyncio.Redis(),
            "Redis of redis.asyncio.client is no interface: give Redis(client)",
        ),
        (
            object(),
            "object is no interface: it lacks open, close, fetch, create, save, touch, delete",
        ),
    ],
    ids=["class", "redis", "postgres", "text", "client", "object"],
)
def test_what_is_no_interface(given: Any, words: str) -> None:
    """Whatever takes an interface says how to make one of what it got, and repeats no password."""
    for give in (
        lambda: Session(make_app(), given),
        lambda: Session(make_app()).add_interface(given),
        lambda: Session(make_app()).set_master_interface(given),
    ):
        with pytest.raises(SessionConfigError) as caught:
            give()
        assert str(caught.value) == words


async def test_a_pool_is_no_interface() -> None:
    """A pool of asyncpg is no interface, but `AsyncPG` makes one of it."""
    pool = asyncpg.create_pool("postgresql://127.0.0.1")
    with pytest.raises(SessionConfigError, match=r"give AsyncPG\(pool\)"):
        Session(make_app(), pool)


@pytest.mark.parametrize("given", [InMemory(), Blueprint("shop")], ids=["store", "blueprint"])
def test_what_is_no_app(given: Any) -> None:
    """The app comes first; a blueprint needs no session of its own."""
    for give in (lambda: Session(given), lambda: Session().init_app(given)):
        with pytest.raises(SessionConfigError, match="is no Sanic app: give it first"):
            give()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("localhost:6379", "or unix:// URL or a redis.asyncio client, not another URL"),
        ("redis", "not another URL"),
        ("http://:hunter2@127.0.0.1", "not another URL"),
        (None, "not NoneType"),
        (redis_asyncio.ConnectionPool(), "not ConnectionPool"),
        (redis.Redis(), "this client waits for each reply: give one of redis.asyncio"),
    ],
    ids=["bare", "word", "http", "none", "pool", "blocking"],
)
def test_what_redis_does_not_take(given: Any, words: str) -> None:
    """A store that can never work is refused when it is made, and no password is repeated."""
    with pytest.raises(SessionConfigError) as caught:
        Redis(given)
    assert str(caught.value).endswith(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("127.0.0.1/shop", "an asyncpg pool or a Gino engine, not another URL"),
        ("mysql://me:hunter2@127.0.0.1/shop", "not another URL"),
        ("postgresql+asyncpg://me:hunter2@127.0.0.1/shop", "leave the driver's name out"),
        ("postgres+psycopg://me:hunter2@127.0.0.1/shop", "leave the driver's name out"),
        (None, "not NoneType"),
        (object(), "not object"),
    ],
    ids=["bare", "mysql", "sqlalchemy", "psycopg", "none", "object"],
)
def test_what_postgres_does_not_take(given: Any, words: str) -> None:
    """A variable that is not set, or SQLAlchemy's URL, is refused when the store is made."""
    with pytest.raises(SessionConfigError) as caught:
        AsyncPG(given)
    assert str(caught.value).endswith(words)


@pytest.mark.parametrize("password", ["hun#ter2", "hun/ter2", "hun?ter2", "12#ter", "#", "a:b/c"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "postgresql", "postgres"])
def test_a_password_that_ends_its_url(scheme: str, password: str) -> None:
    """The error comes when the store is made, says how to write it, and repeats nothing of it."""
    make: Any = Redis if scheme.startswith("redis") else AsyncPG
    with pytest.raises(SessionConfigError) as caught:
        make(f"{scheme}://me:{password}@db.example:6379/0")
    assert str(caught.value).endswith("are written '%2F', '%3F' and '%23'")
    assert not re.search("hun|ter2|12|me:", str(caught.value))


@pytest.mark.parametrize("host", ["db.example:bad", "[::1", "::1", "db.example:80:80"])
def test_a_host_that_is_none(host: str) -> None:
    """It is refused when the store is made, not when the server starts."""
    for make in (lambda: Redis(f"redis://{host}/0"), lambda: AsyncPG(f"postgres://{host}/shop")):
        with pytest.raises(SessionConfigError, match="whose host or port cannot be read"):
            make()


@pytest.mark.parametrize("table", [None, b"sessions", 7])
def test_a_table_that_is_no_name(table: Any) -> None:
    """The error says what a name looks like."""
    with pytest.raises(SessionConfigError, match=r"must be lower case letters, digits and '_'$"):
        AsyncPG("postgresql://127.0.0.1/db", table=table)


def test_a_table_with_its_schema() -> None:
    """The error says how a schema is chosen."""
    with pytest.raises(SessionConfigError, match=r"a schema is chosen by search_path$"):
        AsyncPG("postgresql://127.0.0.1/db", table="app.sessions")


@pytest.mark.parametrize("prefix", [None, b"shop:", 7])
def test_a_prefix_that_is_no_text(prefix: Any) -> None:
    """Keys would begin with "None" or "b'shop:'", and nobody would find them there."""
    with pytest.raises(SessionConfigError, match=r"^prefix must be a str, not "):
        Redis("redis://127.0.0.1", prefix=prefix)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (SECRET_URL, "a str is no interface: give Redis(url)"),
        (InMemory, "InMemory is a class"),
        (InCookieEncrypted(new_key()), "InCookieEncrypted is no interface: it lacks fetch"),
    ],
)
def test_what_remembers_no_revocations(given: Any, words: str) -> None:
    """The error comes when it is given, not with the first request, and repeats no password."""
    with pytest.raises(SessionConfigError) as caught:
        InCookieEncrypted(new_key(), revocations=given)
    assert str(caught.value).startswith(f"revocations: {words}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", [str, str.encode])
def test_several_keys_in_one_text(kind: Any) -> None:
    """The error says that they are a list, and repeats none of them."""
    first, second = new_key(), new_key()
    with pytest.raises(SessionConfigError, match="several keys are a list") as caught:
        InCookieEncrypted(kind(f"{first},{second}"))
    assert first not in str(caught.value)
    assert second not in str(caught.value)


async def test_what_stores_take() -> None:
    """Each kind of URL, and clients and pools that do not wait, are taken."""
    for url in (
        "redis://127.0.0.1",
        "rediss://127.0.0.1",
        "redis://",
        "redis://me:hun%23ter2@[::1]:6379/0?socket_timeout=2",
        "redis://:p@ss:word@db.example",
        "unix:///run/redis.sock",
        "unix://me@/run/redis.sock?db=0&password=a",
    ):
        Redis(url)
    Redis(redis_asyncio.Redis())
    for url in (
        "postgresql://127.0.0.1/",
        "postgres://127.0.0.1/",
        "postgresql:///shop?host=/run/postgresql&user=me@db",
        "postgresql://me:hun%2Fter2@one:5432,[::2]:5433,three/shop?target_session_attrs=primary",
        "postgresql://%2Frun%2Fpostgresql/shop",
    ):
        AsyncPG(url)
    AsyncPG(asyncpg.create_pool("postgresql://127.0.0.1"))
