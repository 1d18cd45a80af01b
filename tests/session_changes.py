"""What requests do to a session: each change as a handler makes it, and as the model sees it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sanic import Request

from lab import Failed
from sanic_cookies import AuthSession, SessionDict
from session_model import Cookie, Model, Standing, State


@dataclass
class Work:
    """A request's block, in the model: what it has read, and what it has done so far."""

    model: Model
    standing: Standing
    muted: bool
    state: State
    rotate: bool = False
    renew: bool = False
    doomed: int = 0

    def __post_init__(self) -> None:
        self.loaded = self.state.content
        self.kept = copy.deepcopy(self.state)
        self.due = self.standing is Standing.LIVE and self.state.touch_due(self.model.now)

    @property
    def changed(self) -> bool:
        return self.state.content != self.loaded

    def outcome(self) -> tuple[int, Cookie]:
        """Write what the block has done; return the status and what becomes of the cookie."""
        state, model = self.state, self.model
        if self.standing is Standing.READING:
            return 503, Cookie.KEPT
        if self.standing is Standing.DEAD:
            quiet = state.is_empty and not (self.rotate and self.muted)
            return (200 if quiet else 409), Cookie.KEPT
        if self.rotate and self.muted:
            return 409, Cookie.KEPT
        cookie = Cookie.KEPT
        if self.doomed:
            model.end(self.doomed)
            self.doomed, cookie = 0, Cookie.GONE
        exists = self.standing is Standing.LIVE
        if state.is_empty or self._left() <= 0:
            if exists:
                model.end(state.sid)
                self.become_new()
                cookie = Cookie.GONE
            return 200, cookie
        if not exists:
            model.begin(state)
            self.standing, self.muted = Standing.LIVE, False
            self._stored()
            return 200, Cookie.NEW
        if not (self.changed or self.rotate or self.renew or self.due):
            return 200, cookie
        return self._save()

    def _save(self) -> tuple[int, Cookie]:
        model, state, rotated = self.model, self.state, self.rotate
        if rotated or self.renew or self.due:
            state.renewed(model.now)
        state.version += 1
        if rotated or model.in_cookie:
            state.former, state.former_until = state.secret, model.now + model.grace
        if rotated:
            state.secret = model.number()
        if not model.replace(state, rotated=rotated):
            self.standing, self.state = Standing.DEAD, State()
            return 409, Cookie.KEPT
        self._stored()
        return 200, Cookie.NEW if rotated or model.in_cookie else Cookie.KEPT

    def _stored(self) -> None:
        self.loaded = self.state.content
        self.kept = copy.deepcopy(self.state)
        self.rotate = self.renew = self.due = False

    def touch(self) -> Cookie:
        """Note that the session was used, as a request does that has not written it."""
        if not self.due or not self.model.is_current(self.kept):
            return Cookie.KEPT
        known = self.kept if self.model.in_cookie else self.model.sessions.get(self.kept.sid)
        if known is not None:
            known.renewed(self.model.now)
        self.state = copy.deepcopy(self.kept)
        return Cookie.USED if self.model.in_cookie else Cookie.KEPT

    def become_new(self) -> None:
        self.standing, self.state = Standing.NEW, State()
        self.loaded, self.rotate, self.due = self.state.content, False, False

    def _left(self) -> float:
        state = copy.copy(self.state)
        if self.standing is Standing.NEW:
            state.created = state.since = self.model.now
        return state.left(self.model.now)


class Change:
    """Something that a handler does to a session."""

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        """Do it, in a handler."""
        self.touch(sess)

    def mark(self, work: Work) -> None:
        """Do it, in the model."""
        self.touch(work.state.data)

    def touch(self, data: Any) -> None:
        """Change a mapping."""


@dataclass(frozen=True)
class Put(Change):
    """Set a value."""

    key: str
    value: int

    def touch(self, data: Any) -> None:
        data[self.key] = self.value


@dataclass(frozen=True)
class Drop(Change):
    """Delete a value, if it is there."""

    key: str

    def touch(self, data: Any) -> None:
        data.pop(self.key, None)


@dataclass(frozen=True)
class Append(Change):
    """Change a nested value."""

    value: int

    def touch(self, data: Any) -> None:
        data.setdefault("list", []).append(self.value)


@dataclass(frozen=True)
class Clear(Change):
    """Delete all values."""

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        sess.clear()

    def touch(self, data: Any) -> None:
        data.clear()


@dataclass(frozen=True)
class Rotate(Change):
    """Ask for a new secret."""

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        sess.rotate()

    def mark(self, work: Work) -> None:
        work.rotate = True


@dataclass(frozen=True)
class Expire(Change):
    """Set a lifetime; an "end" counts from now."""

    kind: str | None
    seconds: float = 0.0

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        if self.kind is None:
            sess.set_expiry(None)
        elif self.kind == "end":
            sess.set_expiry(timedelta(seconds=self.seconds))
        else:
            sess.set_expiry(self.seconds)

    def mark(self, work: Work) -> None:
        end = work.model.now if self.kind == "end" else 0.0
        work.state.life = None if self.kind is None else (self.kind, end + self.seconds)
        work.renew = True


@dataclass(frozen=True)
class Login(Change):
    """Log a user in."""

    user: str
    remember: bool = False
    keep: bool = False

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        await auth.login_user(
            request, self.user, remember_me=self.remember, reset_session=not self.keep
        )

    def mark(self, work: Work) -> None:
        state = work.state
        if work.standing is Standing.DEAD or work.muted:
            work.standing, work.muted = Standing.NEW, False
        if not self.keep:
            state.data.clear()
        state.life = None
        state.user, state.remembered, state.since = self.user, self.remember, work.model.now
        work.rotate = work.renew = True


@dataclass(frozen=True)
class Reset(Change):
    """Empty it, its user included."""

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        sess.reset()

    def mark(self, work: Work) -> None:
        work.rotate = work.rotate or work.state.user is not None
        work.state.data.clear()
        work.state.user, work.state.life, work.state.remembered = None, None, False
        work.state.since = 0.0


@dataclass(frozen=True)
class Destroy(Change):
    """End it; what is written afterwards begins another."""

    async def do(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        sess.destroy()

    def mark(self, work: Work) -> None:
        if work.standing is Standing.LIVE:
            work.doomed = work.state.sid
        work.become_new()


@dataclass(frozen=True)
class Block:
    """What a request does.

    Attributes:
        changes: In their order.
        way: "locked"; "unlocked"; "nested": the last change in an inner block that fails;
            "saved": `save()` after the first change.
        end: "clean"; "crash": the handler fails; "caught": the block fails and the handler goes on.
    """

    changes: tuple[Change, ...]
    way: str = "locked"
    end: str = "clean"
    seen: list[Any] = field(default_factory=list, compare=False)

    async def play(self, auth: AuthSession, request: Request, gate: Any = None) -> Any:
        """Do it in a handler; return what was seen first."""
        sess: SessionDict = getattr(request.ctx, auth.name)
        if self.way == "unlocked":
            shown = copy.deepcopy(dict(sess))
            for change in self.changes:
                await change.do(auth, request, sess)
            if self.end != "clean":
                raise Failed
            return shown
        try:
            async with sess:
                shown = copy.deepcopy(dict(sess))
                if gate is not None:
                    await gate.wait()
                await self._inside(auth, request, sess)
                if self.end != "clean":
                    raise Failed
        except Failed:
            if self.end == "crash":
                raise
        return shown

    async def _inside(self, auth: AuthSession, request: Request, sess: SessionDict) -> None:
        *first, last = self.changes
        for number, change in enumerate(self.changes if self.way != "nested" else first):
            await change.do(auth, request, sess)
            if self.way == "saved" and number == 0:
                await sess.save()
        if self.way == "nested":
            try:
                async with sess:
                    await last.do(auth, request, sess)
                    raise Failed
            except Failed:
                pass

    def mark(self, work: Work) -> tuple[int, Cookie]:
        """Do it in the model; return the status and what becomes of the cookie."""
        if work.standing is Standing.READING and self.way != "unlocked":
            return 503, Cookie.KEPT
        changes = self.changes[:-1] if self.way == "nested" else self.changes
        cookie, due = Cookie.KEPT, work.due
        for number, change in enumerate(changes):
            change.mark(work)
            if self.way == "saved" and number == 0:
                status, cookie = work.outcome()
                due = work.due
                if status != 200:
                    return status, cookie
        if self.end == "crash" or (self.end == "caught" and self.way == "unlocked"):
            return 500, cookie
        if self.end == "caught":
            work.due = due  # a session that was not ended after all was used
            return 200, work.touch() if cookie is Cookie.KEPT else cookie
        status, last = work.outcome()
        return status, cookie if last is Cookie.KEPT else last


def merged(block: Block, base: Work, fresh: Work) -> Work:
    """Return what unlocked changes to `base` are when they are merged into `fresh`.

    They are kept by top-level key, so what others have written under other keys stays.
    """
    before = copy.deepcopy(base.state.data)
    for change in block.changes:
        change.mark(base)
    after = base.state.data
    data = fresh.state.data
    for key in before.keys() - after.keys():
        data.pop(key, None)
    data.update({key: value for key, value in after.items() if before.get(key, None) != value})
    if base.renew:
        fresh.state.life = base.state.life
    fresh.rotate, fresh.renew = base.rotate, base.renew
    return fresh
