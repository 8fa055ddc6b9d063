"""One line to one JSON object, exactly: what the fast parser refuses or passes over is settled here."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_REMEMBERED_OBJECTS = 8
MAX_DIGITS = 4300
"""Longest integer in decimal digits; Python's own limit (sys.int_info)."""


class LineRefused(Exception):
    """The line is no record. `record` is what could be read of it, None if nothing; keys that stood
    twice in it are in `doubled` (an id among them is no id)."""

    def __init__(
        self, reason: str, record: dict[str, Any] | None = None, doubled: frozenset[str] = frozenset()
    ):
        super().__init__(reason)
        self.reason = reason
        self.record = record
        self.doubled = doubled


def count_keys(value: dict[str, Any] | list[Any]) -> int:
    """Keys of all objects in a parsed value."""
    total = len(value) if type(value) is dict else 0
    for inner in value.values() if isinstance(value, dict) else value:
        if type(inner) is dict or type(inner) is list:
            total += count_keys(inner)
    return total


def compile_key_check() -> Callable[[dict[str, Any], int], bool]:
    """A function that tells whether a record has exactly so many keys, in all objects together.

    Records of one source are mostly of one shape, so it first looks into those fields that were
    objects in an earlier record. That counts too few keys at most, and a record never has more than
    `screen.expected_keys` says: if the numbers are equal, nothing was left out.
    """
    objects: list[str] = []

    def keys_match(record: dict[str, Any], expected: int) -> bool:
        count = len(record)
        for name in objects:
            inner = record.get(name)
            if type(inner) is dict:
                count += len(inner)
        if count == expected:
            return True
        if len(objects) < _REMEMBERED_OBJECTS:
            objects.extend(k for k, v in record.items() if type(v) is dict and k not in objects)
        return count_keys(record) == expected

    return keys_match


def parse_exactly(line: bytes) -> dict[str, Any]:
    """Parse with the standard library: integers of any size, lone surrogates kept (see `mend`).

    Raises LineRefused for what is not UTF-8, not JSON, not an object, has NaN, Infinity or a number
    beyond float64, or has a key twice.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise LineRefused(
            f"not UTF-8: byte 0x{line[error.start]:02x} at offset {error.start} of the line"
        ) from None
    doubled: list[str] = []
    not_finite: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            doubled.extend(key for key, count in counts.items() if count > 1)
        return record

    def number(literal: str) -> float:
        value = float(literal)
        if not math.isfinite(value):
            not_finite.append(literal)
        return value

    def constant(literal: str) -> None:
        not_finite.append(literal)

    try:
        record = json.loads(text, object_pairs_hook=collect, parse_float=number, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise LineRefused(f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}") from None
    except RecursionError:
        raise LineRefused("not readable: nested too deeply") from None
    except ValueError:
        raise LineRefused(f"not readable: an integer has more than {MAX_DIGITS} digits") from None
    if not isinstance(record, dict):
        raise LineRefused(f"not a JSON object but {_kind(record)}")
    if doubled:
        reason = f"the key {_printable(doubled[0])} stands twice in the record"
        raise LineRefused(reason, record, frozenset(doubled))
    if not_finite:
        raise LineRefused(f"{not_finite[0][:30]} is no number that JSON can hold", record)
    return record


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a text"
    return "null" if value is None else f"{json.dumps(value)[:30]}"


def _printable(key: str) -> str:
    return json.dumps(_SURROGATE.sub(_REPLACEMENT, key), ensure_ascii=False)


def has_surrogate(text: str) -> bool:
    return _SURROGATE.search(text) is not None


def mend(value: Any) -> Any:
    """The value with every half of a surrogate pair, in texts and keys, replaced by U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACEMENT, value)
    if isinstance(value, dict):
        return {mend(key): mend(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [mend(inner) for inner in value]
    return value
