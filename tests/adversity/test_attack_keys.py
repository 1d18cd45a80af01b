"""Attacks with known keys: an app with a weak, published or example key does not start.

Who knows the key writes any session (CVE-2023-27524). Each key is given to a program of its own, as
an operator would, in the environment; it must end before it serves, say what to do, and not show
the key.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sanic_cookies import InCookieEncrypted, SessionConfigError
from sanic_cookies.cli.maintenance import new_key
from sanic_cookies.interfaces.cookie.keys import PUBLISHED

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import os
from sanic import Sanic
from sanic_cookies import InCookieEncrypted, Session
Session(Sanic("shop"), InCookieEncrypted(os.environ["KEYS"].split(",")))
print("started")
"""
_LOOKS_LIKE_A_KEY = re.compile(r"(?<![A-Za-z0-9_/+=-])[A-Za-z0-9_/+-]{43}=")


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


WEAK = {
    "none": "",
    "word": "secret",
    "hex": "0123456789abcdef" * 4,
    "short": encoded(bytes(range(7, 23))),
    "zeros": encoded(bytes(32)),
    "ones": encoded(b"\xff" * 32),
    "repeated": encoded(bytes.fromhex("c0ffee42") * 8),
    "counted": encoded(bytes(range(32))),
    "counted-down": encoded(bytes(range(255, 223, -1))),
    "text": encoded(b"correct horse battery staple 123"),
    "typed": "super-secret-key-for-my-sanic-app-2026-jan0=",
    "shouted": "CHANGE-ME-BEFORE-YOU-GO-TO-PRODUCTION-12345=",
    **{f"published-{number}": key for number, key in enumerate(PUBLISHED)},
}


def start(keys: str) -> subprocess.CompletedProcess[str]:
    """Start the program with these keys."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"KEYS": keys, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["published-0", "zeros", "text", "none"])
def test_a_program_with_a_weak_key_does_not_start(name: str) -> None:
    """It ends with the error, says how to make a key, and prints nothing of the one it has."""
    for keys in (WEAK[name], f"{new_key()},{WEAK[name]}"):
        program = start(keys)
        assert program.returncode != 0
        assert "started" not in program.stdout
        assert "SessionConfigError" in program.stderr
        assert "sanic-cookies key" in program.stderr
        assert not WEAK[name] or WEAK[name] not in program.stderr


def test_a_program_with_a_good_key_starts() -> None:
    """So it is the key that the others fail by."""
    program = start(f"{new_key()},{new_key()}")
    assert (program.returncode, program.stdout) == (0, "started\n"), program.stderr


@pytest.mark.parametrize("name", WEAK)
def test_each_weak_key_is_refused(name: str) -> None:
    """Too short, made by a rule, typed by a person, or known to everybody."""
    for key in (WEAK[name], [new_key(), WEAK[name]], WEAK[name].encode()):
        with pytest.raises(SessionConfigError, match="sanic-cookies key"):
            InCookieEncrypted(key)


def test_no_document_and_no_example_shows_a_key_that_works() -> None:
    """What people copy must not be accepted; a key is made, never printed in a text."""
    files = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.py")]
    found = [key for file in files for key in _LOOKS_LIKE_A_KEY.findall(file.read_text("utf-8"))]
    assert _LOOKS_LIKE_A_KEY.findall(f'KEYS="{new_key()}" python app.py') != []
    for key in found:
        with pytest.raises(SessionConfigError):
            InCookieEncrypted(key)


def test_random_keys_are_taken() -> None:
    """The checks refuse people, not chance: two thousand keys of ours, none refused."""
    for _ in range(20):
        InCookieEncrypted([new_key() for _ in range(100)])
