"""What the page on watching promises: signals with their context, and metrics that are right."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sanic import Request

from auth_lab import AuthLab, Pause
from documents import blocks, code, rows
from lab import Lab, until
from programs import ROOT
from sanic_cookies import InMemory, SessionConfigError, SessionDict, login_required
from sanic_cookies.metrics import Metrics
from sanic_cookies.signals import SIGNALS

PAGE = ROOT / "docs" / "observability.md"
TABLE = {signal.strip("`"): context for signal, _, context in rows(PAGE, "Signals")}


class Failing(InMemory):
    """A store that takes no writes."""

    async def save(self, draft: Any) -> Any:
        raise ConnectionError

    create = save


# The log.


def test_the_log_goes_where_sanics_goes(tmp_path: Path) -> None:
    """By the block of the page all that sessions log is written as Sanic's own lines are."""
    program, _ = [each.text for each in blocks(PAGE) if "addHandler" in each.text]
    says = 'logging.getLogger("sanic_cookies.security").info("two cookies")\n'
    (tmp_path / "shop.py").write_text(program + says)
    command = [sys.executable, "shop.py"]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)

    assert re.fullmatch(r".*\d{4}-\d\d-\d\d [\d:]+ .*INFO: two cookies\n", done.stdout)


def test_the_log_can_name_its_loggers(tmp_path: Path) -> None:
    """By the second block each line has its level and its logger, as the page shows below it."""
    _, program = [each.text for each in blocks(PAGE) if "addHandler" in each.text]
    [shown] = [each.text for each in blocks(PAGE) if each.language == "text"]
    lines = [re.fullmatch(r"\S+ \S+ (\w+) ([\w.]+): (.+)", line) for line in shown.splitlines()]
    for level, name, text in (line.groups() for line in lines if line is not None):
        program += f"logging.getLogger({name!r}).{level.lower()}({text!r})\n"
    (tmp_path / "shop.py").write_text(program)
    command = [sys.executable, "shop.py"]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)

    time = r"\d{4}-\d\d-\d\d [\d:]+,\d{3}"
    assert len(lines) == 2
    assert re.sub(time, "TIME", done.stderr) == re.sub(time, "TIME", shown.rstrip() + "\n")


def lines_in_the_source() -> set[tuple[str, str, str]]:
    """Return all that is logged: logger, level and text, but for texts that are made elsewhere."""
    loggers = {"logger": "sanic_cookies", "security": "sanic_cookies.security"}
    found = set()
    for file in (ROOT / "sanic_cookies").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id=("logger" | "security") as name), attr=level
                    ),
                    args=[ast.Constant(value=str(text)), *_],
                ) if re.search(r"[a-z ]{8}", text):
                    level = "error" if level == "exception" else level
                    found.add((loggers[name], level, text))
    return found


def test_the_page_lists_what_is_logged() -> None:
    """Each line that is logged, but for debugging, has its words in its row; no row has more."""
    lines = lines_in_the_source()
    table = {
        (logger.strip("`"), level): set(code(what)) - set(SIGNALS.values())
        for logger, level, what in rows(PAGE, "Log")
    }
    unused = {(*row, words) for row, all_words in table.items() for words in all_words}
    for logger, level, text in lines:
        if level != "debug":
            fitting = {words for words in table[logger, level] if words in text}
            assert fitting, (logger, level, text)
            unused -= {(logger, level, words) for words in fitting}

    assert unused == set()


# Signals.


def test_the_page_lists_every_signal() -> None:
    """The table has the signals that there are, and no others."""
    assert sorted(TABLE) == sorted(SIGNALS.values())


@pytest.fixture
async def told() -> dict[str, list[dict[str, Any]]]:
    """What listeners of all signals are told while everything happens that they tell of."""
    heard: dict[str, list[dict[str, Any]]] = {name: [] for name in SIGNALS.values()}
    options = {"max_sessions": 1, "on_max_sessions": "refuse", "lease": 2, "max_hold": 3}
    lab = AuthLab(lock_timeout=1.5, **options)
    lab.auth.add_interface(Failing())
    for name in SIGNALS.values():
        listen(lab, name, heard[name])
    async with lab:
        await live(lab)
        await until(lambda: all(heard.values()))
    return heard


async def holding(pause: Pause | None, seconds: float, request: Request) -> None:
    """Be in a block, and change something."""
    async with request.ctx.auth_session as sess:
        sess["held"] = seconds
        if pause is not None:
            await pause.wait()
        await asyncio.sleep(seconds)


def listen(lab: Lab, name: str, heard: list[dict[str, Any]]) -> None:
    @lab.app.signal(name)
    async def listener(**context: Any) -> None:
        heard.append(context)


async def live(lab: AuthLab) -> None:
    """Have one of everything happen."""
    await lab.login()
    await lab.write(note=1)
    await lab.do(lab.auth.confirm_login)
    await lab.login()
    other = await lab.open_browser()
    await lab.visit(lambda request: lab.auth.login_user(request, "ann"), browser=other)

    @login_required
    async def guarded(request: Request) -> None:
        raise AssertionError("the guard let a stranger in")

    await lab.visit(guarded, browser=other)
    for hold in (0.05, 3.2):  # the second outlives `lock_timeout` and `max_hold`
        holder = asyncio.create_task(lab.visit(partial(holding, pause := Pause(), hold)))
        await pause.reached.wait()
        waiter = asyncio.create_task(lab.visit(partial(holding, None, 0)))
        pause.resume.set()
        await asyncio.gather(holder, waiter)
    thief = await lab.thief()
    thief.cookies[lab.cookie] = thief.cookies[lab.cookie][:-4] + "AAAA"
    await lab.user(thief)
    await lab.do(lambda _: lab.auth.revoke(lab.sid()))
    await lab.login()
    await lab.logout()


async def test_signals_carry_what_the_page_says(told: dict[str, list[dict[str, Any]]]) -> None:
    """Each signal came, with the context keys of its row and no others, and never with a token."""
    for name, contexts in told.items():
        always, _, sometimes = TABLE[name].partition("(")
        needed, allowed = keys(always), keys(always) | keys(sometimes)
        for context in contexts:
            given = set(context) - {"session"}
            assert needed <= given <= allowed, (name, context)
            assert context["session"] in ("session", "auth_session")
            assert all(len(str(value)) < 60 for value in context.values())


class Closing(InMemory):
    """Memory that notes when it is closed."""

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self._order = order

    async def close(self) -> None:
        await super().close()
        self._order.append("closed")


async def test_a_listener_that_is_under_way_is_waited_for() -> None:
    """A server that stops lets listeners end, who may write down what they heard of."""
    order: list[str] = []
    lab, heard, go_on = Lab(Closing(order)), asyncio.Event(), asyncio.Event()

    @lab.app.signal("session.record.created")
    async def listener(**context: Any) -> None:
        heard.set()
        await go_on.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        order.append("told")

    @lab.app.after_server_stop
    async def stopping(_: object) -> None:
        go_on.set()

    async with lab:
        await lab.put(n=1)
        await heard.wait()

    assert order == ["told", "closed"]


async def test_a_listener_that_fails_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the signal whose listener has failed, and why; the request has not."""
    lab, reported = Lab(), asyncio.Event()

    @lab.app.signal("session.record.created")
    async def listener(**context: Any) -> None:
        raise ValueError("no such table")

    @lab.app.report_exception
    async def report(app: Any, exception: Exception) -> None:
        reported.set()

    async with lab:
        await lab.put(n=1)
        await reported.wait()

    [line] = [each for each in caplog.records if "session.record.created" in each.getMessage()]
    assert (line.name, line.levelname) == ("sanic_cookies", "ERROR")
    assert "no such table" in caplog.text


@pytest.mark.parametrize("signal", ["session.record.loaded", "session.record.<event>"])
async def test_reads_are_told_to_who_listens(signal: str) -> None:
    """Each read of a session is told of, a preload and a block alike; a stranger's is none."""
    lab, heard = Lab(), []
    listen(lab, signal, heard)
    async with lab:
        await lab.put(n=1)
        await lab.visit(nothing, browser=await lab.open_browser())
        sid = await lab.do(in_block)

        def loads() -> list[str]:
            return [each["sid"] for each in heard if each.get("event", "loaded") == "loaded"]

        await until(lambda: len(loads()) == 2)
        assert loads() == [sid, sid]


async def test_without_a_listener_nothing_is_in_the_way_of_a_read() -> None:
    """Who does not listen to reads has sessions of the plain class."""
    async with Lab() as lab:
        assert await lab.do(is_plain)


async def nothing(sess: SessionDict) -> None:
    pass


async def in_block(sess: SessionDict) -> str | None:
    async with sess:
        return sess.sid


async def is_plain(sess: SessionDict) -> bool:
    return type(sess) is SessionDict


def keys(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


# Metrics.


class Measured(Lab):
    """A lab whose session is measured, in a registry of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.registry = CollectorRegistry()
        Metrics(self.session, registry=self.registry)

    def value(self, name: str, **labels: str) -> float:
        """Return a sample's value."""
        labels = {"session": "session", **labels}
        return self.registry.get_sample_value(f"sanic_session_{name}", labels) or 0.0

    def calls(self, operation: str, outcome: str = "ok", **labels: str) -> float:
        """Return how many calls there were, of the master if nothing else is said."""
        named = {"interface": "InMemory", "role": "master", **labels}
        return self.value("store_seconds_count", operation=operation, outcome=outcome, **named)


async def test_waits_holds_calls_and_events_are_measured() -> None:
    """A block that waits for another shows in each metric, and the gauge goes back to nothing."""
    async with Measured() as lab:
        await lab.put(count=0)
        pause = Pause()

        async def hold(sess: SessionDict) -> None:
            async with sess:
                sess["count"] += 1
                await pause.wait()

        async def follow(sess: SessionDict) -> None:
            async with sess:
                sess["count"] += 1

        first = asyncio.create_task(lab.visit(hold))
        await pause.reached.wait()
        before = lab.value("lock_wait_seconds_sum")
        second = asyncio.create_task(lab.visit(follow))
        await until(lambda: lab.value("lock_entering") == 1)
        await asyncio.sleep(0.05)
        pause.resume.set()
        await asyncio.gather(first, second)

        assert before == 0
        assert lab.value("lock_wait_seconds_sum") >= 0.05
        assert lab.value("lock_wait_seconds_count") == 2  # a new session waits for nobody
        assert lab.value("lock_hold_seconds_count") == 2
        assert lab.value("lock_hold_seconds_sum") >= 0.05
        assert lab.value("lock_entering") == 0
        assert lab.calls("create") == 1
        assert lab.value("events_total", event="waited") == 1
        assert lab.value("events_total", event="created") == 1
        assert lab.value("events_total", event="lost") == 0


async def test_wait_in_vain_leaves_the_gauge_at_nothing() -> None:
    """A request that gives up waiting is no longer counted among those that wait."""
    async with Measured(lock_timeout=0.1) as lab:
        await lab.put(count=0)
        pause = Pause()

        async def hold(sess: SessionDict) -> None:
            async with sess:
                await pause.wait()

        async def follow(sess: SessionDict) -> None:
            async with sess:
                raise AssertionError("there is no turn")

        first = asyncio.create_task(lab.visit(hold))
        await pause.reached.wait()
        assert (await lab.visit(follow)).status_code == 503
        assert lab.value("lock_entering") == 0
        assert lab.value("events_total", event="timed_out") == 1
        pause.resume.set()
        await first


async def test_failures_of_added_interfaces_are_measured() -> None:
    """A write that an added interface misses is a failed call of that role, and an event."""
    lab = Measured()
    lab.session.add_interface(Failing())
    async with lab:
        await lab.put(count=0)
        await until(lambda: lab.value("events_total", event="interface_failed") == 1)

        assert lab.calls("create") == 1
        name = {"interface": "Failing", "role": "added"}
        assert lab.calls("save", "failed", **name) + lab.calls("create", "failed", **name) == 1


async def test_calls_that_were_not_made_are_measured() -> None:
    """What is answered at once because the store has just failed counts as such."""

    class Away(InMemory):
        async def fetch(self, name: str, sid: str) -> Any:
            raise ConnectionRefusedError

    async with Measured(Away(), preload=False) as lab:
        await lab.put(count=0)
        for _ in range(3):
            await lab.visit(lambda sess: sess.peek())

        assert lab.calls("fetch", "failed", interface="Away") == 1
        assert lab.calls("fetch", "down", interface="Away") == 2


async def test_series_do_not_grow_with_clients() -> None:
    """However many browsers come, there are as many series as before, and none names them."""
    async with Measured() as lab:
        await lab.put(secret="of the first")
        await lab.stored()
        before = len(generate_latest(lab.registry).splitlines())
        for _ in range(5):
            browser = await lab.open_browser()
            await lab.visit(lambda sess: body(sess), browser=browser)
            await lab.stored(browser)
            shown = generate_latest(lab.registry).decode()
            sid, _, secret = browser.cookies["session"].partition(".")
            assert sid not in shown
            assert secret not in shown

        assert len(generate_latest(lab.registry).splitlines()) == before


async def body(sess: SessionDict) -> None:
    async with sess:
        sess["secret"] = "of another"


async def test_measuring_begins_before_the_server() -> None:
    """Metrics for a session that serves already are refused, not half taken."""
    async with Lab() as lab:
        with pytest.raises(SessionConfigError):
            Metrics(lab.session, registry=CollectorRegistry())


MEASURE = """
import asyncio, sys
sys.path.insert(0, "tests")
from bare import bare_session, begin
from sanic_cookies import InMemory
from sanic_cookies.metrics import Metrics
session = bare_session(InMemory())
Metrics(session)
asyncio.run(begin(session, count=1))
"""


def test_workers_are_added_up(tmp_path: Path) -> None:
    """In prometheus_client's mode for several processes their metrics add up."""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for _ in range(3):
        subprocess.run([sys.executable, "-c", MEASURE], check=True, cwd=ROOT, env=environment)
    script = (
        "from prometheus_client import CollectorRegistry, generate_latest, multiprocess\n"
        "registry = CollectorRegistry()\n"
        "multiprocess.MultiProcessCollector(registry)\n"
        "print(generate_latest(registry).decode())\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)

    assert 'sanic_session_events_total{event="created",session="session"} 3.0' in done.stdout


def test_nothing_is_installed_or_imported_for_those_who_do_not_measure() -> None:
    """Without prometheus_client all works but `Metrics`, which says what to install."""
    script = (
        "import sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "import sanic_cookies\n"
        "sanic_cookies.Session()\n"
        "import sanic_cookies.metrics\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)

    assert done.stderr.splitlines()[-1].endswith("pip install 'sanic-cookies[metrics]'")
