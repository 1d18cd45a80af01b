"""Keys, and what is sealed with them: AES-256-GCM, or Fernet as it has always been.

A ring has keys and one cipher to seal with; it opens what either cipher has sealed with any of its
keys. So a key, or the cipher, is changed without ending a session: what is written is sealed anew.

    aes-gcm   0x02, 16 bytes salt, 12 bytes nonce, ciphertext and 16 bytes tag
    fernet    0x80 and so on: AES-128-CBC and HMAC-SHA256, see the specification of Fernet

OWASP ASVS 5.0 asks for approved ciphers and modes (11.3.2); its appendix C approves AES-256 and
GCM, and calls AES-128 and CBC legacy, which new data should not be sealed with. Hence the default.

Under one key random nonces would be good for 2^32 cookies (NIST SP 800-38D, section 8.3), which a
busy site sends within weeks. Hence the salt, which gives each process one key after the other (see
`salted`); salt and nonce together never meet again (ASVS 5.0, 11.3.4).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Literal, get_args

from ...cookies import MAX_COOKIE_BYTES
from ...errors import SessionConfigError
from .keys import KEY_BYTES

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    from .salted import NONCE, SALT, TAG, SaltedCiphers
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "InCookieEncrypted needs its driver: pip install 'sanic-cookies[cookie]'", name=error.name
    ) from error

Cipher = Literal["aes-gcm", "fernet"]

_FORMAT = b"\x02"
_LEAST_CHARACTERS = 4 * (len(_FORMAT) + SALT + NONCE + TAG) // 3

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL = bytes.maketrans(b"+/", b"-_")
# What is not of the url-safe alphabet becomes what is of no alphabet, and is refused for that.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
# A value has one spelling: the bits that its last character has to spare must be zero.
_LAST = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
_PADDING = (b"", b"", b"==", b"=")


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
        purpose = b"sanic_cookies aes-256-gcm" + context
        self._ciphers = SaltedCiphers([_derived(key, purpose) for key in keys])
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
        if text[-1] not in _LAST[len(text) % 4]:
            return None
        # The first byte, and with it the first character, says which cipher it was.
        return self._open_gcm(text) if value[0] == "A" else self._open_fernet(text)

    def _seal_gcm(self, plain: bytes) -> str:
        raw = _FORMAT + self._ciphers.seal(plain, self._associated)
        text = binascii.b2a_base64(raw, newline=False)
        # No padding: "=" would have the value quoted on its way.
        return text.translate(_TO_URL).rstrip(b"=").decode()

    def _open_gcm(self, text: bytes) -> bytes | None:
        padded = text.translate(_FROM_URL) + _PADDING[len(text) % 4]
        try:
            raw = binascii.a2b_base64(padded, strict_mode=True)
        except binascii.Error:
            return None
        return self._ciphers.open(raw[1:], self._associated) if raw[:1] == _FORMAT else None

    def _seal_fernet(self, plain: bytes) -> str:
        return self._fernet.encrypt(plain).rstrip(b"=").decode()

    def _open_fernet(self, text: bytes) -> bytes | None:
        if text.translate(None, _ALPHABET):
            return None  # Fernet itself would pass over it
        try:
            return self._fernet.decrypt(text + _PADDING[len(text) % 4])
        except InvalidToken:
            return None


def _derived(key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)


def checked_cipher(cipher: object) -> Cipher:
    """Return `cipher`, if it is one.

    Raises:
        SessionConfigError: It is not.
    """
    if cipher not in get_args(Cipher):
        raise SessionConfigError(f"cipher must be one of {get_args(Cipher)}")
    return cipher  # type: ignore[return-value]
