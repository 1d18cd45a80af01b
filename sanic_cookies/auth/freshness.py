"""When a user has last proved who they are, for what asks for more than a session (ASVS 7.5.1).

A login whose cookie outlives the browser, as a remembered one's does, comes back with its next run,
whoever sits before it then. So a second cookie goes with it that ends with the browser: without it
the login is not fresh, however young. Its value is random, and the record keeps a hash: who copies
the cookie that lasts from a disk cannot make it up. It stands with the rest of the session, so it
costs no round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe

from sanic.request import Request

from ..content import Identity
from ..errors import LoginRequired
from ..options import Seconds
from .arguments import seconds_of
from .guards import FRESH
from .loader import LoadedUsers

RUN = "run"  # in `Content.extra`: hash of what the browser's present run was given
SUFFIX = "_run"  # of the cookie's name


class FreshLogins(LoadedUsers):
    """The half of `AuthSession` that knows how long ago the user proved who they are."""

    async def is_fresh(self, request: Request, within: Seconds = FRESH) -> bool:
        """Say whether the user proved who they are within the last seconds, in this browser run.

        Login and `confirm_login` are proofs. Without a login it is False.

        Args:
            request: The request.
            within: Seconds.

        Raises:
            SessionStoreError: The store failed.
            SessionConfigError: `within` is no time, or not more than 0.
        """
        seconds = seconds_of("within", within, served=True)
        if await self.current_user(request) is None:
            return False
        sess = self.of(request)
        identity = await sess.identity()
        if identity is None or sess.age - identity.confirmed >= seconds:
            return False
        return not self._lasts(identity) or self._in_same_run(request, await sess.kept(RUN))

    async def confirm_login(self, request: Request) -> None:
        """Note that the user has just proved who they are; the session gets a new token.

        Call it when a password or a second factor was right, inside or outside of a block.

        Args:
            request: The request.

        Raises:
            LoginRequired: Nobody is logged in.
            SessionUnavailable: `renew_every` has just replaced the token for another request of the
                browser: nothing has changed, and with the newer cookie it goes well (503).
            SessionStoreError: The store failed.
            ResponseStarted: The response has begun, so no cookie can be set.
        """
        user = await self.current_user(request)
        if user is None:
            raise LoginRequired
        async with self.of(request) as sess:
            identity = await sess.identity()
            if identity is None:
                raise LoginRequired
            identity = replace(identity, confirmed=sess.age)
            sess.amend(identity)
            user_key = self.user_key(identity.user)
            emit = self.runtime.emit
            self._begin_run(
                request, identity, lambda: emit("confirmed", sid=sess.sid, user_key=user_key)
            )
        self._show(request, identity, user)

    # For `AuthSession`.

    def _begin_run(
        self,
        request: Request,
        identity: Identity,
        tell: Callable[[], object] | None = None,
        undone: Callable[[], object] | None = None,
    ) -> None:
        """Bind a login that lasts to this run of the browser; called in the block that stores it.

        Args:
            request: The request.
            identity: The login.
            tell: Called, too, once it is stored.
            undone: Called if it never is.
        """
        sess, value = self.of(request), token_urlsafe(32) if self._lasts(identity) else ""
        sess.keep(RUN, _digest(value) if value else None)
        setattr(request.ctx, self._run_name, value)

        def stored() -> None:
            self._send_run(request, value)
            if tell is not None:
                tell()

        # Not before: of a block that fails nothing is kept, and the former run goes on.
        sess.once_stored(stored, undone)

    def _send_run(self, request: Request, value: str) -> None:
        """Give the browser what it forgets with its end; "" takes it away."""
        exchange, spec = self.of(request).exchange, self.settings.cookie
        if exchange.begun:
            return
        if value or exchange.received(spec, SUFFIX):
            exchange.send(spec, value, None, SUFFIX)
        else:
            exchange.withdraw(spec, SUFFIX)  # of a login by this very request

    # Underneath.

    def _lasts(self, identity: Identity) -> bool:
        """Say whether the cookie of a login outlives the browser."""
        if identity.persistent is None:
            return self.settings.policy.persistent
        return identity.persistent

    @property
    def _run_name(self) -> str:
        return f"_sanic_cookies_{self.name}_run"

    def _in_same_run(self, request: Request, kept: object) -> bool:
        values = self.of(request).exchange.received(self.settings.cookie, SUFFIX)
        given = [getattr(request.ctx, self._run_name, "")]  # by this very request
        if len(values) == 1:
            given += values
        if not isinstance(kept, str):
            return False
        return any(compare_digest(_digest(each), kept) for each in given if each)


def _digest(value: str) -> str:
    return sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
