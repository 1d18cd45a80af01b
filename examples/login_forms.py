"""What login.py does with what browsers and programs send."""

from __future__ import annotations

import re
from urllib.parse import quote

from sanic import HTTPResponse, Request, redirect
from sanic.exceptions import Forbidden

from sanic_cookies import LoginRequired

# A path of this site: browsers take "//elsewhere" and "/\\elsewhere" for another host.
LOCAL = re.compile(r"/(?!/)[!-\[\]-~]*")


def ask_first(request: Request) -> HTTPResponse:
    """Answer those who have to sign in: browsers get the form, programs a 401."""
    if not by_browser(request):
        raise LoginRequired
    return redirect("/login?next=" + quote(request.path))


def by_browser(request: Request) -> bool:
    """Say whether a person waits for a page."""
    return "text/html" in request.headers.get("accept", "")


def local(path: str) -> str:
    """Return `path` if it stays on this site, else the start page: a checked redirect."""
    return path if LOCAL.fullmatch(path) else "/"


def posted(request: Request) -> dict[str, str]:
    """Return what a form or a JSON client sent, unless another site had the browser send it."""
    # Lax cookies protect those who are signed in; this protects also those who are signing in.
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Forbidden("This form was sent by another site.")
    if request.content_type.startswith("application/json"):
        fields = request.json if isinstance(request.json, dict) else {}
        return {name: str(value) for name, value in fields.items() if value}
    return {name: values[0] for name, values in (request.form or {}).items()}
