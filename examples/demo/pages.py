"""How pages are made: Jinja templates, strict headers, and errors that look like the rest."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sanic import Blueprint, HTTPResponse, Request, html, json
from sanic.exceptions import SanicException
from sanic.response import BaseHTTPResponse

from sanic_cookies import get_flashes, public

bp = Blueprint("pages")
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    enable_async=True,  # so that a template can call `csrf_token()`, where there is a form
    trim_blocks=True,
    lstrip_blocks=True,
)
HEADERS = {
    # Nothing from elsewhere, and nothing inline: what somebody smuggles into a page cannot run.
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}


async def render(
    request: Request, template: str, status: int = 200, **values: object
) -> HTTPResponse:
    """Return a page; every value in it is escaped."""
    auth = request.app.ctx.auth_session
    text = await TEMPLATES.get_template(template).render_async(
        path=request.path,
        user=await auth.current_user(request),
        flashes=await get_flashes(request),
        csrf_token=lambda: auth.csrf_token(request),
        store=type(auth.master_interface).__name__,
        worker=os.getpid(),
        **values,
    )
    # Pages name their user: nothing of them is there to be read after signing out.
    return html(text, status, headers={"cache-control": "no-store"})


@bp.get("/")
@public
async def index(request: Request) -> HTTPResponse:
    return await render(request, "home.html", sess=request.ctx.auth_session)


@bp.get("/me")
@public
async def me(request: Request) -> HTTPResponse:
    """Tell a page that was left open who it is now."""
    user = await request.app.ctx.auth_session.current_user(request)
    return json({"user": user and user.name}, headers={"cache-control": "no-store"})


async def add_headers(request: Request, response: BaseHTTPResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


async def show_error(request: Request, error: SanicException) -> HTTPResponse:
    # Without the session: it may be what has failed.
    page = TEMPLATES.get_template("error.html")
    status = error.status_code or 500
    text = await page.render_async(status=status, message=str(error))
    return html(text, status, headers=dict(error.headers or {}))
