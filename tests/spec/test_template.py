"""Templates: parsing is exact, rendering as docs/spec.md says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedspec.errors import SpecError
from embedspec.spec.template import ABSENT, Field, Literal, look_up, parse_template


@pytest.mark.parametrize(
    ("template", "record", "text"),
    [
        ("{text}", {"text": "a"}, "a"),
        ("{title} {text}", {"title": "A", "text": "b"}, "A b"),
        ("{title} {text}", {"text": "b"}, "b"),
        ("{title} {text}", {"title": None, "text": "b"}, "b"),
        ("{title}: {text}\n", {"title": "A", "text": ""}, "A:"),
        ("{text}", {"text": " \t\n a b \u2003"}, "a b"),
        ("{n} {f} {t}", {"n": 1, "f": 1.5, "t": True}, "1 1.5 true"),
        ("{list} {map}", {"list": ["ä", 1], "map": {"k": None}}, '["ä",1] {"k":null}'),
        ("{meta.year}", {"meta": {"year": 2024}}, "2024"),
        ("{meta.year}", {"meta.year": "flat", "meta": {"year": "nested"}}, "flat"),
        ("{meta.year}", {"meta.year": None, "meta": {"year": "nested"}}, ""),
        ("{a.b.c}", {"a": {"b.c": "x"}}, "x"),
        ("{a.b}", {"a": "text"}, ""),
        ("{a.0}", {"a": ["x"]}, ""),
        ("{{{text}}} {{}}", {"text": "a"}, "{a} {}"),
        ("{metadata} {text!r}", {"metadata": "m", "text!r": "x"}, "m x"),
        ("{first name}", {"first name": "Ada"}, "Ada"),
        ("{text}", {"text": "{title} {{"}, "{title} {{"),
    ],
)
def test_rendering(template: str, record: dict[str, Any], text: str) -> None:
    assert parse_template(template).render(record) == text


def test_parts_and_fields() -> None:
    template = parse_template("a {{b}} {x.y}{z} {x.y}")
    assert template == (Literal("a {b} "), Field("x.y"), Field("z"), Literal(" "), Field("x.y"))
    assert template.fields() == ("x.y", "z")
    assert [str(part) for part in template] == ["a {{b}} ", "{x.y}", "{z}", " ", "{x.y}"]


def test_absent_is_not_null() -> None:
    assert look_up({"a": None}, "a") is None
    assert look_up({"a": {"b": None}}, "a.b") is None
    assert look_up({"a": {"b": 1}}, "a.c") is ABSENT
    assert look_up({}, "a") is ABSENT


@pytest.mark.parametrize(
    "template", ["{", "}", "{a", "a}", "{}", "{{}", "{}}", "{a{b}}", "{ a }", "{a..b}", "{.a}", "{a\n}"]
)
def test_braces_and_fields_that_make_no_sense(template: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_template(template)
    assert "at character" in caught.value.what
    assert caught.value.fix


@given(st.text(alphabet="ab.{} \n"))
def test_a_template_written_back_is_the_same(text: str) -> None:
    try:
        template = parse_template(text)
    except SpecError:
        return
    assert str(template) == text
    assert parse_template("".join(str(part) for part in template)) == template
