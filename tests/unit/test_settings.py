"""Options: their defaults, their types, and what contradicts what."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from sanic import Sanic

from harness import make_app
from sanic_cookies import AuthSession, Session, SessionConfigError, SessionDict
from sanic_cookies.codec import JSONCodec
from sanic_cookies.cookies import HOST, SECURE
from sanic_cookies.expiry import Policy
from sanic_cookies.settings import DAY, SessionOptions, Settings


def settings_of(**options: Any) -> Settings:
    return Session(**options).settings


class Upper(JSONCodec):
    """A codec of somebody's own."""


class Own(SessionDict):
    """A session class of somebody's own."""


def clock() -> float:
    return 1.0


FLAGS = ["httponly", "partitioned", "session_cookie", "warn_lock", "preload", "save_every_request"]
TEXTS = ["cookie_name", "cookie_prefix", "domain", "path", "samesite"]
SECONDS = [
    "expiry",
    "absolute_timeout",
    "lock_timeout",
    "lease",
    "max_hold",
    "store_timeout",
    "renew_every",
    "rotation_grace",
]
NUMBERS = ["max_waiters", "max_bytes"]
OBJECTS = ["codec", "store_factory", "clock"]
CHOICES = ["secure", "on_interface_error"]


def test_every_option_is_tested_here() -> None:
    """The lists of this file name all the options that there are."""
    tested = {*FLAGS, *TEXTS, *SECONDS, *NUMBERS, *OBJECTS, *CHOICES, "session_name"}

    assert tested == set(SessionOptions.__annotations__)


def test_the_defaults() -> None:
    """Without any option a session is as the contract says."""
    settings = settings_of()

    assert settings.name == "session"
    assert settings.policy == Policy(idle=30 * DAY, absolute=None, persistent=True)
    cookie = settings.cookie
    assert (cookie.name, cookie.prefix, cookie.path, cookie.domain) == ("session", HOST, "/", None)
    assert (cookie.secure, cookie.httponly, cookie.samesite) == ("auto", True, "Lax")
    assert not cookie.partitioned
    assert (settings.lock_timeout, settings.lease, settings.max_hold) == (10.0, 10.0, 60.0)
    assert (settings.max_waiters, settings.max_bytes) == (16, 65536)
    assert (settings.store_timeout, settings.request_timeout) == (2.0, 5.0)
    assert (settings.renew_every, settings.rotation_grace) == (None, 15.0)
    assert (settings.warn_lock, settings.preload, settings.save_every_request) == (
        True,
        True,
        False,
    )
    assert settings.on_interface_error == "log"
    assert settings.auth_key is None


def test_the_defaults_of_logins() -> None:
    """An `AuthSession` ends with the browser, after an hour unused, after a day in any case."""
    settings = AuthSession().settings

    assert settings.name == settings.cookie.name == "auth_session"
    assert settings.policy == Policy(idle=3600.0, absolute=DAY, persistent=False)
    assert settings.auth_key == "current_user"


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        ("session_name", "basket", lambda s: s.name),
        ("cookie_name", "sid", lambda s: s.cookie.name),
        ("cookie_prefix", SECURE, lambda s: s.cookie.prefix),
        ("cookie_prefix", "", lambda s: s.cookie.prefix),
        ("domain", "example.com", lambda s: s.cookie.domain),
        ("path", "/shop", lambda s: s.cookie.path),
        ("secure", True, lambda s: s.cookie.secure),
        ("secure", False, lambda s: s.cookie.secure),
        ("secure", "auto", lambda s: s.cookie.secure),
        ("httponly", False, lambda s: s.cookie.httponly),
        ("samesite", "Strict", lambda s: s.cookie.samesite),
        ("partitioned", True, lambda s: s.cookie.partitioned),
        ("session_cookie", True, lambda s: not s.policy.persistent),
        ("expiry", 60.0, lambda s: s.policy.idle),
        ("absolute_timeout", 60.0, lambda s: s.policy.absolute),
        ("warn_lock", False, lambda s: s.warn_lock),
        ("preload", False, lambda s: s.preload),
        ("lock_timeout", 0.5, lambda s: s.lock_timeout),
        ("lease", 0.5, lambda s: s.lease),
        ("max_hold", 11.0, lambda s: s.max_hold),
        ("max_waiters", 1, lambda s: s.max_waiters),
        ("store_timeout", 0.5, lambda s: s.store_timeout),
        ("max_bytes", 1, lambda s: s.max_bytes),
        ("codec", Upper(), lambda s: s.codec),
        ("store_factory", Own, lambda s: s.store_factory),
        ("save_every_request", True, lambda s: s.save_every_request),
        ("renew_every", 60.0, lambda s: s.renew_every),
        ("rotation_grace", 0.0, lambda s: s.rotation_grace),
        ("on_interface_error", "raise", lambda s: s.on_interface_error),
        ("clock", clock, lambda s: s.clock),
    ],
)
@pytest.mark.parametrize("through_config", [False, True])
def test_an_option_arrives_where_it_is_used(
    option: str, value: Any, read: Any, through_config: bool
) -> None:
    """Each option has its effect, given as a keyword or in `app.config`."""
    if through_config and option == "session_name":
        option, value = "cookie_name", "basket"

        def read(settings: Settings) -> str:
            return settings.cookie.name

    if through_config:
        app = make_app(**{f"SESSION_{option.upper()}": value})
        settings = Session(app).settings
    else:
        settings = settings_of(**{option: value})
    assert read(settings) == value
    assert type(read(settings)) is type(value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, value) for name in FLAGS for value in (None, 0, 1, "yes", "True")),
        *((name, value) for name in TEXTS for value in (1, True, b"x", ["x"])),
        *((name, None) for name in ("cookie_name", "path", "samesite")),
        *(
            (name, value)
            for name in SECONDS
            for value in (True, False, "60", b"60", [60], 1j, nan, inf, -inf, -1, 10**400, 1e11)
        ),
        *((name, 0) for name in SECONDS if name != "rotation_grace"),
        *((name, timedelta(0)) for name in SECONDS if name != "rotation_grace"),
        *((name, timedelta(seconds=-1)) for name in SECONDS),
        *((name, None) for name in ("lock_timeout", "lease", "max_hold", "store_timeout")),
        ("rotation_grace", None),
        *((name, value) for name in NUMBERS for value in (None, True, 0, -1, 1.0, "1")),
        *(("secure", value) for value in (None, 0, 1, "yes", "AUTO")),
        *(("on_interface_error", value) for value in (None, "ignore", True, 0)),
        *(("codec", value) for value in (None, "json", object(), JSONCodec)),
        *(("store_factory", value) for value in ("SessionDict", dict, object(), Session)),
        *(("clock", value) for value in (None, 7.0, "now")),
        *(("session_name", value) for value in (None, 7, "", "Session", "a-b", "a b", "1a", "a\n")),
        ("session_name", "class"),
    ],
)
def test_a_wrong_type_or_value_is_refused(option: str, value: Any) -> None:
    """Whatever is no sensible value of an option is refused at construction, and named."""
    with pytest.raises(SessionConfigError) as caught:
        settings_of(**{option: value})
    assert option in str(caught.value)


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [(11, 11.0), (10.5, 10.5), (timedelta(seconds=11), 11.0), (timedelta(minutes=1), 60.0)],
)
def test_seconds_are_numbers_or_timedeltas(option: str, value: Any, seconds: float) -> None:
    """Every duration is an int, a float or a `timedelta`, and is kept as float seconds."""
    settings = settings_of(**{option: value})
    policy = {"expiry": settings.policy.idle, "absolute_timeout": settings.policy.absolute}
    read = policy[option] if option in policy else getattr(settings, option)

    assert read == seconds
    assert type(read) is float


def test_no_grace_is_a_grace_of_nothing() -> None:
    """Only the grace after a rotation may be zero."""
    assert settings_of(rotation_grace=0).rotation_grace == 0.0
    assert settings_of(rotation_grace=timedelta(0)).rotation_grace == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"expiry": None}, "expiry=None needs an absolute_timeout"),
        ({"expiry": None, "absolute_timeout": None}, "needs an absolute_timeout"),
        ({"expiry": 61, "absolute_timeout": 60}, "expiry (idle) must not be longer"),
        ({"expiry": 60, "renew_every": 61}, "renew_every must not be longer"),
        ({"lease": 61}, "lease must not be longer than max_hold"),
        ({"lease": 5, "max_hold": 4}, "lease must not be longer than max_hold"),
        ({"secure": False, "cookie_prefix": HOST}, "needs secure"),
        ({"cookie_prefix": HOST, "path": "/shop"}, "needs path='/'"),
        ({"cookie_prefix": HOST, "domain": "example.com"}, "no domain"),
        ({"cookie_prefix": "__Http-", "httponly": False}, "needs httponly"),
        ({"samesite": "None", "secure": False}, "needs secure"),
        ({"partitioned": True, "samesite": "Lax"}, "needs samesite='None'"),
        ({"partitioned": True, "secure": False}, "needs"),
        ({"samesite": "sometimes"}, "samesite"),
        ({"cookie_name": "__Host-session"}, "cookie_prefix="),
        ({"cookie_nmae": "session"}, "unknown option 'cookie_nmae'"),
        ({"auth_key": "user"}, "unknown option 'auth_key'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], words: str
) -> None:
    """A contradiction is an error at construction whose text says what to change."""
    with pytest.raises(SessionConfigError) as caught:
        settings_of(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({}, HOST),
        ({"secure": True}, HOST),
        ({"secure": False}, ""),
        ({"path": "/shop"}, SECURE),
        ({"domain": "example.com"}, SECURE),
        ({"domain": "example.com", "secure": False}, ""),
        ({"cookie_prefix": ""}, ""),
        ({"cookie_prefix": "__Host-Http-"}, "__Host-Http-"),
    ],
)
def test_the_prefix_is_the_strictest_that_can_be(options: dict[str, Any], prefix: str) -> None:
    """`__Host-` unless path or domain rule it out, none where the cookie is never `Secure`."""
    assert settings_of(**options).cookie.prefix == prefix


@pytest.mark.parametrize(
    ("given", "kept"), [("lax", "Lax"), ("STRICT", "Strict"), ("none", "None"), ("Lax", "Lax")]
)
def test_samesite_may_be_written_in_any_case(given: str, kept: str) -> None:
    """The older library's lower case spelling is understood."""
    assert settings_of(samesite=given).cookie.samesite == kept


def test_partitioned_implies_none() -> None:
    """A partitioned cookie is for other sites, so that is its default."""
    assert settings_of(partitioned=True).cookie.samesite == "None"


def test_a_keyword_wins_over_the_config() -> None:
    """What is said in code is not changed by the environment."""
    app = make_app(SESSION_EXPIRY=60, SESSION_COOKIE_NAME="from_config")
    settings = Session(app, expiry=120).settings

    assert settings.policy.idle == 120.0
    assert settings.cookie.name == "from_config"


def test_each_session_reads_its_own_keys_of_the_config() -> None:
    """The key begins with the session's name, so two sessions never share a setting."""
    app = make_app(SESSION_EXPIRY=60, AUTH_SESSION_EXPIRY=120, BASKET_EXPIRY=180)

    assert Session(app).settings.policy.idle == 60.0
    assert AuthSession(app).settings.policy.idle == 120.0
    assert Session(app, session_name="basket").settings.policy.idle == 180.0


def test_the_config_is_read_when_the_app_is_known() -> None:
    """A session that is attached later takes the settings of that app."""
    session = Session()
    session.init_app(make_app(SESSION_EXPIRY=60))

    assert session.settings.policy.idle == 60.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SESSION_EXPIRY", "soon"),
        ("SESSION_EXPIRY", True),
        ("SESSION_MAX_WAITERS", "many"),
        ("SESSION_HTTPONLY", "yes"),
        ("SESSION_COOKIE_NAME", 7),
    ],
)
def test_a_wrong_type_in_the_config_is_refused_with_its_key(key: str, value: Any) -> None:
    """The error names the key in `app.config`, for that is where to look."""
    with pytest.raises(SessionConfigError, match=f"{key} in app.config"):
        Session(make_app(**{key: value}))


def test_environment_variables_arrive_with_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Sanic reads from the environment has the types that are asked for."""
    monkeypatch.setenv("SANIC_SESSION_EXPIRY", "90")
    monkeypatch.setenv("SANIC_SESSION_PRELOAD", "false")
    monkeypatch.setenv("SANIC_SESSION_COOKIE_NAME", "from_env")
    Sanic.test_mode = True
    app = Sanic("settings-from-env", configure_logging=False)
    Sanic.unregister_app(app)
    settings = Session(app).settings

    assert settings.policy.idle == 90.0
    assert not settings.preload
    assert settings.cookie.name == "from_env"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("auth_key", 7),
        ("auth_key", None),
        ("remember_expiry", 0),
        ("remember_expiry", True),
        ("remember_expiry", "month"),
        ("user_key", "id"),
        ("no_auth_handler", "login"),
    ],
)
def test_options_of_logins_are_checked_too(option: str, value: Any) -> None:
    """What `AuthSession` adds is held to the same rules."""
    with pytest.raises(SessionConfigError, match=option):
        AuthSession(**{option: value})
