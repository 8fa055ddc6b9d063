"""Reading filters, from the command line's form and from JSON, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedspec.errors import EmbedspecError, SpecError, UsageError
from embedspec.stores.filters import MAX_DEPTH, keyword_text, matches, parse_filter, parse_terms
from embedspec.types import And, Eq, FieldType, In, Not, Or, Range

K, I, F, B = FieldType.keyword, FieldType.integer, FieldType.float, FieldType.boolean  # noqa: E741
FIELDS = {"lang": K, "meta.year": I, "price": F, "public": B, "fi'le": K, "a": K, "a=b": K}


@pytest.mark.parametrize(
    ("term", "wanted"),
    [
        ("lang=de", Eq("lang", K, "de")),
        ("lang!=de", Not(Eq("lang", K, "de"))),
        ("lang=de,en", In("lang", K, ("de", "en"))),
        ("lang!=de,en", Not(In("lang", K, ("de", "en")))),
        (r"lang=a\,b", Eq("lang", K, "a,b")),
        (r"lang=a\,b,c", In("lang", K, ("a,b", "c"))),
        (r"lang=C:\dir", Eq("lang", K, r"C:\dir")),
        ("lang=", Eq("lang", K, "")),
        ("lang=a=b", Eq("lang", K, "a=b")),
        ("lang=>x", Eq("lang", K, ">x")),
        ("lang= de ", Eq("lang", K, " de ")),
        ("lang>=m", Range("lang", K, gte="m")),
        ("meta.year=2024", Eq("meta.year", I, 2024)),
        ("meta.year>=2020", Range("meta.year", I, gte=2020)),
        ("meta.year<=2020", Range("meta.year", I, lte=2020)),
        ("meta.year>2020", Range("meta.year", I, gt=2020)),
        ("meta.year< -5", Range("meta.year", I, lt=-5)),
        ("meta.year=1,2", In("meta.year", I, (1, 2))),
        ("price>=1e-3", Range("price", F, gte=0.001)),
        ("price=2", Eq("price", F, 2.0)),
        ("public=true", Eq("public", B, True)),
        ("public!=false", Not(Eq("public", B, False))),
        ("fi'le=1", Eq("fi'le", K, "1")),
        ("a=b=c", Eq("a=b", K, "c")),
        ("a=c", Eq("a", K, "c")),
    ],
)
def test_terms(term: str, wanted: object) -> None:
    assert parse_terms([term], FIELDS) == wanted


def test_several_terms_are_anded() -> None:
    assert parse_terms([], FIELDS) is None
    assert parse_terms(["lang=de", "public=true"], FIELDS) == And(
        (Eq("lang", K, "de"), Eq("public", B, True))
    )


VALUES = ["2025_0042", "1e3", "1000", "nan", "D'Arcy", "true"]
FILE = {"file": K}


def search(term: str) -> list[str]:
    """Which of the case's documents a term finds."""
    condition = parse_terms([term], FILE)
    assert condition is not None
    return [value for value in VALUES if matches(condition, {"file": value})]


@pytest.mark.parametrize("value", VALUES)
def test_f15_values_that_look_like_something_else_stay_text(value: str) -> None:
    assert parse_terms([f"file={value}"], FILE) == Eq("file", K, value)
    assert search(f"file={value}") == [value]
    assert parse_filter({"eq": {"file": value}}, FILE) == Eq("file", K, value)


def test_f15_sql_in_a_value_is_a_value() -> None:
    assert search("file=x' OR 1=1 --") == []


def test_f15_an_unknown_field_is_an_error() -> None:
    with pytest.raises(SpecError) as refused:
        parse_terms(["fi'le=1"], FILE)
    assert refused.value.code == 1
    message = str(refused.value)
    assert '"fi\'le" is no metadata field' in message
    assert "did you mean 'file'" in message
    assert "corpus.metadata: file" in message


@pytest.mark.parametrize(
    ("term", "kind", "message"),
    [
        ("lang", UsageError, "write key=value"),
        ("lang~de", UsageError, "write key=value"),
        ("", UsageError, "write key=value"),
        ("=de", SpecError, "'' is no metadata field"),
        ("meta.year>=1,2", UsageError, "takes one value, not 2"),
        ("meta.year=2025_0042", SpecError, "is not an integer"),
        ("meta.year=1e3", SpecError, "is not an integer"),
        ("meta.year=2024.0", SpecError, "is not an integer"),
        ("meta.year=", SpecError, "declared integer"),
        ("meta.year=²", SpecError, "is not an integer"),
        ("meta.year=9223372036854775808", SpecError, "outside the 64-bit integers"),
        ("price=nan", SpecError, "is not a number"),
        ("price=inf", SpecError, "is not a number"),
        ("price=1e999", SpecError, "beyond the largest float64"),
        ("price=1_0", SpecError, "is not a number"),
        ("public=yes", SpecError, "is not true or false"),
        ("public>true", SpecError, "has no order"),
        ("lang=a\0b", SpecError, "NUL"),
        ("lang=\ud83d", SpecError, "surrogate"),
    ],
)
def test_terms_that_are_refused(term: str, kind: type[EmbedspecError], message: str) -> None:
    with pytest.raises(kind, match=message) as refused:
        parse_terms([term], FIELDS)
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"eq": {"lang": "de"}}, Eq("lang", K, "de")),
        ({"eq": {"lang": 1000}}, Eq("lang", K, "1000")),
        ({"eq": {"lang": 1.5}}, Eq("lang", K, "1.5")),
        ({"eq": {"lang": True}}, Eq("lang", K, "true")),
        ({"eq": {"meta.year": 2024}}, Eq("meta.year", I, 2024)),
        ({"eq": {"meta.year": 2024.0}}, Eq("meta.year", I, 2024)),
        ({"eq": {"price": 1}}, Eq("price", F, 1.0)),
        ({"eq": {"public": False}}, Eq("public", B, False)),
        ({"in": {"lang": ["de", "en"]}}, In("lang", K, ("de", "en"))),
        ({"in": {"lang": []}}, In("lang", K, ())),
        ({"range": {"meta.year": {"gte": 1, "lt": 5}}}, Range("meta.year", I, gte=1, lt=5)),
        ({"not": {"eq": {"lang": "de"}}}, Not(Eq("lang", K, "de"))),
        ({"and": []}, And(())),
        (
            {"or": [{"eq": {"lang": "de"}}, {"and": [{"eq": {"public": True}}]}]},
            Or((Eq("lang", K, "de"), And((Eq("public", B, True),)))),
        ),
    ],
)
def test_json(data: Any, wanted: object) -> None:
    assert parse_filter(data, FIELDS) == wanted


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "exactly one key"),
        ([], "exactly one key"),
        ({}, "exactly one key"),
        ({"eq": {"lang": "de"}, "in": {}}, "exactly one key"),
        ({"eq": {"lang": "de", "a": "b"}}, "exactly one key"),
        ({"eq": "lang"}, r"filter\.eq: expected an object"),
        ({1: 2}, "exactly one key"),
        ({"eql": {"lang": "de"}}, "did you mean 'eq'"),
        ({"and": {"eq": {"lang": "de"}}}, "takes a list of filters"),
        ({"or": [{"eq": {"lang": "de"}}, 7]}, r"filter\.or\[1\]: "),
        ({"in": {"lang": "de"}}, "takes a list of values"),
        ({"range": {"lang": {}}}, "takes bounds"),
        ({"range": {"lang": 3}}, "takes bounds"),
        ({"range": {"lang": {"from": 3}}}, "use gt, gte, lt or lte"),
        ({"range": {"public": {"gt": False}}}, "has no order"),
        ({"eq": {"lung": "de"}}, "did you mean 'lang'"),
        ({"eq": {"lang": None}}, "None is not a text"),
        ({"eq": {"lang": ["de"]}}, "is not a text"),
        ({"eq": {"lang": float("nan")}}, "must be finite"),
        ({"eq": {"meta.year": "2024"}}, "'2024' is not an integer"),
        ({"eq": {"meta.year": True}}, "True is not an integer"),
        ({"eq": {"meta.year": 2024.5}}, "is not an integer"),
        ({"eq": {"meta.year": 2**63}}, "outside the 64-bit integers"),
        ({"eq": {"price": 10**400}}, "beyond the largest float64"),
        ({"eq": {"price": True}}, "is not a number"),
        ({"eq": {"public": "true"}}, "is not true or false"),
        ({"eq": {"public": 1}}, "is not true or false"),
    ],
)
def test_json_that_is_refused(data: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_filter(data, FIELDS)


def test_nesting_has_a_bound() -> None:
    data: dict[str, Any] = {"eq": {"lang": "de"}}
    for _ in range(MAX_DEPTH):
        data = {"not": data}
    parse_filter(data, FIELDS)
    for _ in range(5000):
        data = {"not": data}
    with pytest.raises(SpecError, match="nested deeper than"):
        parse_filter(data, FIELDS)


@pytest.mark.parametrize(
    ("condition", "metadata", "wanted"),
    [
        (Eq("lang", K, "1000"), {"lang": 1000}, True),
        (Eq("lang", K, "1e3"), {"lang": 1000.0}, False),
        (Eq("lang", K, "1000.0"), {"lang": 1e3}, True),
        (Eq("lang", K, "true"), {"lang": True}, True),
        (Eq("lang", K, "1"), {"lang": True}, False),
        (Eq("lang", K, "null"), {"lang": None}, False),
        (Eq("lang", K, "de"), {"lang": ["en", "de"]}, True),
        (Eq("lang", K, "de"), {"lang": [["de"]]}, False),
        (Eq("n", I, 1), {"n": True}, False),
        (Eq("n", I, 1), {"n": "1"}, False),
        (Eq("n", I, 1), {"n": 1.0}, True),
        (Eq("b", B, True), {"b": 1}, False),
        (Range("n", I, gt=1, lt=5), {"n": [0, 9]}, False),
        (Range("n", I, gt=1, lt=5), {"n": [0, 3, 9]}, True),
        (Range("lang", K, gt="\uffee"), {"lang": "\U0001f600"}, True),
        (Not(Eq("lang", K, "de")), {}, True),
        (Not(Range("n", I, gt=1)), {}, True),
        (In("lang", K, ()), {"lang": "de"}, False),
        (And(()), {}, True),
        (Or(()), {"lang": "de"}, False),
    ],
)
def test_meaning(condition: Any, metadata: Mapping[str, Any], wanted: bool) -> None:
    assert matches(condition, metadata) is wanted


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1.0"), (1e16, "10000000000000000"), (1e-7, "0.0000001"), (-0.0, "0.0"), (True, "true")],
)
def test_the_text_of_a_number_is_a_plain_decimal(value: Any, text: str) -> None:
    assert keyword_text(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_can_be_asked_for(value: str) -> None:
    """Commas escaped, a value from the command line is the value; only `\\,` itself needs JSON."""
    if "\\," in value or value.endswith("\\"):
        return
    condition = parse_terms(["lang=" + value.replace(",", "\\,")], FIELDS)
    assert condition == Eq("lang", K, value)
    assert matches(condition, {"lang": value})
