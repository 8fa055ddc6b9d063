"""Turns pydantic's complaints into problems with a place, the value, the bound and the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from embedspec.spec.problems import Problem
from embedspec.spec.secrecy import masked, shown

Location = tuple[int | str, ...]

_LATER_KEYS = {
    "model": {"query_model", "train"},
    "embedding": {"rescore_vectors", "scale"},
    "policy": {"commercial_use", "training_data", "languages"},
    "evaluation": {"gates"},
    "": {"environments"},
}
_LATER_VALUES = {
    "model.engine": {"torch", "onnx", "vllm"},
    "model.weights": {"int8", "fp8"},
    "embedding.quantization": {"int8", "binary"},
    "corpus.source.type": {"csv", "parquet", "files", "python", "sql", "images", "video"},
}
"""Keys and values of the full language that this version does not read yet."""

_SYNONYMS = {
    "string": "keyword", "str": "keyword", "text": "keyword", "number": "float", "double": "float",
    "euclidean": "l2", "inner_product": "dot", "ip": "dot", "fp32": "float32", "fp16": "float16",
    "half": "float16", "f32": "float32", "f16": "float16", "json": "jsonl", "ndjson": "jsonl",
}  # fmt: skip

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    *,
    root: str = "",
    has: Callable[[str], bool],
    where: Callable[[str], str],
) -> list[Problem]:
    """One problem for each thing that pydantic found, in the order of the file.

    `root` is the dotted path that `model` stands at; `has` says whether the file holds a dotted
    path, `where` gives its place.
    """
    problems = []
    for details in error.errors(include_url=False):
        path = _path(details, root, has)
        what, fix = _explain(details, model, path)
        name = path or "the spec"
        problems.append(Problem(masked(f"{name}: {what}"), where(path), masked(fix)))
    return sorted(dict.fromkeys(problems), key=lambda problem: _line(problem.where))


def _line(place: str) -> int:
    digits = place.rpartition(":")[2]
    return int(digits) if digits.isdecimal() else 0


def _path(details: ErrorDetails, root: str, has: Callable[[str], bool]) -> str:
    """The location as a dotted path, without the union tags that pydantic puts between keys."""
    path = root
    for index, part in enumerate(details["loc"]):
        step = f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}" if path else part
        absent = details["type"] == "missing" and index == len(details["loc"]) - 1
        if absent or has(step):
            path = step
    below = details.get("ctx", {}).get("at") if details["type"] == "spec" else None
    return f"{path}.{below}" if below else path


def _explain(details: ErrorDetails, model: type[BaseModel], path: str) -> tuple[str, str]:
    """What is wrong with the value at `path`, and how to put it right."""
    kind, loc, context = details["type"], details["loc"], details.get("ctx", {})
    value = details["input"]
    got = f"got {shown(path, value)}"
    about = _description(model, loc)
    described = f"meant is: {about}" if about else "correct it, or leave it out"
    match kind:
        case "spec":
            return _named(context["what"], path, value), context["fix"]
        case "missing":
            return "is missing", f"add it: {about}" if about else "add it"
        case "extra_forbidden":
            return _unknown_key(model, loc, path)
        case "literal_error" | "enum":
            return _not_among(re.findall(r"'([^']*)'", str(context.get("expected"))), value, path, got)
        case "union_tag_invalid":
            tag = str(context.get("discriminator", "")).strip("'")
            choices = re.findall(r"'([^']*)'", str(context.get("expected_tags")))
            what, fix = _not_among(
                choices, context.get("tag"), f"{path}.{tag}", f"got {context.get('tag')!r}"
            )
            return f"{tag} {what}", fix
        case "union_tag_not_found":
            tag = str(context.get("discriminator", "type")).strip("'")
            return f"key {tag!r} is missing", f"add `{tag}`"
        case "string_type":
            return f"must be text; {got}", _quote(value, path) or described
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number; {got}", "write digits without quotes"
        case "float_type" | "float_parsing" | "finite_number":
            return f"must be a finite number; {got}", "write digits without quotes"
        case "bool_type" | "bool_parsing":
            return f"must be true or false; {got}", "write true or false without quotes"
        case "string_pattern_mismatch" if path == "name":
            return f"must match [a-z][a-z0-9_-]{{0,39}}; {got}", _better_name(str(value))
        case "string_pattern_mismatch":
            return f"must match {context.get('pattern')}; {got}", described
        case "string_too_short" | "too_short":
            return "must not be empty", described
        case "model_type" | "model_attributes_type" | "dict_type" | "mapping_type":
            return f"must be keys with values; {got}", _keys_of(model, loc) or described
        case "tuple_type" | "list_type":
            fix = f"write [{value}]" if isinstance(value, (str, int)) and "***" not in got else "write a list"
            return f"must be a list; {got}", fix
        case _ if kind in _BOUNDS:
            key, words = _BOUNDS[kind]
            bound = f"{words} {context.get(key)}"
            return f"must be {bound}; {got}", f"write {bound}" + (f" ({about})" if about else "")
        case _ if isinstance(value, (dict, list)):  # a rule over several keys: its message names them
            return _reason(details), described
        case _:
            return f"{_reason(details)}; {got}", described


def _reason(details: ErrorDetails) -> str:
    message = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:]


def _named(what: str, path: str, value: Any) -> str:
    """A refusal starts with a verb; the value goes before it where it is short and no secret."""
    return (
        f"{shown(path, value)} {what}"
        if isinstance(value, str) and what.startswith(("is ", "looks "))
        else what
    )


def _not_among(choices: list[str], value: Any, path: str, got: str) -> tuple[str, str]:
    what = f"must be {_either(choices)}; {got}"
    if isinstance(value, str) and value in _LATER_VALUES.get(path, ()):
        return what, f"this version of embedspec does not have {value} yet; use {_either(choices)}"
    close = _closest(value, choices)
    return what, f"did you mean {close}?" if close else f"write {_either(choices)}"


def _either(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _closest(value: Any, choices: Iterable[str]) -> str | None:
    if not isinstance(value, str):
        return None
    choices = list(choices)
    word = value.strip().lower()
    if _SYNONYMS.get(word) in choices:
        return _SYNONYMS[word]
    close = difflib.get_close_matches(word, choices, n=1)
    return close[0] if close else None


def _quote(value: Any, path: str) -> str | None:
    if isinstance(value, (bool, int, float)):
        display = shown(path, value)
        return f'quote it: "{display}"' if display != "***" else "quote it"
    return None


def _better_name(value: str) -> str:
    slug = re.sub(r"[^a-z0-9_-]+", "-", value.lower()).strip("-_").lstrip("0123456789-_")[:40].rstrip("-_")
    return f"write {slug}" if slug else "write a small letter, then up to 39 of a-z, 0-9, _ and -"


# --- what the models say about a location ------------------------------------------------------------


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the key that a file writes, which an alias may change."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _models_at(model: type[BaseModel], loc: Location) -> list[type[BaseModel]]:
    """The models that may stand at a location; more than one where the type is a union."""
    current = [model]
    for part in loc:
        fields = [_fields(m)[part] for m in current if isinstance(part, str) and part in _fields(m)]
        if fields:
            current = [found for field in fields for found in _models_in(field.annotation)]
        elif isinstance(part, str):  # the tag of a union: those members that carry it
            current = [m for m in current if any(map(_carries(part), _fields(m).values()))] or current
    return current


def _carries(tag: str) -> Callable[[FieldInfo], bool]:
    return lambda field: tag in get_args(field.annotation)


def _known_keys(model: type[BaseModel], loc: Location) -> dict[str, FieldInfo]:
    return {name: field for found in _models_at(model, loc) for name, field in _fields(found).items()}


def _description(model: type[BaseModel], loc: Location) -> str | None:
    if not loc:
        return None
    names = [part for part in loc if isinstance(part, str)]
    field = _known_keys(model, tuple(names[:-1])).get(names[-1]) if names else None
    return field.description if field else None


def _keys_of(model: type[BaseModel], loc: Location) -> str | None:
    keys = _known_keys(model, loc)
    return f"write keys below it: {', '.join(keys)}" if keys else None


def _unknown_key(model: type[BaseModel], loc: Location, path: str) -> tuple[str, str]:
    key = str(loc[-1])
    known = _known_keys(model, loc[:-1])
    what = "no such key"
    parent = path.removesuffix(key).rstrip(".")
    if key in _LATER_KEYS.get(parent, ()):
        return what, "this version of embedspec does not have it yet; remove it"
    for place, names in _all_keys(model).items():
        if key in names:
            return what, f"did you mean {place}.{key}?"
    if close := _closest(key, known):
        return what, f"did you mean {close}?"
    return what, f"remove it; known here: {', '.join(known)}"


def _all_keys(model: type[BaseModel], place: str = "") -> Mapping[str, frozenset[str]]:
    """The keys of every part below the model, by the part's dotted path; the model's own left out."""
    found: dict[str, frozenset[str]] = {}
    for name, field in _fields(model).items():
        for part in _models_in(field.annotation):
            inner = f"{place}.{name}" if place else name
            found[inner] = frozenset(_fields(part))
            found.update(_all_keys(part, inner))
    return found
