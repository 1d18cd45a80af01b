"""What setup.cfg cannot say: PyPI shows the README, and has none of the files that it links to."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md")
HOME = "https://github.com/sanic-cookies/sanic-cookies"
# A link or a picture of Markdown, or of HTML, to a file beside the README.
TO_A_FILE = re.compile(r'(\]\(|(?:src|srcset|href)=")(?!\w+:|#)([^)"]+)')
PICTURES = (".png", ".svg")


def absolute(match: re.Match[str]) -> str:
    """Return a link that leads to the same file from anywhere."""
    before, path = match.groups()
    return f"{before}{HOME}/{'raw' if path.endswith(PICTURES) else 'blob'}/main/{path}"


setup(long_description=TO_A_FILE.sub(absolute, README.read_text("utf-8")))
