"""A session as a mapping: what handlers read and write, and what is remembered of it.

No I/O happens here. `SessionDict` loads, locks and saves; this half only needs to know what has
been loaded, whether the lock is held, and what changed without it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from .. import content as contents
from ..content import Content, Identity
from ..errors import ResponseStarted, SessionError, SessionNotLoaded
from ..exchange import Exchange
from ..token import Credential, Token
from .changes import Changes
from .state import LIVE, UNREAD, SessionState

# Constant texts: a text that varies would grow Python's registry of warnings without bound.
UNLOCKED = (
    "The session is used without its lock: other requests may change it meanwhile. Use "
    "'async with request.ctx.<session> as sess:', or warn_lock=False if that is meant."
)
MIXED = (
    "The session was changed without its lock before this block: the changes are merged into it. "
    "Use one way within a request."
)
TEST_COOKIE = "testcookie"
# Where a line of ours, or of the mapping's own methods, may stand between.
_INSIDE = (str(Path(__file__).parent.parent), "<frozen _collections_abc>")


def warn(text: str) -> None:
    """Warn at the line of the application that used the session."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, RuntimeWarning, stacklevel=level)


class SessionMapping(SessionState, MutableMapping[str, Any]):
    """The half of `SessionDict` that does no I/O."""

    __slots__ = ()

    # What subclasses provide.

    def _locate(self) -> Credential | None:
        raise NotImplementedError

    def _unpack(self, payload: bytes) -> Content:
        raise NotImplementedError

    # The mapping.

    def __getitem__(self, key: str) -> Any:
        """Return a value; an `AuthSession`'s user under `auth_key`."""
        auth_key = self._runtime.settings.auth_key
        if self._blind is not None and key in self._blind.assigned and key != auth_key:
            return self._blind.assigned[key]
        content = self._reading()
        if key == auth_key:
            # Only login_user() sets it: a value written under this key is never read back here.
            identity = self._vouched(content)
            if identity is None:
                raise KeyError(key)
            return identity.user
        return content.data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a value; it is stored when the block ends, or with the response."""
        content = self._writing()
        if content is not None:
            content.data[key] = value
        else:
            blind = self._blind_changes()
            blind.assigned[key] = value
            blind.deleted.discard(key)

    def __delitem__(self, key: str) -> None:
        """Delete a value."""
        if self._blind is not None and key in self._blind.assigned:
            del self._blind.assigned[key]
            self._blind.deleted.add(key)
            return
        data = self._reading().data
        if not self._is_passing:
            del data[key]
        elif key in data:
            self._blind_changes().deleted.add(key)
        else:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Go through the keys; an `AuthSession`'s `auth_key` among them while logged in."""
        content, auth_key = self._reading(), self._runtime.settings.auth_key
        if auth_key is not None and self._vouched(content) is not None:
            yield auth_key
        for key in content.data:
            if key != auth_key:
                yield key

    def __len__(self) -> int:
        """Return the number of keys."""
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        """Say whether there is such a key."""
        auth_key = self._runtime.settings.auth_key
        if self._blind is not None and key in self._blind.assigned and key != auth_key:
            return True
        content = self._reading()
        if key == auth_key:
            return self._vouched(content) is not None
        return key in content.data

    def clear(self) -> None:
        """Delete all of the user's data; a session that is left empty is deleted."""
        content = self._writing()
        if content is not None:
            content.data.clear()
        else:
            self._blind = Changes(cleared=True)

    def __repr__(self) -> str:
        """Show the state, never the contents."""
        name = self._runtime.settings.name
        return f"<SessionDict {name} {self._status.value} sid={self.sid or '-'}>"

    __str__ = __repr__

    # What handlers may ask.

    @property
    def exchange(self) -> Exchange:
        """The request's cookies, which come and go; shared by all sessions of the request."""
        return self._exchange

    @property
    def sid(self) -> str | None:
        """Public id: safe to log, to list and to revoke by; None before the session is stored."""
        return self._credential.sid if self._live() and self._credential is not None else None

    @property
    def accessed(self) -> bool:
        """Whether this request has looked at the session."""
        return self._accessed

    @property
    def is_modified(self) -> bool:
        """Whether it differs from what is stored; nested changes count."""
        if self._blind or self._unlocked or self._rotate:
            return True
        return self._content is not None and self._differs(self._content)

    @property
    def is_new(self) -> bool:
        """Whether the store has no record of it (yet)."""
        return self._status is not LIVE and self._located_credential() is None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it: no data, no user, no lifetime of its own."""
        return self._reading().is_empty

    def set_test_cookie(self) -> None:
        """Leave a mark that only a browser which keeps cookies brings back."""
        self[TEST_COOKIE] = "worked"

    def test_cookie_worked(self) -> bool:
        """Say whether the browser brought the mark back."""
        return bool(self.get(TEST_COOKIE) == "worked")

    def delete_test_cookie(self) -> None:
        """Take the mark away."""
        self.pop(TEST_COOKIE, None)

    def rotate(self) -> None:
        """Give the session a new token, same data; call it whenever its user gains rights.

        The former token is dead as soon as the block has ended (OWASP ASVS 5.0, 7.2.4).

        Raises:
            ResponseStarted: No cookie can be set any more; in a block that says so as it ends.
        """
        self._look()
        self._require_close()
        if self._owner is None:
            self._marks().rotate = True
        else:
            self._rotate = True

    refresh_sid = rotate
    cycle_key = rotate

    # What features of this library keep beside the data.

    @property
    def presented(self) -> str | None:
        """Public id that the request's cookie names; nothing is read, so nothing is proven."""
        credential = self._located_credential()
        return None if credential is None else credential.sid

    def present(self, token: Token) -> None:
        """Have the request present `token`, in place of what it came with; nothing is read yet.

        For what brings sessions over from elsewhere, before anybody has looked at this one.
        """
        self._credential, self._located = token.credential, True
        self._status, self._content = UNREAD, None

    def keep(self, name: str, value: Any) -> None:
        """Keep `value` under `name`, None for nothing any more; call it inside a block."""
        content = self._writing()
        if content is None or self._owner is None:
            raise SessionNotLoaded
        if value is None:
            content.extra.pop(name, None)
        else:
            content.extra[name] = value

    def doubt(self, why: Exception | None) -> None:
        """Give `why` to who looks for the user here; None as soon as the login holds again."""
        self._doubt = why

    # Underneath.

    def _vouched(self, content: Content) -> Identity | None:
        """Return who is logged in; nobody is shown whose login may not hold any more."""
        if content.identity is not None and self._doubt is not None:
            raise self._doubt
        return content.identity

    def _live(self) -> bool:
        return self._status is LIVE

    def _look(self) -> None:
        """Note that the session was looked at: the response varies by cookie."""
        self._accessed = self._exchange.accessed = True

    def _use_unlocked(self) -> None:
        """Be used without the lock, perhaps: what is changed then is saved with the response."""
        self._look()
        self._exchange.unsettled = True
        if self._owner is None and self._runtime.settings.warn_lock:
            warn(UNLOCKED)

    def _reading(self) -> Content:
        content = self._content
        if content is not None and self._owner is not None:
            return content  # in a block all has been settled
        self._use_unlocked()
        content = self._known()
        if content is None:
            raise self._failure or SessionNotLoaded()
        if self._blind is not None:
            self._blind.apply(content)  # loaded since: what was written before lies on top
            if not self._is_passing:
                self._blind = None
        return content

    def _writing(self) -> Content | None:
        """Return what to write to; None if there is nothing that could be written into now."""
        if self._content is not None and self._owner is not None:
            return self._content
        self._use_unlocked()
        self._require_close()
        return None if self._blind is not None or self._is_passing else self._known()

    def _require_close(self) -> None:
        """Refuse what would be done with the response: nothing comes after it that could do it."""
        if self._owner is None and self._exchange.begun:
            raise ResponseStarted("this is done with the response; use 'async with'")

    @property
    def _is_passing(self) -> bool:
        """Whether a task is on its way into a block or out of it: it takes no change along."""
        return self._inside and self._owner is None

    def _marks(self) -> Changes:
        if self._unlocked is None:
            self._unlocked, self._exchange.unsettled = Changes(), True
        return self._unlocked

    def _blind_changes(self) -> Changes:
        if self._blind is None:
            self._blind = Changes()
        return self._blind

    def _known(self) -> Content | None:
        """Return the content if that takes no I/O."""
        if self._content is None:
            if self._status is LIVE:
                self._content = self._unpack(self._payload)
            elif self._located_credential() is None or self._status is not UNREAD:
                self._content = Content()
        return self._content

    def _located_credential(self) -> Credential | None:
        if not self._located:
            self._credential, self._located = self._locate(), True
        return self._credential

    def _age(self) -> float:
        """Return the seconds since the session began, by its store's clock."""
        record = self._record
        if record is None or self._status is not LIVE:
            return 0.0
        return record.now - record.created_at + time.monotonic() - self._read_at

    def _pending_changes(self) -> Changes | None:
        """Return what was changed without the lock, and forget it here."""
        if self._unlocked is None and self._blind is None and self._content is None:
            return None
        changes, blind = self._unlocked or Changes(), self._blind
        self._unlocked = self._blind = None
        if blind is not None:
            changes.assigned, changes.deleted = blind.assigned, blind.deleted
            changes.cleared = blind.cleared
        elif self._content is not None and self._differs(self._content):
            before: dict[str, Any] = {}
            if self._status is LIVE and not changes.ended:
                before = self._unpack(self._payload).data
            changes.compare(self._runtime.settings.codec, before, self._content.data)
        self._content = None
        return changes

    def _unmerge(self) -> None:
        """Have what was to go with a block wait again, with what was written meanwhile on top."""
        changes, self._merged = self._merged, None
        if changes is None:
            return
        for later in (self._unlocked, self._blind):
            if later is not None:
                changes.follow(later)
        self._unlocked, self._blind = changes.parts()

    def _differs(self, content: Content) -> bool:
        """Say whether `content` is not what is stored; cheaper than finding out where."""
        if self._status is not LIVE:
            return not content.is_empty
        try:
            return contents.pack(self._runtime.settings.codec, content) != self._payload
        except SessionError:
            return True  # it cannot be stored; the commit will say what and where
