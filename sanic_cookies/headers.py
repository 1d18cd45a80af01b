"""Names and values of response headers that are quick to send.

As a response is sent, Sanic takes line breaks and NUL out of each name and value by way of
`str.translate`. That asks the table once for each different character, and gets an exception for
each that may stay: of a sealed cookie this took twice as long as sealing it with AES-GCM.
"""

from __future__ import annotations

from typing import Any

from multidict import istr


class HeaderText(str):
    """The value of a header; whatever may not stand in one is taken out as from any other."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        """Return the text; itself, as `str` would make a plain one of it for Sanic to translate."""
        return format(str(self), spec) if spec else self

    def translate(self, table: Any) -> str:
        """Return what `str.translate` does; itself where nothing of `table` occurs in it.

        Args:
            table: As `str.maketrans` makes it, or anything else that `str.translate` takes.
        """
        if not isinstance(table, dict):
            return super().translate(table)
        for code in table:
            if chr(code) in self:
                return super().translate(table)
        return self


class FixedText(HeaderText):
    """A text of many responses: what has been found to be clean is not searched again."""

    _clean_for: object = object()  # no table

    def translate(self, table: Any) -> str:
        """See `HeaderText.translate`."""
        if table is self._clean_for:
            return self
        clean = super().translate(table)
        if clean is self:
            self._clean_for = table
        return clean


class HeaderName(FixedText, istr):
    """The name of a header, which multidicts need not fold to lower case first."""
