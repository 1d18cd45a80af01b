"""What the pages say beside their programs: tables, figures, and what happens in between."""

from __future__ import annotations

import asyncio
import configparser
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from sanic import Request, Sanic, json
from websockets.asyncio.client import connect

import sanic_cookies
from documents import README, ROOT, blocks, code, headings, rows, run
from harness import Browser, make_app, serve
from programs import running
from sanic_cookies import (
    AuthSession,
    CsrfRefused,
    InMemory,
    Session,
    SessionError,
    SessionInfo,
)
from sanic_cookies.auth.session import AuthOptions
from sanic_cookies.cli import main
from sanic_cookies.interfaces.redis.scripts import _RECORD
from sanic_cookies.settings import SessionOptions

DOCS = ROOT / "docs"
AUTH, FORMS, OPTIONS = DOCS / "auth.md", DOCS / "csrf_and_flash.md", DOCS / "options.md"
HTML = {"accept": "text/html"}
# Options whose default is an object or a rule, told in words.
EXPLAINED = {"store_factory", "clock", "on_max_sessions", "clear_site_data"}


@pytest.fixture(autouse=True)
def _apps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs name their apps as they like."""
    monkeypatch.setattr(Sanic, "test_mode", True)
    monkeypatch.setattr(Sanic, "_app_registry", {})


def app_of(page: Path, mark: str, directory: Path) -> Any:
    """Carry out the one program of a page that has `mark` in it; return its app."""
    [block] = [each for each in blocks(page) if mark in each.text and each.language == "python"]
    return run(block.text, directory)["app"]


def test_the_quick_start(tmp_path: Path) -> None:
    """Saved and started as the README says, its first program counts, and warns of nothing."""
    program = next(each.text for each in blocks(README) if each.language == "python")
    (tmp_path / "app.py").write_text(program)
    start = "sanic app --port {port}"
    with running(start, tmp_path / "log", directory=tmp_path) as url, httpx.Client() as client:
        visits = [client.get(url).json()["visits"] for _ in range(2)]

    assert start.partition(" --")[0] in README.read_text("utf-8")
    assert visits == [1, 2]


def test_moving_to_another_store(tmp_path: Path) -> None:
    """After the block on moving, the new store is read from and the old one written to as well."""
    [block] = [each for each in blocks(README) if "overwrite=False" in each.text]
    names = run(block.text, tmp_path)

    assert names["session"].interfaces == (names["new"], names["old"])


@pytest.mark.parametrize(
    ("mark", "order"), [("add_interface", "redis postgres"), ("overwrite=False", "postgres redis")]
)
def test_moving_in_two_steps(
    mark: str, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stores are written to in either step; which of them is read from, the step decides."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/")
    [block] = [each for each in blocks(DOCS / "stores.md") if mark in each.text]
    names = run(block.text, tmp_path)

    assert names["session"].interfaces == tuple(names[name] for name in order.split())


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
    shown = (DOCS / "stores.md").read_text("utf-8")
    assert all("| " + " | ".join(row) + " |" in shown for row in table)


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
    table = [row for heading in headings(OPTIONS) for row in rows(OPTIONS, heading)]
    for options, of_session, of_auth, why in table:
        assert why
        named += code(options)
        for session, cell in ((Session(), of_session), (AuthSession(), of_auth)):
            if cell.startswith("`") and code(options)[0] not in EXPLAINED:
                default = eval(code(cell)[0])  # noqa: S307 - our own document
                assert settled(session, code(options)[0]) == default, options

    known = [*SessionOptions.__annotations__, *AuthOptions.__annotations__]
    assert sorted(named) == sorted(set(known))


def test_the_errors_are_those_of_the_library() -> None:
    """The table of errors names every public error, with its status."""
    table = rows(DOCS / "errors.md", "When something goes wrong")
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


async def test_there_and_back(tmp_path: Path) -> None:
    """A browser goes to the login page and back, by the addresses that the document shows."""
    app = app_of(AUTH, "safe_next", tmp_path)
    shown = AUTH.read_text("utf-8")
    async with serve(app) as url, Browser(url) as browser:
        sent = await browser.get("/cart?page=2", headers=HTML)
        assert f"`{sent.headers['location']}`" in shown
        back = await browser.post(sent.headers["location"], data={"name": "ada"})
        assert back.headers["location"] == "/cart?page=2"
        assert (await browser.get("/cart?page=2")).json() == {"cart of": "ada"}

        refused = shown.partition("and nothing else: ")[2].partition(" and their kin")[0]
        assert len(code(refused)) == 5
        for path in code(refused):
            away = await browser.post("/login", params={"next": path}, data={"name": "ada"})
            assert away.headers["location"] == "/"


async def test_a_fresh_login_ends_with_the_browser(tmp_path: Path) -> None:
    """Without the cookie that the document names, the remembered login is not fresh."""
    app = app_of(AUTH, "fresh_login_required", tmp_path)
    async with serve(app) as url, Browser(url) as browser:
        await browser.post("/login")
        del browser.cookies["auth_session_run"]
        assert (await browser.post("/pay")).status_code == 401


async def test_the_browser_is_asked_to_forget(tmp_path: Path) -> None:
    """A logout sends the header that the document shows."""
    app = app_of(AUTH, "clear_site_data", tmp_path)
    async with serve(app) as url, Browser(url) as browser:
        await browser.post("/login")
        sent = (await browser.post("/logout")).headers["clear-site-data"]
        assert f"`Clear-Site-Data: {sent}`" in AUTH.read_text("utf-8")


def test_guards_raise_what_the_table_says() -> None:
    """The table of answers names errors that exist, each with its status."""
    for row in rows(AUTH, "Guard a handler, or everything"):
        error = getattr(sanic_cookies, code(row[1])[0])
        assert str(error.status_code) in row[1]


@pytest.mark.parametrize("row", rows(FORMS, "Forged requests"), ids=lambda row: row[0])
async def test_what_is_judged(row: list[str], tmp_path: Path) -> None:
    """Each row of the table is what the app of the block above answers."""
    headers = dict(each.split(": ") for each in code(row[0]))
    async with serve(app_of(FORMS, 'Sanic("bank")', tmp_path)) as url, Browser(url) as browser:
        if "no cookie" not in row[0]:
            await browser.get("/login/ada")
        else:
            headers = {"Sec-Fetch-Site": "cross-site"}
        answer = await browser.post("/pay", data={"amount": "5"}, headers=headers)

        assert str(answer.status_code) == code(row[2])[0]


def test_a_place_has_what_is_listed() -> None:
    """The page names each field of a place, in their order."""
    [line] = [each for each in AUTH.read_text("utf-8").split("\n- ") if "(`SessionInfo`)" in each]
    named = [name for name in code(line) if name in SessionInfo.__annotations__]

    assert named == [*SessionInfo.__annotations__]


async def test_a_guard_answers_before_an_upload() -> None:
    """Who is not logged in is told so while the body is still to come."""
    app = make_app()
    AuthSession(app).protect(app)

    @app.post("/files", stream=True)
    async def upload(request: Request) -> Any:
        raise AssertionError

    async with serve(app) as url:
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(b"POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.close()


async def test_the_form_carries_its_token(tmp_path: Path) -> None:
    """The form of the block can be sent, and without its token it cannot."""
    async with serve(app_of(FORMS, 'Sanic("careful")', tmp_path)) as url, Browser(url) as browser:
        page = (await browser.get("/")).text
        token = page.partition('value="')[2].partition('"')[0]

        sent = await browser.post("/", data={"csrf_token": token})
        assert (sent.status_code, sent.json()) == (200, {"sent": True})
        assert (await browser.post("/", data={"csrf_token": ""})).status_code == 403


async def test_a_form_that_stood_open_can_be_shown_again(tmp_path: Path) -> None:
    """A token whose session is over is refused, and the app may answer that with the form."""
    app = app_of(FORMS, 'Sanic("careful")', tmp_path)

    @app.exception(CsrfRefused)
    async def again(request: Request, error: CsrfRefused) -> Any:
        return json({"csrf_token": await request.app.ctx.auth_session.csrf_token(request)})

    async with serve(app) as url, Browser(url) as browser:
        old = (await browser.get("/")).text.partition('value="')[2].partition('"')[0]
        browser.cookies.clear()
        new = (await browser.post("/", data={"csrf_token": old})).json()
        assert (await browser.post("/", data=new)).json() == {"sent": True}


async def test_the_socket_closes_for_strangers(tmp_path: Path) -> None:
    """The socket of the block is closed with the code that the table names."""
    async with serve(app_of(FORMS, 'Sanic("feed")', tmp_path)) as url:
        async with connect(url.replace("http", "ws") + "/feed", proxy=None) as ws:
            await ws.wait_closed()

        assert str(ws.close_code) == code(rows(FORMS, "Sockets")[0][1])[0]


def test_the_proxy_knows_its_variables() -> None:
    """What the block for nginx names is nginx's own, or defined there: others end its start."""
    [block] = [each for each in blocks(DOCS / "proxy.md") if each.language == "nginx"]
    own = {"$host", "$scheme", "$http_upgrade", "$proxy_add_x_forwarded_for"}
    defined = set(re.findall(r"^map \S+ (\$\w+)", block.text, re.MULTILINE))

    assert set(re.findall(r"\$\w+", block.text)) == own | defined


def test_each_file_is_described() -> None:
    """The page on the layout names each file of the package once, and no other."""
    page, package = DOCS / "architecture.md", ROOT / "sanic_cookies"
    tables = [rows(page, heading) for heading in headings(page) if heading != "Words"]
    named = [name for table in tables for row in table for name in code(row[0])]

    assert sorted(named) == sorted(str(file.relative_to(package)) for file in package.rglob("*.py"))


def test_the_table_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The SQL of the page is what the command line prints."""
    [block] = [each for each in blocks(DOCS / "stored_data.md") if each.language == "sql"]
    main(["sql"])

    assert block.text == capsys.readouterr().out


def test_the_columns_are_all_explained() -> None:
    """Each column of the table stands in the list below it, once."""
    [block] = [each for each in blocks(DOCS / "stored_data.md") if each.language == "sql"]
    named = [name for row in rows(DOCS / "stored_data.md", "Postgres") for name in code(row[0])]

    assert named == re.findall(r"^    ([a-z_]+) ", block.text, re.MULTILINE)


def test_the_fields_are_those_of_the_scripts() -> None:
    """Each field of the hash in Redis is explained, and no other."""
    scripts = sorted((ROOT / "sanic_cookies" / "interfaces" / "redis" / "lua").glob("*.lua"))
    text = "".join(script.read_text() for script in scripts)
    used = set(re.findall(r"'(?:HGET|HMGET|HSET|HDEL)', key,([^)]*)\)", text))
    fields = {name for each in used for name in re.findall(r"'([a-z]{1,2})'", each)}
    named = [name for row in rows(DOCS / "stored_data.md", "Redis") for name in code(row[0])]

    assert set(named) == fields
    assert len(named) == len(set(named))


def test_the_record_in_redis_is_the_one_that_is_read() -> None:
    """The parts of the packed record are listed without a gap, up to the user at its end."""
    parts = [row[0].split(" to ") for row in rows(DOCS / "stored_data.md", "The record in Redis")]
    *ends, last = [end for _, end in parts]
    starts = [int(start) for start, _ in parts]

    assert starts == [0, *(int(end) + 1 for end in ends)]
    assert (starts[-1], last) == (_RECORD.size, "the end")
