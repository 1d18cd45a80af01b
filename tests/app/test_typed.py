"""Typed sessions: what a class says of a session holds, and the session is as safe as before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
import pytest
from sanic import Request

from auth_lab import AuthLab
from lab import Failed, Lab
from sanic_cookies import InMemory, SessionConfigError, SessionShapeMismatch, Typed


@dataclass
class Cart:
    """A cart as a dataclass."""

    items: list[str] = field(default_factory=list)
    coupon: str | None = None
    paid: bool = False


class Basket(msgspec.Struct):
    """The same as a Struct."""

    items: list[str] = []
    coupon: str | None = None
    paid: bool = False


class Bag(TypedDict):
    """The same as a TypedDict."""

    items: list[str]
    coupon: NotRequired[str | None]
    paid: NotRequired[bool]


carts = Typed(Cart)
bags = Typed(Bag, defaults={"items": []})


def body_of(work: Any) -> Any:
    """Return a lab's body that gets the request."""
    return lambda sess: work(Request.get_current())


async def add(request: Request, view: Any, item: str = "book") -> None:
    """Put something into a cart of either kind."""
    async with view(request) as cart:
        (cart["items"] if isinstance(cart, dict) else cart.items).append(item)


@pytest.mark.parametrize("view", [carts, Typed(Basket), bags], ids=["dataclass", "Struct", "dict"])
async def test_nested_changes_are_saved(shared_master: Any, view: Any) -> None:
    """What a block changes is stored as plain data, and defaults that nobody touched are not."""
    async with Lab(shared_master) as lab:
        for item in ("book", "pen"):
            await lab.do(body_of(lambda request, item=item: add(request, view, item)))

        assert await lab.stored() == {"items": ["book", "pen"]}


async def test_looking_begins_nothing() -> None:
    """A block that changes nothing, and a peek, make no session and write none."""
    store = InMemory()

    async def look(request: Request) -> Any:
        async with carts(request) as cart:
            assert cart == Cart()
        return (await carts.peek(request)).items

    async with Lab(store) as lab:
        assert await lab.do(body_of(look)) == []
        assert len(store) == 0
        await lab.put(items=["book"])
        sid = lab.browser.cookies["session"].partition(".")[0]
        before = await store.fetch("session", sid)
        assert await lab.do(body_of(peek_items)) == ["book"]
        after = await store.fetch("session", sid)
        assert before is not None
        assert after is not None
        assert after.version == before.version


async def peek_items(request: Request) -> list[str]:
    """Enter and leave a block, then peek."""
    async with carts(request):
        pass
    return (await carts.peek(request)).items


async def test_an_exception_rolls_back(shared_master: Any) -> None:
    """What a block did before it failed is not stored."""

    async def fail(request: Request) -> None:
        async with carts(request) as cart:
            cart.items.append("pen")
            raise Failed

    async with Lab(shared_master) as lab:
        await lab.put(items=["book"])
        with pytest.raises(Failed):
            await lab.do(body_of(fail))
        assert await lab.stored() == {"items": ["book"]}


async def test_of_many_at_once_none_is_lost(shared_master: Any) -> None:
    """The block has the session's lock."""
    async with Lab(shared_master, max_waiters=64) as lab:
        await lab.put(items=[])
        work = body_of(lambda request: add(request, carts))
        await asyncio.gather(*(lab.visit(work) for _ in range(20)))
        assert await lab.stored() == {"items": ["book"] * 20}


async def test_other_keys_are_left_alone() -> None:
    """Keys that the class does not have stay, also those that the block itself sets or deletes."""

    async def body(request: Request) -> None:
        async with carts(request) as cart:
            cart.coupon = "X"
            request.ctx.session["new"] = 1
            del request.ctx.session["old"]

    async with Lab() as lab:
        await lab.put(items=["book"], other={"a": 1}, old=1)
        await lab.do(body_of(body))
        assert await lab.stored() == {"items": ["book"], "other": {"a": 1}, "coupon": "X", "new": 1}


@pytest.mark.parametrize(
    ("stored", "where"),
    [({"items": "book"}, "items"), ({"items": [1]}, "items[0]"), ({"paid": 1}, "paid")],
)
async def test_what_does_not_fit_is_an_error(stored: dict[str, Any], where: str) -> None:
    """Data of another shape are refused by path, never by value, and stay as they are."""
    async with Lab() as lab:
        await lab.put(**stored)
        for work in (lambda request: add(request, carts), carts.peek):
            with pytest.raises(SessionShapeMismatch) as caught:
                await lab.do(body_of(work))
            assert f"$.{where}" in caught.value.detail
            assert "book" not in caught.value.detail
        assert await lab.stored() == stored


async def test_or_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    """By choice such a session begins with the defaults; nothing is lost before it is written."""
    view = Typed(Cart, on_mismatch="reset")

    async def look(request: Request) -> None:
        async with view(request) as cart:
            assert cart == Cart()

    async with Lab() as lab:
        await lab.put(items="book", other=1)
        await lab.do(body_of(look))
        assert await lab.stored() == {"items": "book", "other": 1}
        await lab.do(body_of(lambda request: add(request, view, "pen")))
        assert await lab.stored() == {"items": ["pen"], "other": 1}
    assert "begins anew" in caplog.text
    assert "book" not in caplog.text


@dataclass
class Choice:
    """Fields whose errors would quote what was found: of msgspec, and of the class itself."""

    size: Literal["s", "m"] = "s"
    code: str = ""

    def __post_init__(self) -> None:
        if self.code:
            raise ValueError(f"no such code: {self.code}")


@pytest.mark.parametrize("how", ["raise", "reset"])
@pytest.mark.parametrize("key", ["size", "code"])
async def test_no_value_is_logged(how: Any, key: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error nor its traceback nor the line in the log quotes what was found."""
    view = Typed(Choice, on_mismatch=how)

    async def look(request: Request) -> None:
        await view.peek(request)

    async def spoil(request: Request) -> None:
        async with view(request) as choice:
            setattr(choice, key, "S3CR3T")

    async with Lab() as lab:
        await lab.put(**{key: "S3CR3T"})
        looked = await lab.visit(body_of(look))
        await lab.put(**{key: "s" if key == "size" else ""})
        spoilt = await lab.visit(body_of(spoil))

        assert (looked.status_code, spoilt.status_code) == (200 if how == "reset" else 500, 500)
    assert "Choice" in caplog.text
    assert "S3CR3T" not in caplog.text


async def test_data_of_a_newer_release_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """The log says by which version old code has been met."""
    newer = Typed(Cart, name="cart", version=2, upgrade=lambda data, version: data)
    older = Typed(Cart, name="cart", on_mismatch="reset")
    async with Lab() as lab:
        await lab.do(body_of(lambda request: add(request, newer)))
        await lab.do(body_of(lambda request: add(request, older)))
    assert "version 2 is of a newer release" in caplog.text


async def test_two_sessions_may_have_the_same_shape() -> None:
    """A view of one session may be open inside of the same class's view of another one."""

    async def body(request: Request) -> None:
        async with carts(request) as mine, others(request) as theirs:
            mine.coupon, theirs.coupon = "mine", "theirs"

    async def peek(request: Request) -> Any:
        return dict(await request.ctx.session.peek())

    others = Typed(Cart, session_name="auth_session")
    async with AuthLab() as lab:
        await lab.do(body)
        assert await lab.data() == {"coupon": "theirs"}
        assert (await lab.do(peek))["coupon"] == "mine"


async def test_what_a_block_leaves_must_fit() -> None:
    """A value of a wrong type is refused at the exit, before anything is written."""
    async with Lab() as lab:
        await lab.put(items=["book"])
        with pytest.raises(SessionShapeMismatch):
            await lab.do(body_of(lambda request: add(request, carts, 7)))  # type: ignore[arg-type]
        assert await lab.stored() == {"items": ["book"]}


@dataclass
class Visit:
    """What JSON itself has no types for."""

    at: datetime | None = None
    seen: set[int] = field(default_factory=set)
    counts: dict[int, int] = field(default_factory=dict)


async def test_richer_types() -> None:
    """Fields may have types that JSON lacks: they come back as they were."""
    view, now = Typed(Visit), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    async def write(request: Request) -> None:
        async with view(request) as visit:
            visit.at, visit.seen, visit.counts = now, {1}, {7: 1}

    async def read(request: Request) -> bool:
        return await view.peek(request) == Visit(now, {1}, {7: 1})

    async with Lab() as lab:
        await lab.do(body_of(write))
        assert await lab.do(body_of(read))


async def test_one_is_not_true() -> None:
    """A change that Python calls equal is a change all the same."""

    @dataclass
    class Loose:
        value: Any = None

    view = Typed(Loose)

    async def set_true(request: Request) -> None:
        async with view(request) as loose:
            loose.value = True

    async with Lab() as lab:
        await lab.put(value=1)
        await lab.do(body_of(set_true))
        assert (await lab.stored())["value"] is True


# Versions.


def upgraded(data: dict[str, Any], version: int) -> dict[str, Any]:
    """Bring carts of the first version, which had "things", up to the second."""
    assert version == 1
    things = data.pop("things", [])
    return {**data, "items": [*data.get("items", []), *things]}


second = Typed(Cart, version=2, upgrade=upgraded)


async def test_older_data_are_upgraded_once(shared_master: Any) -> None:
    """A look shows them upgraded and writes nothing; a block writes them, with their version."""
    async with Lab(shared_master) as lab:
        await lab.put(things=["book"], other=1)

        async def look(request: Request) -> Any:
            return (await second.peek(request)).items

        assert await lab.do(body_of(look)) == ["book"]
        assert await lab.stored() == {"things": ["book"], "other": 1}
        await lab.do(body_of(lambda request: add(request, second, "pen")))
        assert await lab.stored() == {"items": ["book", "pen"], "other": 1}
        await lab.put(things=["not of the first version any more"])
        assert await lab.do(body_of(look)) == ["book", "pen"]


async def test_new_data_are_not_upgraded() -> None:
    """A session that begins today has today's version, also after a login that began it anew."""

    async def login(request: Request) -> None:
        view = Typed(Cart, version=2, upgrade=refuse, session_name="auth_session")
        async with view(request) as cart:
            await lab.auth.login_user(request, "ann")
            cart.items.append("book")

    def refuse(data: dict[str, Any], version: int) -> dict[str, Any]:
        raise AssertionError

    async with AuthLab() as lab:
        for _ in range(2):
            assert (await lab.visit(login)).status_code == 200, lab.errors
        assert await lab.data() == {"current_user": "ann", "items": ["book", "book"]}


async def test_an_upgrade_may_change_what_it_is_given() -> None:
    """An upgrade that works in place is carried out once, as one that returns something new."""

    def gift(data: dict[str, Any], version: int) -> dict[str, Any]:
        data["items"].append("gift")
        return data

    async def enter(request: Request) -> None:
        async with Typed(Cart, version=2, upgrade=gift)(request):
            pass

    async with Lab() as lab:
        await lab.put(items=["book"])
        for _ in range(2):
            await lab.do(body_of(enter))
        assert await lab.stored() == {"items": ["book", "gift"]}


async def test_an_upgrade_that_returns_nothing_is_told_so() -> None:
    """Who changes the data in place and forgets to return them is told what is wanted."""
    forgetful = Typed(Cart, version=2, upgrade=lambda data, version: data.clear())  # type: ignore[arg-type, return-value]
    async with Lab() as lab:
        await lab.put(items=["book"])
        with pytest.raises(SessionConfigError) as caught:
            await lab.do(body_of(forgetful.peek))
        assert "upgrade= of 'typed.Cart' must return the data, not NoneType" in caught.value.detail
        assert await lab.stored() == {"items": ["book"]}


async def test_data_of_a_newer_release() -> None:
    """What a newer release has written is not taken for today's."""
    third = Typed(Cart, version=3, upgrade=lambda data, version: data)
    async with Lab() as lab:
        await lab.do(body_of(lambda request: add(request, third)))
        with pytest.raises(SessionShapeMismatch):
            await lab.do(body_of(lambda request: add(request, second)))


# With logins, and mistakes.


async def test_who_is_logged_in_is_no_field() -> None:
    """The user of an `AuthSession` is neither shown nor overwritten."""

    @dataclass
    class Claim:
        current_user: str = "nobody"
        note: str = ""

    view = Typed(Claim, session_name="auth_session")

    async def body(request: Request) -> None:
        async with view(request) as claim:
            assert claim.current_user == "nobody"
            claim.current_user, claim.note = "admin", "x"

    async with AuthLab() as lab:
        await lab.login("ann")
        assert (await lab.visit(body)).status_code == 200, lab.errors
        assert await lab.user() == "ann"


async def test_one_view_is_opened_once() -> None:
    """Two objects of one session in one request would overwrite each other: pass one on."""

    async def twice(request: Request) -> None:
        async with carts(request):
            await add(request, carts)

    async def one_after_the_other(request: Request) -> None:
        await asyncio.gather(add(request, carts), add(request, carts))

    async with Lab() as lab:
        with pytest.raises(SessionConfigError):
            await lab.do(body_of(twice))
        assert await lab.stored() == {}
        await lab.do(body_of(one_after_the_other))
        assert await lab.stored() == {"items": ["book", "book"]}


@dataclass
class Required:
    """A field without a default."""

    number: int


@pytest.mark.parametrize(
    "make",
    [
        lambda: Typed(dict),
        lambda: Typed(int),
        lambda: Typed(Required),
        lambda: Typed(Required, defaults={"number": "one"}),
        lambda: Typed(Required, defaults={"number": 1, "numbers": 1}),
        lambda: Typed(Bag),
        lambda: Typed(Cart, version=0),
        lambda: Typed(Cart, version=2),
        lambda: Typed(Cart, upgrade=upgraded),
        lambda: Typed(Cart, on_mismatch="ignore"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(make: Any) -> None:
    """A class that is no shape, or has no defaults, is found out before any request."""
    with pytest.raises(SessionConfigError):
        make()


def test_defaults_are_not_shared() -> None:
    """Each session has a copy of a default that can be changed."""
    view = Typed(Required, defaults={"number": 1})
    assert view._made_of({}) is not view._made_of({})
    first = bags._made_of({})
    first["items"].append("book")
    assert bags._made_of({}) == {"items": []}
