"""Where options come from: keywords, or `app.config`; each is checked for its type.

In `app.config` an option is `<SESSION_NAME>_<OPTION>` in upper case (`SESSION_EXPIRY`,
`AUTH_SESSION_COOKIE_NAME`); a keyword wins. Environment variables reach `app.config` converted by
Sanic, which guesses their types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from .errors import SessionConfigError
from .expiry import MOST_SECONDS
from .mistakes import meant_by, unknown_option

Seconds = float | timedelta


class Options:
    """Keywords over `app.config` over defaults, each taken once and checked for its type."""

    def __init__(
        self, given: Mapping[str, Any], config: Mapping[str, Any], prefix: str, known: set[str]
    ) -> None:
        """Collect what was given.

        Raises:
            SessionConfigError: A keyword that no option has.
        """
        unknown = sorted(set(given) - known)
        if unknown:
            raise SessionConfigError(unknown_option(unknown[0], known))
        self._given, self._config, self._prefix, self._known = given, config, prefix, known
        self._read = dict(config)

    def misspelt(self, others: Collection[str]) -> list[str]:
        """Return a sentence for each key of `app.config` that looks like an option and is none.

        Args:
            others: Names of the app's other sessions, whose keys may begin as these do.
        """
        prefix, found = self._key(""), []
        theirs = tuple(key for each in others if (key := f"{each}_".upper()).startswith(prefix))
        for key in self._config:
            name = key.removeprefix(prefix).lower()
            if key.startswith(prefix) and not key.startswith(theirs) and name not in self._known:
                meant = meant_by(name, self._known)
                if meant is not None:
                    found.append(f"app.config.{key} is no option, meant is {self._key(meant)}")
        return found

    def late(self, given: Collection[str]) -> list[str]:
        """Return a sentence for each option that came into `app.config` when all had been read.

        Args:
            given: What was given as keywords, which win in any case.
        """
        keys = [self._key(name) for name in sorted(self._known.difference(given))]
        late = [
            key
            for key in keys
            if key in self._config
            and (key not in self._read or self._config[key] != self._read[key])
        ]
        return [
            f"app.config.{key} came too late: set it before the session is attached" for key in late
        ]

    def has(self, name: str) -> bool:
        """Say whether the option was given anywhere."""
        return name in self._given or self._key(name) in self._config

    def _key(self, name: str) -> str:
        # SESSION_ + session_cookie would stutter, but predictably so: one rule for all of them.
        return f"{self._prefix}_{name}".upper()

    def raw(self, name: str, default: Any = None) -> Any:
        """Return an option unchecked."""
        if name in self._given:
            return self._given[name]
        return self._config.get(self._key(name), default)

    def _wrong(self, name: str, expected: str) -> SessionConfigError:
        where = "" if name in self._given else f" ({self._key(name)} in app.config)"
        value = self.raw(name)
        return SessionConfigError(f"{name}{where} must be {expected}, not {type(value).__name__}")

    def flag(self, name: str, default: bool) -> bool:
        """Return a bool."""
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "True or False")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a str."""
        value = self.raw(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a str")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a str, or None."""
        return None if self.raw(name) is None else self.text(name, "")

    def number(self, name: str, default: int) -> int:
        """Return an int of 1 or more."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "a whole number")
        if value < 1:
            raise SessionConfigError(f"{name} must be 1 or more")
        return value

    def seconds(self, name: str, default: float, *, zero: bool = False) -> float:
        """Return seconds, given as a number or a `timedelta`; zero only where it means something.

        Args:
            name: The option.
            default: Its default, in seconds.
            zero: Whether 0 is allowed.
        """
        value = self.raw(name, default)
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "seconds or a timedelta")
        if not (0 < value <= MOST_SECONDS or (zero and value == 0)):
            least = "0 seconds or more" if zero else "more than 0 seconds"
            raise SessionConfigError(f"{name} must be {least}, and {MOST_SECONDS:.0f} at most")
        return float(value)

    def optional_seconds(self, name: str, default: float | None) -> float | None:
        """Return seconds, or None."""
        return None if self.raw(name, default) is None else self.seconds(name, default or 0.0)
