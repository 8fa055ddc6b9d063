"""Metadata of a record: the declared fields as canonical JSON text, types checked.

Canonical: one flat object of dotted paths, keys sorted, no blanks, non-ASCII as it is, null = absent.
JSON types are kept. What a field of each type takes, alone or in a list:

    keyword   any JSON value, objects too (filters compare it as text)
    integer   whole numbers of 64 bits, written without a point; no text, no true/false, not 3.0
    float     any number that a float64 can hold; no text, no true/false
    boolean   true and false only

Values nest at most MAX_LEVELS deep, so that whoever reads them later can print them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from embedspec.spec.template import ABSENT, look_up
from embedspec.types import FieldType

_dumps = orjson.dumps
_SORTED = orjson.OPT_SORT_KEYS
MAX_LEVELS = 254
"""Objects and lists inside one another, the record's own metadata object included: orjson's limit."""
_SHOWN = 60
"""Characters of a wrong value that a message shows."""


class MetadataRefused(Exception):
    """A field has a value that its type does not take; the text is the reason."""


def compile_metadata(fields: Iterable[tuple[str, FieldType]]) -> Callable[[Mapping[str, Any]], bytes]:
    """A function from a parsed record to its canonical metadata, UTF-8. It raises MetadataRefused.

    Keywords one or two levels deep, nearly all fields of nearly all corpora, are grouped by parent,
    so that a record costs one look-up for each field.
    """
    flat: list[str] = []
    nested: dict[str, list[tuple[str, str]]] = {}
    other: list[tuple[str, FieldType]] = []
    for path, kind in fields:
        head, _, tail = path.partition(".")
        if kind is not FieldType.keyword or "." in tail:
            other.append((path, kind))
        elif tail:
            nested.setdefault(head, []).append((path, tail))
        else:
            flat.append(path)
    groups = list(nested.items())

    def canonical(record: Mapping[str, Any]) -> bytes:
        found = {}
        for path in flat:
            value = record.get(path)
            if value is not None:
                found[path] = value
        for head, pairs in groups:
            parent = record.get(head)
            inner = parent if type(parent) is dict else {}
            for path, tail in pairs:
                value = record[path] if path in record else inner.get(tail)
                if value is not None:
                    found[path] = value
        for path, kind in other:
            value = look_up(record, path)
            if value is not None and value is not ABSENT:
                _check(path, kind, value)
                found[path] = value
        return dump_canonical(found)

    return canonical


def dump_canonical(found: dict[str, Any]) -> bytes:
    try:
        return _dumps(found, None, _SORTED)
    except TypeError:  # an integer beyond 64 bits, or too many levels
        for path, value in found.items():
            if _levels(value) >= MAX_LEVELS:
                raise MetadataRefused(
                    f"metadata field {path!r} is nested more than {MAX_LEVELS - 1} levels deep"
                ) from None
        text = json.dumps(found, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        return text.encode()


def _levels(value: Any) -> int:
    """How many objects and lists lie inside one another; found layer by layer, without recursion."""
    levels = 0
    layer = [value]
    while layer := [item for item in layer if isinstance(item, dict | list)]:
        levels += 1
        layer = [x for item in layer for x in (item.values() if isinstance(item, dict) else item)]
    return levels


def _check(path: str, kind: FieldType, value: Any) -> None:
    if kind is FieldType.keyword:
        return
    for element in value if isinstance(value, list) else (value,):
        if not _takes(kind, element):
            shown = json.dumps(element, ensure_ascii=False)
            if len(shown) > _SHOWN:
                shown = shown[:_SHOWN] + "…"
            raise MetadataRefused(f"metadata field {path!r} is {kind}, but its value is {shown}")


def _takes(kind: FieldType, value: Any) -> bool:
    match kind:
        case FieldType.integer:
            return type(value) is int and -(2**63) <= value < 2**63
        case FieldType.float:
            return type(value) is float or (type(value) is int and abs(value) <= 2**1023)
        case FieldType.boolean:
            return type(value) is bool
        case _:
            return True
