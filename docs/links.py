"""Links out of docs/ lead to files of the repository, for the site as for who reads the sources."""

from __future__ import annotations

from typing import Any

REPOSITORY = "https://github.com/sanic-cookies/sanic-cookies/blob/main/"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Make links to files outside of docs/ absolute; called by MkDocs for each page."""
    return markdown.replace("](../", f"]({REPOSITORY}")
