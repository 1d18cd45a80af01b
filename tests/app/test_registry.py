"""Where a user is signed in: list, revoke, end the others or all, over each store with an index."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sanic import Request, json, text

from auth_lab import AuthLab
from harness import Browser, be_patient, make_app, serve
from sanic_cookies import (
    AsyncPG,
    AuthSession,
    InCookieEncrypted,
    InMemory,
    Redis,
    SessionConfigError,
)
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.interfaces.base import Interface
from sanic_cookies.testing import new_draft
from wire import ask


@pytest.fixture(params=["memory", "redis", "postgres"])
async def indexed(request: pytest.FixtureRequest) -> Interface:
    """A store that knows its users' sessions."""
    if request.param == "memory":
        return InMemory()
    if request.param == "redis":
        return Redis(request.getfixturevalue("redis_url"))
    interface = AsyncPG(request.getfixturevalue("database_url"))
    await interface.create_table()
    await interface.close()
    return interface


def make(interface: Interface, **options: Any) -> Any:
    """Return an app whose routes do what their names say."""
    app = make_app()
    auth = app.ctx.auth = AuthSession(app, interface, **options)

    @app.get("/login/<user>")
    async def login(request: Request, user: str) -> Any:
        await auth.login_user(request, user, remember_me="remember" in request.args)
        return text("")

    @app.get("/me")
    async def me(request: Request) -> Any:
        return json(await auth.current_user(request))

    @app.get("/places")
    async def places(request: Request) -> Any:
        infos = await auth.sessions_of(await auth.current_user(request), request)
        return json([{name: getattr(info, name) for name in info.__slots__} for info in infos])

    @app.get("/revoke/<sid>")
    async def revoke(request: Request, sid: str) -> Any:
        return json(await auth.revoke(sid, await auth.current_user(request)))

    @app.get("/others")
    async def others(request: Request) -> Any:
        return json(await auth.logout_others(request))

    @app.get("/everywhere/<user>")
    async def everywhere(request: Request, user: str) -> Any:
        return json(await auth.logout_everywhere(user))

    return app


async def signed_in(url: str, user: str, number: int) -> list[Browser]:
    """Return browsers in which a user is signed in."""
    browsers = [Browser(url) for _ in range(number)]
    for browser in browsers:
        assert (await browser.get(f"/login/{user}")).status_code == 200
    return browsers


async def whoami(browsers: list[Browser]) -> list[Any]:
    """Return who is signed in, browser by browser."""
    return [(await browser.get("/me")).json() for browser in browsers]


async def close(browsers: list[Browser]) -> None:
    """Close browsers."""
    for browser in browsers:
        await browser.__aexit__()


@pytest.fixture
def user() -> str:
    """A user that no other test has."""
    return f"u{time.monotonic_ns()}"


async def test_places_are_listed(indexed: Interface, user: str) -> None:
    """Each place shows id, times, browser, address and whether it is the present one."""
    async with serve(make(indexed)) as url:
        browsers = await signed_in(url, user, 2)
        headers = {"user-agent": "Lynx/2.9 " + "x" * 500}
        await browsers[1].get(f"/login/{user}?remember=1", headers=headers)
        places = (await browsers[1].get("/places")).json()
        await close(browsers)

    present = next(place for place in places if place["current"])
    other = next(place for place in places if not place["current"])
    assert len(places) == 2
    assert present["user_agent"].startswith("Lynx/2.9 x")
    assert len(present["user_agent"]) == 200
    assert present["address"] == "127.0.0.1"
    assert (present["remembered"], other["remembered"]) == (True, False)
    assert abs(present["last_seen"] - time.time()) < 60
    assert present["expires_at"] > other["expires_at"] > time.time()
    assert all(len(place["sid"]) == 22 for place in places)


@pytest.mark.parametrize(
    "address", ["203.0.113.9", "2001:db8:85a3:8d3:1319:8a2e:370:7348", "x" * 64]
)
async def test_a_place_has_an_address_of_either_kind(
    indexed: Interface, user: str, address: str
) -> None:
    """Behind a trusted proxy the client's address is kept, IPv4 or IPv6; nonsense is cut short."""
    app = make(indexed)
    app.config.REAL_IP_HEADER = "x-real-ip"
    began = time.time()
    async with serve(app) as url, Browser(url) as browser:
        browser.headers = {"x-real-ip": address if len(address) < 64 else "x" * 5000}
        await browser.get(f"/login/{user}")
        [place] = (await browser.get("/places")).json()

    assert place["address"] == address
    assert abs(place["created_at"] - began) < 60


async def test_a_browser_may_call_itself_anything(indexed: Interface, user: str) -> None:
    """Bytes that are no text in the User-Agent keep nobody from signing in."""
    async with serve(make(indexed)) as url, Browser(url) as browser:
        reply = await ask(url, f"/login/{user}", b"User-Agent: Lynx \xff\xc3")
        assert reply.status == 200
        [line] = reply.set_cookies
        browser.cookies["auth_session"] = line.partition("=")[2].partition(";")[0]
        [place] = (await browser.get("/places")).json()

    assert place["user_agent"] == "Lynx ??"


async def test_a_remembered_login_can_be_revoked(indexed: Interface, user: str) -> None:
    """A persistent cookie is as good as the record that it names, and that is gone."""
    async with serve(make(indexed)) as url:
        browsers = await signed_in(url, f"{user}?remember=1", 2)
        places = (await browsers[0].get("/places")).json()
        [other] = [place["sid"] for place in places if not place["current"]]
        assert (await browsers[0].get(f"/revoke/{other}")).json() is True
        assert await whoami(browsers) == [user, None]
        await close(browsers)


async def test_ends_reach_every_interface(indexed: Interface, user: str) -> None:
    """Whoever is logged out, revoked, or ended to make room, is ended in added interfaces, too."""
    added = InMemory()
    app = make(indexed, max_sessions=2)
    auth = app.ctx.auth_session
    auth.add_interface(added)

    async def living() -> int:
        return len(await added.records_of("auth_session", user))

    async with serve(app) as url:
        browsers = await signed_in(url, user, 3)
        assert await living() == 2  # the first had to go
        sids = [each["sid"] for each in (await browsers[1].get("/places")).json()]
        assert (await browsers[1].get(f"/revoke/{sids[0]}")).json() is True
        assert await living() == 1
        assert (await browsers[1].get(f"/everywhere/{user}")).json() == 1
        assert await living() == 0
        await close(browsers)


async def test_a_list_opens_nothing(indexed: Interface, user: str) -> None:
    """No part of what is listed is a token, nor a part of the secret."""
    async with serve(make(indexed)) as url:
        browsers = await signed_in(url, user, 1)
        body = (await browsers[0].get("/places")).text
        secret = browsers[0].cookies["auth_session"].partition(".")[2]
        await close(browsers)

    assert secret not in body


async def test_revoke_ends_one(indexed: Interface, user: str) -> None:
    """A revoked session is dead at once, and the others live on."""
    async with serve(make(indexed)) as url:
        browsers = await signed_in(url, user, 3)
        places = (await browsers[0].get("/places")).json()
        victim = next(place["sid"] for place in places if not place["current"])
        assert (await browsers[0].get(f"/revoke/{victim}")).json() is True
        assert (await browsers[0].get(f"/revoke/{victim}")).json() is False

        assert sorted(map(str, await whoami(browsers))) == sorted(["None", user, user])
        assert (await browsers[0].get("/me")).json() == user
        await close(browsers)


async def test_revoke_ends_nobody_else_s(indexed: Interface, user: str) -> None:
    """With a user given only that user's sessions can be revoked; a made-up id ends nothing."""
    async with serve(make(indexed)) as url:
        mine, theirs = await signed_in(url, user, 1), await signed_in(url, user + "x", 1)
        victim = theirs[0].cookies["auth_session"].partition(".")[0]

        assert (await mine[0].get(f"/revoke/{victim}")).json() is False
        assert (await mine[0].get("/revoke/" + "A" * 22)).json() is False
        assert (await mine[0].get("/revoke/nonsense")).json() is False
        assert await whoami(theirs) == [user + "x"]
        await close(mine + theirs)


@pytest.mark.parametrize("user", ["ann", "None"])
async def test_nobody_revokes_nothing(indexed: Interface, user: str) -> None:
    """Who is not logged in ends nobody's session by its public id, whatever users are called."""
    async with serve(make(indexed, user_key=str)) as url, Browser(url) as stranger:
        theirs = await signed_in(url, user, 1)
        victim = theirs[0].cookies["auth_session"].partition(".")[0]

        assert (await stranger.get(f"/revoke/{victim}")).json() is False
        assert await whoami(theirs) == [user]
        await close(theirs)


async def test_a_user_without_a_key_is_found_out(indexed: Interface, user: str) -> None:
    """That a dict without an id has no sessions would be a lie; by its id each can be revoked."""
    named = {"name": user}
    async with AuthLab(indexed) as lab:
        stranger = await lab.open_browser()
        await lab.write(browser=stranger, cart=1)
        await lab.login(named)
        for ask in (lab.auth.sessions_of, lab.auth.logout_everywhere):
            with pytest.raises(TypeError, match="user_key="):
                await ask(named)
        with pytest.raises(TypeError, match="user_key="):
            await lab.do(lab.auth.logout_others)
        with pytest.raises(TypeError, match="user_key="):
            await lab.auth.revoke(lab.sid(), {"name": "somebody else"})
        assert await lab.user() == named

        assert await lab.auth.revoke(lab.sid())
        assert await lab.user() is None
        assert not await lab.auth.revoke(stranger.cookies[lab.cookie].partition(".")[0])


@pytest.mark.parametrize("options", [{}, {"user_key": lambda user: getattr(user, "id", user)}])
async def test_a_request_is_no_user(indexed: Interface, user: str, options: Any) -> None:
    """Who gives the request for the user is told so: its id is nobody's, and all would go on."""
    async with AuthLab(indexed, **options) as lab:
        await lab.login(user)
        for ask in (
            lab.auth.sessions_of,
            lab.auth.logout_everywhere,
            lambda request: lab.auth.revoke(lab.sid(), request),
        ):
            with pytest.raises(TypeError, match="current_user"):
                await lab.do(ask)
        assert await lab.user() == user


@pytest.mark.parametrize("loader", [None, lambda user: user])
async def test_no_limit_without_a_key(indexed: Interface, user: str, loader: Any) -> None:
    """A limit that could not hold logs nobody in, unless `user_key` says that there is none."""
    named, limited = {"name": user}, {"max_sessions": 1, "user_loader": loader}
    async with AuthLab(indexed, **limited) as lab:
        with pytest.raises(TypeError, match="user_key="):
            await lab.do(lambda request: lab.auth.login_user(request, named))
        assert await lab.user() is None
    async with AuthLab(indexed, user_key=lambda _: None, **limited) as lab:
        phone = await lab.open_browser()
        await lab.login(named)
        await lab.login(named, browser=phone)
        assert [await lab.user(), await lab.user(phone)] == [named, named]


async def test_a_name_that_is_no_text_has_no_sessions(indexed: Interface) -> None:
    """Half a character, which JSON lets through, is the name of nobody: no store fails on it."""
    app = make(indexed)

    @app.post("/name")
    async def named(request: Request) -> Any:
        auth, name = app.ctx.auth_session, request.json
        found = [await auth.sessions_of(name), await auth.logout_everywhere(name)]
        return json([*found, await auth.revoke("A" * 22, name)])

    async with serve(app) as url, Browser(url) as browser:
        for body in (rb'"ann\ud800"', rb'"\udfff' + b"x" * 300 + b'"'):
            response = await browser.post("/name", content=body)
            assert response.json() == [[], 0, False]


async def test_logout_others_keeps_the_present_one(indexed: Interface, user: str) -> None:
    """All other sessions of the user end, the present one and other users' live on."""
    async with serve(make(indexed)) as url:
        mine, theirs = await signed_in(url, user, 4), await signed_in(url, user + "x", 2)

        assert (await mine[1].get("/others")).json() == 3

        assert await whoami(mine) == [None, user, None, None]
        assert await whoami(theirs) == [user + "x"] * 2
        await close(mine + theirs)


async def test_logout_everywhere_is_complete(indexed: Interface, user: str) -> None:
    """Fifty sessions of a user die by one request, and nobody else's."""
    async with serve(make(indexed)) as url:
        mine, theirs = await signed_in(url, user, 50), await signed_in(url, user + "x", 2)

        assert (await theirs[0].get(f"/everywhere/{user}")).json() == 50

        assert await whoami(mine) == [None] * 50
        assert await whoami(theirs) == [user + "x"] * 2
        await close(mine + theirs)


async def test_very_many_sessions_end_and_nobody_waits_for_that(
    indexed: Interface, user: str
) -> None:
    """A user with thousands of sessions is logged out of all, and the store stays there for all."""
    auth = AuthSession(make_app(), indexed)
    be_patient(auth)
    await indexed.open()
    for _ in range(10):
        drafts = [new_draft(name=auth.name, user_key=user) for _ in range(500)]
        await asyncio.gather(*map(indexed.create, drafts))

    assert await auth.logout_everywhere(user) == 5000
    assert auth.stats()["store_failures"] == 0
    assert await auth.sessions_of(user) == []
    await indexed.close()


async def test_nobody_has_no_others(indexed: Interface) -> None:
    """Without a login there is nothing to end, and nothing fails."""
    async with serve(make(indexed)) as url, Browser(url) as browser:
        assert (await browser.get("/others")).json() == 0
        assert (await browser.get("/places")).json() == []


async def test_the_oldest_session_goes(indexed: Interface, user: str) -> None:
    """With max_sessions one more login ends the oldest session."""
    async with serve(make(indexed, max_sessions=2)) as url:
        browsers = await signed_in(url, user, 3)

        assert await whoami(browsers) == [None, user, user]
        await close(browsers)


@pytest.mark.parametrize("by", ["login", "renewal"])
async def test_the_oldest_session_is_that_of_the_oldest_login(
    indexed: Interface, user: str, by: str
) -> None:
    """When a session began, by somebody who was nobody yet, does not count, nor does use."""
    app = make(indexed, max_sessions=2)

    @app.get("/note")
    async def note(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            sess["seen"] = sess.get("seen", 0) + 1
            if by == "renewal":
                sess.set_expiry(600)
        return text("")

    async with serve(app) as url, Browser(url) as early, Browser(url) as late:
        await early.get("/note")
        browsers = await signed_in(url, user, 1)
        await early.get(f"/login/{user}")
        await browsers[0].get("/note")
        await late.get(f"/login/{user}")

        assert await whoami([*browsers, early, late]) == [None, user, user]
        await close(browsers)


async def test_one_login_too_many_is_refused(indexed: Interface, user: str) -> None:
    """With on_max_sessions="refuse" it gets 403, no cookie, and may log in elsewhere later."""
    app = make(indexed, max_sessions=2, on_max_sessions="refuse")
    async with serve(app) as url:
        browsers = await signed_in(url, user, 2)
        late = Browser(url)
        answer = await late.get(f"/login/{user}")

        assert answer.status_code == 403
        assert late.cookies == {}
        assert await whoami(browsers) == [user, user]
        again = await browsers[0].get(f"/login/{user}")
        assert again.status_code == 200
        await browsers[1].get("/others")
        assert (await late.get(f"/login/{user}")).status_code == 200
        await close([*browsers, late])


async def test_a_login_under_a_limit_keeps_nobody_waiting(indexed: Interface, user: str) -> None:
    """The write that counts a user's sessions keeps the lease; the block gives it back."""
    app = make(indexed, max_sessions=2)
    async with serve(app) as url, Browser(url) as browser:
        for _ in range(3):
            assert (await browser.get(f"/login/{user}")).status_code == 200

        stats = app.ctx.auth_session.stats()
        assert (stats["blocks"], stats["lock_waits"]) == (2, 0)


async def test_a_changed_stamp_leaves_room(indexed: Interface, user: str) -> None:
    """Who gets a new password is not kept out by logins with the former one, which are ended."""
    stamp = "first"
    app = make(indexed, max_sessions=2, on_max_sessions="refuse", session_stamp=lambda _: stamp)
    async with serve(app) as url:
        browsers = await signed_in(url, user, 2)
        stamp = "second"
        late, later = await signed_in(url, user, 2)
        beyond = Browser(url)

        assert (await beyond.get(f"/login/{user}")).status_code == 403
        assert await whoami([*browsers, late, later]) == [None, None, user, user]
        await close([*browsers, late, later, beyond])


async def test_a_changed_stamp_goes_before_the_oldest(indexed: Interface, user: str) -> None:
    """A session that is no good any more is not spared for an older one that is."""
    stamps = ["first", "second"]
    app = make(indexed, max_sessions=3, session_stamp=lambda _: stamps)
    async with serve(app) as url:
        good = await signed_in(url, user, 1)
        stamps.reverse()
        ended = await signed_in(url, user, 2)
        stamps.remove("second")
        late = await signed_in(url, user, 1)

        assert await whoami([*good, *ended, *late]) == [user, None, None, user]
        await close([*good, *ended, *late])


async def test_a_new_password_and_a_login_in_one_request(indexed: Interface, user: str) -> None:
    """The session of the request is not ended to make room for its own next login."""
    stamp = "first"
    app = make(indexed, max_sessions=1, on_max_sessions="refuse", session_stamp=lambda _: stamp)

    @app.get("/reset")
    async def reset(request: Request) -> Any:
        nonlocal stamp
        stamp = "second"
        await app.ctx.auth.login_user(request, user)
        return text("")

    async with serve(app) as url:
        [browser] = await signed_in(url, user, 1)

        assert (await browser.get("/reset")).status_code == 200
        assert await whoami([browser]) == [user]
        await close([browser])


async def test_simultaneous_logins_over_http(indexed: Interface, user: str) -> None:
    """Of many logins at once no more than the limit are alive at any look."""
    async with serve(make(indexed, max_sessions=3)) as url:
        browsers = [Browser(url) for _ in range(30)]
        await asyncio.gather(*(browser.get(f"/login/{user}") for browser in browsers))
        alive = [each for each in await whoami(browsers) if each is not None]

        assert alive == [user] * 3
        await close(browsers)


async def test_a_cookie_keeps_no_index() -> None:
    """Sessions in cookies cannot be listed: a limit is refused at construction, a list fails."""
    with pytest.raises(SessionConfigError, match="max_sessions needs an index"):
        make(InCookieEncrypted(new_key()), max_sessions=2)
    async with serve(make(InCookieEncrypted(new_key()))) as url, Browser(url) as browser:
        await browser.get("/login/ann")
        assert (await browser.get("/places")).status_code == 500


@pytest.mark.parametrize(
    "options",
    [
        {"max_sessions": 0},
        {"max_sessions": True},
        {"max_sessions": "3"},
        {"max_sessions": 3, "on_max_sessions": "other"},
        {"on_max_sessions": "other"},
    ],
)
def test_limits_that_cannot_be(options: dict[str, Any]) -> None:
    """A limit is a whole number of 1 or more, with one of two actions."""
    with pytest.raises(SessionConfigError):
        AuthSession(make_app(), InMemory(), **options)
