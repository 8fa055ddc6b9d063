"""The JSON Schema of the spec, by which editors complete and check it while it is typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from embedspec.spec.model import Spec

# Draft 7 is what the YAML language servers of editors all read; nothing here needs a later one.
_DIALECT = "http://json-schema.org/draft-07/schema#"


def spec_schema(targets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The schema of a spec, its `target` being one of `targets`: the JSON Schema of each store's
    target, by the store's name. Without any, a target is keys with at least `store`."""
    own = Spec.model_json_schema()
    definitions: dict[str, Any] = {
        name: definition for name, definition in own.pop("$defs").items() if name != "JsonValue"
    }
    target = own["properties"]["target"]
    description = target["description"]
    own["properties"]["target"] = {"description": description, **_target(targets, definitions)}
    schema = {
        "$schema": _DIALECT,
        **own,
        "title": "embedspec spec",
        "$defs": dict(sorted(definitions.items())),
    }
    return _without_titles(schema)


def schema_text(targets: Mapping[str, Mapping[str, Any]]) -> str:
    """The schema as the text of its file."""
    return json.dumps(spec_schema(targets), indent=2, ensure_ascii=False) + "\n"


def _target(targets: Mapping[str, Mapping[str, Any]], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of `target`; what it refers to is added to `definitions` under the store's name."""
    store: dict[str, Any] = {"type": "string", "description": "The store's name."}
    if not targets:
        return {"type": "object", "properties": {"store": store}, "required": ["store"]}
    for name, schema in targets.items():
        part = _renamed(dict(schema), name)
        for inner, definition in part.pop("$defs", {}).items():
            definitions[f"{name}.{inner}"] = definition
        properties = part.setdefault("properties", {})
        properties["store"] = {**properties.get("store", {}), "const": name}
        properties["store"].pop("default", None)
        part["required"] = sorted({*part.get("required", ()), "store"})
        definitions[f"target.{name}"] = part
    return {"oneOf": [{"$ref": f"#/$defs/target.{name}"} for name in sorted(targets)]}


def _renamed(node: Any, store: str) -> Any:
    """A copy whose references point to the store's own definitions: two stores may use one name."""
    if isinstance(node, Mapping):
        return {
            key: item.replace("#/$defs/", f"#/$defs/{store}.")
            if key == "$ref" and isinstance(item, str)
            else _renamed(item, store)
            for key, item in node.items()
        }
    return [_renamed(item, store) for item in node] if isinstance(node, list) else node


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Drops the titles that pydantic makes out of key names: they only repeat the key."""
    for part in (schema, *schema["$defs"].values()):
        for definition in part.get("properties", {}).values():
            definition.pop("title", None)
    for definition in schema["$defs"].values():
        definition.pop("title", None)
    return schema
