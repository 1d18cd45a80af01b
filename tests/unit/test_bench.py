"""The benchmark's own arithmetic, tables and chart, and that the pages show what was measured."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench_run import BARE, a_run, latencies, samples
from benchmarks import chart, parts, publish, servers, tables
from benchmarks.capacity import Site, advice, constants, need
from benchmarks.figures import bare_us, busiest, doubt, hot, lost, measured, route, typical_doubt
from benchmarks.goals import GOALS, Goal, Judged, applicable, of_growth, of_hot
from benchmarks.growth import lines as growth_lines
from benchmarks.hot import outcome
from benchmarks.instructions import measured as between_marks
from benchmarks.instructions import totals
from benchmarks.load import Connection, Window, cookie_of, crowd, exactly, request
from benchmarks.operations import ROUNDS, compare, draft, in_pairs, sid_of
from benchmarks.rig import ROOT
from benchmarks.systems import BY_KEY, SYSTEMS
from benchmarks.trips import counting
from sanic_cookies import InMemory

SVG = "{http://www.w3.org/2000/svg}"


def test_ratios_are_taken_within_a_turn() -> None:
    """A machine that slows down by half changes no ratio: each turn has its own bare app."""
    write = route(a_run(), "ours-redis", "write")

    assert write.of_bare == 0.5  # of 0.5, 0.55 and 0.5
    assert write.added_us == pytest.approx(50)  # two fifths of 100, 125 and 200, in the middle
    assert write.latency_us == 200.0  # of 200, 200 and 220
    assert write.rate == 4_400
    assert write.trips == 2


def test_a_bare_app_is_compared_with_itself() -> None:
    """It costs nothing above itself, and what it takes is known from each turn with others."""
    run = a_run()
    bare = route(run, "sanic", "untouched")
    assert (bare.of_bare, bare.added_us, bare.latency_us) == (1.0, 0.0, None)

    assert bare_us(run, "sanic") == 125.0
    for samples_of in run["load"]["ours-redis"].values():
        for each in samples_of:
            each["bare_cpu_us"] *= 2
    assert bare_us(run, "sanic") == 200.0


def test_how_well_a_median_is_known() -> None:
    """As many are left out at either end as a coin allows at 95 %; of a few, none."""
    assert doubt([0.9, 1.0, 1.2]) == pytest.approx(0.15)
    hundred = [1 + number / 100 for number in range(100)]
    # 40 of 100 from below to 61 of 100, as tables of the sign test have it.
    assert doubt(hundred) == pytest.approx((hundred[60] - hundred[39]) / 2 / 1.495)
    assert doubt([1.0] * 40 + [50.0] * 5) == 0


def test_a_hot_session_is_counted_over_all_rounds() -> None:
    """What was answered and is not there is lost, whatever the rounds were."""
    ours, peer = hot(a_run(), "ours-redis"), hot(a_run(), "sanic_session-redis")

    assert ours is not None
    assert peer is not None
    assert (ours.lost, ours.of_many, ours.p99_ms) == (0.0, 0.8, 13.0)
    assert peer.lost == 0.95
    assert hot(a_run(), "hand-redis") is None
    assert lost(200, 50) == 0.75


def test_the_generator_is_shown_to_be_idle() -> None:
    """The most that it was busy, not the mean, stands below the tables."""
    run = a_run()
    run["load"]["sanic"]["untouched"][1]["load_busy"] = 0.8

    assert busiest(run, "load") == 0.8
    assert "busy 80% of the time at most" in tables.proof(run)
    assert typical_doubt(run) == 0  # most routes are the same part of bare in each turn


def test_goals_are_judged_by_the_right_side() -> None:
    """More is better for a rate, less for a cost; what was not measured has no row."""
    judged = applicable(a_run())
    found = {goal.text: (goal.reached(value), value) for goal, value, _ in judged}

    assert found["Redis, read: of bare"] == (True, 0.6)
    assert found["Redis, locked write: of bare"] == (False, 0.5)
    assert found["Redis, read: CPU of hand-written GET"] == (True, 0.4)
    assert found["Redis, locked write: CPU of the cheapest peer"] == (True, 0.2)
    assert found["Redis, locked write: latency added, of GET + SETEX"] == (True, 200 / 300)
    assert found["Redis, locked write: round trips"] == (True, 2)
    assert not any(text.startswith(("memory", "Postgres")) for text in found)


def with_floor() -> dict[str, Any]:
    """Return a run with the least that can be done in Redis: 20 and 30 us above bare Sanic."""
    run = a_run()
    run["load"]["floor-redis"] = {
        "read": samples((9_000, 116.0), (6_400, 145.0), (4_000, 232.0)),
        "write": samples((7_000, 124.0), (5_600, 155.0), (4_000, 248.0)),
    }
    run["latency_us"]["floor-redis"] = {"write": latencies(160.0, 170.0, 190.0)}
    return run


def test_a_goal_shows_what_the_least_reaches() -> None:
    """By the formula of the goal itself, of the same rounds; reading has no say in writing."""
    found = {goal.text: floor for goal, _, floor in applicable(with_floor())}

    assert {text: floor for text, floor in found.items() if floor is not None} == {
        "Redis, read: of bare": 0.8,
        "Redis, read: CPU of hand-written GET": 0.2,
        "Redis, read: CPU of the cheapest peer": 0.1,
        "Redis, locked write: of bare": 0.7,
        "Redis, locked write: CPU of unlocked GET + SETEX": 0.2,
        "Redis, locked write: CPU of the cheapest peer": 0.12,
        "Redis, locked write: latency added, of GET + SETEX": 0.2,
    }
    assert {text for text, floor in found.items() if floor is None} == {
        "untouched, cookie sent, Redis: of bare Sanic's rate",
        "Redis, locked write: round trips",
    }


def test_a_run_without_the_least_has_no_floor() -> None:
    """Older runs did not measure it: a dash, and the rest as it was."""
    old, new = (
        {row[0]: row[1:] for row in tables.goals(applicable(run))}
        for run in (a_run(), with_floor())
    )

    assert {row[2] for row in old.values()} == {tables.NONE}
    assert new["Redis, locked write: of bare"] == [">= 0.53", "0.5", "0.7", "80%", "no"]
    assert {text: [*row[:2], row[4]] for text, row in old.items()} == {
        text: [*row[:2], row[4]] for text, row in new.items()
    }


@pytest.mark.parametrize(
    ("bound", "at_least", "value", "floor", "room"),
    [
        (0.5, True, 0.25, 0.8, (2 - 1.25) / (4 - 1.25)),  # twice as fast would do
        (0.5, True, 0.6, 0.8, 1.0),
        (0.5, True, 0.25, 0.4, 0.0),
        (0.4, False, 0.8, 0.2, 1 / 3),
        (0.4, False, 0.5, 0.6, 0.0),
        (0.4, False, 0.5, None, None),
    ],
)
def test_a_missed_goal_says_how_near_it_is(
    bound: float, at_least: bool, value: float, floor: float | None, room: float | None
) -> None:
    """Counted in what a request costs: the part of all beyond the floor that may stay."""
    goal = Goal("a figure", bound, at_least, (), lambda *_: value)

    assert Judged(goal, value, floor).room == pytest.approx(room)
    cell = tables.goals([Judged(goal, value, floor)])[0][4]
    assert cell == {None: "-", 0.0: "none", 1.0: "-"}.get(room, f"{room or 0:.0%}")


def test_the_least_is_in_the_tables_only() -> None:
    """It is nobody's choice, so the chart does without; and it is no peer that goals are of."""
    assert chart.svg(with_floor()) == chart.svg(a_run())
    labels = [row[0] for row in tables.rows(with_floor())]
    assert "locked by hand, Redis (the least)" in labels


def test_each_goal_names_systems_that_exist() -> None:
    """A misspelt key would make a goal vanish from the table in silence."""
    assert {key for goal in GOALS for key in goal.needs} <= set(BY_KEY)
    assert {goal.floor for goal in GOALS} - {""} <= set(BY_KEY)
    assert all((ROOT / "benchmarks" / "peers" / f"{each.module}.py").exists() for each in SYSTEMS)
    assert len(BY_KEY) == len(SYSTEMS)
    assert all(BY_KEY[each.base].kind == "bare" for each in SYSTEMS)


def test_a_table_has_a_row_for_each_system() -> None:
    """Whole rows, figures rounded, a dash where there is none."""
    run = a_run()
    body = tables.rows(run)

    assert [row[0] for row in body] == [each.label for each in measured(run)]
    assert {len(row) for row in body} == {len(tables.HEAD)}
    assert body[1][1:] == (
        ["0.99", "0.60", "0.50", "1", "40", "50", "0.10", "0.20", "1", "2", "3,300", "0%"]
    )
    run["load"]["ours-redis"]["untouched"] = samples(*((rate, cpu - 0.1) for rate, cpu in BARE))
    assert tables.rows(run)[1][4] == "0"  # a little less than nothing is nothing
    lines = tables.markdown(tables.HEAD, body).splitlines()
    assert {line.count("|") for line in lines} == {len(tables.HEAD) + 1}
    assert len({len(line) for line in tables.plain(tables.HEAD, body).splitlines()}) == 1


def test_the_chart_draws_to_scale() -> None:
    """Each bar is as long as its figure, and the figure stands beside it."""
    run = a_run()
    root = ElementTree.fromstring(chart.svg(run))  # noqa: S314 - our own
    bars = [
        (each.get("class"), float(each.get("width") or 0))
        for each in root.iter(f"{SVG}rect")
        if each.get("rx")
    ]
    shown = [line.added[path] for line in chart.lines(run) for path in chart.PATHS]
    scale = {round(width / value, 2) for (_, width), value in zip(bars, shown, strict=True)}

    assert len(scale) == 1
    assert [kind for kind, _ in bars][:2] == ["ours read", "ours write"]  # the cheapest first
    assert {"40", "50", "100", "150", "200", "250"} <= {each.text for each in root.iter()}


def test_the_chart_can_be_heard() -> None:
    """It has a title and says in words what it shows, for who cannot see it."""
    root = ElementTree.fromstring(chart.svg(a_run()))  # noqa: S314 - our own
    title, text = root.find(f"{SVG}title"), root.find(f"{SVG}desc")

    assert root.get("role") == "img"
    assert title is not None
    assert text is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {text.get('id')}"
    assert "sanic_cookies: read 40, write 50, loses 0% of concurrent updates" in (text.text or "")
    assert "prefers-color-scheme: dark" in chart.STYLE


@pytest.mark.parametrize("most", [0, 3, 47, 531, 2400])
def test_the_scale_has_room_for_all(most: float) -> None:
    """It begins at nothing, ends beyond the longest bar, and has few marks."""
    marks = chart.axis(most)

    assert marks[0] == 0
    assert most <= marks[-1]
    assert 2 <= len(marks) <= 9


def test_only_what_is_between_the_markers_is_written() -> None:
    """The rest of a page stays as its author wrote it; doing it again changes nothing."""
    begin, end = publish.BEGIN.format("goals"), publish.END.format("goals")
    page = f"before\n{begin}\nold\n{end}\nafter\n"
    filled = publish.filled(page, publish.blocks(a_run(), "x.svg"))

    assert filled.startswith(f"before\n{begin}\n| Goal |")
    assert filled.endswith(f"{end}\nafter\n")
    assert "old" not in filled
    assert publish.filled(filled, publish.blocks(a_run(), "x.svg")) == filled


def _kept(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("fault", ["", "busy", "incomplete"])
def test_times_of_a_busy_machine_are_not_published(tmp_path: Path, fault: str) -> None:
    """Turns that tell little, or not of all, publish nothing that a clock has measured."""
    run, is_quiet, is_sound = a_run(), fault != "busy", not fault
    run["dropped"] = {"aiohttp_session-redis": "no port"} if fault == "incomplete" else {}
    for taken in (each for paths in run["load"].values() for each in paths.values()):
        taken[0]["rate"] *= 1.0 if is_quiet else 1.2
    (tmp_path / "latest.json").write_text(json.dumps(run))
    (tmp_path / "published.json").write_text('"old"')
    for name in ("growth", "hot", "instructions", "parts"):
        (tmp_path / f"{name}.json").write_text('"new"')
        (tmp_path / f"published-{name}.json").write_text('"old"')

    refused = publish.take_over(tmp_path)

    assert (refused is None) is is_sound
    assert _kept(tmp_path, "published.json") == (run if is_sound else "old")
    for name in ("growth", "hot"):
        assert _kept(tmp_path, f"published-{name}.json") == ("new" if is_sound else "old")
    for name in ("instructions", "parts"):
        assert _kept(tmp_path, f"published-{name}.json") == "new"


def test_no_two_servers_of_a_run_have_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free is free for the next one, too, until somebody listens: so one asks again."""
    free = iter([7, 7, 8])
    monkeypatch.setattr(servers, "free_port", lambda: next(free))
    monkeypatch.setattr(servers, "_GIVEN", set())

    assert [servers._port_of_its_own() for _ in range(2)] == [7, 8]


@pytest.mark.parametrize("page", publish.PAGES)
def test_a_page_shows_what_was_measured(page: str) -> None:
    """No figure of the tables was typed: they are what the published samples give."""
    run = publish.load("latest")
    if run is None:
        pytest.skip("no run is published yet")
    text = (ROOT / page).read_text()

    assert publish.filled(text, publish.published(publish.PAGES[page])) == text
    assert publish.CHART.read_text() == chart.svg(run)


@pytest.mark.parametrize("page", publish.PAGES)
def test_every_marker_is_filled(page: str) -> None:
    """A misspelt name would leave a gap where a table should be."""
    text = (ROOT / page).read_text()
    names = re.findall(r"<!-- (\w+): made by", text)
    known = {*publish.blocks(a_run(), ""), "growth", "hot", "instructions", "parts"}
    known |= {"capacity", "constants"}

    assert names
    assert set(names) <= known
    assert [publish.END.format(name) for name in names] == re.findall(r"<!-- end of .*-->", text)


GROWTH = {
    "json_bytes": 200,
    "stores": {
        "memory": {"bytes": {"anonymous": 300.0, "logged in": 700.0}},
        "redis": {
            "bytes": {"anonymous": 1000.0, "logged in": 2000.0},
            "store_us": {"read": 10.0, "write": 40.0},
        },
    },
}


def test_a_site_is_reckoned_from_what_was_measured() -> None:
    """Memory, operations and cores of a site, by hand from the figures of the run."""
    hot = {"hot": {"ours-redis": [{"rate": 900.0}, {"rate": 1000.0}, {"rate": 1100.0}]}}
    per = constants(a_run(), GROWTH, hot, "redis")
    site = Site(sessions=1000, logged_in=0.25, rate=10_000, reads=0.5, writes=0.25, busy=0.5)
    found = need(site, per)

    reckoned = (per.bare_us, per.read_us, per.write_us, per.hot)
    assert reckoned == pytest.approx((125.0, 40.0, 50.0, 1000.0))
    assert found.store_bytes == 1000 * (0.75 * 1000 + 0.25 * 2000)
    assert found.store_operations == 5_000 + 2 * 2_500
    assert found.session_cores == pytest.approx((5_000 * 40 + 2_500 * 50) / 1e6 / 0.5)
    assert found.app_cores == pytest.approx(found.session_cores + 10_000 * 125 / 1e6 / 0.5)
    assert found.store_cores == pytest.approx((5_000 * 10 + 2_500 * 40) / 1e6 / 0.5)
    assert "one Redis is enough" in advice("redis", found)


def test_a_store_that_is_full_is_said_to_be() -> None:
    """More than one core of commands is more than one Redis; more than one app is no memory."""
    hot: dict[str, Any] = {"hot": {}}
    many = need(Site(sessions=1, rate=100_000, busy=0.5), constants(a_run(), GROWTH, hot, "redis"))

    assert f"{math.ceil(many.store_cores)} nodes" in advice("redis", many)
    assert many.store_cores > 1
    assert "take Redis" in advice("memory", many)


def test_counts_are_cut_at_the_marks() -> None:
    """Of callgrind's parts every second one is a measurement; what lies between is warm-up."""
    parts = [f"version: 1\nsummary: {n}\ntotals: {n}\n" for n in (9000, 300, 40, 500)]

    assert between_marks(totals(parts)) == [300, 500]


def test_every_module_on_the_way_of_a_request_has_its_part() -> None:
    """Each module that a plain block runs through is in the table by name, Sanic's in the rest."""
    package = ROOT / "sanic_cookies"
    modules = ("token", "wiring", "codec", "locks", "expiry", "interfaces/guard", "session_dict/x")
    named = [parts.part_of(str(package / f"{module}.py")) for module in modules]

    assert named == [
        *("finding the cookie", "context and response", "encoding and decoding"),
        *("locks, deadlines", "reading, deciding, writing", "guard and fan-out"),
        "reading, deciding, writing",
    ]
    assert parts.part_of(str(package / "interfaces" / "redis" / "wire.py")) == "the store"
    assert parts.part_of(str(package / "flash.py")) == parts.ELSE
    assert parts.part_of("sanic/app.py") is None


def test_steps_are_shown_above_bare_sanic() -> None:
    """Of Sanic's own steps only those count that it takes more; the sum is of what is shown."""
    bare = {path: {parts.REST: 100} for path in parts.PATHS}
    ours = {path: {parts.REST: 130, "the store": 20} for path in parts.PATHS}
    shown = {name: counts for name, *counts in parts.rows({"bare": bare, "ours": ours})}

    assert shown["the store"] == ["20"] * 3
    assert shown[parts.REST] == ["30"] * 3
    assert shown["in all"] == ["50"] * 3
    assert shown["bare Sanic"] == ["100"] * 3
    assert "the floor, in all" not in shown
    least = {path: {parts.REST: 107} for path in parts.PATHS}
    assert ["the floor, in all", *["7"] * 3] in parts.rows(
        {"bare": bare, "ours": ours, "floor": least}
    )


def test_what_is_lost_or_unfair_on_a_hot_session_shows() -> None:
    """Increments that are not there, the client that starves, the request that waited longest."""
    times = [[0.001] * 98, [0.001] * 98, [0.001, 0.5]]
    found = outcome(2.0, times, failed=3, kept=190)

    assert (found.rate, found.lost, found.failed) == (99.0, 8, 3)
    assert (found.p99_ms, found.worst_ms) == (1.0, 500.0)
    assert found.least_share == pytest.approx(2 / 66)


def test_a_client_that_gets_nothing_has_no_share() -> None:
    """Whoever never came through is in the figures, not left out of them."""
    assert outcome(1.0, [[0.1], []], failed=0, kept=1).least_share == 0


def test_a_cookie_is_taken_from_a_response() -> None:
    """Its name and value, whatever the case of the header, and nothing where there is none."""
    head = b"HTTP/1.1 200 OK\r\nset-cookie: sid=a=b; Path=/; HttpOnly\r\n\r\n"

    assert cookie_of(head) == "sid=a=b"
    assert cookie_of(b"HTTP/1.1 200 OK\r\n\r\nset-cookie: no=1") == ""


async def watched(port: int, warm_up: float) -> Window:
    """Have two clients send for a moment."""
    async with crowd(port, [[request("/")]] * 2, lambda: 0.0) as two:
        return await two.window(0.05, warm_up)


@asynccontextmanager
async def answering(*pieces: bytes, asked: list[bytes] | None = None) -> AsyncIterator[int]:
    """Serve the same answer to each request, in these pieces; gives the port."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(4096):
            if asked is not None:
                asked.append(request)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    await asyncio.gather(*served)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", b"one"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 3\r\n\r\no", b"ne"),
    ],
)
async def test_answers_are_whole_however_they_arrive(pieces: tuple[bytes, ...]) -> None:
    """A request is answered when its whole response is here, in one piece or in several."""
    async with answering(*pieces) as port:
        client = await exactly(port, [request("/")], 5)

    assert (client.answered, client.failures, len(client.times)) == (5, 0, 5)
    assert client.last == b"".join(pieces)


async def test_failures_are_no_requests() -> None:
    """A 503 counts as what it is, or a server that refuses quickly would look fast."""
    async with answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as port:
        window = await watched(port, warm_up=0)

    assert window.requests == window.answered == 0
    assert window.failures > 0


async def test_all_that_was_answered_is_counted() -> None:
    """Increments before and after the window are in the session too, so they count."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        window = await watched(port, warm_up=0.02)

    assert window.answered > window.requests > 0
    assert len(window.times) >= window.requests


async def test_who_rests_sends_nothing() -> None:
    """While the bare app is measured the other has nothing to do, and then goes on."""
    answer, asked = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []
    async with answering(answer, asked=asked) as port, answering(answer) as other:
        async with crowd(port, [[request("/")]] * 2, lambda: 0.0) as two:
            assert asked == []
            first = await two.window(0.02, warm_up=0)
            before = len(asked)
            await watched(other, warm_up=0)
            assert len(asked) == before == first.answered
            second = await two.window(0.02, warm_up=0)
        assert second.answered == len(asked) > before


async def test_a_server_that_hangs_up_is_an_error() -> None:
    """No figure is made of requests that nobody answered."""
    client = Connection([b""])
    client.connection_lost(None)

    with pytest.raises(ConnectionError):
        await client.done


async def test_round_trips_are_counted_by_answers() -> None:
    """Two questions are two trips; two in one go, as a pipeline sends them, are one."""
    async with (
        answering(b"+PONG\r\n") as port,
        counting(f"redis://127.0.0.1:{port}/0") as counter,
    ):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(counter.address.rpartition(":")[2].partition("/")[0])
        )
        for message in (b"PING\r\n", b"PING\r\nPING\r\n"):
            writer.write(message)
            await reader.readline()
        writer.close()
        await writer.wait_closed()

        assert counter.trips == 2
        assert counter.address.endswith("/0")


def test_growth_and_contention_are_judged_too() -> None:
    """In memory a read as a part of its request; bytes, slices, and the hot session's figures."""
    run = a_run()
    run["load"]["ours-memory"] = run["load"]["ours-redis"]  # 125 us bare, 40 and 50 added
    memory = {
        "read": {"1000": 1.0, "1000000": 2.0},
        "write": {"1000": 2.0, "1000000": 2.0},
        "bytes": {"anonymous": 300.0, "logged in": 701.0},
        "slices": {"over an hour": {"longest_ms": 0.5}, "in one second": {"longest_ms": 1.5}},
    }
    redis = {"read": {"1000": 50.0, "1000000": 60.0}, "write": {"1000": 50.0, "1000000": 50.0}}
    growth = {"stores": {"memory": memory, "redis": {**redis, "bytes": {}}}}
    found = [(each.reached, each.value) for each in of_growth(growth, run)]

    assert [value for _, value in found] == pytest.approx([166 / 165, 1.0, 1.2, 1.0, 300, 701, 1.5])
    assert [reached for reached, _ in found] == [True, True, False, True, True, False, False]

    def one(rate: float, p99: float) -> list[dict[str, float]]:
        return [{"rate": rate, "p99_ms": p99, "least_share": 0.95, "lost": 0.0}]

    hot = {"ours-redis": one(4_000, 12), "redis-lock": one(1_000, 500)}
    hot |= {"ours-postgres": one(1_100, 40), "postgres-lock": one(1_000, 30)}
    judged = of_hot({"hot": hot})

    assert [each.reached for each in judged] == [*(True, True, True, False, False, True)]
    assert {floor for _, _, floor in judged} == {None}
    least = {"floor-redis": one(3_000, 40), "floor-postgres": one(900, 60)}
    with_least = of_hot({"hot": hot | least})
    assert [floor for _, _, floor in with_least] == [3.0, 40, 0.95, 0.9, 2.0, None]
    assert [value for _, value, _ in with_least] == [value for _, value, _ in judged]


def test_sizes_are_compared_within_a_round() -> None:
    """A machine that is half as fast from the second size of a round on changes no ratio."""
    found = in_pairs({1_000: [100.0, 200.0, 200.0], 10: [50.0, 50.0, 100.0]})

    assert found == {1_000: 100.0, 10: 50.0}


async def test_a_write_that_is_measured_leaves_the_session_to_its_user() -> None:
    """A write that changed the user would be a dearer one, which has to mend every index."""
    places = {size: InMemory() for size in (1, 2)}
    for size, interface in places.items():
        for number in range(size):
            await interface.create(draft(sid_of(number), user_key="a user"))
    ticks = itertools.count()
    found = await compare(places, sid_of, 1, lambda: next(ticks))

    assert found == {"read": {1: 1e6, 2: 1e6}, "write": {1: 1e6, 2: 1e6}}
    record = await places[1].fetch("session", sid_of(0))
    assert record is not None
    assert record.version == 1 + ROUNDS
    assert record.user_key == "a user"


def test_a_store_with_room_for_all_is_shown_and_judged_beside_the_one_as_it_comes() -> None:
    """Postgres is measured twice, and neither figure can stand for the other."""
    slow = {"read": {"1000": 100.0, "1000000": 120.0}, "write": {"1000": 10.0, "1000000": 10.0}}
    fast = {**slow, "read": {"1000": 100.0, "1000000": 105.0}}
    room = {**fast, "shared_buffers": "1084MB", "pages": {"all": 4.0, "fetched": 0.0}}
    found = {**slow, "shared_buffers": "128MB", "pages": {"all": 4.0, "fetched": 1.25}}
    growth = {"stores": {"postgres": {**found, "bytes": {}, "with_room": room}}}

    judged = {goal.text: goal.reached(value) for goal, value, _ in of_growth(growth, a_run())}
    assert judged == {
        "postgres, read: at 1,000,000 sessions, of at 1,000": False,
        "postgres, write: at 1,000,000 sessions, of at 1,000": True,
        "postgres, all in shared_buffers, read: at 1,000,000 sessions, of at 1,000": True,
        "postgres, all in shared_buffers, write: at 1,000,000 sessions, of at 1,000": True,
    }
    shown = growth_lines(growth)
    assert [line.rpartition(" x ")[2] for line in shown if " x " in line] == [
        *("1.20", "1.00", "1.05", "1.00"),
    ]
    assert any("4.0, 1.25 of them not in shared_buffers (128MB)" in line for line in shown)
    assert any("4.0, 0.00 of them not in shared_buffers (1084MB)" in line for line in shown)
