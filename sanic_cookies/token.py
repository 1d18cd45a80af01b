"""The token that a cookie carries: `sid.secret`.

`sid` is public: it names the record, the lock and the log line. `secret` opens the session and is
known to the browser only; stores keep its SHA-256. So neither a dump of a store nor a log can log
anybody in (OWASP ASVS 5.0, 7.2.3: reference tokens with at least 128 bits from a CSPRNG).
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from string import ascii_letters, digits

from msgspec import Struct

SID_BYTES = 16  # 128 bits: 22 url-safe characters
SECRET_BYTES = 32  # 256 bits: 43 url-safe characters
SID_LENGTH = 22
LENGTH = 66
REMEMBERED = 1024  # tokens that a process has last seen, in half a megabyte

_SID = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)

# Makes an "a" of each character of the url-safe alphabet and leaves all others as they are.
_ALPHABET = (ascii_letters + digits + "-_").encode()
_KINDS = bytes.maketrans(_ALPHABET, b"a" * len(_ALPHABET))
_SHAPE = b"a" * SID_LENGTH + b"." + b"a" * (LENGTH - SID_LENGTH - 1)


class Credential(Struct, frozen=True, gc=False):
    """What a request presents: enough to find a session and to prove the right to it.

    Attributes:
        sid: The public id.
        secret_hash: SHA-256 of the secret that came with it.
        value: What the cookie carries, secret included; "" where that is no token.
    """

    sid: str
    secret_hash: bytes
    value: str = ""

    @classmethod
    def parse(cls, value: str) -> Credential | None:
        """Read a cookie's value; anything of another shape than a token's proves nothing.

        The shape alone is judged, so this runs before any I/O, lock or log line.
        """
        return _parsed(value) if len(value) == LENGTH else None

    def __repr__(self) -> str:
        """Show the public half only."""
        return f"<Credential {self.sid}>"


# A browser sends its token with each request, and to hash it is some percent of a read: by then the
# code of OpenSSL has left the processor's cache. What is remembered proves no more than what came:
# it is compared with the store's hash each time.
@lru_cache(maxsize=REMEMBERED)
def _parsed(value: str) -> Credential | None:
    if value.encode("ascii", "replace").translate(_KINDS) != _SHAPE:
        return None
    secret = value[SID_LENGTH + 1 :]
    return Credential(value[:SID_LENGTH], sha256(secret.encode()).digest(), value)


class Token(Struct, frozen=True, gc=False):
    """What opens a session.

    Attributes:
        sid: The public id, 22 characters; safe to log, to list and to revoke by.
        secret: The private half, 43 characters; goes into a cookie and nowhere else.
    """

    sid: str
    secret: str

    @classmethod
    def generate(cls) -> Token:
        """Make a token for a new session."""
        return cls(token_urlsafe(SID_BYTES), token_urlsafe(SECRET_BYTES))

    def rotated(self) -> Token:
        """Return a token of the same session with a new secret."""
        return Token(self.sid, token_urlsafe(SECRET_BYTES))

    @property
    def secret_hash(self) -> bytes:
        """SHA-256 of the secret, 32 bytes: all that a store ever sees of it."""
        return self.credential.secret_hash

    @property
    def credential(self) -> Credential:
        """What this token proves."""
        return Credential(self.sid, sha256(self.secret.encode()).digest(), self.value)

    @property
    def value(self) -> str:
        """What the cookie carries."""
        return f"{self.sid}.{self.secret}"

    def __repr__(self) -> str:
        """Show the public half only."""
        return f"<Token {self.sid}>"


def is_sid(value: object) -> bool:
    """Say whether `value` has the shape of a public id."""
    return isinstance(value, str) and _SID.fullmatch(value) is not None


def same(a: bytes, b: bytes) -> bool:
    """Compare two hashes in constant time; an empty one equals nothing."""
    return bool(a) and compare_digest(a, b)
