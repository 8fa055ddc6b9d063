"""Text templates, `{title} {text}`: parsing them, and rendering a record through one.

A template is literal text with fields in braces; `{{` and `}}` stand for the braces themselves.
Parsing a template and writing it back (`str`) is exact, so the parts are its canonical form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from embedspec.errors import SpecError


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()
"""What `look_up` returns for a field that a record does not have (null is not absent)."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands in every rendered result as it is."""

    text: str

    def __str__(self) -> str:
        return self.text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the record, named by a dotted path."""

    path: str

    def __str__(self) -> str:
        return f"{{{self.path}}}"


class Template(tuple[Literal | Field, ...]):
    """The parts of a template in order; literals that touch are one part."""

    __slots__ = ()

    def __new__(cls, parts: Iterable[Literal | Field]) -> Template:
        return super().__new__(cls, parts)

    def __str__(self) -> str:
        return "".join(map(str, self))

    def fields(self) -> tuple[str, ...]:
        """The dotted paths, each once, in order of first use."""
        return tuple(dict.fromkeys(part.path for part in self if isinstance(part, Field)))

    def render(self, record: Mapping[str, Any]) -> str:
        """The text of one record, without white space at both ends.

        An absent or null field is the empty string; text stands as it is; anything else is compact
        JSON. Raises ValueError or TypeError for what JSON cannot hold (NaN, bytes): readers refuse
        such records before.
        """
        out = []
        for part in self:
            if isinstance(part, Literal):
                out.append(part.text)
                continue
            path = part.path
            value = record[path] if path in record else look_up(record, path)
            if isinstance(value, str):
                out.append(value)
            elif value is not None and value is not ABSENT:
                out.append(as_text(value))
        return "".join(out).strip()


def as_text(value: Any) -> str:
    """A JSON value as text: strings as they are, null empty, everything else compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def look_up(record: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or ABSENT. A key that is the whole path wins over nesting."""
    while True:
        if path in record:
            return record[path]
        head, dot, path = path.partition(".")
        child = record.get(head) if dot else None
        if not isinstance(child, Mapping):
            return ABSENT
        record = child


def path_fault(path: str) -> str | None:
    """What is wrong with a dotted path, as the end of a sentence; None if nothing is."""
    if not path:
        return "is empty"
    if path != path.strip():
        return "has white space at its ends"
    if not all(path.split(".")):
        return "has an empty part between its dots"
    if any(ord(character) < 32 for character in path):
        return "holds a control character"
    return None


def parse_template(text: str) -> Template:
    """Split a template into its parts. Raises SpecError for braces or fields that make no sense."""
    parts: list[Literal | Field] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            literal.append(character)
            at += 2
        elif character == "{":
            end = text.find("}", at)
            inner = text[at + 1 : end]
            if end < 0 or "{" in inner:
                raise SpecError(
                    f"template has an opening brace without its end at character {at + 1}: {_near(text, at)}",
                    fix="close the field, as in {title}, or write {{ for a brace in the text",
                )
            fault = path_fault(inner)
            if fault:
                raise SpecError(
                    f"template field {{{inner}}} at character {at + 1} {fault}",
                    fix="name a field of the record, as in {title} or {meta.title}",
                )
            if literal:
                parts.append(Literal("".join(literal)))
                literal = []
            parts.append(Field(inner))
            at = end + 1
        elif character == "}":
            raise SpecError(
                f"template has a closing brace without a field at character {at + 1}: {_near(text, at)}",
                fix="open the field, as in {title}, or write }} for a brace in the text",
            )
        else:
            literal.append(character)
            at += 1
    if literal:
        parts.append(Literal("".join(literal)))
    return Template(parts)


def _near(text: str, at: int) -> str:
    """A few characters around a fault, for messages."""
    return repr(text[max(0, at - 12) : at + 13])
