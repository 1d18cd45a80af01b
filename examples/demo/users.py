"""The accounts: names and Argon2id hashes, in an SQLite file that all workers see.

Argon2id is what OWASP recommends (Password Storage Cheat Sheet); the parameters are argon2-cffi's
defaults, those of RFC 9106 for machines with little memory.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sanic import Sanic

T = TypeVar("T")
TABLE = """
    CREATE TABLE IF NOT EXISTS users
    (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, password TEXT NOT NULL)
"""
HASHER = PasswordHasher()
NOBODY = HASHER.hash("")  # an unknown name takes as long as a wrong password


def users_file() -> Path:
    """Return where the accounts are: USERS_FILE, or a file beside this one."""
    return Path(os.environ.get("USERS_FILE") or Path(__file__).with_name("users.sqlite3"))


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account; `password` is the hash."""

    id: int
    name: str
    password: str = field(repr=False)


class Users:
    """The accounts in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._hashing = asyncio.Semaphore(4)  # a hash takes 64 MiB, and 50 ms of a core

    async def open(self, app: Sanic) -> None:
        """Make the table if it is not there."""
        await self._rows(TABLE)

    async def by_id(self, number: int) -> User | None:
        """Return the user; None for one who has gone."""
        rows = await self._rows("SELECT id, name, password FROM users WHERE id = ?", number)
        return User(*rows[0]) if rows else None

    async def by_password(self, name: str, password: str) -> User | None:
        """Return the user if the password is right; None for a wrong one and for nobody."""
        rows = await self._rows("SELECT id, name, password FROM users WHERE name = ?", name)
        user = User(*rows[0]) if rows else None
        is_right = await self.verify(NOBODY if user is None else user.password, password)
        return user if is_right else None

    async def verify(self, kept: str, password: str) -> bool:
        """Say whether `kept` was made of this password."""
        try:
            return await self._hash(lambda: HASHER.verify(kept, password))
        except VerifyMismatchError:
            return False

    async def add(self, name: str, password: str) -> User | None:
        """Return the new user; None if the name is taken."""
        kept = await self._hash(lambda: HASHER.hash(password))
        insert = "INSERT INTO users (name, password) VALUES (?, ?) RETURNING id"
        try:
            [(number,)] = await self._rows(insert, name, kept)
        except sqlite3.IntegrityError:
            return None
        return User(number, name, kept)

    async def change_password(self, user: User, password: str) -> None:
        """Store the hash of a new password."""
        kept = await self._hash(lambda: HASHER.hash(password))
        await self._rows("UPDATE users SET password = ? WHERE id = ?", kept, user.id)

    async def remove(self, user: User) -> None:
        """Forget a user."""
        await self._rows("DELETE FROM users WHERE id = ?", user.id)

    async def _hash(self, work: Callable[[], T]) -> T:
        async with self._hashing:
            return await asyncio.to_thread(work)

    async def _rows(self, statement: str, *values: Any) -> list[Any]:
        def run() -> list[Any]:
            with closing(sqlite3.connect(self._file)) as database, database:
                return database.execute(statement, values).fetchall()

        return await asyncio.to_thread(run)
