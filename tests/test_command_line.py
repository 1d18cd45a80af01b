"""The command line on real servers: it shows what logs nobody in, and never a traceback."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import sanic_cookies
from sanic_cookies.cli import _parser, main, maintenance, output, stores
from sanic_cookies.interfaces import AsyncPG, Redis
from sanic_cookies.record import Draft
from sanic_cookies.testing import new_draft

Ask = Callable[..., tuple[int, str, str]]
Interface = AsyncPG | Redis

SECRET_DATA = b'{"v":1,"d":{"cart":"the-secret-data"}}'
_numbers = count()


class Site:
    """A store with a place in it that nobody else uses, and the options that name it."""

    def __init__(self, url: str) -> None:
        self.url, place = url, f"cli_{uuid4().hex[:12]}"
        self.table, self.prefix = place, f"{place}*[x]:"
        self.is_postgres = url.startswith("postgres")

    @property
    def options(self) -> list[str]:
        return ["--url", self.url, "--table", self.table, *self._prefix]

    @property
    def _prefix(self) -> list[str]:
        return [] if self.is_postgres else ["--prefix", self.prefix]

    def do(self, work: Callable[[Interface], Awaitable[Any]]) -> Any:
        """Run something with an interface on the store."""

        async def run() -> Any:
            interface: Interface = (
                AsyncPG(self.url, table=self.table, sweep_every=0)
                if self.is_postgres
                else Redis(self.url, prefix=self.prefix)
            )
            try:
                return await work(interface)
            finally:
                await interface.close()

        return asyncio.run(run())

    def make(self, *drafts: Draft) -> None:
        async def create(interface: Interface) -> None:
            if isinstance(interface, AsyncPG):
                await interface.create_table()
            for draft in drafts:
                assert await interface.create(draft)

        self.do(create)

    def sql(self, text: str) -> Any:
        async def run() -> Any:
            connection = await asyncpg.connect(self.url)
            try:
                return await connection.fetch(text.replace("{table}", self.table))
            finally:
                await connection.close()

        return asyncio.run(run())


def site_on(kind: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    name = {"redis": "redis_url", "postgres": "database_url"}[kind]
    site = Site(request.getfixturevalue(name))
    yield site
    if site.is_postgres:
        site.sql("DROP TABLE IF EXISTS {table}")


@pytest.fixture(params=["redis", "postgres"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    yield from site_on(request.param, request)


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[Site]:
    yield from site_on("postgres", request)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run a command; returns its status and what it printed on both streams."""
    for name in ("REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def ask(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main(words)
        except SystemExit as error:  # argparse ends the program by itself
            status = int(error.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return ask


def drafts_of(user: str, number: int, **changes: Any) -> list[Draft]:
    options = {"name": "session", "payload": SECRET_DATA, "user_key": user, **changes}
    return [new_draft(**options) for _ in range(number)]


def logs_in(text: str, drafts: list[Draft]) -> bool:
    """Whether a text holds a hash, or data."""
    hashes = [draft.secret_hash for draft in drafts]
    return "the-secret-data" in text or any(
        form in text for each in hashes for form in (each.hex(), repr(each)[2:-1])
    )


# Sessions


def test_sessions_are_listed(site: Site, ask: Ask) -> None:
    """All names, or one, or one user's; as a table and as JSON; nothing that logs in."""
    ann, bob = drafts_of("ann", 3), drafts_of("bob", 2, name="auth_session")
    site.make(*ann, *bob)

    status, out, _ = ask("sessions", "list", *site.options)
    assert status == 0
    assert all(draft.sid in out for draft in (*ann, *bob))
    assert "5 sessions" in out
    assert not logs_in(out, [*ann, *bob])
    for options, drafts in (
        (["--session", "auth_session"], bob),
        (["--user", "ann"], ann),
        (["--user", "nobody"], []),
    ):
        status, out, _ = ask("sessions", "list", "--json", *options, *site.options)
        found = json.loads(out)
        assert status == 0
        assert {each["sid"] for each in found["sessions"]} == {draft.sid for draft in drafts}
        assert not found["more"]
    found = json.loads(ask("sessions", "list", "--json", "--limit", "2", *site.options)[1])
    assert (len(found["sessions"]), found["more"]) == (2, True)


def test_a_long_list_is_whole(site: Site, ask: Ask) -> None:
    """More sessions than a page has are listed once each; what has ended is not among them."""
    drafts = drafts_of("ann", 1100)
    site.make(*drafts)
    site.make(Draft.tombstone("session", "ended", 60.0))

    out = ask("sessions", "list", "--json", "--limit", "0", *site.options)[1]
    sids = [each["sid"] for each in json.loads(out)["sessions"]]

    assert sorted(sids) == sorted(draft.sid for draft in drafts)


def test_one_session_is_shown(site: Site, ask: Ask) -> None:
    """What is known of a session, the names of its data if wanted, no value and no hash."""
    [draft] = drafts_of("ann", 1, lifetime=99.0)
    site.make(draft)

    status, out, _ = ask("sessions", "show", draft.sid, "--keys", *site.options)
    assert status == 0
    assert re.search(r"^user +ann$", out, re.M)
    assert re.search(r"^keys +cart$", out, re.M)
    assert not logs_in(out, [draft])
    assert "cart" not in ask("sessions", "show", draft.sid, *site.options)[1]
    shown = json.loads(ask("sessions", "show", "--json", draft.sid, *site.options)[1])
    assert shown["bytes"] == len(SECRET_DATA)
    status, out, err = ask("sessions", "show", "A" * 22, *site.options)
    assert (status, out) == (1, "")
    assert "no such session" in err


@pytest.mark.parametrize("how", ["id", "user", "all"])
def test_sessions_are_revoked(site: Site, ask: Ask, how: str) -> None:
    """By id, by user, or all: those are gone at once, the others stay."""
    ann, bob = drafts_of("ann", 2), drafts_of("bob", 2)
    site.make(*ann, *bob)
    chosen = {"id": [ann[0].sid], "user": ["--user", "ann"], "all": ["--all", "--yes"]}[how]
    gone = {"id": ann[:1], "user": ann, "all": [*ann, *bob]}[how]

    status, out, _ = ask("sessions", "revoke", *chosen, "--json", *site.options)

    assert status == 0
    assert set(json.loads(out)["revoked"]) == {draft.sid for draft in gone}

    async def left(interface: Interface) -> list[str]:
        return [record.sid async for record in interface.records()]

    expected = [draft.sid for draft in (*ann, *bob) if draft not in gone]
    assert sorted(site.do(left)) == sorted(expected)


def test_ids_may_begin_like_options(site: Site, ask: Ask) -> None:
    """One public id in 64 begins with a hyphen, and is an id all the same."""
    drafts = [
        new_draft(name="session", sid=f"{start}{'x' * 19}") for start in ("-ab", "--c", "ABC")
    ]
    site.make(*drafts)
    sids = [draft.sid for draft in drafts]

    assert ask("sessions", "show", sids[0], *site.options)[0] == 0
    status, out, _ = ask("sessions", "revoke", sids[2], *site.options, sids[0], sids[1])
    assert (status, out) == (0, "3 sessions revoked\n")


@pytest.mark.parametrize("before", [[], ["--keys"], ["--json"]])
def test_an_id_like_an_option_is_shown(site: Site, ask: Ask, before: list[str]) -> None:
    """Wherever it stands among the options, such an id is one."""
    [draft] = drafts_of("ann", 1, sid="-" + "y" * 21)
    site.make(draft)
    status, out, _ = ask("sessions", "show", *before, draft.sid, *site.options)

    assert status == 0
    assert draft.sid in out


def test_what_is_no_id_is_not_looked_up(site: Site, ask: Ask) -> None:
    """Words that are no public id name no key of the store: not that of a user's index, either."""
    [draft] = drafts_of("ann", 1)
    site.make(draft)
    for word in (f"user:{sha256(b'ann').hexdigest()}", "user", "*", ""):
        assert ask("sessions", "show", word, *site.options)[0] == 1
        assert ask("sessions", "revoke", word, *site.options)[:2] == (1, "0 sessions revoked\n")

    assert draft.sid in ask("sessions", "list", "--user", "ann", *site.options)[1]


def test_revoking_says_what_was_not_there(site: Site, ask: Ask) -> None:
    """An id that nobody has gives status 1, and the others are revoked; all of them need a yes."""
    [draft] = drafts_of("ann", 1)
    site.make(draft)

    assert ask("sessions", "revoke", "--all", *site.options)[0] == 2
    assert ask("sessions", "revoke", *site.options)[0] == 2
    assert ask("sessions", "revoke", draft.sid, "A" * 22, *site.options)[:2] == (
        1,
        "1 session revoked\n",
    )


def test_what_a_user_is_called_writes_no_screen(site: Site, ask: Ask) -> None:
    """A user's name that holds control characters does not reach the terminal as they are."""
    site.make(*drafts_of("\x1b[2Jann\n\r", 1))

    out = ask("sessions", "list", *site.options)[1]

    assert "\x1b" not in out
    assert "?[2Jann??" in out


def test_nor_does_it_in_json(site: Site, ask: Ask) -> None:
    """Nothing unprintable is printed as it is, and machines read the name all the same."""
    name = "Ann\u00e9 \x9b2J\u202e\u2028\x7f \U000e0041\U0001f600"
    site.make(*drafts_of(name, 1))

    out = ask("sessions", "list", "--json", *site.options)[1]

    assert out.rstrip("\n").isprintable()
    assert "Ann\u00e9" in out
    assert [each["user"] for each in json.loads(out)["sessions"]] == [name]


# Maintenance


def test_stats_count(site: Site, ask: Ask) -> None:
    """Sessions, users and bytes are counted, of all or of one name."""
    site.make(*drafts_of("ann", 2), *drafts_of("bob", 1), *drafts_of("ann", 1, name="other"))

    found = json.loads(ask("stats", "--json", *site.options)[1])
    assert (found["sessions"], found["users"]) == (4, 3)
    assert found["payload_bytes"] == 4 * len(SECRET_DATA)
    assert found["mean_payload_bytes"] == len(SECRET_DATA)
    assert json.loads(ask("stats", "--json", "--session", "other", *site.options)[1])["users"] == 1
    assert re.search(r"^sessions +4$", ask("stats", *site.options)[1], re.M)


def test_stats_of_nothing(site: Site, ask: Ask) -> None:
    """An empty store is counted too."""
    site.make()

    assert re.search(r"^oldest +-$", ask("stats", *site.options)[1], re.M)


def test_create_table(postgres: Site, ask: Ask) -> None:
    """The table is made, once more without harm, and an old one is upgraded with its rows."""
    options = ["--url", postgres.url, "--table", postgres.table]

    assert ask("create-table", *options)[:2] == (0, f"the table {postgres.table} is there\n")
    assert ask("create-table", *options)[0] == 0
    assert ask("stats", *options)[0] == 0
    postgres.sql("DROP TABLE {table}")
    postgres.sql(
        "CREATE TABLE {table} (created_at timestamp, expires_at timestamp, sid text, val text)"
    )
    postgres.sql("INSERT INTO {table} VALUES (now(), '2099-01-01', 'old', '{}')")
    assert ask("stats", *options)[0] == 2
    assert ask("create-table", "--upgrade", *options)[0] == 0
    assert postgres.sql("SELECT sid FROM {table}")[0]["sid"] == "old"
    assert ask("stats", *options)[0] == 0


FILL = """
    INSERT INTO {table} (name, sid, version, expires_at)
    SELECT 'session', n::text, 1, now() - interval '1 second' FROM generate_series(1, 2500) n
"""


@pytest.mark.parametrize("batch", ["100", "1000", "100000"])
def test_purge(postgres: Site, ask: Ask, batch: str) -> None:
    """Expired rows go, in batches of any size, and live ones stay."""
    postgres.make(*drafts_of("ann", 3))
    postgres.sql(FILL)
    assert json.loads(ask("stats", "--json", *postgres.options)[1])["expired_waiting"] == 2500

    status, out, _ = ask("purge", "--json", "--batch", batch, *postgres.options)

    assert status == 0
    assert json.loads(out)["dropped"] == 2500
    assert json.loads(out)["left"] == 0
    found = json.loads(ask("stats", "--json", *postgres.options)[1])
    assert (found["sessions"], found["expired_waiting"]) == (3, 0)


def test_purge_leaves_what_is_locked(
    postgres: Site, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that somebody holds is left, and said to be; nobody waits for it for ever."""
    monkeypatch.setattr(maintenance, "_TRY_PAUSE", 0.01)
    postgres.make()
    postgres.sql(FILL)
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(postgres.url))
    try:
        loop.run_until_complete(connection.execute("BEGIN"))
        lock = f"SELECT FROM {postgres.table} WHERE sid = '7' FOR UPDATE"
        loop.run_until_complete(connection.execute(lock))
        status, out, _ = ask("purge", *postgres.options)
    finally:
        loop.run_until_complete(connection.close())
        loop.close()

    assert status == 0
    assert "2,499 expired rows dropped" in out
    assert "left: 1," in out


def test_purge_tells_how_far_it_is(
    postgres: Site, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal there is a bar, elsewhere there are lines, and neither on standard output."""
    monkeypatch.setattr(output, "_SECONDS_BETWEEN_LINES", 0.0)
    postgres.make()
    postgres.sql(FILL)
    _, out, err = ask("purge", "--batch", "1000", *postgres.options)
    assert out.count("\n") == 1
    assert "40%  1,000 of 2,500 expired rows\n" in err
    assert "\r" not in err

    postgres.sql(FILL)
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    ask("purge", "--batch", "1000", *postgres.options)
    assert re.search(r"\r\[#+\.+\]  \d+%  [\d,]+ of 2,500 expired rows", terminal.getvalue())


def test_redis_needs_no_purge(ask: Ask, redis_url: str) -> None:
    """Where the store forgets by itself the command says so."""
    status, out, _ = ask("purge", "--url", redis_url)

    assert status == 0
    assert "nothing to do" in out


@pytest.mark.parametrize("kind", ["fernet", "aes-gcm"])
def test_key_is_for_either_cipher(ask: Ask, kind: str) -> None:
    """A new key each time, which every cipher of `InCookieEncrypted` takes."""
    from sanic_cookies import InCookieEncrypted

    first, second = ask("key")[1].strip(), json.loads(ask("key", "--json")[1])["key"]

    assert first != second
    InCookieEncrypted([first, second], cipher=kind)


# Failures

COMMANDS = [
    ["sessions", "list"],
    ["sessions", "show", "A" * 22],
    ["sessions", "revoke", "A" * 22],
    ["stats"],
    ["purge"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ann:hunter2@127.0.0.1:1/db", "no answer"),
        ("redis://ann:hunter2@127.0.0.1:1", "no answer"),
        ("postgresql://ann:hunter2@127.0.0.1:nowhere/db", "cannot be read"),
        ("redis://ann:hunter2@127.0.0.1:nowhere/0", "cannot be read"),
        ("redis://ann:hunter2@127.0.0.1:1?socket_timeout=long", "no URL"),
        ("postgresql://ann:hunter2@127.0.0.1:1/db?host", "no URL"),
        ("redis://ann:hunter2@127.0.0.1:1/database", "no answer"),
        ("postgresql://ann:hunter2@[::1/db", "URL"),
        ("mysql://ann:hunter2@127.0.0.1/db", "must begin with"),
        ("hunter2", "must begin with"),
        ("", "which store?"),
    ],
)
def test_a_store_that_is_not_there(ask: Ask, command: list[str], url: str, says: str) -> None:
    """One line that says what is wrong, status 2, no password and no traceback."""
    status, out, err = ask(*command, "--url", url)

    assert (status, out) == (2, "")
    assert says in err
    assert err.startswith("sanic-cookies: ")
    assert err.count("\n") == 1
    assert "hunter2" not in err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_table_that_is_not_there(ask: Ask, database_url: str, command: list[str]) -> None:
    """The command that makes the table is named."""
    status, out, err = ask(*command, "--url", database_url, "--table", "no_such_table")

    assert (status, out) == (2, "")
    assert "give --table NAME, or sanic-cookies create-table" in err
    assert err.count("\n") == 1


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the library's version and nothing else."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert not ended.value.code
    assert capsys.readouterr().out == f"{sanic_cookies.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["create-table", "--url", "redis://127.0.0.1"],
        ["create-table", "--table", "a;b", "--url", "postgresql://127.0.0.1:1"],
        ["purge", "--batch", "0"],
        ["purge", "--batch", "many"],
        ["sessions", "list", "--limit", "-1"],
        ["sessions"],
        ["nonsense"],
        [],
    ],
)
def test_words_that_cannot_be(ask: Ask, words: list[str]) -> None:
    """What makes no sense gives status 2 and a line that says so."""
    status, out, err = ask(*words)

    assert (status, out) == (2, "")
    assert "sanic-cookies" in err


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Give a parser, and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def test_the_help_tells_each_default() -> None:
    """What an option is if nobody gives it stands in its help."""
    options = [option for parser in parsers(_parser()) for option in parser._actions]
    untold = (None, False, argparse.SUPPRESS)
    told = {str(each.help): each.default for each in options if each.default not in untold}

    assert len(told) > 4
    assert [text for text, default in told.items() if f"({default})" not in text] == []


def test_the_environment_names_the_store(
    ask: Ask, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REDIS_URL or DATABASE_URL is enough; with both, one has to be chosen."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert ask("stats")[0] == 0
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1")
    status, _, err = ask("stats")
    assert status == 2
    assert "both set: give --url, or unset one" in err
    assert ask("stats", "--url", redis_url)[0] == 0


def test_a_table_is_made_in_the_database(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """`create-table` asks for DATABASE_URL alone, whatever else is set."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert "Give --url, or set DATABASE_URL\n" in ask("create-table")[2]
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1")
    assert "postgresql://127.0.0.1:1: no answer" in ask("create-table")[2]


# The doctor

APP = """
from sanic import Sanic
from sanic_cookies import AsyncPG, AuthSession, InCookieEncrypted, Redis, Session

app = Sanic("{name}")
{line}

def factory():
    return app
"""
SOUND = (
    "AuthSession(app, Redis(), csrf='token', max_sessions=9, user_loader=dict, session_stamp=str)"
)


def test_commands_prepare_no_statements(postgres: Site) -> None:
    """Behind a transaction pooler a prepared statement would meet that of the command before."""
    postgres.make(new_draft())
    arguments = argparse.Namespace(url=postgres.url, table=postgres.table)

    async def run() -> list[Any]:
        async with stores.opened(arguments) as store:
            assert isinstance(store, AsyncPG)
            await stores.checked(store)
            assert (await store.census()).sessions == 1
            query = "SELECT name FROM pg_prepared_statements"
            return list(await store._pool.ask("fetch", query, ()))

    assert asyncio.run(run()) == []


@pytest.fixture
def app_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write an app with one line of sessions; returns what `doctor` is to be called with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(line: str) -> str:
        name = f"cli_app_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(APP.format(name=name, line=line))
        return name

    return write


@pytest.mark.parametrize(
    ("line", "severity", "rule"),
    [
        ("Session(app, Redis(), secure=False)", "error", "3.3.1"),
        ("Session(app, Redis(), cookie_prefix='')", "warning", "3.3.1"),
        ("Session(app, Redis(), domain='example.com')", "warning", "3.3.3"),
        ("Session(app, Redis(), httponly=False)", "error", "3.3.4"),
        ("Session(app, Redis(), samesite='None')", "error", "3.3.2"),
        ("AuthSession(app, Redis(), samesite='None', csrf='token')", "warning", "3.3.2"),
        ("Session(app, Redis(), expiry=None, absolute_timeout=99)", "warning", "7.3.1"),
        ("AuthSession(app, Redis(), expiry=None)", "error", "7.3.1"),
        ("AuthSession(app, Redis(), expiry=7200)", "note", "7.1.1"),
        ("AuthSession(app, Redis(), absolute_timeout=None)", "error", "7.3.2"),
        ("AuthSession(app, Redis(), absolute_timeout=172800)", "note", "7.1.1"),
        ("AuthSession(app, Redis(), remember_expiry=90 * 86400)", "warning", "7.3.2"),
        ("AuthSession(app, InCookieEncrypted({key!r}))", "error", "7.4.1"),
        ("Session(app, InCookieEncrypted({key!r}))", "note", "7.4.1"),
        ("Session(app)", "warning", ""),
        ("AuthSession(app, Redis())", "warning", "3.5.1"),
        ("AuthSession(app, Redis())", "note", "7.4.2"),
        ("AuthSession(app, Redis())", "note", "7.4.3"),
        ("AuthSession(app, Redis())", "note", "7.1.2"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_doctor_finds(
    ask: Ask, app_file: Callable[[str], str], line: str, severity: str, rule: str
) -> None:
    """Each setting that is wanting is found, with its number; errors, and they alone, give 1."""
    place = f"{app_file(line.format(key=maintenance.new_key()))}:app"

    status, out, _ = ask("doctor", place, "--json")
    findings = json.loads(out)["findings"]
    assert (severity, rule) in {(each["severity"], each["rule"]) for each in findings}
    assert status == any(each["severity"] == "error" for each in findings)
    text = ask("doctor", place)[1]
    assert all(each["what"] in text and each["change"] in text for each in findings)


@pytest.mark.filterwarnings("ignore")
def test_doctor_advises_what_the_store_can_do(ask: Ask, app_file: Callable[[str], str]) -> None:
    """Where no list of a user's sessions is kept, what needs one is not among the changes."""
    key = maintenance.new_key()
    line = f"AuthSession(app, InCookieEncrypted({key!r}, revocations=Redis()), csrf='token')"

    findings = json.loads(ask("doctor", f"{app_file(line)}:app", "--json")[1])["findings"]
    assert [each["change"] for each in findings if "logout_" in each["change"]] == []
    changes = {each["rule"]: each["change"] for each in findings}
    assert changes["7.4.2"] == "user_loader=..."
    assert changes["7.4.3"] == "session_stamp=..."
    assert changes["7.1.2"].startswith("max_sessions=... over Redis(...) or AsyncPG(...)")


@pytest.mark.parametrize("name", ["app", "factory", "factory()"])
def test_doctor_is_content(ask: Ask, app_file: Callable[[str], str], name: str) -> None:
    """An app that leaves nothing to wish gets no finding and status 0."""
    status, out, _ = ask("doctor", f"{app_file(SOUND)}:{name}", "--json")

    assert (status, json.loads(out)) == (0, {"findings": []})


@pytest.mark.parametrize(
    ("line", "name", "says"),
    [
        ("1 / 0", ":app", "ZeroDivisionError"),
        ("import no_such_module", ":app", "no_such_module"),
        ("x = 5", ":x", "no Sanic app"),
        ("x = 5", ":y", "y"),
        ("x = 5", ":app", "has no session"),
        ("x = 5", "", "module:app"),
        ("Session(app, lease=99)", ":app", "lease"),
        ("raise SystemExit", ":app", "SystemExit"),
        ("raise SystemExit('set SHOP_KEY')", ":app", "set SHOP_KEY"),
        ("def stop(): raise SystemExit", ":stop", "SystemExit"),
    ],
)
def test_doctor_refuses(
    ask: Ask, app_file: Callable[[str], str], line: str, name: str, says: str
) -> None:
    """What is no app with sessions gives status 2 and a line that says why."""
    status, out, err = ask("doctor", app_file(line) + name)

    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("line", ["print('hello')", "def make(): print('hello'); return app"])
def test_doctor_alone_speaks_on_standard_output(
    ask: Ask, app_file: Callable[[str], str], line: str
) -> None:
    """What an app prints as it is imported or made is not among what was found."""
    module = app_file(f"{SOUND}\n{line}")

    status, out, err = ask("doctor", f"{module}:{'make' if 'make' in line else 'app'}", "--json")

    assert (status, json.loads(out)) == (0, {"findings": []})
    assert "hello" in err


# Where what was found goes


def run_into(stdout: int, *words: str, **environment: str) -> tuple[int, str]:
    """Run a command as a program of its own; returns its status and standard error."""
    inherited = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "sanic_cookies", *words]
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=inherited | environment
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_who_reads_may_leave(environment: dict[str, str]) -> None:
    """A pipe whose reader has gone, as that of `head`, is no failure, and nothing is said of it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run_into(writing, "sql", **environment) == (0, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_a_failure(environment: dict[str, str]) -> None:
    """What could not be written was not carried out: status 2, and a line that says why."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        status, err = run_into(full, "sql", **environment)
    finally:
        os.close(full)

    assert status == 2
    assert err.startswith("sanic-cookies: standard output: ")
    assert err.count("\n") == 1


def test_any_terminal_can_show_any_name(site: Site, capfdbinary: Any) -> None:
    """A user's name that the terminal has no letters for is spelled out, and the list goes on."""
    site.make(*drafts_of("J\u00fcrgen", 1))

    status, err = run_into(1, "sessions", "list", *site.options, PYTHONIOENCODING="ascii")

    assert (status, err) == (0, "")
    assert rb"J\xfcrgen" in capfdbinary.readouterr().out
    run_into(1, "sessions", "list", "--json", *site.options, PYTHONIOENCODING="ascii")
    assert json.loads(capfdbinary.readouterr().out)["sessions"][0]["user"] == "J\u00fcrgen"
