"""AES-256-GCM under keys that are expanded from a ring's key and a salt (HKDF, RFC 5869).

A process draws a salt for a million cookies, each of which has a random nonce. The key of a salt is
derived once, where one for each cookie would take longer than the sealing itself.

Why a million: under one key, n random nonces of 96 bits meet with a chance of n^2 / 2^97. NIST SP
800-38D allows 2^-32 (section 8), that is 2^32 seals by all who have the key (8.3). Here it is 2^-57
for each salt, and for a site that seals 10,000 cookies a second over ten years, 2^-35 in all.
Nonces come from the kernel each time, so even 4096 processes that shared a salt would keep to that.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SALT: Final = 16
NONCE: Final = 12
TAG: Final = 16
SEALS_PER_SALT: Final = 2**20
# Of 2.5 KB each. A salt is one process's, so few are in use at a time.
MOST_KEPT: Final = 256


class SaltedCiphers:
    """Seals with the first key and a salt of this process; opens with all keys and any salt."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 random bytes; nothing is drawn before the first seal."""
        self._keys = keys
        self._opening: dict[bytes, AESGCM] = {}
        self._sealing: tuple[bytes, AESGCM] | None = None
        self._left = 0
        self._process = 0

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Return salt, nonce and what was sealed, with its tag."""
        sealing = self._sealing
        # A forked process draws a salt of its own, so that the count is that of all its seals.
        if sealing is None or self._left <= 0 or self._process != os.getpid():
            sealing = self._draw()
        self._left -= 1
        salt, cipher = sealing
        nonce = os.urandom(NONCE)
        return salt + nonce + cipher.encrypt(nonce, plain, associated)

    def open(self, raw: bytes, associated: bytes) -> bytes | None:
        """Return what was sealed; None if no key of the ring has sealed it for this purpose.

        Args:
            raw: What `seal` returns, or anything else that is as long as salt, nonce and tag.
            associated: What it has to be sealed with.
        """
        salt, nonce, sealed = raw[:SALT], raw[SALT : SALT + NONCE], raw[SALT + NONCE :]
        known = self._opening.get(salt)
        if known is not None:
            return _opened(known, nonce, sealed, associated)
        for key in self._keys:
            cipher = _derived(key, salt)
            plain = _opened(cipher, nonce, sealed, associated)
            if plain is not None:
                # Only now: who makes salts up neither fills this nor drives anything out of it.
                self._keep(salt, cipher)
                return plain
        return None

    def _draw(self) -> tuple[bytes, AESGCM]:
        salt = os.urandom(SALT)
        sealing = self._sealing = salt, _derived(self._keys[0], salt)
        self._left, self._process = SEALS_PER_SALT, os.getpid()
        self._keep(*sealing)
        return sealing

    def _keep(self, salt: bytes, cipher: AESGCM) -> None:
        if len(self._opening) >= MOST_KEPT:
            self._opening.clear()  # what is in use is back with the next cookie
        self._opening[salt] = cipher


def _derived(key: bytes, salt: bytes) -> AESGCM:
    """Return the cipher of a salt; its key is HKDF-Expand of one block (RFC 5869, 2.3)."""
    return AESGCM(hmac.digest(key, salt + b"\x01", "sha256"))


def _opened(cipher: AESGCM, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    try:
        return cipher.decrypt(nonce, sealed, associated)
    except InvalidTag:
        return None
