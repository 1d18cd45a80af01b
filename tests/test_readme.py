"""Everything that the README shows is true: its code runs, its commands exist, its tables hold."""

from __future__ import annotations

import asyncio
import configparser
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from sanic import Request, Sanic, json

import sanic_cookies
from curl import calls_in, outputs_of
from documents import Block, blocks, code, links, rows
from harness import Browser, make_app, serve
from programs import ROOT
from sanic_cookies import AuthSession, InMemory, Session, SessionError
from sanic_cookies.auth.session import AuthOptions
from sanic_cookies.cli import main
from sanic_cookies.settings import SessionOptions

README = ROOT / "README.md"
BLOCKS = blocks(README)
COMMANDS = [
    shlex.split(command)
    for block in BLOCKS
    if block.language == "sh"
    for line in block.text.splitlines()
    for command in line.split("&&")
]


@pytest.fixture(autouse=True)
def _apps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks name their apps as they like."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})


def run(block: Block, directory: Path) -> dict[str, Any]:
    """Carry out a block of Python as a file of its own; return its names."""
    program = directory / "program.py"
    program.write_text(block.text)
    names: dict[str, Any] = {}
    exec(compile(block.text, program, "exec"), names)  # noqa: S102 - our own document
    return names


def test_every_block_is_checked() -> None:
    """There is no block of a language that nothing here looks at."""
    assert {block.language for block in BLOCKS} == {"python", "console", "sh"}


@pytest.mark.parametrize(
    "number", [at for at, block in enumerate(BLOCKS) if block.language == "console"]
)
async def test_the_calls_print_what_is_shown(number: int, tmp_path: Path) -> None:
    """The calls below a block of Python print what they show, made to the app of that block."""
    calls = calls_in(BLOCKS[number].text)
    app = run(BLOCKS[number - 1], tmp_path)["app"]

    assert len(calls) >= 2
    async with serve(app) as url:
        assert await outputs_of(calls, url, {}) == [call.output for call in calls]


def test_moving_to_another_store(tmp_path: Path) -> None:
    """After the block on moving, the new store is read from and the old one written to as well."""
    [block] = [block for block in BLOCKS if "overwrite=False" in block.text]
    names = run(block, tmp_path)

    assert names["session"].interfaces == (names["new"], names["old"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_exists(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the README is one that works."""
    program, *arguments = command
    if program == "make":
        dry = ["make", "-n", *arguments]
        subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)
    elif program == "sanic-cookies":
        assert main(arguments) == 0
        assert capsys.readouterr().out
    elif program == "pip":
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        [extra] = re.findall(r"\.\[(\w+)\]", arguments[-1])
        assert extra in setup["options.extras_require"]
    else:
        assert (program, arguments[0]) in {("git", "clone"), ("cd", "sanic-cookies")}


@pytest.mark.parametrize("link", sorted(set(links(README))))
def test_a_link_leads_somewhere(link: str) -> None:
    """Each file that the README links to is there."""
    assert (ROOT / link).exists()


def test_the_stores_exist() -> None:
    """The table of stores names all interfaces, and extras that exist."""
    table = rows(README, "Where sessions live")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")

    names = [code(row[0])[0].partition("(")[0] for row in table]
    assert names == ["InMemory", "Redis", "AsyncPG", "InCookieEncrypted"]
    assert all(isinstance(getattr(sanic_cookies, name), type) for name in names)
    extras = re.findall(r"`\[(\w+)\]`", " ".join(row[4] for row in table))
    assert set(extras) <= set(setup["options.extras_require"])


def settled(session: Session, name: str) -> Any:
    """Return what an option has become."""
    settings = session.settings
    return {
        "session_name": settings.name,
        "cookie_name": settings.cookie.name,
        "cookie_prefix": settings.cookie.prefix,
        "session_cookie": not settings.policy.persistent,
        "expiry": settings.policy.idle,
        "absolute_timeout": settings.policy.absolute,
        **{
            key: getattr(session, key, None)
            for key in ("remember_expiry", "login_url", "user_loader", "user_name", "session_stamp")
        },
        **{key: getattr(settings.cookie, key, None) for key in ("path", "domain", "secure")},
        **{key: getattr(settings.cookie, key) for key in ("httponly", "samesite", "partitioned")},
    }.get(name, getattr(settings, name, None))


def test_the_options_are_those_of_the_library() -> None:
    """The table of options names every option, once, with the default that it has."""
    named = []
    for options, of_session, of_auth in rows(README, "Options"):
        named += code(options)
        for session, cell in ((Session(), of_session), (AuthSession(), of_auth)):
            if code(cell):
                default = eval(code(cell)[0])  # noqa: S307 - our own document
                assert settled(session, code(options)[0]) == default, options

    known = [*SessionOptions.__annotations__, *AuthOptions.__annotations__]
    assert sorted(named) == sorted(set(known))


def test_the_errors_are_those_of_the_library() -> None:
    """The table of errors names every public error, with its status."""
    table = rows(README, "When something goes wrong")
    named = {}
    for _, answer in table:
        for name in code(answer)[:1]:
            named[name] = re.findall(r"\b[45]\d\d\b", answer)

    errors = {name: getattr(sanic_cookies, name) for name in sanic_cookies.__all__}
    errors = {
        name: kind
        for name, kind in errors.items()
        if isinstance(kind, type) and issubclass(kind, SessionError) and kind is not SessionError
    }
    assert named.keys() == errors.keys()
    for name, statuses in named.items():
        assert statuses == [] or statuses == [str(errors[name].status_code)]


async def test_eight_requests_at_once_are_all_kept() -> None:
    """The measurement of the README, for this library: eight of eight."""
    app = make_app()
    Session(app)

    @app.get("/")
    async def index(request: Request) -> Any:
        async with request.ctx.session as sess:
            before = sess.get("n", 0)
            await asyncio.sleep(0.01)
            sess["n"] = before + 1
            return json(sess["n"])

    async def visit(browser: Browser) -> int:
        async with browser.copy() as another:
            return (await another.get("/")).json()

    async with serve(app) as url, Browser(url) as browser:
        await browser.get("/")
        visits = await asyncio.gather(*(visit(browser) for _ in range(8)))

    assert sorted(visits) == list(range(2, 10))


async def test_a_logout_stays_one() -> None:
    """The other measurement: a request that was under way brings no ended session back."""
    app = make_app()
    auth = AuthSession(app)
    inside, ended = asyncio.Event(), asyncio.Event()

    @app.post("/login")
    async def login(request: Request) -> Any:
        await auth.login_user(request, "ada")
        return json(None)

    @app.post("/logout")
    async def logout(request: Request) -> Any:
        await auth.logout_user(request)
        return json(None)

    @app.get("/slow")
    async def slow(request: Request) -> Any:
        async with request.ctx.auth_session as sess:
            inside.set()
            await ended.wait()
            sess["late"] = True
        return json(None)

    @app.get("/me")
    async def me(request: Request) -> Any:
        return json(await auth.current_user(request))

    async with serve(app) as url, Browser(url) as browser:
        await browser.post("/login")
        async with browser.copy() as thief, browser.copy() as late:
            waiting: asyncio.Task[httpx.Response] = asyncio.create_task(late.get("/slow"))
            await inside.wait()
            await browser.post("/logout")
            ended.set()

            assert (await waiting).status_code == 409
            assert (await thief.get("/me")).json() is None


def test_the_interface_of_ones_own_has_seven_methods() -> None:
    """As the README says."""
    methods = [name for name in vars(sanic_cookies.Interface) if not name.startswith("_")]

    assert len(methods) == 7
    assert isinstance(InMemory(), sanic_cookies.Interface)
