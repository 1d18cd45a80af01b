"""The `curl` calls that documents show, carried out: what they show must be what happens."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from typing import NamedTuple

from harness import Browser

_PROMPT = "$ curl "
_parser = argparse.ArgumentParser(exit_on_error=False)
_parser.add_argument("-A", dest="agent")
_parser.add_argument("-b", dest="sent")
_parser.add_argument("-c", dest="kept")
_parser.add_argument("-d", dest="form", action="append", default=[])
_parser.add_argument("-H", dest="headers", action="append", default=[])
_parser.add_argument("-N", dest="unbuffered", action="store_true")
_parser.add_argument("-X", dest="method")
_parser.add_argument("--json")
_parser.add_argument("url")


class Call(NamedTuple):
    """One call and what it prints."""

    command: str
    output: str


def calls_in(text: str) -> list[Call]:
    """Return the calls in a docstring or in a block of Markdown, each with the lines below it."""
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith(_PROMPT):
            found.append((line.removeprefix("$ "), []))
            inside = True
        elif not line or line.startswith(("$ ", "```")):
            inside = False
        elif inside:
            found[-1][1].append(line)
    return [Call(command, "\n".join(lines)) for command, lines in found]


async def outputs_of(calls: Iterable[Call], url: str, jars: dict[str, dict[str, str]]) -> list[str]:
    """Carry out calls at `url`, one after the other; return what they print.

    Args:
        calls: The calls; their own host and port do not matter.
        url: Where the app is.
        jars: The cookie files by their names; filled here.
    """
    outputs = []
    for call in calls:
        given = _parser.parse_args(shlex.split(call.command)[1:])
        body: dict[str, object] = {}
        headers = dict(header.split(": ", 1) for header in given.headers)
        if given.json:
            headers |= {"content-type": "application/json", "accept": "application/json"}
            body = {"content": given.json}
        elif given.form:
            body = {"data": dict(pair.split("=", 1) for pair in given.form)}
        method = given.method or ("POST" if body else "GET")
        async with Browser(url) as browser:
            if given.agent:
                browser.headers["user-agent"] = given.agent
            browser.cookies = dict(jars.get(given.sent, {}))
            response = await browser.request(
                method, "/" + given.url.partition("/")[2], headers=headers, **body
            )
            if given.kept:
                jars[given.kept] = browser.cookies
        outputs.append(response.text.strip())
    return outputs
