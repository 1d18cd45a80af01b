"""What stands in a Markdown document: fenced blocks, tables and links.

`python tests/documents.py` counts what the tests carry out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


class Place(NamedTuple):
    """A block where it stands, with the block of Python above it."""

    page: Path
    number: int
    block: Block
    program: Block | None

    def __str__(self) -> str:
        """Name it, for the tests."""
        return f"{self.page.stem}-{self.number}-{self.block.language}"


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks in their order."""
    return [Block(*match) for match in _BLOCK.findall(document.read_text("utf-8"))]


def places(pages: list[Path]) -> list[Place]:
    """Return all blocks of some pages."""
    found = []
    for page in pages:
        program = None
        for number, block in enumerate(blocks(page)):
            found.append(Place(page, number, block, program))
            program = block if block.language == "python" else program
    return found


def rows(document: Path, heading: str) -> list[list[str]]:
    """Return the cells of the table rows below a heading of the second level, without its head."""
    section = document.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def headings(document: Path) -> list[str]:
    """Return the headings of the second level."""
    return re.findall(r"^## (.+)$", document.read_text("utf-8"), re.MULTILINE)


def code(cell: str) -> list[str]:
    """Return what a cell has in code."""
    return _CODE.findall(cell)


def links(document: Path) -> list[str]:
    """Return the links to files beside the document."""
    return [link for link in _LINK.findall(document.read_text("utf-8")) if "://" not in link]


def run(text: str, directory: Path) -> dict[str, Any]:
    """Carry out a program as a file of its own in `directory`; return its names."""
    program = directory / "program.py"
    program.write_text(text)
    spec = spec_from_file_location("program", program)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def build_site(directory: Path) -> None:
    """Build the site strictly: a link or a reference that leads nowhere fails."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    done = subprocess.run(
        build,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def main() -> None:
    """Count."""
    found = [place.block for place in places(PAGES)]
    for language in sorted({block.language for block in found}):
        print(f"{sum(block.language == language for block in found):4} blocks of {language}")
    print(f"{len(PAGES):4} pages")


if __name__ == "__main__":
    main()
