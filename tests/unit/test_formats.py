"""What was stored and sent by this release, byte for byte: the next one has to read it.

Each of these is a promise to sites that are running. Where one fails all users would be logged out,
or their sessions gone, by an upgrade: then the format has to become a second one beside the first.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec
import pytest

from sanic_cookies.auth import csrf, stamps
from sanic_cookies.codec import JSONCodec
from sanic_cookies.content import Content, Identity, Life, pack, unpack
from sanic_cookies.interfaces.cookie.seals import Ring
from sanic_cookies.record import Record
from sanic_cookies.token import Credential

KEY = bytes(range(32))
SEALED = {
    "aes-gcm": "Aoa4utfTyLSvoehoX1EvEvkcWVs4QaW7Nsd9SpY_g9XyqbD6-CYL7vMsSCT4NJZ_MA",
    "fernet": "gAAAAABrCwMgIL2FmWt-Z2nj37yTND9h0ZAPk4c_CcO34DzXuG_o23ff-WaCAahq8ax8zhY45JgAcfV5IDR"
    "ND7zaHVMMch2HRA",
}


@pytest.mark.parametrize("cipher", SEALED)
def test_a_sealed_cookie_opens_after_an_upgrade(cipher: str) -> None:
    """A key makes the same keys for a session's cookie as before, whatever seals now."""
    ring = Ring([KEY], "aes-gcm", "session", "__Host-session")

    assert ring.open(SEALED[cipher]) == b"kept"


def test_the_record_in_a_cookie() -> None:
    """A record is a list of fifteen values in the order of its fields."""
    record = Record(
        *("session", "sid", 2, b"hash", b"payload", 1.0, 2.0, 3.0, 4.0, 5.0),
        *(b"former", 6.0, True, "ann", 7.0),
    )

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record)) == list(
        msgspec.structs.astuple(record)
    )
    assert msgspec.structs.astuple(record)[:5] == ("session", "sid", 2, b"hash", b"payload")


def test_the_content_of_a_record() -> None:
    """Data, login, own lifetime and what features keep are one tree of JSON."""
    identity = Identity("ann", 1.5, 60.0, 30.0, True, True, 2.5, "stamp", "agent", "place")
    content = Content({"n": 1}, identity, Life(5.0, None, False), {"csrf": "seed"})
    payload = (
        b'{"v":1,"d":{"n":1},"i":["ann",1.5,60.0,30.0,true,true,2.5,"stamp","agent","place"],'
        b'"l":[5.0,null,false],"x":{"csrf":"seed"}}'
    )

    assert pack(JSONCodec(), content) == payload
    assert unpack(JSONCodec(), payload) == content


def test_the_hash_of_a_secret() -> None:
    """A store keeps the SHA-256 of the part of a token that is behind the dot."""
    credential = Credential.parse(f"{'a' * 22}.{'b' * 43}")

    assert credential is not None
    assert (credential.sid, credential.secret_hash) == ("a" * 22, sha256(b"b" * 43).digest())


@pytest.mark.parametrize("stamp", ["secret", b"secret"])
def test_the_fingerprint_of_a_stamp(stamp: str | bytes) -> None:
    """What a session keeps of a stamp stays the same: a new one would log out every user."""
    expected = "607da7140e6244799db83c554f537c33e30af0a3107de8cd688c046deb1d8604"

    assert stamps._fingerprint(stamp) == expected


def test_a_stamp_may_hold_what_no_text_may() -> None:
    """Half of a surrogate pair, as a careless client sends it, is a stamp like any."""
    assert stamps._fingerprint("\ud800") != stamps._fingerprint("\ud801")


def test_a_token_in_a_form_that_was_open_during_an_upgrade() -> None:
    """What is signed for a session's forms, and how, stays the same."""
    signature = bytes.fromhex("733c9260aa9bee2ab31403eff3e276e8a173a65e6002ca2e9d2145cc10a79342")

    assert csrf._signature("seed") == signature
    token = urlsafe_b64encode(bytes(32) + signature).rstrip(b"=").decode()
    assert csrf._SHAPE.fullmatch(token)
