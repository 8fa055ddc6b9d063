"""The filter language: the command line's `key=value` and the JSON form, read into one tree.

What a filter means is the same in every store, and this is the place that says so; `matches` is
the reference (the memory store searches with it, the conformance suite compares others with it).

- A record without the field (or with null there) matches no positive test; `not` turns that round.
- A list matches when any of its elements does; a range must hold for one and the same element.
- `keyword` compares text, by code point: strings as they are, true and false as words, numbers as
  plain decimals (1000.0, never 1e3). `integer` and `float` look at JSON numbers only, compared by
  value; `boolean` looks at true and false only. Objects and nested lists match nothing.
- `and` of nothing holds for every record, `or` and `in` of nothing for none.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from embedspec.errors import EmbedspecError, SpecError, UsageError
from embedspec.types import And, Eq, FieldType, Filter, In, Not, Or, Range, Scalar

MAX_DEPTH = 32
"""Deepest nesting of and/or/not that is read; a filter from the network must not exhaust the stack."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_OPERATOR = re.compile(r"!=|>=|<=|=|>|<")
_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


# --- the command line's form ---------------------------------------------------------------------


def parse_terms(terms: Sequence[str], fields: Mapping[str, FieldType]) -> Filter | None:
    r"""Read `--filter` values, and-ed: `key=value`, `key!=value`, `key=a,b` (in), `key>=value` and
    so on; a comma in a value is written `\,`, every other backslash stands for itself.

    None without terms. Raises UsageError for a term that has no such form, SpecError for an unknown
    field or a value that is not of the field's type.
    """
    parts = tuple(_parse_term(term, fields) for term in terms)
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(parts)


def _parse_term(term: str, fields: Mapping[str, FieldType]) -> Filter:
    field, operator, rest = _split_term(term, fields)
    where = f"--filter {term}"
    kind = _field_type(field, fields, where)
    values = [value.replace("\\,", ",") for value in re.split(r"(?<!\\),", rest)]
    if operator in _BOUNDS:
        if len(values) > 1:
            raise UsageError(
                f"{operator} takes one value, not {len(values)}",
                where=where,
                fix=r"write a comma that belongs to the value as \,",
            )
        return _make_range(field, kind, {_BOUNDS[operator]: _from_text(values[0], kind, where)}, where)
    converted = tuple(_from_text(value, kind, where) for value in values)
    positive = Eq(field, kind, converted[0]) if len(converted) == 1 else In(field, kind, converted)
    return Not(positive) if operator == "!=" else positive


def _split_term(term: str, fields: Mapping[str, FieldType]) -> tuple[str, str, str]:
    """Field, operator, value text. A declared field that itself holds an operator wins."""
    for field in sorted(fields, key=len, reverse=True):
        if term.startswith(field):
            found = _OPERATOR.match(term, len(field))
            if found:
                return field, found.group(), term[found.end() :]
    found = _OPERATOR.search(term)
    if found is None:
        raise UsageError(
            f"{term!r} is no filter",
            where=f"--filter {term}",
            fix="write key=value, key!=value, key=a,b, or key with >, >=, < or <= and a value",
        )
    return term[: found.start()].strip(), found.group(), term[found.end() :]


def _from_text(text: str, kind: FieldType, where: str) -> Scalar:
    stripped = text.strip()
    if kind is FieldType.keyword:
        return _check_text(text, where)
    if kind is FieldType.boolean and stripped in {"true", "false"}:
        return stripped == "true"
    if kind is FieldType.integer and _INTEGER.fullmatch(stripped) and len(stripped) <= 64:
        return _check_integer(int(stripped), where)
    if kind is FieldType.float and _NUMBER.fullmatch(stripped):
        return _check_float(float(stripped), where)
    raise _wrong_type(text, kind, where)


# --- the JSON form -------------------------------------------------------------------------------


def parse_filter(data: Any, fields: Mapping[str, FieldType]) -> Filter:
    """Read the JSON form: `{"and": […]}`, `{"or": […]}`, `{"not": {…}}`, `{"eq": {field: value}}`,
    `{"in": {field: […]}}`, `{"range": {field: {"gte": …, "lt": …}}}`.

    Raises SpecError naming the place in the filter.
    """
    return _parse_node(data, fields, "filter", 0)


def _parse_node(data: Any, fields: Mapping[str, FieldType], where: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise SpecError(f"the filter is nested deeper than {MAX_DEPTH} levels", where="filter")
    operator, body = _single(data, where, "and, or, not, eq, in, range")
    where = f"{where}.{operator}"
    match operator:
        case "and" | "or":
            if not isinstance(body, list | tuple):
                raise SpecError(f"`{operator}` takes a list of filters, not {_show(body)}", where=where)
            parts = tuple(
                _parse_node(part, fields, f"{where}[{i}]", depth + 1) for i, part in enumerate(body)
            )
            return And(parts) if operator == "and" else Or(parts)
        case "not":
            return Not(_parse_node(body, fields, where, depth + 1))
        case "eq" | "in" | "range":
            field, value = _single(body, where, "one field")
            where = f"{where}.{field}"
            return _parse_test(operator, field, value, _field_type(field, fields, where), where)
        case _:
            raise SpecError(
                f"`{operator}` is no filter operator" + _did_you_mean(operator, _JSON_OPERATORS),
                where=where,
                fix="use one of " + ", ".join(_JSON_OPERATORS),
            )


_JSON_OPERATORS = ("and", "or", "not", "eq", "in", "range")


def _parse_test(operator: str, field: str, value: Any, kind: FieldType, where: str) -> Filter:
    if operator == "eq":
        return Eq(field, kind, _from_json(value, kind, where))
    if operator == "in":
        if not isinstance(value, list | tuple):
            raise SpecError(f"`in` takes a list of values, not {_show(value)}", where=where)
        return In(field, kind, tuple(_from_json(v, kind, f"{where}[{i}]") for i, v in enumerate(value)))
    names = _BOUNDS.values()
    if not isinstance(value, Mapping) or not value:
        raise SpecError(
            f"`range` takes bounds, not {_show(value)}", where=where, fix='e.g. {"gte": 2020, "lt": 2025}'
        )
    for name in value:
        if name not in names:
            raise SpecError(f"{name!r} is no bound", where=where, fix="use gt, gte, lt or lte")
    bounds = {name: _from_json(bound, kind, f"{where}.{name}") for name, bound in value.items()}
    return _make_range(field, kind, bounds, where)


def _single(data: Any, where: str, expected: str) -> tuple[str, Any]:
    if not isinstance(data, Mapping) or len(data) != 1 or not isinstance(next(iter(data)), str):
        raise SpecError(
            f"expected an object with exactly one key ({expected}), got {_show(data)}",
            where=where,
            fix='join several tests with {"and": [...]}',
        )
    key: str = next(iter(data))
    return key, data[key]


def _from_json(value: Any, kind: FieldType, where: str) -> Scalar:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError("a filter value must be finite", where=where)
    if kind is FieldType.keyword:
        text = keyword_text(value)
        if text is not None:
            return _check_text(text, where)
    elif kind is FieldType.boolean:
        if isinstance(value, bool):
            return value
    elif kind is FieldType.integer:
        if is_number and int(value) == value:
            return _check_integer(int(value), where)
    elif is_number:
        return _check_float(value, where)
    raise _wrong_type(value, kind, where)


# --- checks shared by both forms -----------------------------------------------------------------


def _make_range(field: str, kind: FieldType, bounds: Mapping[str, Scalar], where: str) -> Range:
    if kind is FieldType.boolean:
        raise SpecError(f"{field!r} is a boolean: it has no order", where=where, fix="use = or !=")
    return Range(field, kind, **bounds)


def _field_type(field: str, fields: Mapping[str, FieldType], where: str) -> FieldType:
    if field in fields:
        return fields[field]
    known = ", ".join(sorted(fields)) or "none"
    raise SpecError(
        f"{field!r} is no metadata field of this index{_did_you_mean(field, fields)}",
        where=where,
        fix=f"filter by a field of corpus.metadata: {known}",
    )


def _did_you_mean(word: str, options: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(options), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_text(text: str, where: str) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise SpecError(f"{text!r} is not valid text (a NUL or half a surrogate pair)", where=where)
    return text


def _check_integer(value: int, where: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise SpecError(f"{value} is outside the 64-bit integers", where=where)
    return value


def _check_float(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpecError(f"{value} is beyond the largest float64, 1.8e308", where=where)
    return number


def _wrong_type(value: Any, kind: FieldType, where: str) -> EmbedspecError:
    wanted = {
        FieldType.keyword: "a text, a number or true/false",
        FieldType.integer: "an integer, in decimal digits",
        FieldType.float: "a number",
        FieldType.boolean: "true or false",
    }[kind]
    return SpecError(
        f"{_show(value)} is not {wanted}",
        where=where,
        fix=f"the field is declared {kind.value} in corpus.metadata",
    )


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


# --- meaning -------------------------------------------------------------------------------------


def keyword_text(value: Any) -> str | None:
    """The text a JSON scalar is compared by in a `keyword` field; None for null, objects, lists."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(value + 0.0)), "f")  # + 0.0 turns -0.0 into 0.0
    return None


def matches(node: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether a record with this metadata (flat dotted paths, JSON values) passes the filter."""
    match node:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case Eq(field, kind, value):
            return any(found == value for found in _comparable(metadata.get(field), kind))
        case In(field, kind, values):
            return any(found in values for found in _comparable(metadata.get(field), kind))
        case Range():
            return any(_within(found, node) for found in _comparable(metadata.get(node.field), node.type))


def _comparable(value: Any, kind: FieldType) -> Iterator[Any]:
    """The elements of a stored value that a filter of this type looks at."""
    for element in value if isinstance(value, list | tuple) else (value,):
        if kind is FieldType.keyword:
            text = keyword_text(element)
            if text is not None:
                yield text
        elif isinstance(element, bool) == (kind is FieldType.boolean) and isinstance(element, int | float):
            yield element


def _within(value: Any, node: Range) -> bool:
    checks: tuple[tuple[Scalar | None, Callable[[Any], bool]], ...] = (
        (node.gt, lambda bound: value > bound),
        (node.gte, lambda bound: value >= bound),
        (node.lt, lambda bound: value < bound),
        (node.lte, lambda bound: value <= bound),
    )
    return all(bound is None or holds(bound) for bound, holds in checks)
