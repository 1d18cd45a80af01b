"""The app: its two sessions, its parts, and who may see what."""

from __future__ import annotations

from pathlib import Path

from sanic import Sanic
from sanic.exceptions import SanicException

from sanic_cookies import AuthSession, Session

from . import account, devices, lab, live, pages, sign_in
from .stores import choose_store
from .users import Users, users_file

STATIC = Path(__file__).with_name("static")


def create_app() -> Sanic:
    """Return the app; called once in each worker."""
    app = Sanic("demo")
    app.config.AUTO_EXTEND = False  # nothing of sanic-ext is needed here
    app.config.REQUEST_MAX_SIZE = 64 * 1024  # there are only forms
    app.ctx.users = users = Users(users_file())
    app.before_server_start(users.open)
    store = choose_store(app)

    auth = AuthSession(
        app,
        master_interface=store,
        login_url="/sign-in",
        csrf="token",
        user_loader=users.by_id,  # what `request.ctx.user` is
        session_stamp=lambda user: user.password,  # a new password ends the other sessions
        max_sessions=20,
    )
    auth.protect(app)  # everything but what is @public

    # The race lab has a session of its own: nobody has to sign in for it, and its fifty requests
    # may all wait. By default the seventeenth is turned away with a 503.
    Session(
        app,
        master_interface=store,
        session_name="lab",
        preload=False,
        max_waiters=lab.RUNNERS,
        session_cookie=True,
        expiry=3600,
    )

    for part in (pages, sign_in, account, devices, live, lab):
        app.blueprint(part.bp)
    app.static("/static", STATIC, name="static")
    app.on_response(pages.add_headers)
    app.exception(SanicException)(pages.show_error)
    return app
