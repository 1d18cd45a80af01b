"""What a browser is asked to forget at logout: the header `Clear-Site-Data`."""

from __future__ import annotations

from typing import Any

import pytest
from sanic import Request, json

from auth_lab import AuthLab
from harness import make_app
from sanic_cookies import AuthSession, InMemory, SessionConfigError

USUAL = '"cache", "storage"'
HEADER = "clear-site-data"
SHOP = "shop.example"


async def test_by_default_nothing_is_asked_for() -> None:
    """A logout removes the session's cookie, and nothing else of the site."""
    async with AuthLab() as lab:
        await lab.login("ann")
        assert HEADER not in (await lab.logout()).headers


@pytest.mark.parametrize(
    ("option", "argument", "sent"),
    [
        (True, None, USUAL),
        (False, True, USUAL),
        (True, False, None),
        (["cookies", "cache", "cache"], None, '"cookies", "cache"'),
        (("storage",), {"executionContexts"}, '"executionContexts"'),
        (True, [], None),
    ],
)
async def test_option_and_argument(
    master: Any, option: Any, argument: Any, sent: str | None
) -> None:
    """The option says what goes, the argument of one logout says it better."""
    async with AuthLab(master, clear_site_data=option) as lab:
        await lab.login("ann")
        response = await lab.logout(clear_site_data=argument)

        assert response.headers.get(HEADER) == sent
        assert await lab.user() is None


async def test_only_a_logout_asks() -> None:
    """Neither a login nor a page of somebody who is logged in clears anything."""
    async with AuthLab(clear_site_data=True) as lab:
        assert HEADER not in (await lab.login("ann")).headers
        assert HEADER not in (await lab.visit(lab.auth.current_user)).headers


@pytest.mark.parametrize("logout_anon", [True, False])
async def test_who_brings_no_cookie_clears_nothing(logout_anon: bool) -> None:
    """A foreign page that has a browser post to the logout, without its cookie, clears nothing."""
    async with AuthLab(clear_site_data=True) as lab:
        assert HEADER not in (await lab.logout(logout_anon=logout_anon)).headers


async def test_a_session_that_has_ended_already() -> None:
    """Who signs out after the session's end has as much in the browser as before it."""
    async with AuthLab(clear_site_data=True) as lab:
        await lab.login("ann")
        await lab.auth.revoke(lab.sid())
        assert (await lab.logout()).headers[HEADER] == USUAL


async def test_an_anonymous_session_that_is_left_alone() -> None:
    """Where `logout_anon=False` leaves the session, it leaves the browser too."""
    async with AuthLab(clear_site_data=True) as lab:
        await lab.write(cart=1)
        assert HEADER not in (await lab.logout(logout_anon=False)).headers


class Stubborn(InMemory):
    """Memory that does not delete as long as it is told not to."""

    refuses = False

    async def delete(self, name: str, sid: str) -> bool:
        if self.refuses:
            raise OSError("no")
        return await super().delete(name, sid)


async def test_a_logout_that_failed_is_not_claimed() -> None:
    """While the session may live on, its user's browser is not told that all is over."""
    store = Stubborn()
    async with AuthLab(store, clear_site_data=True) as lab:
        await lab.login("ann")
        store.refuses = True
        response = await lab.logout()
        store.refuses = False

        assert response.status_code == 503
        assert HEADER not in response.headers
        assert (await lab.logout()).headers[HEADER] == USUAL


async def test_a_login_after_it_keeps_its_cookie() -> None:
    """Logged out and in again by one request: what the former user left goes, the cookie stays."""

    async def body(request: Request) -> None:
        await lab.auth.logout_user(request)
        await lab.auth.login_user(request, "bob")

    async with AuthLab(clear_site_data=["cookies", "storage"]) as lab:
        await lab.login("ann")
        assert (await lab.visit(body)).headers[HEADER] == '"storage"'
        assert await lab.user() == "bob"


@pytest.mark.parametrize(
    ("host", "secure", "sent"),
    [
        (SHOP, "auto", True),
        (SHOP, True, True),
        (None, "auto", True),
        (None, False, True),
        (SHOP, False, False),
    ],
)
async def test_only_where_browsers_listen(host: str | None, secure: Any, sent: bool) -> None:
    """A site without https (`secure=False`) is not listened to, but on a loopback host."""
    async with AuthLab(host=host, secure=secure, clear_site_data=True) as lab:
        await lab.login("ann")
        assert (HEADER in (await lab.logout()).headers) is sent


async def test_the_handlers_own_header_stays() -> None:
    """A handler that names what is to go has the last word."""

    async def body(request: Request) -> Any:
        await lab.auth.logout_user(request)
        return json(None, headers={"Clear-Site-Data": '"*"'})

    async with AuthLab(clear_site_data=True) as lab:
        await lab.login("ann")
        assert (await lab.visit(body)).headers[HEADER] == '"*"'


@pytest.mark.parametrize("preload", [True, False])
async def test_a_response_object_that_is_shared(preload: bool) -> None:
    """A response that served a logout and serves another request clears nothing there.

    Nor where that request has nothing to do with sessions, for which nothing of ours is made.
    """
    shared = json("bye")

    async def logout(request: Request) -> Any:
        await lab.auth.logout_user(request)
        return shared

    async def other(request: Request) -> Any:
        return shared

    lab = AuthLab(clear_site_data=True)
    lab.app.add_route(other, "/other", ctx_session_preload=preload)
    async with lab:
        await lab.login("ann")
        assert (await lab.visit(logout)).headers[HEADER] == USUAL
        assert HEADER not in (await lab.browser.get("/other")).headers


@pytest.mark.parametrize("value", ["cache", 1, ["cookies", "Cache"], ["*"], [1], [[]]])
async def test_what_no_browser_knows_is_refused(value: Any) -> None:
    """A mistake shows where it is made; one in a request leaves the session alone."""
    with pytest.raises(SessionConfigError, match="clear_site_data"):
        AuthSession(make_app(), clear_site_data=value)
    async with AuthLab() as lab:
        await lab.login("ann")
        assert (await lab.logout(clear_site_data=value)).status_code == 500
        assert await lab.user() == "ann"


async def test_from_the_apps_configuration() -> None:
    """As every option it can stand in `app.config`."""
    app = make_app(AUTH_SESSION_CLEAR_SITE_DATA="yes")
    with pytest.raises(SessionConfigError, match="clear_site_data"):
        AuthSession(app)
