"""The table of the standard is complete, and all that it names is there."""

from __future__ import annotations

import ast
import re

import pytest

import sanic_cookies
from documents import code, links, rows
from programs import ROOT
from sanic_cookies import AuthSession, Session
from sanic_cookies.auth.session import AuthOptions

DOCUMENT = ROOT / "docs" / "asvs.md"
SESSIONS = rows(DOCUMENT, "V7 Session management")
COOKIES = rows(DOCUMENT, "V3.3 Cookie setup")
ROWS = [*SESSIONS, *COOKIES, *rows(DOCUMENT, "What else concerns sessions")]

# The requirements of ASVS 5.0.0 with their levels.
V7 = {
    "7.1.1": "2",
    "7.1.2": "2",
    "7.1.3": "2",
    "7.2.1": "1",
    "7.2.2": "1",
    "7.2.3": "1",
    "7.2.4": "1",
    "7.3.1": "2",
    "7.3.2": "2",
    "7.4.1": "1",
    "7.4.2": "1",
    "7.4.3": "2",
    "7.4.4": "2",
    "7.4.5": "2",
    "7.5.1": "2",
    "7.5.2": "2",
    "7.5.3": "3",
    "7.6.1": "2",
    "7.6.2": "2",
}
V33 = {"3.3.1": "1", "3.3.2": "2", "3.3.3": "2", "3.3.4": "2", "3.3.5": "3"}

OPTION = re.compile(r"[a-z_]+=")
CALL = re.compile(r"[a-z_]+\(\)")


def test_the_tables_are_complete() -> None:
    """Each requirement has its line, in the standard's order and with its level."""
    assert {row[0]: row[1] for row in SESSIONS} == V7
    assert [row[0] for row in SESSIONS] == list(V7)
    assert {row[0]: row[1] for row in COOKIES} == V33
    assert [row[0] for row in COOKIES] == list(V33)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_what_shows_it_is_there(row: list[str]) -> None:
    """Each line names tests, and each of them is one."""
    named = code(row[4])

    assert named
    for each in named:
        file, _, name = each.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        assert name in {node.name for node in tree.body if isinstance(node, kinds)}, each


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_what_gives_it_is_there(row: list[str]) -> None:
    """Options and calls that a line names are those of the library."""
    for each in code(row[3]):
        if OPTION.fullmatch(each) and each != "duration=":
            assert each[:-1] in AuthOptions.__annotations__, each
        elif CALL.fullmatch(each):
            owners = (AuthSession, Session, sanic_cookies)
            assert any(callable(getattr(owner, each[:-2], None)) for owner in owners), each


def test_the_names_are_recognised() -> None:
    """The checks above look at something: many options and calls are named."""
    cells = [each for row in ROWS for each in code(row[3])]

    assert sum(OPTION.fullmatch(each) is not None for each in cells) > 15
    assert sum(CALL.fullmatch(each) is not None for each in cells) > 15


def test_the_links_lead_somewhere() -> None:
    """There is no link to a file that is not there, and the README leads here."""
    assert all((DOCUMENT.parent / link).exists() for link in links(DOCUMENT))
    assert "docs/asvs.md" in links(ROOT / "README.md")
