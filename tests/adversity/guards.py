"""Take each guard away, in a copy, and see that the tests of its attack notice.

    python tests/adversity/guards.py [part of a guard's name]

A test that passes without the guard proves nothing, nor does one that fails with it. Each row is
one guard: the file, the line that is the guard, what stands there without it, and a test that must
fail then. The tests run against the copy; the checkout is never touched. It takes some minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from guards_of_logins import LOGINS

ROOT = Path(__file__).parent.parent.parent
NOTICED = "noticed"


@dataclass(frozen=True)
class Guard:
    """A guard, and who would miss it.

    Attributes:
        name: What it is for.
        file: Where it stands, inside the package.
        text: The guard.
        without: What is left without it.
        test: File and, after "::", part of the name of a test in tests/adversity.
    """

    name: str
    file: str
    text: str
    without: str
    test: str


READER, SEALS = "session_dict/reader.py", "interfaces/cookie/seals.py"
SALTED = "interfaces/cookie/salted.py"
GUARDS = [
    Guard(
        "a secret is proven",
        READER,
        "if not same(record.secret_hash, credential.secret_hash):",
        "if False:",
        "test_attack_tokens.py::sid_without_its_secret and memory",
    ),
    Guard(
        "a superseded token is dead",
        READER,
        "return LIVE if record.previous_reads else DEAD",
        "return LIVE",
        "test_attack_tokens.py::before_a_login and memory",
    ),
    Guard(
        "the grace ends",
        READER,
        "if record.now >= record.previous_until:",
        "if False:",
        "test_attack_tokens.py::before_a_renewal and memory",
    ),
    Guard(
        "a muted request sends no cookie",
        READER,
        "self._muted = True",
        "self._muted = False",
        "test_attack_tokens.py::before_a_renewal and memory",
    ),
    Guard(
        "two cookies are none",
        READER,
        "if len(values) > 1:",
        "if False:",
        "test_attack_headers.py::two_cookies and memory",
    ),
    Guard(
        "names are compared byte for byte",
        "cookies.py",
        r'named = rb";[ \t]*"',
        r'named = rb";[^\w;]*"',
        "test_attack_headers.py::no_space",
    ),
    Guard(
        "names are compared in full",
        "cookies.py",
        r'named = rb";[ \t]*" + re.escape(name.encode())',
        r'named = rb"(?i);[^;=]*" + re.escape(name.encode().removeprefix(b"__Host-"))',
        "test_attack_headers.py::forged_name and memory",
    ),
    Guard(
        "all Cookie headers are read",
        "cookies.py",
        "return _values(_HEADER.findall(head), name)",
        "return _values(_HEADER.findall(head)[:1], name)",
        "test_attack_headers.py::several_headers and memory",
    ),
    Guard(
        "a Cookie header begins a line",
        "cookies.py",
        r'rb"\r\n(?i:cookie):([^\r]*',
        r'rb"(?i:cookie):([^\r]*',
        "test_attack_headers.py::no_cookie_header and memory",
    ),
    Guard(
        "identity stands beside the data",
        READER,
        "for key, value in content.data.items() if key != auth_key}",
        "for key, value in content.data.items()}",
        "test_attack_tokens.py::say_nothing and memory",
    ),
    Guard(
        "seals are bound to session and cookie",
        SEALS,
        'context = b"\\0" + name.encode() + b"\\0" + cookie_name.encode()',
        'context = b"\\0"',
        "test_attack_seals.py::own_session_and_name",
    ),
    Guard(
        "a session's name is checked again",
        "interfaces/cookie/interface.py",
        " or record.name != name",
        "",
        "../unit/test_in_cookie.py::only_its_own_session",
    ),
    Guard(
        "the tag of a seal is checked",
        SALTED,
        '    return AESGCM(hmac.digest(key, salt + b"\\x01", "sha256"))',
        "    from cryptography.hazmat.primitives.ciphers import Cipher as C\n"
        "    from cryptography.hazmat.primitives.ciphers import algorithms, modes\n"
        '    own = hmac.digest(key, salt + b"\\x01", "sha256")\n'
        "    class Unchecked:\n"
        "        encrypt = AESGCM(own).encrypt\n"
        "        def decrypt(self, nonce, sealed, associated):\n"
        '            counter = modes.CTR(nonce + b"\\0\\0\\0\\2")\n'
        "            return C(algorithms.AES(own), counter).decryptor().update(sealed[:-16])\n"
        "    return Unchecked()",
        "test_attack_seals.py::flipped_bit and gcm",
    ),
    Guard(
        "a salt's seals are counted",
        SALTED,
        "self._left <= 0 or",
        "",
        "../unit/test_salted.py::no_more_cookies",
    ),
    Guard(
        "a salt is one process's",
        SALTED,
        " or self._process != os.getpid()",
        "",
        "../unit/test_salted.py::forked",
    ),
    Guard(
        "what is known of cookies has a bound",
        "interfaces/cookie/sealed.py",
        "if len(self._recent) >= MOST_KNOWN // 2:",
        "if False:",
        "../unit/test_sealed.py::what_is_known_has_a_bound",
    ),
    Guard(
        "only a cookie that has opened is known",
        "interfaces/cookie/sealed.py",
        "            if record is not None:",
        "            if True:",
        "../unit/test_sealed.py::leaves_no_trace",
    ),
    Guard(
        "a nonce is one seal's",
        SALTED,
        "        nonce = os.urandom(NONCE)",
        "        nonce = salt[:NONCE]",
        "../unit/test_salted.py::no_nonce_comes_twice",
    ),
    Guard(
        "what is kept of salts has a bound",
        SALTED,
        "if len(self._opening) >= MOST_KEPT:",
        "if False:",
        "../unit/test_salted.py::has_a_bound",
    ),
    Guard(
        "only a salt that has opened something is kept",
        SALTED,
        "            plain = _opened(cipher, nonce, sealed, associated)\n",
        "            plain = _opened(cipher, nonce, sealed, associated)\n"
        "            self._keep(salt, cipher)\n",
        "../unit/test_salted.py::leave_no_trace",
    ),
    Guard(
        "what comes from the future is refused",
        "interfaces/cookie/interface.py",
        "record is not None and record.last_seen <= self._clock() + FUTURE_SECONDS:",
        "record is not None:",
        "test_attack_seals.py::another_time",
    ),
    Guard(
        "sealed sessions expire",
        "interfaces/cookie/interface.py",
        " if record.expires_at > now else None",
        "",
        "test_attack_seals.py::another_time",
    ),
    Guard(
        "an older cookie is refused",
        "interfaces/cookie/revocations.py",
        "        if newest.version > record.version + 1",
        "        return record\n        if newest.version > record.version + 1",
        "test_attack_seals.py::earlier_state",
    ),
    Guard(
        "a logout is remembered",
        "interfaces/cookie/interface.py",
        "await self._revocations.end(record, _longest(record))",
        "pass",
        "test_attack_tokens.py::before_a_logout and cookie",
    ),
    Guard(
        "stores keep a hash",
        "token.py",
        "return Credential(self.sid, sha256(self.secret.encode()).digest(), self.value)",
        "return Credential(self.sid, self.secret.encode(), self.value)",
        "test_attack_stores.py::copied_store and memory",
    ),
    Guard(
        "a stranger takes the same steps",
        "interfaces/memory/interface.py",
        '        """See `Interface.fetch`."""\n',
        '        """See `Interface.fetch`."""\n'
        "        if self._shelf(name).live(sid, self._now()) is not None:\n"
        "            self.touch\n",
        "test_attack_stores.py::costs_the_same",
    ),
    Guard(
        "no log line has what was sent",
        READER,
        'suspicious(self._runtime, "two cookies of the session\'s name")',
        'suspicious(self._runtime, f"two cookies: {values}")',
        "test_attack_logs.py::client_sends",
    ),
    Guard(
        "names of routes are escaped",
        "session_dict/locker.py",
        '"%s: the route %r did not get its session: %s"',
        '"%s: the route %s did not get its session: %s"',
        "test_attack_logs.py::name_of_a_route",
    ),
    Guard(
        "names of holders are escaped",
        "locks.py",
        'f"held by the route {self.label!r}"',
        'f"held by the route {self.label}"',
        "test_attack_logs.py::name_of_a_route",
    ),
    Guard(
        "answers vary by cookie",
        "exchange.py",
        "if self.accessed:",
        "if False:",
        "test_attack_caches.py::one_user and memory-careless",
    ),
    Guard(
        "a cookie is not stored by caches",
        "exchange.py",
        "headers[_CACHE] = _NO_STORE",
        "pass",
        "test_attack_caches.py::no_cookie_of and memory-careless",
    ),
    Guard(
        "a cookie is not stored by caches that follow a header of their own",
        "exchange.py",
        "if _NO_STORE not in headers[name]:",
        "if False:",
        "test_attack_caches.py::no_cookie_of and memory-cdn",
    ),
    Guard(
        "weak keys are refused",
        "interfaces/cookie/keys.py",
        "if _is_made_up(raw) or _is_typed(",
        "if False and (lambda *_: True)(",
        "test_attack_keys.py::each_weak",
    ),
    Guard(
        "published keys are refused",
        "interfaces/cookie/keys.py",
        "if raw in _PUBLISHED:",
        "if False:",
        "test_attack_keys.py::each_weak",
    ),
    Guard(
        "the next head is read",
        "interfaces/cookie/interface.py",
        "MAX_COOKIE_BYTES if self._room is None else min(MAX_COOKIE_BYTES, self._room())",
        "MAX_COOKIE_BYTES",
        "../app/test_in_cookie.py::leave_the_server_reachable",
    ),
    Guard(
        "an older cookie opens no block",
        "interfaces/bound.py",
        "if self._own is not None and record is not None and _reads_on(record):",
        "if False:",
        "../app/test_in_cookie.py::opens_no_block",
    ),
    Guard(
        "an older cookie is not touched",
        "interfaces/cookie/interface.py",
        "if record is None or await self._revocations.judged(record) is not record:",
        "if record is None:",
        "../app/test_in_cookie.py::bring_an_older_cookie_back",
    ),
    Guard(
        "a logout is remembered as long as any cookie of the session lives",
        "interfaces/cookie/revocations.py",
        "max(ttl, self._left))\n        if await self._interface.save(tombstone)",
        "ttl)\n        if await self._interface.save(tombstone)",
        "../unit/test_in_cookie.py::an_end_is_remembered",
    ),
]
GUARDS += [Guard(*row) for row in LOGINS]


def is_there(guard: Guard) -> bool:
    """Say whether the guard stands in its file, once, so that it can be taken away."""
    return (ROOT / "sanic_cookies" / guard.file).read_text("utf-8").count(guard.text) == 1


def run(guard: Guard, copy: Path) -> int:
    """Run the guard's test against `copy`; return pytest's exit code."""
    path, _, names = guard.test.partition("::")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [str(copy / "tests" / "adversity" / path), "-k", names]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True).returncode


def verdict(guard: Guard, copy: Path) -> str:
    """Run the guard's test with it and without it; say what that shows."""
    if run(guard, copy) != pytest.ExitCode.OK:
        return "FAILS WITH IT"
    file = copy / "sanic_cookies" / guard.file
    whole = file.read_text("utf-8")
    file.write_text(whole.replace(guard.text, guard.without), "utf-8")
    try:
        code = run(guard, copy)
    finally:
        file.write_text(whole, "utf-8")
    # Any other code than this one is of tests that passed, or did not even run.
    return NOTICED if code == pytest.ExitCode.TESTS_FAILED else "NOT NOTICED"


def main(wanted: str = "") -> int:
    """Try each guard whose name holds `wanted`; return how many would not be missed."""
    for guard in GUARDS:  # before the minutes are spent
        if not is_there(guard):
            raise SystemExit(f"{guard.name}: not in {guard.file} once; mend the table of guards")
    missed = 0
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "copy"
        ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", "mutants", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for guard in GUARDS:
            if wanted in guard.name:
                shown = verdict(guard, copy)
                missed += shown != NOTICED
                print(f"{shown:14} {guard.name}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
