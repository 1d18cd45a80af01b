"""One derived key for many cookies: how many, of which process, and what is kept of it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections import Counter

import pytest

from sanic_cookies.interfaces.cookie import salted
from sanic_cookies.interfaces.cookie.salted import NONCE, SALT, SaltedCiphers

PURPOSE = b"a test"


def a_ring(keys: int = 1) -> SaltedCiphers:
    return SaltedCiphers([secrets.token_bytes(32) for _ in range(keys)])


def of_another_process(ciphers: SaltedCiphers) -> SaltedCiphers:
    """Return the same keys without what this process has drawn and derived."""
    return SaltedCiphers(ciphers._keys)


def salt_of(sealed: bytes) -> bytes:
    return sealed[:SALT]


def test_a_salt_seals_no_more_cookies_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are sealed, none of the derived keys has sealed more than its number."""
    monkeypatch.setattr(salted, "SEALS_PER_SALT", 7)
    ciphers = a_ring()
    salts = Counter(salt_of(ciphers.seal(b"x", PURPOSE)) for _ in range(100))

    assert max(salts.values()) == 7
    assert len(salts) == 15


def test_the_number_keeps_far_from_what_random_nonces_bear() -> None:
    """NIST SP 800-38D, 8.3, has 2^32; a thousand processes with one salt would keep it too."""
    assert salted.SEALS_PER_SALT * 1000 < 2**32
    assert 8 * NONCE == 96


def test_no_nonce_comes_twice() -> None:
    """Under one salt each seal has a nonce of its own, and nothing behind it is alike."""
    ciphers = a_ring()
    sealed = [ciphers.seal(b"the same", PURPOSE) for _ in range(1000)]

    assert len({salt_of(each) for each in sealed}) == 1
    assert len({each[SALT : SALT + NONCE] for each in sealed}) == 1000
    assert len({each[SALT + NONCE :] for each in sealed}) == 1000


FORKING = f"""
import os
from sanic_cookies.interfaces.cookie.salted import SaltedCiphers

ciphers = SaltedCiphers([os.urandom(32)])
mine = [ciphers.seal(b"x", b"")[:{SALT + NONCE}] for _ in range(3)]
for _ in range(3):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, b"".join(ciphers.seal(b"x", b"")[:{SALT + NONCE}] for _ in range(3)))
        os._exit(0)
    print(os.read(reading, 1000).hex())
    os.wait()
print(b"".join(mine + [ciphers.seal(b"x", b"")[:{SALT + NONCE}]]).hex())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_a_forked_process_has_a_salt_of_its_own() -> None:
    """Workers that one parent has forked after it had sealed share neither salt nor nonce."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=60
    )
    family = [bytes.fromhex(line) for line in done.stdout.split()]
    step = SALT + NONCE
    seals = [[each[at : at + step] for at in range(0, len(each), step)] for each in family]

    assert [len(each) for each in seals] == [3, 3, 3, 4]
    assert [len({salt_of(each) for each in process}) for process in seals] == [1, 1, 1, 1]
    assert len({salt_of(process[0]) for process in seals}) == 4
    assert len({each[SALT:] for process in seals for each in process}) == 13


@pytest.mark.parametrize("keys", [1, 3])
def test_what_another_process_has_sealed_opens_again_and_again(keys: int) -> None:
    """With a salt that is new, with one that is known, and after all has been dropped."""
    ours, theirs = a_ring(keys), None
    for key in ours._keys:
        theirs = SaltedCiphers([key])
        sealed = [theirs.seal(str(number).encode(), PURPOSE) for number in range(3)]
        for _ in range(2):
            assert [ours.open(each, PURPOSE) for each in sealed] == [b"0", b"1", b"2"]
            ours._opening.clear()
            assert theirs.open(sealed[0], b"another purpose") is None


def test_what_is_kept_of_salts_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """More salts than are kept all open, and no more than that are kept."""
    monkeypatch.setattr(salted, "MOST_KEPT", 4)
    ours = a_ring()
    theirs = [of_another_process(ours).seal(b"x", PURPOSE) for _ in range(20)]
    for _ in range(2):
        for sealed in theirs:
            assert ours.open(sealed, PURPOSE) == b"x"
            assert len(ours._opening) <= 4


def test_salts_that_somebody_makes_up_leave_no_trace() -> None:
    """A flood of forged cookies fills nothing and drives out nothing that is in use."""
    ours = a_ring(2)
    sealed = of_another_process(ours).seal(b"x", PURPOSE)
    assert ours.open(sealed, PURPOSE) == b"x"
    before = dict(ours._opening)
    for _ in range(3 * salted.MOST_KEPT):
        assert ours.open(secrets.token_bytes(len(sealed)), PURPOSE) is None

    assert ours._opening == before == {salt_of(sealed): before[salt_of(sealed)]}


def test_a_known_salt_opens_nothing_that_was_not_sealed() -> None:
    """Whoever puts a salt that is in use before something else gets nowhere."""
    ours = a_ring()
    sealed = ours.seal(b"x" * 50, PURPOSE)
    for _ in range(100):
        assert ours.open(salt_of(sealed) + secrets.token_bytes(100), PURPOSE) is None
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        assert ours.open(bytes(changed), PURPOSE) is None

    assert ours.open(sealed, b"another purpose") is None
    assert ours.open(sealed, PURPOSE) == b"x" * 50
