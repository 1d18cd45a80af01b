"""Random requests of several browsers, over every interface, against a model: no difference.

Hypothesis makes up what the browsers do: each step is a real request to a real server, which may
stand still inside its block while others come. What each response says, whether it sets a cookie,
what the session shows, and how many records the store holds has to be what the model says.

The number of examples is small here; `make property` runs many, and other ones each time.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sanic import Request

from auth_lab import AuthLab, Pause
from harness import Browser, set_cookies
from sanic_cookies.auth.registry import ANYBODY
from sanic_cookies.interfaces import fan_out, others
from sanic_cookies.token import Token
from session_changes import Append, Block, Destroy, Expire, Login, Put, Rotate, Work, merged
from session_model import ABSOLUTE, GRACE, IDLE, REMEMBERED, Cookie, Model, Standing
from session_stage import KINDS, Stage
from session_strategies import (
    CLIENTS,
    USERS,
    blocks,
    clients,
    locked_blocks,
    numbers,
    owners,
    rivals,
    users,
)

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "0"))
# A fixed set of examples in the suite, so that it fails for what was changed and not by chance.
SETTINGS = settings(
    max_examples=EXAMPLES or 20,
    stateful_step_count=40,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    print_blob=True,
    phases=[each for each in Phase if each is not Phase.shrink or EXAMPLES],
    suppress_health_check=list(HealthCheck),
)
PATIENCE = 60.0  # seconds until something that must happen is given up; never waited for in full
SHORT_LIFE = 0.05

# How likely each step is, and what it takes.
STEPS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "act": (12, {"client": clients, "block": blocks}),
    "peek": (2, {"client": clients}),
    "hold": (5, {"client": clients, "block": locked_blocks}),
    "race": (
        8,
        {"client": clients, "block": locked_blocks, "rivals": rivals, "cancel": st.booleans()},
    ),
    "log_in": (4, {"client": clients, "user": users}),
    "resume": (6, {}),
    "hang_up": (2, {}),
    "share": (4, {"client": clients, "other": clients}),
    "steal": (2, {"client": clients, "number": numbers}),
    "forge": (1, {"client": clients, "forged": st.sampled_from(["", "x", "a.b", "token", "tail"])}),
    "swap": (1, {"client": clients}),
    "log_out": (2, {"client": clients}),
    "revoke": (1, {"client": clients, "number": numbers, "owner": owners}),
    "log_out_everywhere": (1, {"client": clients, "user": users}),
    "log_out_others": (1, {"client": clients}),
    "where": (1, {"client": clients, "user": users}),
    "wait": (3, {"hundreds": st.integers(1, 9)}),
    "live_shortly": (1, {"client": clients, "absolute": st.booleans()}),
    "restart": (1, {"forget": st.booleans()}),
}
INDEXED = ("revoke", "log_out_everywhere", "log_out_others", "where")


class Flight:
    """A request that has not been answered yet."""

    def __init__(self, block: Block, sent: str | None, work: Work) -> None:
        self.block, self.sent, self.work = block, sent, work
        self.pause, self.over = Pause(), asyncio.Event()
        self.task: asyncio.Task[httpx.Response] | None = None


class SessionMachine(RuleBasedStateMachine):
    """Several browsers at one server, and the model beside it."""

    stage: Stage
    grace = GRACE

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.held: Flight | None = None
        self.queue: list[Flight] = []
        self.sound = True
        self.run(self._begin())

    def run(self, work: Any) -> Any:
        self.sound, sound = False, self.sound
        result = self.runner.run(work)
        self.sound = sound
        return result

    # Setting up and tearing down.

    async def _begin(self) -> None:
        await self.stage.begin()
        self.model = Model(
            in_cookie=self.stage.in_cookie,
            revocable=self.stage.kind == "revocable",
            grace=self.grace,
        )
        self.browsers: list[Browser] = []
        await self._serve()

    async def _serve(self, *, forget: bool = False) -> None:
        self.stack = AsyncExitStack()
        self.master, *others = self.stage.interfaces(forget=forget)
        self.other = others[0] if others else None
        self.lab = AuthLab(
            self.master,
            expiry=IDLE,
            absolute_timeout=ABSOLUTE,
            remember_expiry=REMEMBERED,
            rotation_grace=self.grace,
            warn_lock=False,
            lock_timeout=PATIENCE,
            lease=PATIENCE,
            max_hold=5 * PATIENCE,
            store_timeout=PATIENCE,
            clock=self.stage.clock.epoch,
        )
        if self.other is not None:
            self.lab.auth.add_interface(self.other)
        await self.stack.enter_async_context(self.lab)
        jars = [each.cookies for each in self.browsers] or [{} for _ in range(CLIENTS)]
        self.browsers = [await self.lab.open_browser() for _ in jars]
        for browser, jar in zip(self.browsers, jars, strict=True):
            browser.cookies = jar

    def teardown(self) -> None:
        try:
            if self.sound and self.held is not None:
                self.run(self._finish(cancel=False))
            if self.sound:
                self.run(self._replay_all())
                self.run(self._compare_others())
        finally:
            self.run(self._end())
            self.runner.close()

    async def _end(self) -> None:
        for flight in filter(None, [self.held, *self.queue]):
            flight.pause.resume.set()
            assert flight.task is not None
            flight.task.cancel()
            with suppress(asyncio.CancelledError, httpx.HTTPError):
                await flight.task
        await self.stack.aclose()
        await self.stage.end()

    async def _replay_all(self) -> None:
        """No cookie that ever was opens anything but what the model says."""
        browser = await self.lab.open_browser()
        for cookie in list(self.model.cookies):
            browser.cookies = {self.lab.cookie: cookie}
            await self._peek(browser)

    # One request.

    def _work(self, cookie: str | None) -> Work:
        return Work(self.model, *self.model.look(cookie))

    def _cookie(self, browser: Browser) -> str | None:
        return browser.cookies.get(self.lab.cookie)

    async def _peek(self, browser: Browser) -> None:
        auth, work, sent = self.lab.auth, self._work(self._cookie(browser)), self._cookie(browser)

        async def body(request: Request) -> Any:
            sess = getattr(request.ctx, auth.name)
            shown = dict(await sess.peek())
            assert await auth.current_user(request) == shown.get("current_user")
            return shown

        response = await self.lab.visit(body, browser=browser)
        assert response.json() == work.state.shown, self.lab.errors[-1:]
        self._check(response, 200, sent, work.touch(), work)

    def _check(
        self,
        response: httpx.Response,
        status: int,
        sent: str | None,
        fate: Cookie,
        work: Work,
        *,
        raced: bool = False,
    ) -> None:
        """Compare a response with what the model says of it.

        Args:
            response: The response.
            status: What its status has to be.
            sent: The cookie that the request came with.
            fate: What has to become of it.
            work: What the request has done.
            raced: Others have waited for it: they may have written before its response went.
        """
        assert response.status_code == status, (response.text, self.lab.errors[-1:])
        prefix = f"{self.lab.cookie}="
        lines = [line for line in set_cookies(response) if line.startswith(prefix)]
        got = [line.removeprefix(prefix).partition(";")[0] for line in lines]
        if fate is Cookie.KEPT:
            assert got in ([], [sent]), f"an unexpected cookie beside {sent}: {got}"
        elif fate is Cookie.GONE:
            assert got == [""], f"the cookie was to go: {got}"
        elif got or fate is Cookie.NEW or not raced:
            assert len(got) == 1, "no new cookie came"
            assert got[0] not in ("", sent)
            self.model.learn(got[0], work.kept)

    def _launch(self, browser: Browser, block: Block, *, gated: bool = False) -> Flight:
        sent = self._cookie(browser)
        flight = Flight(block, sent, self._work(sent))
        auth = self.lab.auth

        async def body(request: Request) -> Any:
            try:
                return await block.play(auth, request, flight.pause if gated else None)
            finally:
                flight.over.set()

        flight.task = asyncio.ensure_future(self.lab.visit(body, browser=browser))
        return flight

    async def _land(self, flight: Flight, *, waited: bool, raced: bool = False) -> None:
        """Await the answer to a request and compare it; see `_check`."""
        assert flight.task is not None
        response = await flight.task
        block, work = flight.block, flight.work
        shown = work.state.shown
        if waited:
            work = self._after_the_wait(flight)
            shown = shown if block.way == "unlocked" else work.state.shown
        if block.way == "unlocked" and block.end == "clean":
            work = merged(block, flight.work, work if waited else self._work(flight.sent))
            if self._is_modified(work, flight.work):
                status, fate = work.outcome()
            else:
                status, fate = 200, work.touch()
        else:
            status, fate = block.mark(work)
        self._check(response, status, flight.sent, fate, work, raced=raced)
        if status == 200:
            assert response.json() == shown

    def _after_the_wait(self, flight: Flight) -> Work:
        """Return what a request finds when its turn has come: all may be different by now."""
        work = self._work(flight.sent)
        work.muted |= flight.work.muted
        if work.standing is Standing.NEW:
            work.standing = Standing.DEAD  # it was live when the request came
        return work

    @staticmethod
    def _is_modified(work: Work, asked: Work) -> bool:
        return work.changed or asked.rotate or asked.renew

    def _must_wait(self, block: Block, work: Work) -> bool:
        """Say whether a request has to wait for the one that is held."""
        held = self.held
        if held is None or held.work.standing is not Standing.LIVE:
            return False
        can_write = work.standing in (Standing.LIVE, Standing.READING)
        if not can_write or work.state.sid != held.work.state.sid:
            return False
        if block.way != "unlocked":
            return True
        return block.end == "clean" and self._would_modify(block, work)

    @staticmethod
    def _would_modify(block: Block, work: Work) -> bool:
        trial = copy.deepcopy(work)
        for change in block.changes:
            change.mark(trial)
        return trial.changed or trial.rotate or trial.renew

    # What may happen.

    @initialize(user=users, alone=st.booleans())
    def begin(self, user: str, alone: bool) -> None:
        """Begin with two logins, or with tabs of one browser: something that can go wrong."""
        self.act(0, Block((Put("a", 1), Login(user, keep=True))))
        self.act(1, Block((Login(user), Put("b", 2))))
        if alone:
            self.share(1, 0)
            self.share(2, 0)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One step; what there is most of in life is drawn most often."""
        name = data.draw(st.sampled_from(self._possible()), "step")
        arguments = {key: data.draw(each, key) for key, each in STEPS[name][1].items()}
        getattr(self, name)(**arguments)

    def _possible(self) -> list[str]:
        """Return the steps that are possible now, each as often as it is likely."""
        stage = self.stage
        impossible = {
            "hold": self.held is not None,
            "race": self.held is not None,
            "resume": self.held is None,
            "hang_up": self.held is None,
            "wait": not stage.has_clock or self.held is not None,
            "live_shortly": stage.has_clock or self.held is not None,
            "restart": self.held is not None,
            "steal": not self.model.cookies,
        }
        if stage.in_cookie:  # no index of users
            impossible |= dict.fromkeys(INDEXED, True)
        return [
            n for n, (weight, _) in STEPS.items() for _ in range(weight) if not impossible.get(n)
        ]

    def act(self, client: int, block: Block) -> None:
        self.run(self._act(self.browsers[client], block))

    async def _act(self, browser: Browser, block: Block) -> None:
        waits = self._must_wait(block, self._work(self._cookie(browser)))
        flight = self._launch(browser, block)
        if not waits:
            await self._land(flight, waited=False)
            return
        self.queue.append(flight)
        locks = self.lab.auth.runtime.locks
        await self._until(lambda: locks.waiting == len(self.queue))

    def peek(self, client: int) -> None:
        self.run(self._peek(self.browsers[client]))

    def hold(self, client: int, block: Block) -> None:
        browser = self.browsers[client]
        if self._work(self._cookie(browser)).standing is Standing.READING:
            self.run(self._act(browser, block))  # it is refused at the door
        else:
            self.run(self._hold(browser, block))

    async def _hold(self, browser: Browser, block: Block) -> None:
        self.held = self._launch(browser, block, gated=True)
        async with asyncio.timeout(PATIENCE):
            await self.held.pause.reached.wait()

    def resume(self) -> None:
        self.run(self._finish(cancel=False))

    def hang_up(self) -> None:
        self.run(self._finish(cancel=True))

    async def _finish(self, *, cancel: bool) -> None:
        held, queue = self.held, self.queue
        assert held is not None
        assert held.task is not None
        self.held, self.queue = None, []
        if cancel:
            held.task.cancel()
            with suppress(asyncio.CancelledError):
                await held.task
            async with asyncio.timeout(PATIENCE):
                await held.over.wait()
        else:
            held.pause.resume.set()
            await self._land(held, waited=False, raced=bool(queue))
        for number, flight in enumerate(queue, 1):
            await self._land(flight, waited=True, raced=number < len(queue))

    def log_in(self, client: int, user: str) -> None:
        self.act(client, Block((Login(user, keep=True), Put("a", self.model.number()))))

    def race(self, client: int, block: Block, rivals: list[Any], cancel: bool) -> None:
        """Hold a live session while others with its cookie write it or end it."""
        other = (client + 1) % CLIENTS
        if not self._is_live(client):
            self.log_in(client, USERS[0])
        if not self._is_live(client):
            return  # a cookie that is about to be replaced cannot even log in
        self.hold(client, block)
        for rival in rivals:
            self.share(other, client)
            if isinstance(rival, Block):
                self.act(other, rival)
            elif rival == "log_out" or self.stage.in_cookie:
                self.log_out(other)
            else:
                self.log_out_everywhere(other, USERS[0])
        self.run(self._finish(cancel=cancel))

    def _is_live(self, client: int) -> bool:
        return self._work(self._cookie(self.browsers[client])).standing is Standing.LIVE

    def log_out(self, client: int) -> None:
        self.run(self._log_out(self.browsers[client]))

    async def _log_out(self, browser: Browser) -> None:
        sent = self._cookie(browser)
        work = self._work(sent)
        fate = Cookie.KEPT
        if work.standing in (Standing.LIVE, Standing.READING):
            self.model.end(work.state.sid)
            fate = Cookie.KEPT if work.muted else Cookie.GONE
        elif work.standing is Standing.DEAD and sent is not None:
            self.model.end(self.model.cookies[sent].sid)  # a login was faster, and ends, too
        self._check(await self.lab.logout(browser=browser), 200, sent, fate, work)

    def revoke(self, client: int, number: int, owner: Any) -> None:
        """End some session by its public id, from anywhere."""
        sids = list(self.model.real_sids) or [0]
        sid = sids[number % len(sids)]
        real = self.model.real_sids.get(sid, "A" * 22)
        targets = [each for each in self.model.live if each.sid == sid and each.user is not None]
        targets = [each for each in targets if owner in (ANYBODY, each.user)]
        self._from_outside(client, lambda _: self.lab.auth.revoke(real, owner), bool(targets))
        for each in targets:
            self.model.end(each.sid)

    def log_out_everywhere(self, client: int, user: str) -> None:
        targets = self.model.sessions_of(user)
        work = lambda _: self.lab.auth.logout_everywhere(user)  # noqa: E731
        self._from_outside(client, work, len(targets))
        for each in targets:
            self.model.end(each.sid)

    def log_out_others(self, client: int) -> None:
        browser = self.browsers[client]
        work = self._work(self._cookie(browser))
        targets = self.model.sessions_of(work.state.user)
        targets = [each for each in targets if each.sid != work.state.sid]
        self.run(
            self._ask(browser, lambda request: self.lab.auth.logout_others(request), len(targets))
        )
        work.touch()
        for each in targets:
            self.model.end(each.sid)

    def where(self, client: int, user: str) -> None:
        """The index of users names exactly the live sessions."""
        sids = sorted(self.model.real_sids[each.sid] for each in self.model.sessions_of(user))

        async def body(_: Request) -> Any:
            return sorted(each.sid for each in await self.lab.auth.sessions_of(user))

        self._from_outside(client, body, sids)

    def _from_outside(self, client: int, body: Any, expected: Any) -> None:
        """Ask something that has nothing to do with the session of who asks."""
        self.run(self._ask(self.browsers[client], body, expected))

    async def _ask(self, browser: Browser, body: Any, expected: Any) -> None:
        assert await self.lab.do(body, browser=browser) == expected

    def share(self, client: int, other: int) -> None:
        """Go on with the cookies that another has now, as the tabs of one browser do."""
        self.browsers[client].cookies = dict(self.browsers[other].cookies)

    def steal(self, client: int, number: int) -> None:
        """Go on with any cookie that ever was: a thief's, a backup's, a forgotten tab's."""
        known = list(self.model.cookies)
        self.browsers[client].cookies = {self.lab.cookie: known[number % len(known)]}

    def forge(self, client: int, forged: str) -> None:
        """Go on with a cookie that nobody was given."""
        jar = self.browsers[client].cookies
        given = jar.pop(self.lab.cookie, "")
        if forged == "token":
            forged = Token.generate().value
        elif forged == "tail":
            forged = given[:-1] + ("A" if given[-1:] != "A" else "B")
        if forged:
            jar[self.lab.cookie] = forged

    def swap(self, client: int) -> None:
        """A cookie under the name of another session opens nothing."""
        self.run(self._swap(self._cookie(self.browsers[client]) or "x"))

    async def _swap(self, cookie: str) -> None:
        browser = await self.lab.open_browser()
        browser.cookies = {self.lab.session.settings.cookie.name: cookie}

        async def body(request: Request) -> Any:
            return dict(await request.ctx.session.peek())

        assert await self.lab.do(body, browser=browser) == {}

    def wait(self, hundreds: int) -> None:
        """Time goes by; in hundreds, so that no limit is ever met to the second."""
        self.model.now += 100 * hundreds
        self.stage.clock.now += 100 * hundreds

    def live_shortly(self, client: int, absolute: bool) -> None:
        """Where the store's own clock judges: a life so short that it is over at the next look."""
        self.run(self._live_shortly(self.browsers[client], absolute))

    async def _live_shortly(self, browser: Browser, absolute: bool) -> None:
        await self._act(browser, Block((Expire("end" if absolute else "idle", SHORT_LIFE),)))
        await asyncio.sleep(2 * SHORT_LIFE)
        for state in self.model.sessions.values():
            kind, length = state.life or ("browser", 0.0)  # which says nothing of the end
            if kind != "browser" and length <= SHORT_LIFE:
                state.expires = self.model.now

    def restart(self, forget: bool) -> None:
        """The server starts anew; memory may be lost by it."""
        self.run(self._restart(forget))

    async def _restart(self, forget: bool) -> None:
        await self.stack.aclose()
        if forget and self.stage.kind == "memory":
            self.model.forget_all()
        await self._serve(forget=forget)

    # What must be true at any time.

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)

    @invariant()
    def store_holds_what_the_model_holds(self) -> None:
        self.run(self._compare_stores())

    async def _compare_stores(self) -> None:
        held = await self.stage.count()
        assert held is None or held == len(self.model.live)

    async def _compare_others(self) -> None:
        """An added interface holds what the master holds, and nothing that has ended."""
        if self.other is None:
            return
        for sid, real in self.model.real_sids.items():
            record = await self.other.fetch(self.lab.auth.name, real)
            master = await self.master.fetch(self.lab.auth.name, real)
            if sid in {each.sid for each in self.model.live}:
                assert (record.version, record.payload) == (master.version, master.payload)
                assert record.secret_hash == master.secret_hash
                assert record.user_key == master.user_key
            else:
                assert record is None or record.is_tombstone

    @precondition(lambda self: self.held is None)
    @invariant()
    def nothing_is_locked(self) -> None:
        runtime = self.lab.auth.runtime
        self.run(self._until(lambda: not len(runtime.locks) and not len(runtime.background)))


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """The stores of one kind, on real servers."""
    # What an added interface misses on a busy machine the next write heals; after the last is none.
    for module in (fan_out, others):
        monkeypatch.setattr(module, "OTHER_SECONDS", PATIENCE)
    redis_url, database_url = "redis://127.0.0.1:1", ""
    if kind in ("redis", "fan-out"):
        redis_url = request.getfixturevalue("redis_url")
    if kind in ("postgres", "fan-out"):
        database_url = request.getfixturevalue("database_url")
    # Handlers that fail on purpose: their tracebacks would hide the steps that led to a failure.
    logging.disable(logging.CRITICAL)
    yield Stage(kind, redis_url, database_url)
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", KINDS)
def test_sessions_are_what_the_model_says(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever browsers do, in whatever order, every interface behaves as the model does."""
    # Servers start all the time here, and this is half of what that takes.
    monkeypatch.setenv("SANIC_AUTO_EXTEND", "false")
    machine = type("Machine", (SessionMachine,), {"stage": stage})
    machine.TestCase.settings = SETTINGS
    run_state_machine_as_test(machine, settings=SETTINGS)


# What random runs meet seldom, and must never miss: who holds, and who comes meanwhile.
RACES: list[tuple[Block, list[Any]]] = [
    (Block((Put("a", 21),)), [Block((Put("b", 2),), "unlocked")]),  # merged key by key
    (Block((Put("a", 3),)), ["log_out"]),  # nothing is written after the end
    (Block((Put("a", 4),)), ["log_out_everywhere", Block((Put("b", 5),))]),
    (Block((Put("a", 6),)), [Block((Put("b", 7),)), "log_out"]),  # one waits while it ends
    (Block((Login("bob"),)), [Block((Append(8),)), Block((Append(9),), "unlocked")]),
    (Block((Put("a", 10),), end="crash"), [Block((Append(11),))]),
    (Block((Destroy(), Put("a", 12))), [Block((Login("bob", keep=True),))]),
    (Block((Rotate(), Append(13)), "saved"), [Block((Put("b", 14),), "unlocked"), "log_out"]),
]


@pytest.mark.parametrize("kind", KINDS)
def test_races_that_matter(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Races that guards are there for end as the model says, whether the holder hangs up or not."""
    monkeypatch.setenv("SANIC_AUTO_EXTEND", "false")
    machine = type("Machine", (SessionMachine,), {"stage": stage})()
    try:
        machine.begin(USERS[0], alone=True)
        for cancel in (False, True):
            for block, rivals in RACES:
                machine.race(0, block, rivals, cancel)
                machine.peek(0)
                machine.peek(1)
                machine.store_holds_what_the_model_holds()
                machine.nothing_is_locked()
    finally:
        machine.teardown()


# What a request does whose cookie another has just replaced: a login begins a session of its own.
LATECOMERS = [
    Block((Login("bob"),)),
    Block((Destroy(), Login("bob", keep=True), Login("ann", remember=True))),
    Block((Destroy(), Rotate(), Put("a", 1))),
    Block((Rotate(), Destroy())),
    Block((Put("a", 2),)),
    Block((Put("a", 3),), "unlocked"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_latecomers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cookie that was just replaced a login works, whatever came before it in its block."""
    monkeypatch.setenv("SANIC_AUTO_EXTEND", "false")
    machine = type("Machine", (SessionMachine,), {"stage": stage})()
    try:
        for late in LATECOMERS:
            machine.begin(USERS[0], alone=True)
            machine.act(0, Block((Rotate(),)))
            machine.act(1, late)
            machine.peek(1)
            machine.peek(0)
            machine.store_holds_what_the_model_holds()
    finally:
        machine.teardown()


@pytest.mark.parametrize("kind", ["memory", "in-cookie", "revocable"])
def test_use_prolongs_a_session(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a session, or failing to end it, keeps it alive, until its absolute end."""
    monkeypatch.setenv("SANIC_AUTO_EXTEND", "false")
    machine = type("Machine", (SessionMachine,), {"stage": stage})()
    try:
        machine.begin(USERS[0], alone=False)
        for _ in range(8):
            machine.wait(7)
            machine.peek(0)
            machine.act(1, Block((Destroy(),), end="caught"))
    finally:
        machine.teardown()


@pytest.mark.parametrize("kind", ["memory", "in-cookie", "revocable"])
def test_use_prolongs_nothing_that_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that has used a session which another one ended meanwhile keeps nothing alive."""
    monkeypatch.setenv("SANIC_AUTO_EXTEND", "false")
    machine = type("Machine", (SessionMachine,), {"stage": stage})()
    try:
        for rival in ("log_out", Block((Rotate(),), "unlocked"), Block((Put("b", 22),))):
            machine.begin(USERS[0], alone=True)
            machine.wait(7)
            machine.race(0, Block((Put("a", 21),), end="caught"), [rival], cancel=False)
            machine.peek(0)
    finally:
        machine.teardown()
