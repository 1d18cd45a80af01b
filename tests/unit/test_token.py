"""Tokens: what a cookie carries, what a store sees, what a log may show."""

from __future__ import annotations

import ast
import hashlib
import hmac
import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sanic_cookies import token as token_module
from sanic_cookies.token import LENGTH, REMEMBERED, Credential, Token, is_sid, same

URL_SAFE = set(string.ascii_letters + string.digits + "-_")
WELL_FORMED = "a" * 22 + "." + "B" * 43


def test_generated_tokens_have_the_shape_that_is_parsed() -> None:
    """A token made here is read back equal: 22 + 43 url-safe characters, no padding."""
    token = Token.generate()

    assert len(token.value) == LENGTH
    assert (len(token.sid), len(token.secret)) == (22, 43)
    assert set(token.sid + token.secret) <= URL_SAFE
    assert token.credential == Credential.parse(token.value)


def test_no_two_tokens_are_alike() -> None:
    """Neither id nor secret ever comes twice."""
    tokens = [Token.generate() for _ in range(1000)]

    assert len({token.sid for token in tokens}) == 1000
    assert len({token.secret for token in tokens}) == 1000


@pytest.mark.parametrize(
    "raw",
    [
        "",
        ".",
        "a" * 66,
        "a" * 22 + "." + "b" * 42,
        "a" * 22 + "." + "b" * 44,
        "a" * 21 + "." + "b" * 44,
        "a" * 23 + "." + "b" * 42,
        "a" * 22 + "." + "b" * 42 + "=",
        "a" * 22 + "." + "b" * 42 + "\n",
        "a" * 22 + "." + "b" * 42 + "+",
        "a" * 22 + "." + "b" * 42 + "ü",
        "a" * 21 + "\u0661." + "b" * 43,  # an Arabic digit
        "a" * 21 + "\uff21." + "b" * 43,  # a full-width A
        " " + "a" * 21 + "." + "b" * 43,
        '"' + "a" * 21 + "." + "b" * 43,
        "a" * 22 + ":" + "b" * 43,
        "a" * 1_000_000,
    ],
)
def test_what_has_another_shape_is_no_token(raw: str) -> None:
    """One character too many, too few or of another alphabet, and nothing is parsed."""
    assert Credential.parse(raw) is None


@given(st.text(min_size=60, max_size=70))
@example(WELL_FORMED)
def test_parsing_accepts_exactly_the_shape(raw: str) -> None:
    """Whatever a client sends, it is refused or proves just what it says; nothing raises."""
    credential = Credential.parse(raw)
    sid, dot, secret = raw[:22], raw[22:23], raw[23:]
    shaped = dot == "." and len(secret) == 43 and set(sid + secret) <= URL_SAFE

    assert shaped is (credential is not None)
    assert credential is None or credential == Token(sid, secret).credential


def test_a_token_that_comes_again_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a browser sends with each request costs a hash once, and gives the same each time."""
    hashed: list[bytes] = []

    def counting(secret: bytes) -> hashlib._Hash:
        hashed.append(secret)
        return hashlib.sha256(secret)

    token = Token.generate()
    monkeypatch.setattr(token_module, "sha256", counting)
    first, second = Credential.parse(token.value), Credential.parse(token.value)

    assert hashed == [token.secret.encode()]
    assert first == second == token.credential


def test_a_process_remembers_a_bounded_number_of_tokens() -> None:
    """However many tokens come, made up ones among them, no more than the last are kept."""
    for _ in range(REMEMBERED + 10):
        Credential.parse(Token.generate().value)
        Credential.parse("?" * LENGTH)
    assert token_module._parsed.cache_info().currsize == REMEMBERED


def test_rotation_keeps_the_id_and_replaces_the_secret() -> None:
    """A rotated token is the same session under a new secret."""
    token = Token.generate()
    rotated = token.rotated()

    assert token.sid == rotated.sid
    assert token.secret != rotated.secret
    assert len(rotated.secret) == 43


def test_a_store_sees_a_hash_of_the_secret() -> None:
    """What proves a token is the SHA-256 of its secret, and the secret is not in it."""
    token = Token.generate()
    digest = hashlib.sha256(token.secret.encode()).digest()

    assert Credential(token.sid, digest, token.value) == token.credential
    assert digest == token.secret_hash


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_nothing_shown_of_a_token_can_log_in(show: object) -> None:
    """`repr`, `str` and formatting show the public id and nothing of the secret or its hash."""
    token = Token.generate()
    assert callable(show)
    shown = "".join(map(show, (token, token.credential, Credential.parse(token.value), [token])))

    assert token.sid in shown
    assert token.secret not in shown
    assert repr(token.secret_hash) not in shown
    assert token.secret_hash.hex() not in shown


@pytest.mark.parametrize("value", ["a" * 21, "a" * 23, "a" * 21 + "\n", "a" * 21 + ".", None, 7])
def test_only_a_public_id_is_a_sid(value: object) -> None:
    """Other lengths, characters and types are no public id."""
    assert is_sid("A-_9" * 5 + "ab")
    assert not is_sid(value)


def test_an_empty_hash_equals_nothing() -> None:
    """A record that knows no previous secret is not opened by presenting none."""
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"")
    assert not same(b"", b"abc")
    assert not same(b"", b"")


# What two requests have presented, compared with each other: no secret of the store's is in it.
AMONG_REQUESTS = {
    "locks.holder(credential.sid) != credential.secret_hash",
    "self._runtime.locks.next_in_line(credential.sid) == credential.secret_hash",
}


def test_hashes_are_compared_in_constant_time() -> None:
    """Only `same` compares what a request presents with what is stored (ASVS 5.0, 11.2.4)."""
    package, plain, constant = Path(token_module.__file__).parent, set(), 0
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Compare | ast.Call) else ""
            if isinstance(node, ast.Compare) and "credential.secret_hash" in text:
                plain.add(text)
            elif text.startswith("same(") and "credential.secret_hash" in text:
                constant += 1

    assert plain <= AMONG_REQUESTS
    assert constant >= 2
    assert vars(token_module)["compare_digest"] is hmac.compare_digest
    assert "compare_digest(a, b)" in Path(token_module.__file__).read_text("utf-8")
