"""The users of login.py, and how passwords are checked; nothing here concerns sessions."""

from __future__ import annotations

import asyncio
import hashlib
import os
from hmac import compare_digest


def _hash(password: str, salt: bytes) -> bytes:
    # A real app uses argon2 (argon2-cffi); scrypt is what Python brings along.
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=2**14, r=8, p=1)


def hashed(password: str) -> tuple[bytes, bytes]:
    """Return what is kept of a password: a salt and a slow hash."""
    salt = os.urandom(16)
    return salt, _hash(password, salt)


# A real app has them in its database, wants better passwords and limits the attempts.
USERS = {"ada": hashed("lovelace"), "grace": hashed("hopper")}
NOBODY = (b"", b"")


async def verified(name: str, password: str) -> bool:
    """Say whether the password is right; an unknown name takes as long as a wrong password."""
    return await matches(password, USERS.get(name, NOBODY))


async def matches(password: str, kept: tuple[bytes, bytes]) -> bool:
    """Say whether `kept` was made from this password."""
    salt, known = kept
    found = await asyncio.to_thread(_hash, password, salt)  # 50 ms, so not on the event loop
    return compare_digest(found, known)
