"""The pages of login.py, made from login.html."""

from __future__ import annotations

import os
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from sanic import HTTPResponse, html

from sanic_cookies import AuthSession, SessionDict

HEAD, SIGN_IN, SIGNED_IN, FOOT = (
    Path(__file__).with_name("login.html").read_text("utf-8").split("<!-- cut -->\n")
)
# Pages that load nothing, that nobody frames, and that no cache keeps after signing out.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def page(part: str, status: int = 200, **values: object) -> HTTPResponse:
    """Return a page; every value is escaped."""
    safe = {name: escape(str(value)) for name, value in values.items()}
    return html(Template(HEAD + part + FOOT).substitute(safe), status, headers=HEADERS)


def sign_in_page(back: str, status: int = 200, message: str = "") -> HTTPResponse:
    """Return the form; after it, the browser goes to `back`."""
    return page(SIGN_IN, status, title="Sign in", next=back, message=message)


def signed_in_page(sess: SessionDict, auth: AuthSession) -> HTTPResponse:
    """Return what there is to say of a session; its id is public, its token never shows."""
    short = sess.get_expire_at_browser_close()
    ends = datetime.fromtimestamp(sess.expires_at or 0).astimezone()
    facts = {
        "views": sess["views"],
        "sid": sess.sid,
        "store": type(auth.master_interface).__name__,
        "worker": os.getpid(),
        "cookie": "ends with the browser" if short else "remembered",
        "ends": f"{ends:%d %B %H:%M} if unused",
    }
    return page(SIGNED_IN, title=sess["current_user"], name=sess["current_user"], **facts)
