"""Signing up, in and out."""

from __future__ import annotations

import unicodedata

from sanic import Blueprint, HTTPResponse, Request, redirect
from sanic.request import RequestParameters

from sanic_cookies import flash, public, safe_next

from .pages import render

bp = Blueprint("sign_in")
SHORTEST, LONGEST = 8, 256  # characters of a password (OWASP ASVS 5.0, 6.2.1 and 6.2.9)
NAME = 40  # characters


@bp.get("/sign-up")
@public
async def new_account(request: Request) -> HTTPResponse:
    return await render(request, "sign_up.html", problem=None, name="")


@bp.post("/sign-up", ctx_csrf=True)
@public
async def sign_up(request: Request) -> HTTPResponse:
    name, password = name_in(request), field(request, "password")
    problem = objection(password) if name else f"Choose a name of 1 to {NAME} characters."
    user = None
    if problem is None:
        user = await request.app.ctx.users.add(name, password)
        problem = "That name is taken."
    if user is None:
        return await render(request, "sign_up.html", 422, problem=problem, name=name)
    await request.app.ctx.auth_session.login_user(request, user.id)
    await flash(request, f"Welcome, {user.name}. Your account is ready.", "success")
    return redirect("/devices", status=303)


@bp.get("/sign-in")
@public
async def form(request: Request) -> HTTPResponse:
    return await render(request, "sign_in.html", problem=None, name="", next=safe_next(request))


@bp.post("/sign-in", ctx_csrf=True)  # a token is wanted from visitors, too: see CsrfGuard
@public
async def sign_in(request: Request) -> HTTPResponse:
    name, back = name_in(request), safe_next(request)
    # A site would also limit the attempts, per name and per address.
    user = await request.app.ctx.users.by_password(name, field(request, "password"))
    if user is None:
        problem = "Wrong name or password."
        return await render(request, "sign_in.html", 401, problem=problem, name=name, next=back)
    auth, remember = request.app.ctx.auth_session, field(request, "remember") == "yes"
    await auth.login_user(request, user.id, remember_me=remember)
    await flash(request, f"Hello, {user.name}.", "success")
    return redirect(back, status=303)


@bp.post("/sign-out")
async def sign_out(request: Request) -> HTTPResponse:
    await request.app.ctx.auth_session.logout_user(request)
    return redirect("/", status=303)


def field(request: Request, name: str) -> str:
    """Return a form field, empty if it is missing or too long to be meant."""
    value = str((request.form or RequestParameters()).get(name, ""))
    return value if len(value) <= LONGEST else ""


def name_in(request: Request) -> str:
    """Return the name that was typed, as it is kept: one way to write it."""
    name = unicodedata.normalize("NFKC", field(request, "name")).strip().casefold()
    return name if name.isprintable() and len(name) <= NAME else ""


def objection(password: str) -> str | None:
    """Return what is wrong with a new password; None if nothing is."""
    if len(password) < SHORTEST:
        return f"Choose a password of {SHORTEST} to {LONGEST} characters."
    return None
