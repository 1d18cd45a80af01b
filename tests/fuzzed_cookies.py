"""Cookie headers as nobody should send them, made from good ones by rules.

All is drawn from one random generator, so a seed gives the same headers again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from urllib.parse import quote_from_bytes

SPACES = [b" ", b"\t", b"  ", b"\xc2\xa0", b"\xe2\x80\x80", b"\xe3\x80\x80", b"\x85", b"\x0b"]
PREFIXES = [b"__Host-", b"__Secure-", b"__Host-Http-", b"__host-", b"__HOST-", b"__Host-__Host-"]
SEPARATORS = [b"; ", b"; ", b"; ", b";", b";;", b" ; ", b",", b"&", b"\t;", b"; ;"]
ODD = [
    b"\0",
    b"\x01",
    b"\x1b[31m",
    b"\x7f",
    b"\r",
    b"\n",
    b"\\",
    b'"',
    b"%0d%0a",
    b"\\012\\015",
    b"\xff",
    b"\xed\xa0\x80",  # a lone surrogate
    "é".encode(),
    "e\u0301".encode(),
    "\u202e".encode(),
    "\uff21".encode(),
    "🍪".encode(),
    b"{}",
    b"../../etc/passwd",
    b"' OR 1=1 --",
    b"${jndi:ldap://x}",
    b"*",
]
URL_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
HUGE = 8500  # more than any cookie, and now and then more than the 8192 bytes of Sanic's head


class Fuzzer:
    """Makes headers.

    Args:
        seed: Of the random generator.
        name: Our cookie's name.
        good: Values that open sessions.
    """

    def __init__(self, seed: int, name: bytes, good: list[bytes]) -> None:
        self.random = Random(seed)
        self.name, self.good = name, good
        values = b"|".join(map(re.escape, good))
        self._good = re.compile(re.escape(name) + rb"[ \t]*=[ \t]*(?:" + values + rb")")
        ours = rb"(?:(?:\A|\r\n)\w+:|;)[ \t]*" + re.escape(name) + rb"[ \t]*(?=[=;]|\r\n|\Z)"
        self._ours = re.compile(ours)
        self._values: list[Callable[[bytes], bytes]] = [
            lambda value: value,
            self._flip_bit,
            self._replace,
            self._insert,
            self._cut,
            self._splice,
            self._quote,
            self._shuffle,
            lambda value: value + self.random.choice([b"=", b"==", b".", b" ", b"\0"]),
            lambda value: value * self.random.randint(2, 5),
            lambda _: b"",
            lambda _: self._noise(self.random.randint(1, 100)),
            lambda _: self._safe(self.random.choice([22, 43, 65, 66, 66, 66, 67, 300])),
            lambda _: self._safe(22) + b"." + self._safe(43),
        ]

    def header(self) -> bytes:
        """Return the lines of a request's Cookie headers, without the last line's end."""
        random = self.random
        lines = [self._line() for _ in range(random.choice([1, 1, 1, 1, 2, 3]))]
        return b"\r\n".join(lines)[:HUGE]

    def opens(self, header: bytes) -> bool:
        """Say whether a good cookie is in a header, byte for byte, and no other of its name."""
        return self._good.search(header) is not None and len(self._ours.findall(header)) == 1

    def _line(self) -> bytes:
        random = self.random
        number = random.choices([1, 2, 3, 10, 100, 500], [60, 20, 10, 6, 3, 1])[0]
        pairs = [self._pair() for _ in range(min(number, 5))]
        if number > len(pairs):
            pairs = random.choices(pairs, k=number)
        separator = random.choice(SEPARATORS)
        text = separator.join(pairs)
        if random.random() < 0.05:
            text = random.choice([b"", b";", b"=", b"; ", *ODD]) + text
        head = random.choice([b"Cookie: ", b"Cookie: ", b"cookie:", b"COOKIE: \t", b"CoOkIe:  "])
        return head + text

    def _pair(self) -> bytes:
        random, name = self.random, self._name()
        value = random.choice(self._values)(random.choice(self.good))
        for _ in range(random.choice([0, 0, 0, 0, 1, 2])):
            value = random.choice(self._values)(value)[:HUGE]
        equals = random.choice([b"="] * 20 + [b"", b" = ", b"==", b"= ", b"\t="])
        return name + equals + value

    def _name(self) -> bytes:
        random, name = self.random, self.name
        bare = name.removeprefix(b"__Host-")
        kind = random.random()
        if kind < 0.6:
            return name
        if kind < 0.7:
            return random.choice(PREFIXES) + bare
        if kind < 0.8:
            space = random.choice(SPACES)
            return random.choice([space + name, name + space])
        if kind < 0.9:
            return random.choice([name.upper(), name[:-1], name + b"x", b"x" + name, bare, b""])
        return self._noise(random.randint(1, 12))

    # Values.

    def _flip_bit(self, value: bytes) -> bytes:
        if not value:
            return b"\x01"
        at = self.random.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << self.random.randrange(8)]) + value[at + 1 :]

    def _replace(self, value: bytes) -> bytes:
        at = self.random.randrange(len(value) + 1)
        return value[:at] + self.random.choice(ODD) + value[at + 1 :]

    def _insert(self, value: bytes) -> bytes:
        at = self.random.randrange(len(value) + 1)
        return value[:at] + self.random.choice(ODD + SPACES) + value[at:]

    def _cut(self, value: bytes) -> bytes:
        ends = sorted(self.random.randrange(len(value) + 1) for _ in range(2))
        return value[ends[0] : ends[1]]

    def _splice(self, value: bytes) -> bytes:
        """The public half of one with the secret of another."""
        other = self.random.choice(self.good)
        at = self.random.choice([22, 23, self.random.randrange(len(other) + 1)])
        return value[:at] + other[at:]

    def _quote(self, value: bytes) -> bytes:
        mark = self.random.choice([b'"', b"'"])
        whole = self.random.choice([mark + value + mark, mark + value, value + mark])
        return whole if self.random.random() < 0.7 else quote_from_bytes(value).encode()

    def _shuffle(self, value: bytes) -> bytes:
        return value.swapcase() if self.random.random() < 0.5 else value[::-1]

    def _noise(self, size: int) -> bytes:
        return self.random.randbytes(size).replace(b"\r\n", b"")

    def _safe(self, size: int) -> bytes:
        return bytes(self.random.choices(URL_SAFE, k=size))
