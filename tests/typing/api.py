"""The public API as a type checker sees it: this file is checked by mypy and never run.

A wrong or missing annotation of the package makes `make lint` fail here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, assert_type

from sanic import HTTPResponse, Request, Sanic, Websocket, json

from sanic_cookies import (
    Aioredis,
    AsyncPG,
    AuthSession,
    GinoAsyncPG,
    InCookieEncrypted,
    InMemory,
    Interface,
    Redis,
    Session,
    SessionDict,
    SessionError,
    SessionNotSerializable,
    SessionStoreError,
    SessionTooLarge,
    Typed,
    flash,
    fresh_login_required,
    get_flashes,
    login_required,
    public,
    safe_next,
    watch,
)
from sanic_cookies.ext import CurrentUser, SessionExtension
from sanic_cookies.testing import Faulty

app = Sanic("typed")

memory: Interface = InMemory()
redis: Interface = Redis("redis://127.0.0.1")
postgres: Interface = AsyncPG("postgresql://127.0.0.1")
older: list[Interface] = [Aioredis("redis://127.0.0.1"), GinoAsyncPG("postgresql://127.0.0.1")]
faulty: Interface = Faulty(memory)
sealed = InCookieEncrypted(["new", "old"], cipher="fernet", revocations=memory)

session = Session(
    app,
    master_interface=redis,
    session_name="session",
    cookie_name="sid",
    expiry=timedelta(days=7),
    absolute_timeout=None,
    secure="auto",
    samesite="Strict",
    lease=5,
    max_waiters=4,
    store_factory=SessionDict,
    on_interface_error="raise",
)
auth = AuthSession(app, master_interface=sealed, expiry=3600, remember_expiry=timedelta(days=14))
AuthSession(app, login_url="/login", user_loader=int, user_name="me", session_stamp=str)
AuthSession(app, login_url=7)  # type: ignore[arg-type]
auth.protect(app, check=bool, fresh=timedelta(hours=1), redirect_to="/login", static=True)
auth.protect("app")  # type: ignore[arg-type]
later = Session()
later.init_app(app)

Session(app, secure="sometimes")  # type: ignore[arg-type]
Session(app, expiry="soon")  # type: ignore[arg-type]
Session(app, on_interface_error="ignore")  # type: ignore[arg-type]
Session(app, expirey=60)  # type: ignore[call-arg]
Session(app, auth_key="user")  # type: ignore[call-arg]
Session(app, csrf="token")  # type: ignore[call-arg]
AuthSession(app, csrf="fetch-metadata", csrf_origins=["https://app.example"])
AuthSession(app, clear_site_data=["cache", "cookies"])
AuthSession(app, clear_site_data=1.0)  # type: ignore[arg-type]
AuthSession(app, csrf="tokens")  # type: ignore[arg-type]
Session(app, master_interface=object())  # type: ignore[arg-type]

session.add_interface(postgres)
session.set_master_interface(memory, overwrite=False)

assert_type(session.name, str)
assert_type(session.is_shared, bool)


@app.get("/")
async def index(request: Request[Any, Any]) -> HTTPResponse:
    """Use a session in every way."""
    async with session.of(request) as sess:
        assert_type(sess, SessionDict)
        sess["visits"] = sess.get("visits", 0) + 1
        mapping: MutableMapping[str, Any] = sess
        sess.set_expiry(60)
        sess.set_expiry(timedelta(hours=1))
        sess.set_expiry(datetime.now(UTC))
        sess.set_expiry(None)
        sess.set_expiry("soon")  # type: ignore[arg-type]
        await sess.save()
        sess.rotate()
        await sess.rotate()  # type: ignore[misc, func-returns-value]
        sess.flush()
    assert_type(sess.sid, str | None)
    assert_type(sess.is_locked(), bool)
    assert_type(sess.is_modified, bool)
    assert_type(sess.is_new, bool)
    assert_type(sess.is_empty, bool)
    assert_type(sess.accessed, bool)
    assert_type(sess.created_at, float | None)
    assert_type(sess.last_seen, float | None)
    assert_type(sess.expires_at, float | None)
    assert_type(sess.get_expiry_age(), int)
    assert_type(sess.get_expiry_date(), datetime)
    assert_type(sess.get_expire_at_browser_close(), bool)
    assert_type(session.refresh_sid(sess), SessionDict)
    return json({"length": len(mapping)})


@app.post("/login")
async def login(request: Request[Any, Any]) -> HTTPResponse:
    """Log somebody in."""
    await auth.login_user(request, {"id": 7}, duration=timedelta(hours=1), remember_me=True)
    if auth.current_user(request):  # type: ignore[truthy-bool]
        return json("whoever it is")
    user: object = await auth.current_user()
    assert_type(await auth.logout_user(request, logout_anon=False), None)
    await auth.logout_user(request, clear_site_data=True)
    return json(user)


@app.get("/account")
@login_required()
async def account(request: Request[Any, Any]) -> HTTPResponse:
    """Show what only somebody who is logged in may see."""
    return json(None)


@app.get("/mine")
@auth.login_required()
async def mine(request: Request[Any, Any]) -> HTTPResponse:
    """Do the same by the method."""
    return json(None)


@app.post("/confirm")
@public
async def confirm(request: Request[Any, Any]) -> HTTPResponse:
    """Prove who it is, and go back."""
    assert_type(await auth.confirm_login(request), None)
    assert_type(await auth.refresh_stamp(request), None)
    assert_type(await auth.is_fresh(request, timedelta(minutes=1)), bool)
    return json(assert_type(safe_next(request), str))


@app.get("/fresh")
@fresh_login_required(within=timedelta(minutes=5), check=bool, redirect_to="/login")
@login_required(check=bool, fresh=60)
async def fresh(request: Request[Any, Any]) -> HTTPResponse:
    """Show what asks for a fresh login."""
    return json(None)


@app.post("/form")
async def form(request: Request[Any, Any]) -> HTTPResponse:
    """Take a form, and say so on the next page."""
    assert_type(await auth.check_csrf(request), None)
    await flash(request, {"saved": 1}, "success", session_name="session")
    messages = [each.message for each in await get_flashes(request) if each.category == "success"]
    assert_type(await auth.csrf_token(request), str)
    return json(messages)


async def feed(request: Request[Any, Any], ws: Websocket) -> None:
    """Serve a socket for as long as its session lives."""
    async with watch(request, ws, every=timedelta(seconds=5), code=4401):
        await ws.send("hello")


class Cart(TypedDict, total=False):
    """The shape of a session."""

    items: list[str]


@dataclass
class Settings:
    """Another one."""

    dark: bool = False


carts, settings = Typed(Cart), Typed(Settings, session_name="session", on_mismatch="reset")
Typed(Settings, on_mismatch="ignore")  # type: ignore[arg-type]


async def typed(request: Request[Any, Any]) -> None:
    """Use a session as an object."""
    async with settings(request) as mine:
        assert_type(mine, Settings)
        mine.dark = "yes"  # type: ignore[assignment]
        mine.darkness = True  # type: ignore[attr-defined]
    assert_type((await carts.peek(request))["items"], list[str])


async def administer() -> None:
    """Use a session from outside of a request."""
    assert_type(await session.exists("sid"), bool)
    assert_type(await session.clear_expired(), int)


def look_at(error: SessionError) -> None:
    """Read what errors tell."""
    assert_type(error.detail, str)
    if isinstance(error, SessionTooLarge):
        assert_type(error.size, int)
        assert_type(error.limit, int)
    if isinstance(error, SessionNotSerializable):
        assert_type(error.path, str)
    if isinstance(error, SessionStoreError):
        assert_type(error.status_code, int)


async def annotated(request: Request[Any, Any], user: CurrentUser) -> HTTPResponse:
    """Ask for the user by annotation, with sanic-ext."""
    app.extend(extensions=[SessionExtension(session, auth, user=dict)])  # type: ignore[list-item]
    return json(user.value)
