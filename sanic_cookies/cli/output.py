"""What commands print: tables and sentences for people, or one JSON document for machines."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_BAR = 30
_SECONDS_BETWEEN_LINES = 5.0


class Refusal(Exception):
    """A command that cannot be carried out; the text says why, and what to do.

    Attributes:
        status: The exit status.
    """

    def __init__(self, text: str, status: int = 2) -> None:
        """Say why."""
        super().__init__(text)
        self.status = status


class Output:
    """Standard output, in one of two languages."""

    def __init__(self, as_json: bool) -> None:
        """Choose the language; what a terminal has no letters for is spelled out."""
        self.as_json = as_json
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")

    def result(self, data: Any, *lines: str) -> None:
        """Print what was found: `data` for machines, `lines` for people."""
        if self.as_json:
            # Machines read either spelling, and the screen of who looks at it is written by none.
            text = json.dumps(data, ensure_ascii=sys.stdout.encoding.lower() != "utf-8")
            self.say("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))
            return
        self.say(*lines)

    def table(self, rows: Sequence[dict[str, Any]]) -> None:
        """Print rows with the same keys below each other."""
        if not rows:
            return
        cells = [[_shown(value) for value in row.values()] for row in rows]
        cells.insert(0, [key.upper().replace("_", " ") for key in rows[0]])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        self.say(*("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells))

    def say(self, *lines: str) -> None:
        """Print lines, to their end.

        Raises:
            BrokenPipeError: Who reads has left.
            Refusal: They cannot be written.
        """
        try:
            for line in lines:
                print(line)
            sys.stdout.flush()
        except OSError as error:
            # Python would try once more when it closes the stream, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise Refusal(f"standard output: {error.strerror}") from error


class Progress:
    """How far a long job is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        """Begin.

        Args:
            total: How much there is to do.
            what: The things that are counted.
        """
        self._total, self._what = total, what
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0.0 if self._is_terminal else _SECONDS_BETWEEN_LINES)

    def show(self, done: int) -> None:
        """Say how much is done, if it is time to."""
        if time.monotonic() < self._next:
            return
        part = min(1.0, done / max(1, self._total))
        line = f"{part:4.0%}  {done:,} of {self._total:,} {self._what}"
        if self._is_terminal:
            bar = "#" * round(part * _BAR)
            print(f"\r[{bar:.<{_BAR}}] {line}", end="", file=sys.stderr, flush=True)
            self._next = time.monotonic() + 0.1
        else:
            print(line, file=sys.stderr, flush=True)
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._is_terminal:
            print(file=sys.stderr)


def moment(epoch: float | None) -> str | None:
    """Return a time in ISO 8601, in UTC, to the second; None for none."""
    if epoch is None:
        return None
    return datetime.fromtimestamp(round(epoch), UTC).isoformat().replace("+00:00", "Z")


def counted(number: int, noun: str) -> str:
    """Return how many there are of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    # A user's name may hold what moves the cursor or rewrites the line.
    return "".join(sign if sign.isprintable() else "?" for sign in str(value))
