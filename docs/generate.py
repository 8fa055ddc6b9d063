"""Write the generated parts of spec.md and cli.md: every key of the spec, every option of the command line.

    python docs/generate.py

The rest of both pages is written by hand; what stands between the marks `generated` and `end of
generated` is replaced. `tests/docs` fails while a committed page differs from what this writes.
"""

from __future__ import annotations

import enum
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from embedspec.cli.app import app
from embedspec.cli.options import COMMON_OPTIONS
from embedspec.spec.model import MetadataField, Spec
from embedspec.stores.adapters import adapter

DOCS = Path(__file__).resolve().parent
BEGIN = "<!-- generated: {name}, by docs/generate.py -->"
END = "<!-- end of generated: {name} -->"

CHANGES = {
    "name": "a new index: create",
    "description": "none",
    "model.use": "rebuild; none if it is the same model under another name",
    "model.revision": "as `model.use`",
    "model.engine": "none",
    "model.weights": "rebuild",
    "model.prompts.query": "repoint",
    "model.prompts.document": "rebuild",
    "embedding.dimension": "derive",
    "embedding.quantization": "derive",
    "embedding.metric": "reindex; derive if the model does not normalise by itself",
    "corpus.source.type": "content",
    "corpus.source.path": "content",
    "corpus.source.id": "content: other ids are other documents",
    "corpus.text": "rebuild; texts that stay the same are not embedded again",
    "corpus.metadata": "patch",
    "corpus.chunking": "(one value only)",
    "policy.licenses": "none, or exit 8",
    "policy.unknown": "none, or exit 8",
    "evaluation.golden.queries": "none",
    "evaluation.golden.qrels": "none",
    "keep_builds": "none; what `gc` may drop",
    "target.store": "create, in the other store",
    "target.url": "none if it leads to the same database, else create there",
    "target.schema": "create, in the other schema",
    "target.index.type": "reindex",
    "target.index.m": "reindex",
    "target.index.ef_construction": "reindex",
    "target.search.ef_search": "repoint",
}
"""Key of the spec → the class of a plan in which nothing else changed."""


# --- the spec ----------------------------------------------------------------------------------------


def spec_keys() -> dict[str, FieldInfo]:
    """Every key that holds a value, by dotted path, in the order of a spec; the target is pgvector's."""
    keys: dict[str, FieldInfo] = {}
    for path, info in _leaves(Spec, ""):
        if path == "target":
            keys |= dict(_leaves(adapter("pgvector").target_model, "target."))
        else:
            keys[path] = info
    return keys


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        path = prefix + (info.alias or name)
        parts = _models_in(info.annotation)
        if not parts:
            yield path, info
            continue
        seen: dict[str, FieldInfo] = {}
        for part in parts:
            for inner, described in _leaves(part, f"{path}."):
                seen[inner] = _merged(seen.get(inner), described)
        yield from seen.items()


def _merged(first: FieldInfo | None, second: FieldInfo) -> FieldInfo:
    """Of a key that several variants have (`type`), one with all their values."""
    if first is None:
        return second
    both = FieldInfo.merge_field_infos(first)
    both.annotation = typing.Union[first.annotation, second.annotation]  # noqa: UP007 - made at run time
    return both


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The parts of a spec that a field may hold; a metadata entry is a value, not a part."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation is MetadataField else [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return []


def _values(annotation: Any) -> str:
    """What a key takes, in words."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _values(parts[0])
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in parts)
    if origin in (typing.Union, types.UnionType):
        return " \\| ".join(dict.fromkeys(_values(part) for part in parts if part is not type(None)))
    if origin is tuple:
        return f"list of {_values(parts[0])}"
    if annotation is MetadataField:
        return "`name` or `{name: type}`"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " \\| ".join(f"`{member.value}`" for member in annotation)
    return {str: "text", int: "whole number", bool: "`true` \\| `false`"}[annotation]


def _bounds(info: FieldInfo) -> str:
    bounds = {name: getattr(m, name) for m in info.metadata for name in ("ge", "le") if hasattr(m, name)}
    if len(bounds) == 2:
        return f", {bounds['ge']} to {bounds['le']}"
    return f", at least {bounds['ge']}" if "ge" in bounds else ""


def _default(info: FieldInfo, required: str) -> str:
    if info.default is PydanticUndefined:
        return required
    default = info.default.value if isinstance(info.default, enum.Enum) else info.default
    if default not in (None, (), ""):
        return f"`{default}`"
    _, _, told = (info.description or "").partition("efault")
    return told.strip(":. )")


def spec_reference() -> str:
    """A table for every part of the spec."""
    lines: list[str] = []
    part = None
    for path, info in spec_keys().items():
        head, _, _ = path.rpartition(".")
        group = path.partition(".")[0] if head else "top level"
        if group != part:
            part = group
            title = "`target` (pgvector)" if part == "target" else f"`{part}`" if head else "Top level"
            if part == "top level" and path == "keep_builds":
                title = "`keep_builds`"
            lines += ["", f"### {title}", "", "| key | takes | default | meaning | a change is |"]
            lines += ["|---|---|---|---|---|"]
        meaning = _cell(re.split(r" \(?[Dd]efault", info.description or DESCRIBED[path])[0])
        takes = TAKES.get(path) or _values(info.annotation) + _bounds(info)
        required = (
            "(required)" if group not in ("policy", "evaluation") else "(required if its part is there)"
        )
        lines.append(f"| `{path}` | {takes} | {_default(info, required)} | {meaning} | {CHANGES[path]} |")
    return "\n".join(lines).strip()


TAKES = {
    "embedding.dimension": "whole number, at least 1 \\| `native`",
    "corpus.source.path": "text \\| list of text",
}
"""Keys whose validator takes more than their type says."""

DESCRIBED = {
    "target.store": "The store's name.",
    "target.index.type": "`hnsw`: approximate search over a graph, built after the load. `exact`: no index; "
    "every query is compared with every row.",
}
"""Keys that the adapter's model describes by its class rather than by the field."""


def _cell(text: str) -> str:
    """A sentence for a table: a leading value in code, other words with a capital."""
    text = " ".join(text.split()).replace("|", "\\|")
    if value := re.match(r"[a-z]+(?=:)", text):
        text = f"`{value.group()}`{text[value.end() :]}"
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


# --- the command line -------------------------------------------------------------------------------


def cli_reference() -> str:
    """A section for every verb, then the options that all have."""
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines: list[str] = []
    for name, command in commands.items():
        own = [p for p in command.params if not COMMON_OPTIONS & {*p.opts}]
        usage = " ".join(["embedspec", name, *(_usage(p) for p in own)])
        lines += [f"### `{name}`", "", f"    {usage}", "", _sentence(command.help), ""]
        if own:
            lines += ["| | |", "|---|---|", *(f"| {_names(p)} | {_option_help(p)} |" for p in own), ""]
    common = next(iter(commands.values())).params
    lines += ["### Every verb", "", "| | |", "|---|---|"]
    lines += [f"| {_names(p)} | {_option_help(p)} |" for p in common if COMMON_OPTIONS & {*p.opts}]
    lines += ["| `--help`, `-h` | Say what the verb takes. |"]
    lines += ["", "`embedspec --version` prints the version."]
    return "\n".join(lines).strip()


def _usage(parameter: Any) -> str:
    many = "…" if parameter.nargs == -1 or getattr(parameter, "multiple", False) else ""
    if parameter.param_type_name == "argument":
        shown = f"{parameter.metavar}{many}"
        return shown if parameter.required else f"[{shown}]"
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return f"[{parameter.opts[0]}{value}]{many}"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    value = "" if parameter.is_flag or parameter.count else f" {parameter.metavar}"
    return ", ".join(f"`{name}{value}`" for name in parameter.opts)


def _option_help(parameter: Any) -> str:
    text = _cell(parameter.help)
    shown = parameter.show_default if isinstance(parameter.show_default, str) else None
    if shown is None and parameter.param_type_name == "option" and isinstance(parameter.default, int):
        shown = str(parameter.default) if not isinstance(parameter.default, bool) else None
        shown = None if parameter.count else shown
    return f"{text} Default: {shown}." if shown else text


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


# --- pages ------------------------------------------------------------------------------------------


def example_spec() -> str:
    """What `embedspec init` writes, as it is on a machine without the model's package."""
    from embedspec.spec.sample import HUB_MODEL, sample_spec

    return "```yaml\n" + sample_spec("handbook", HUB_MODEL).strip() + "\n```"


PARTS = {
    "spec.md": {"first spec": example_spec, "keys": spec_reference},
    "cli.md": {"verbs": cli_reference},
}


def generated(page: str, text: str) -> str:
    """The page's text with its generated parts made anew."""
    for name, make in PARTS[page].items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        before, found, rest = text.partition(begin)
        _, also_found, after = rest.partition(end)
        if not found or not also_found:
            raise SystemExit(f"{page} has no marks for {json.dumps(name)}")
        text = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    for page in PARTS:
        path = DOCS / page
        path.write_text(generated(page, path.read_text(encoding="utf-8")), encoding="utf-8")
