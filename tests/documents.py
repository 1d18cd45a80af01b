"""What stands in a Markdown document: fenced blocks, tables and links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")
_CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks in their order."""
    return [Block(*match) for match in _BLOCK.findall(document.read_text("utf-8"))]


def rows(document: Path, heading: str) -> list[list[str]]:
    """Return the cells of the table rows below a heading of the second level, without its head."""
    section = document.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def code(cell: str) -> list[str]:
    """Return what a cell has in code."""
    return _CODE.findall(cell)


def links(document: Path) -> list[str]:
    """Return the links to files beside the document."""
    return [link for link in _LINK.findall(document.read_text("utf-8")) if "://" not in link]
