"""A session as a mapping: what works without any I/O."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import make_app
from samples import Clock, Request
from sanic_cookies import Session, SessionDict, SessionError, SessionNotLoaded
from sanic_cookies.errors import ResponseStarted
from sanic_cookies.exchange import Exchange
from sanic_cookies.session_dict.mapping import UNLOCKED
from sanic_cookies.settings import DAY
from sanic_cookies.token import Token


def a_session(cookie: str | None = None, **options: Any) -> SessionDict:
    """Return the session of a request that came with `cookie`; nothing has been read yet."""
    session = Session(make_app(), **{"warn_lock": False, **options})
    head = b"" if cookie is None else f"GET / HTTP/1.1\r\nCookie: __Host-session={cookie}".encode()
    return session.make(Exchange(Request(head=head)))


@pytest.fixture
def anonymous() -> SessionDict:
    """The session of a request without cookie: new and empty, known without asking anybody."""
    return a_session()


@pytest.fixture
def unread() -> SessionDict:
    """The session of a request with a cookie, before anything was read."""
    return a_session(Token.generate().value)


KEYS = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.integers() | st.none()),
    st.tuples(st.sampled_from(["delete", "pop", "popitem", "get", "in"]), KEYS, st.none()),
    st.tuples(st.sampled_from(["setdefault", "update"]), KEYS, st.integers()),
    st.tuples(st.sampled_from(["clear", "popitem"]), st.none(), st.none()),
)


def take(step: tuple[str, str, Any], mapping: MutableMapping[str, Any]) -> Any:
    """Do one step and return its outcome, an exception's type included."""
    name, key, value = step
    doing: dict[str, Callable[[], Any]] = {
        "set": lambda: mapping.__setitem__(key, value),
        "delete": lambda: mapping.__delitem__(key),
        "pop": lambda: mapping.pop(key),
        "popitem": lambda: len(mapping.popitem()),
        "get": lambda: mapping.get(key, "default"),
        "in": lambda: key in mapping,
        "setdefault": lambda: mapping.setdefault(key, value),
        "update": lambda: mapping.update({key: value}, z=value),
        "clear": mapping.clear,
    }
    try:
        return doing[name]()
    except KeyError:
        return KeyError


class Cart(SessionDict):
    """A session with something of its own."""

    coupon = ""


def test_an_attribute_is_no_key(anonymous: SessionDict) -> None:
    """What would be lost with the request is refused; a class of the app's own may keep things."""
    with pytest.raises(AttributeError):
        anonymous.coupon = "SPRING"
    cart: Any = a_session(store_factory=Cart)
    cart.coupon = "SPRING"
    assert (cart.coupon, dict(cart)) == ("SPRING", {})


@given(st.lists(STEPS, max_size=20))
def test_a_session_behaves_like_a_dict(steps: list[tuple[str, str, Any]]) -> None:
    """Whatever is done to it, the outcome is a dict's, except which item `popitem` takes."""
    session, model = SESSION.make(Exchange(Request())), dict[str, Any]()
    for step in steps:
        if step[0] == "popitem" and len(model) != 1:
            continue
        assert take(step, session) == take(step, model)
        assert dict(session) == model
        assert (len(session), list(session), bool(session)) == (
            len(model),
            list(model),
            bool(model),
        )
        assert session == model
        assert session.is_modified is bool(model)


SESSION = Session(make_app(), warn_lock=False)


def test_it_is_a_mutable_mapping(anonymous: SessionDict) -> None:
    """Whoever takes any mapping takes a session."""
    anonymous.update(a=1, b=2)

    assert isinstance(anonymous, MutableMapping)
    assert {**anonymous} == {"a": 1, "b": 2}
    assert sorted(anonymous.items()) == [("a", 1), ("b", 2)]
    assert sorted(anonymous.keys()) == ["a", "b"]
    assert sorted(anonymous.values()) == [1, 2]


def test_a_nested_change_is_seen(anonymous: SessionDict) -> None:
    """`append` on a list inside counts as a change, though no key was set."""
    assert not anonymous.is_modified

    anonymous["cart"] = []
    anonymous["cart"].append("book")

    assert anonymous["cart"] == ["book"]
    assert anonymous.is_modified


def test_a_new_session_has_no_id_and_no_times(anonymous: SessionDict) -> None:
    """Before it is stored there is nothing to show, and asking needs no I/O."""
    assert anonymous.is_new
    assert anonymous.is_empty
    assert (anonymous.sid, anonymous.created_at, anonymous.last_seen, anonymous.expires_at) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "look",
    [
        lambda sess: sess.get("a"),
        lambda sess: "a" in sess,
        lambda sess: len(sess),
        lambda sess: list(sess),
        lambda sess: bool(sess),
        lambda sess: sess.is_empty,
        lambda sess: sess.pop("a", None),
        lambda sess: sess.__setitem__("a", 1),
        lambda sess: sess.clear(),
        lambda sess: sess.rotate(),
    ],
)
def test_every_look_makes_the_response_vary(
    anonymous: SessionDict, look: Callable[[SessionDict], object]
) -> None:
    """Reading, asking and writing all count as access; having a session does not."""
    assert not anonymous.accessed
    assert not anonymous.exchange.accessed

    look(anonymous)

    assert anonymous.accessed
    assert anonymous.exchange.accessed


@pytest.mark.parametrize(
    "read",
    [
        lambda sess: sess["a"],
        lambda sess: sess.get("a"),
        lambda sess: "a" in sess,
        lambda sess: len(sess),
        lambda sess: list(sess),
        lambda sess: bool(sess),
        lambda sess: sess.pop("a", None),
        lambda sess: sess.popitem(),
        lambda sess: sess.setdefault("a", 1),
        lambda sess: sess.__delitem__("a"),
        lambda sess: sess.is_empty,
        lambda sess: sess.get_expiry_age(),
    ],
)
def test_what_was_not_loaded_cannot_be_read(
    unread: SessionDict, read: Callable[[SessionDict], object]
) -> None:
    """A plain read cannot await: before anything was loaded it says so and names the ways out."""
    with pytest.raises(SessionNotLoaded, match=r"async with.*peek.*preload"):
        read(unread)


def test_what_was_not_loaded_can_be_written(unread: SessionDict) -> None:
    """A plain write needs no read; what was written is there, all else stays unknown."""
    unread["a"] = 1
    unread["b"] = None
    unread.update(c=3)

    assert (unread["a"], unread["b"], unread["c"]) == (1, None, 3)
    assert "b" in unread
    assert unread.is_modified
    with pytest.raises(SessionNotLoaded):
        unread["d"]


@pytest.mark.parametrize("value", [1, None])
def test_what_was_written_blindly_can_be_deleted_again(unread: SessionDict, value: Any) -> None:
    """A value set before anything was loaded can be deleted, whatever it is."""
    unread["a"] = value
    del unread["a"]

    assert unread.is_modified  # the key is deleted in the store too, should it be there
    with pytest.raises(SessionNotLoaded):
        unread["a"]


def test_clearing_what_was_not_loaded_forgets_what_was_written(unread: SessionDict) -> None:
    """`clear()` needs no read either, and takes back what was written before."""
    unread["a"] = 1
    unread.clear()
    unread["b"] = 2

    assert unread["b"] == 2
    with pytest.raises(SessionNotLoaded):
        unread["a"]


@pytest.mark.parametrize("cookie", ["", "short", "x" * 66, "a" * 22 + "." + "b" * 42 + "=", "ü"])
def test_a_cookie_of_another_shape_is_no_session(cookie: str) -> None:
    """A malformed cookie is an anonymous request: nothing to load, so everything can be read."""
    session = a_session(cookie)

    assert session.is_new
    assert dict(session) == {}


def test_two_cookies_of_our_name_are_no_session(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody may have planted one of them: neither counts, and the security log knows."""
    token = Token.generate()
    session = a_session(f"{token.value}; __Host-session={token.value}")

    assert session.is_new
    assert [record.name for record in caplog.records] == ["sanic_cookies.security"]
    assert token.secret not in caplog.text


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_nothing_of_the_contents_is_shown(
    show: Callable[[object], str], unread: SessionDict
) -> None:
    """A session in a log line shows its state, never what is in it or what opens it."""
    unread["password"] = "hunter2"

    assert show(unread) == "<SessionDict session unread sid=->"


@pytest.fixture
def warned() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.mark.parametrize(
    "use",
    [
        lambda sess: sess.get("a"),
        lambda sess: sess.__setitem__("a", 1),
        lambda sess: sess.clear(),
        lambda sess: sess.update(a=1),
        lambda sess: sess.setdefault("a"),
    ],
)
def test_unlocked_use_warns_at_the_line_that_did_it(
    use: Callable[[SessionDict], object], warned: list[warnings.WarningMessage]
) -> None:
    """The warning points into the application, also through the mapping's own methods."""
    use(a_session(warn_lock=True))

    assert {(w.category, str(w.message), w.filename) for w in warned} == {
        (RuntimeWarning, UNLOCKED, __file__)
    }


def test_the_warning_can_be_silenced(warned: list[warnings.WarningMessage]) -> None:
    """With `warn_lock=False` unlocked use is meant."""
    session = a_session(warn_lock=False)
    session["a"] = session.get("b")

    assert warned == []


def test_after_the_response_has_begun_a_plain_write_is_refused(anonymous: SessionDict) -> None:
    """Nothing would save it any more, so it is not taken; reading is still possible."""
    anonymous.exchange.begun = True

    with pytest.raises(ResponseStarted):
        anonymous["a"] = 1
    assert dict(anonymous) == {}


@pytest.mark.parametrize(
    ("value", "age", "browser"),
    [
        (None, 30 * DAY, False),
        (0, 30 * DAY, True),
        (300, 300, False),
        (timedelta(minutes=5), 300, False),
        (datetime.fromtimestamp(1_000_300, UTC), 300, False),
    ],
)
def test_a_lifetime_of_its_own(value: Any, age: float, browser: bool) -> None:
    """`set_expiry` and what tells of it agree, over its whole grammar."""
    session = a_session(clock=Clock(1_000_000))
    session.set_expiry(60)
    session.set_expiry(value)

    assert session.get_expiry_age() == int(age)
    assert session.get_expiry_date() == datetime.fromtimestamp(1_000_000 + age, UTC)
    assert session.get_expire_at_browser_close() is browser
    assert session.is_modified


def test_a_refused_lifetime_changes_nothing(anonymous: SessionDict) -> None:
    """An argument that means nothing leaves the session as it was."""
    with pytest.raises(SessionError):
        anonymous.set_expiry("soon")  # type: ignore[arg-type]
    assert not anonymous.is_modified


def test_the_test_cookie(anonymous: SessionDict) -> None:
    """The mark is there once it was set, and gone once it was deleted; both can be repeated."""
    assert not anonymous.test_cookie_worked()
    anonymous.set_test_cookie()
    assert anonymous.test_cookie_worked()
    anonymous.delete_test_cookie()
    anonymous.delete_test_cookie()
    assert not anonymous.test_cookie_worked()


@pytest.mark.parametrize("rotate", ["rotate", "refresh_sid", "cycle_key"])
def test_asking_for_a_new_token_is_a_change(unread: SessionDict, rotate: str) -> None:
    """All names of it mean the same, and it needs no read."""
    getattr(unread, rotate)()

    assert unread.is_modified
