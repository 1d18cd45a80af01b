"""The account: a new password, and what asks for a fresh proof of who it is."""

from __future__ import annotations

from sanic import Blueprint, HTTPResponse, Request, redirect

from sanic_cookies import flash, fresh_login_required, safe_next

from .pages import render
from .sign_in import field, objection

bp = Blueprint("account")
FRESH = 60  # seconds; short, so that one sees it happen


@bp.get("/password")
async def password_form(request: Request) -> HTTPResponse:
    return await render(request, "password.html", problem=None)


@bp.post("/password")
async def change_password(request: Request) -> HTTPResponse:
    users, auth, user = request.app.ctx.users, request.app.ctx.auth_session, request.ctx.user
    problem = objection(field(request, "new"))
    if problem is None and not await users.verify(user.password, field(request, "old")):
        problem = "That is not your present password."
    if problem is not None:
        return await render(request, "password.html", 422, problem=problem)
    await users.change_password(user, field(request, "new"))
    ended = await auth.logout_others(request)  # now, not only at their next request
    await flash(request, f"Your password is changed. Ended: {count(ended)}.", "success")
    await auth.refresh_stamp(request)  # this session goes on; last, as it gets a new token by it
    return redirect("/devices", status=303)


@bp.get("/confirm")
async def confirm_form(request: Request) -> HTTPResponse:
    return await render(request, "confirm.html", problem=None, next=safe_next(request))


@bp.post("/confirm")
async def confirm(request: Request) -> HTTPResponse:
    back, right = safe_next(request), request.ctx.user.password
    if not await request.app.ctx.users.verify(right, field(request, "password")):
        return await render(request, "confirm.html", 401, problem="Wrong password.", next=back)
    await request.app.ctx.auth_session.confirm_login(request)
    return redirect(back, status=303)


@bp.get("/account")
@fresh_login_required(within=FRESH, redirect_to="/confirm")
async def account(request: Request) -> HTTPResponse:
    return await render(request, "account.html", fresh=FRESH)


@bp.post("/account/delete")
@fresh_login_required(within=FRESH, redirect_to="/confirm")
async def delete(request: Request) -> HTTPResponse:
    auth, user = request.app.ctx.auth_session, request.ctx.user
    await request.app.ctx.users.remove(user)
    await auth.logout_everywhere(user.id)
    await auth.logout_user(request)  # the cookie goes, too
    return redirect("/", status=303)


def count(sessions: int) -> str:
    """Return a number of sessions in words."""
    return f"{sessions or 'no'} other session{'' if sessions == 1 else 's'}"
