"""Header texts that are quick to send: what is sent is what Sanic would send of any other."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import istr
from sanic.compat import Header
from sanic.response import text

from sanic_cookies.cookies import CookieSpec
from sanic_cookies.headers import FixedText, HeaderName, HeaderText

CLEANING = str.maketrans("", "", "\r\n\x00")
TEXTS = ["", "Cookie", "a\r\nX-Forged: 1", "\x00", "é\n", "s=1; Path=/", "line\nbreak\r"]


@pytest.mark.parametrize("value", TEXTS)
@pytest.mark.parametrize("kind", [HeaderText, FixedText, HeaderName])
@pytest.mark.parametrize(
    "table",
    [CLEANING, {}, str.maketrans("ab=", "AB:"), {0x43: "K", 0x1F600: None}, "?" * 128],
)
def test_it_is_translated_as_any_text(kind: Any, table: Any, value: str) -> None:
    """Whatever the table says of a character that is there is done."""
    assert kind(value).translate(table) == value.translate(table)


@pytest.mark.parametrize("kind", [HeaderText, FixedText, HeaderName])
def test_what_is_clean_is_sent_as_it_is(kind: Any) -> None:
    """No copy of it is made on its way, which Sanic would clean character by character."""
    value = kind("set-cookie")

    assert f"{value}" is value
    assert f"{value}".translate(CLEANING) is value


@pytest.mark.parametrize("kind", [FixedText, HeaderName])
def test_what_was_clean_for_one_table_is_searched_for_another(kind: Any) -> None:
    """What is remembered of a text holds for the table that was asked about, and no other."""
    value, upper = kind("vary"), str.maketrans("v", "V")

    assert value.translate(CLEANING) is value
    assert value.translate(upper) == value.translate(upper) == "Vary"
    assert value.translate(CLEANING) is value
    with pytest.raises(TypeError):
        kind("vary").translate(None)


@pytest.mark.parametrize("spec", [">12", "s", "^9.3"])
def test_it_is_formatted_as_any_text(spec: str) -> None:
    """A width or a precision is kept to."""
    assert format(HeaderText("Cookie"), spec) == format("Cookie", spec)


@pytest.mark.parametrize("value", TEXTS)
def test_a_response_is_sent_with_the_same_bytes(value: str) -> None:
    """Sanic makes of it what it makes of a plain text: no line break ever splits a header."""
    ours, plain = text("x"), text("x")
    ours.headers.add(HeaderName("vary"), HeaderText(value))
    plain.headers.add("vary", value)

    assert list(ours.processed_headers) == list(plain.processed_headers)


@pytest.mark.parametrize("value", [each for each in TEXTS if each])
def test_a_cookie_is_sent_with_the_same_bytes(value: str) -> None:
    """A line of ours, whatever an interface has put into it, is cleaned as a plain one."""
    line, (ours, plain) = CookieSpec("s", "").render(value, 60, True), (text("x"), text("x"))
    ours.headers.add(HeaderName("set-cookie"), line)
    plain.headers.add("set-cookie", str(line))

    assert type(str(line)) is str
    assert list(ours.processed_headers) == list(plain.processed_headers)


def test_a_name_is_found_in_any_case() -> None:
    """It is a name as multidicts keep them, and they give it back as it was put in."""
    headers, name = Header(), HeaderName("set-cookie")
    headers.add(name, "s=1")
    headers.add("Set-Cookie", "t=1")

    assert isinstance(name, istr)
    assert headers.getall("SET-COOKIE") == headers.getall(name) == ["s=1", "t=1"]
    assert next(iter(headers)) is name
