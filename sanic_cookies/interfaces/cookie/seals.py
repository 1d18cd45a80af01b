"""Keys, and what is sealed with them: AES-256-GCM, or Fernet as it has always been.

A ring has keys and one cipher to seal with; it opens what either cipher has sealed with any of its
keys. So a key, or the cipher, is changed without ending a session: what is written is sealed anew.

    aes-gcm   0x02, 16 bytes salt, 12 bytes nonce, ciphertext and 16 bytes tag
    fernet    0x80 and so on: AES-128-CBC and HMAC-SHA256, see the specification of Fernet

OWASP ASVS 5.0 asks for approved ciphers and modes (11.3.2); its appendix C approves AES-256 and
GCM, and calls AES-128 and CBC legacy, which new data should not be sealed with. Hence the default.

Every cookie has a key of its own, expanded from the ring's key and the salt (HKDF, RFC 5869). Under
one key random nonces would be good for 2^32 cookies (NIST SP 800-38D, section 8.3), which a busy
site sends within weeks; salt and nonce together never meet again (ASVS 5.0, 11.3.4).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Sequence
from typing import Literal, get_args

from ...cookies import MAX_COOKIE_BYTES
from ...errors import SessionConfigError
from .keys import KEY_BYTES

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "InCookieEncrypted needs its driver: pip install 'sanic-cookies[cookie]'"
    ) from error

Cipher = Literal["aes-gcm", "fernet"]

_FORMAT, _SALT, _NONCE, _TAG = b"\x02", 16, 12, 16
_LEAST_CHARACTERS = 4 * (1 + _SALT + _NONCE + _TAG) // 3

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
# A value has one spelling: the bits that its last character has to spare must be zero.
_LAST = {0: _ALPHABET, 1: b"", 2: _ALPHABET[::16], 3: _ALPHABET[::4]}


class Ring:
    """The keys of one cookie of one session.

    Both names are part of what the keys are derived from, so no session's cookie opens another's
    (ASVS 5.0, 9.2.2), and the purpose is, so both ciphers may share a key.
    """

    def __init__(self, keys: Sequence[bytes], cipher: Cipher, name: str, cookie_name: str) -> None:
        """Derive what is needed.

        Args:
            keys: 32 random bytes each; the first one seals, all of them open.
            cipher: What the first one seals with.
            name: Name of the session.
            cookie_name: Name of the cookie.
        """
        context = b"\0" + name.encode() + b"\0" + cookie_name.encode()
        self._associated = _FORMAT + context
        self._keys = [_derived(key, b"sanic_cookies aes-256-gcm" + context) for key in keys]
        self._fernet = MultiFernet(
            [
                Fernet(base64.urlsafe_b64encode(_derived(key, b"sanic_cookies" + context)))
                for key in keys
            ]
        )
        self.seal = self._seal_fernet if cipher == "fernet" else self._seal_gcm

    def open(self, value: str) -> bytes | None:
        """Return what was sealed; None for anything that this ring has not sealed.

        There is one answer to whatever is wrong (ASVS 5.0, 11.2.5), and neither cipher is tried on
        what is shorter than a seal, longer than a cookie or not of the url-safe alphabet.
        """
        if not _LEAST_CHARACTERS <= len(value) <= MAX_COOKIE_BYTES or not value.isascii():
            return None
        text = value.encode()
        if text.translate(None, _ALPHABET) or text[-1] not in _LAST[len(text) % 4]:
            return None
        text += b"=" * (-len(text) % 4)
        # The first byte, and with it the first character, says which cipher it was.
        return self._open_gcm(text) if text[:1] == b"A" else self._open_fernet(text)

    def _seal_gcm(self, plain: bytes) -> str:
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        sealed = _cipher(self._keys[0], salt).encrypt(nonce, plain, self._associated)
        text = binascii.b2a_base64(_FORMAT + salt + nonce + sealed, newline=False)
        # No padding: "=" would have the value quoted on its way.
        return text.translate(_TO_URL).rstrip(b"=").decode()

    def _open_gcm(self, text: bytes) -> bytes | None:
        raw = binascii.a2b_base64(text.translate(_FROM_URL))
        if raw[:1] != _FORMAT:
            return None
        salt, nonce, sealed = raw[1:17], raw[17:29], raw[29:]
        for key in self._keys:
            try:
                return _cipher(key, salt).decrypt(nonce, sealed, self._associated)
            except InvalidTag:
                continue
        return None

    def _seal_fernet(self, plain: bytes) -> str:
        return self._fernet.encrypt(plain).rstrip(b"=").decode()

    def _open_fernet(self, text: bytes) -> bytes | None:
        try:
            return self._fernet.decrypt(text)
        except InvalidToken:
            return None


def _derived(key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    """Return the cipher of one cookie; its key is HKDF-Expand of one block (RFC 5869, 2.3)."""
    return AESGCM(hmac.digest(key, salt + b"\x01", "sha256"))


def checked_cipher(cipher: object) -> Cipher:
    """Return `cipher`, if it is one.

    Raises:
        SessionConfigError: It is not.
    """
    if cipher not in get_args(Cipher):
        raise SessionConfigError(f"cipher must be one of {get_args(Cipher)}")
    return cipher  # type: ignore[return-value]
