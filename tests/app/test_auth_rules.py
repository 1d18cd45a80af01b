"""What a guard may ask beyond a login: `check`, login pages; websockets before their handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from sanic import Request, text
from sanic.response import HTTPResponse
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from auth_lab import AuthLab
from harness import set_cookies
from sanic_cookies import AuthSession, SessionConfigError, login_required

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def is_admin(user: str) -> bool:
    return user == "admin"


async def is_admin_async(user: str) -> bool:
    await asyncio.sleep(0)
    return user == "admin"


def page_of(lab: AuthLab, guard: Any, path: str = "/x", **options: Any) -> AuthLab:
    """Add a guarded page."""

    @lab.app.route(path, name=f"page{path}".replace("/", "_"), **options)
    @guard
    async def page(request: Request, **_: str) -> HTTPResponse:
        return text("in")

    return lab


# The predicate.


@pytest.mark.parametrize("check", [is_admin, is_admin_async])
@pytest.mark.parametrize("method", [False, True])
async def test_a_check(master: Any, check: Callable[[Any], Any], method: bool) -> None:
    """Nobody gets a 401, the wrong user a 403 that no cache keeps, the right one the page."""
    lab = AuthLab(master)
    page_of(lab, (lab.auth.login_required if method else login_required)(check=check))
    async with lab:
        assert (await lab.browser.get("/x")).status_code == 401
        await lab.login("ann")
        denied = await lab.browser.get("/x", headers={"accept": "application/json"})
        assert (denied.status_code, denied.json()["message"]) == (403, "You may not do this.")
        assert denied.headers["cache-control"] == "no-store"
        assert denied.headers["vary"] == "Cookie"
        await lab.login("admin")
        assert (await lab.browser.get("/x")).text == "in"


@pytest.mark.parametrize(
    ("answer", "status"),
    [(False, 403), (None, 403), (0, 403), ("", 403), (1, 500), ("yes", 500), (is_admin, 500)],
)
async def test_only_true_lets_in(answer: Any, status: int) -> None:
    """Something that is merely true, such as a method that was not called, lets nobody in."""
    async with page_of(AuthLab(), login_required(check=lambda user: answer)) as lab:
        await lab.login()
        assert (await lab.browser.get("/x")).status_code == status


async def test_a_check_that_fails_lets_nobody_in() -> None:
    """An error in it is an error of the request."""
    async with page_of(AuthLab(), login_required(check=lambda user: user["admin"])) as lab:
        await lab.login("ann")
        assert (await lab.browser.get("/x")).status_code == 500


async def test_a_denied_user_is_no_stranger() -> None:
    """For who is logged in but not allowed, neither login page nor `no_auth_handler` helps."""
    lab = AuthLab(None, login_url="/login", no_auth_handler=lambda request: text("nobody"))
    async with page_of(lab, login_required(check=is_admin, redirect_to="/other")) as lab:
        await lab.login("ann")
        assert (await lab.browser.get("/x", headers=HTML)).status_code == 403


# Login pages.


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (HTML["accept"], 302),
        ("text/html", 302),
        ("text/html;q=0.9, application/json;q=0.1", 302),
        ("application/json", 401),
        ("application/json, text/html;q=0.9", 401),
        ("text/html;q=0", 401),
        ("*/*", 401),
        ("text/*", 401),
        ("", 401),
    ],
)
async def test_who_is_sent_to_the_login_page(accept: str, status: int) -> None:
    """Who would rather have a page than JSON is sent to it; everybody else gets the 401."""
    async with page_of(AuthLab(None, login_url="/login"), login_required()) as lab:
        response = await lab.browser.get("/x", headers={"accept": accept})
        assert response.status_code == status
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["vary"] == "Cookie"
        assert set_cookies(response) == []
        assert response.headers.get("location") == ("/login?next=/x" if status == 302 else None)


@pytest.mark.parametrize(
    ("url", "location"), [("/login", "/login?next=/x"), ("/login?a=1", "/login?a=1&next=/x")]
)
async def test_the_guards_own_login_page(url: str, location: str) -> None:
    """`redirect_to` goes before what the session says, its `no_auth_handler` included."""
    lab = AuthLab(None, login_url="/nope", no_auth_handler=lambda request: text("nobody"))
    async with page_of(lab, login_required(redirect_to=url)) as lab:
        assert (await lab.browser.get("/x", headers=HTML)).headers["location"] == location


async def test_the_guards_own_handler_goes_before_login_pages() -> None:
    """A `no_auth_handler` answers for itself."""
    lab = AuthLab(None, login_url="/login")
    guard = login_required(lambda request: text("nobody"), redirect_to="/other")
    async with page_of(lab, guard) as lab:
        assert (await lab.browser.get("/x", headers=HTML)).text == "nobody"


async def test_no_path_leads_back_to_another_site() -> None:
    """A path that a browser would take for another host is not passed on as `next`."""
    lab = AuthLab(None, login_url="/login")
    async with page_of(lab, login_required(), "/<rest:path>") as lab:
        for path in ("//evil.example/", "/%2fevil.example", "/x\\evil"):
            response = await lab.browser.get(f"{lab.url}{path}", headers=HTML)
            assert response.headers["location"] in ("/login", "/login?next=/x%255Cevil"), path


async def test_a_guarded_login_page_is_no_loop() -> None:
    """A login page that is guarded itself is a 401, never a redirect to itself."""
    async with page_of(AuthLab(None, login_url="/x"), login_required()) as lab:
        for path in ("/x", "/x/", "/x?next=/x"):
            assert (await lab.browser.get(path, headers=HTML)).status_code == 401


@pytest.mark.parametrize(
    "url", ["", "login", "//evil.example", "/\\evil", "https://evil.example/", "/login#top", 7]
)
@pytest.mark.parametrize("where", ["login_url", "redirect_to"])
def test_a_login_page_elsewhere(url: Any, where: str) -> None:
    """A login page that is no path of this site is refused where it is written."""
    with pytest.raises(SessionConfigError, match=r"path|must be a str"):
        if where == "login_url":
            AuthSession(login_url=url)
        else:
            login_required(redirect_to=url)


@pytest.mark.parametrize("option", ["check", "fresh", "redirect_to"])
def test_options_of_another_type(option: str) -> None:
    """What cannot be such an option is refused where it is written."""
    with pytest.raises(SessionConfigError):
        login_required(**{option: object()})


# Websockets.


def passed_through(handler: Any) -> Any:
    """A decorator of somebody else's."""

    @wraps(handler)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await handler(*args, **kwargs)

    return wrapper


def socket_at(lab: AuthLab, *guards: Any) -> list[str]:
    ran: list[str] = []

    async def handler(request: Request, ws: Any, room: str) -> None:
        ran.append(room)
        await ws.send("in")

    for guard in reversed(guards):
        handler = guard(handler)
    lab.app.add_websocket_route(handler, "/ws/<room>")
    return ran


async def status_of(lab: AuthLab) -> int:
    """Return what a handshake with the browser's cookies gives."""
    cookie = "; ".join(f"{name}={value}" for name, value in lab.browser.cookies.items())
    headers = {"cookie": cookie, **HTML}
    try:
        url = lab.url.replace("http", "ws") + "/ws/7"
        async with connect(url, additional_headers=headers) as ws:
            assert await asyncio.wait_for(ws.recv(), 5) == "in"
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize(
    "guards",
    [
        [login_required],
        [login_required()],
        [passed_through, login_required()],
        [login_required(), passed_through],
        [passed_through, passed_through, login_required(check=is_admin), passed_through],
    ],
)
async def test_a_websocket_is_refused_before_its_handshake(guards: list[Any]) -> None:
    """The answer is a 401, whatever `Accept` says and whatever else is wrapped around."""
    lab = AuthLab(None, login_url="/login")
    ran = socket_at(lab, *guards)
    async with lab:
        assert await status_of(lab) == 401
        assert ran == []
        await lab.login("admin")
        assert (await status_of(lab), ran) == (101, ["7"])


async def test_each_of_several_guards_decides_before_the_handshake() -> None:
    """Of guards that stand on each other, also the inner one is asked in time."""
    lab = AuthLab()
    ran = socket_at(lab, login_required(), login_required(check=is_admin))
    async with lab:
        assert await status_of(lab) == 401
        await lab.login("ann")
        assert (await status_of(lab), ran) == (403, [])
        await lab.login("admin")
        assert (await status_of(lab), ran) == (101, ["7"])


async def test_a_no_auth_handler_answers_the_handshake() -> None:
    """What it returns is the answer, and it gets the route's parameters."""
    lab = AuthLab()
    ran = socket_at(lab, login_required(lambda request, room: text(f"not {room}", 418)))
    async with lab:
        assert (await status_of(lab), ran) == (418, [])


async def test_a_no_auth_handler_may_want_the_socket() -> None:
    """One that takes the socket gets it, after the handshake."""

    async def refuse(request: Request, ws: Any, room: str) -> None:
        await ws.send("in")  # as far as `status_of` can tell

    lab = AuthLab()
    ran = socket_at(lab, login_required(refuse))
    async with lab:
        assert (await status_of(lab), ran) == (101, [])


@pytest.mark.parametrize("name", ["auth_session", "admin"])
async def test_each_session_guards_its_own_sockets(name: str) -> None:
    """With two sessions on one app, the one that a guard names is asked."""
    lab = AuthLab()
    admin = AuthSession(lab.app, lab.auth.master_interface, session_name="admin")
    ran = socket_at(lab, login_required(session_name=name))
    async with lab:
        await lab.visit(lambda request: admin.login_user(request, "root"))
        assert await status_of(lab) == (101 if name == "admin" else 401)
        assert ran == (["7"] if name == "admin" else [])


async def test_a_socket_of_no_session_stays_shut() -> None:
    """A guard that names no session gives 500 before the handshake."""
    lab = AuthLab()
    ran = socket_at(lab, login_required(session_name="nope"))
    async with lab:
        await lab.login()
        assert (await status_of(lab), ran) == (500, [])
