"""The generated schema, the ready spec and what `init` writes all agree with the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedspec.errors import SpecError
from embedspec.spec.load import load_specs
from embedspec.spec.sample import CORPUS_NAME, HUB_MODEL, HUB_REVISION, sample_corpus, sample_files
from embedspec.spec.schema import schema_text, spec_schema
from embedspec.spec.template import parse_template
from embedspec.stores.adapters import adapter, installed

SPECS = Path(__file__).parents[2] / "specs"


def public_targets() -> dict[str, dict[str, Any]]:
    """The schemas of the stores that users write; `memory` is for tests."""
    return {name: adapter(name).target_model.model_json_schema() for name in installed() if name != "memory"}


def test_the_schema_file_is_up_to_date() -> None:
    assert (SPECS / "embedspec.schema.json").read_text() == schema_text(public_targets()), (
        "run `embedspec schema > specs/embedspec.schema.json`"
    )


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def test_every_reference_leads_somewhere_and_every_key_is_described() -> None:
    schema = spec_schema(public_targets())
    for node in nodes(schema):
        if isinstance(node.get("$ref"), str):
            assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"], node
    own = {name: d for name, d in schema["$defs"].items() if "." not in name}
    for name, part in {"": schema, **own}.items():
        for key, described in part.get("properties", {}).items():
            target = schema["$defs"].get(described.get("$ref", "").removeprefix("#/$defs/"), {})
            assert described.get("description") or target.get("description"), f"{name}.{key}"
        if part.get("type") == "object":
            assert part["additionalProperties"] is False, name


def test_keys_of_later_versions_are_absent() -> None:
    text = schema_text(public_targets())
    for word in ("train", "query_model", "rescore", "gates", "environments", "max_tokens", "int8", "memory"):
        assert f'"{word}' not in text


def test_two_stores_may_use_one_name_for_different_things() -> None:
    def target(kind: str) -> dict[str, Any]:
        return {
            "properties": {"store": {"type": "string"}, "index": {"$ref": "#/$defs/Index"}},
            "$defs": {"Index": {"type": kind}},
        }

    schema = spec_schema({"b": target("string"), "a": target("object")})
    assert schema["properties"]["target"]["oneOf"] == [
        {"$ref": "#/$defs/target.a"},
        {"$ref": "#/$defs/target.b"},
    ]
    for store, kind in (("a", "object"), ("b", "string")):
        part = schema["$defs"][f"target.{store}"]
        assert part["properties"]["store"]["const"] == store
        assert part["required"] == ["store"]
        assert part["properties"]["index"] == {"$ref": f"#/$defs/{store}.Index"}
        assert schema["$defs"][f"{store}.Index"] == {"type": kind}


def test_without_adapters_a_target_needs_a_store() -> None:
    assert spec_schema({})["properties"]["target"]["required"] == ["store"]


def test_the_ready_specs_are_valid_down_to_their_targets() -> None:
    loaded = load_specs(SPECS)
    assert [item.spec.target["store"] for item in loaded] == ["pgvector"]
    for item in loaded:
        assert item.target_as(adapter(str(item.spec.target["store"])).target_model)
        assert (item.spec.model.use, item.spec.model.revision) == (HUB_MODEL, HUB_REVISION)
    assert (SPECS / CORPUS_NAME).read_text() == sample_corpus()


@pytest.mark.parametrize("use", [None, HUB_MODEL, "path:./model"])
def test_what_init_writes_is_a_valid_spec_with_its_corpus(use: str | None, tmp_path: Path) -> None:
    for name, text in sample_files("my_hints", use).items():
        (tmp_path / name).write_text(text)
    assert sorted(p.name for p in tmp_path.iterdir()) == [CORPUS_NAME, "my_hints.yaml"]
    (loaded,) = load_specs(tmp_path)
    assert loaded.spec.name == "my_hints"
    assert use is None or loaded.spec.model.use == use
    assert loaded.spec.model.revision == (HUB_REVISION if loaded.spec.model.use == HUB_MODEL else None)
    assert loaded.target_as(adapter("pgvector").target_model)
    source = loaded.spec.corpus.source
    records = [json.loads(line) for line in (tmp_path / source.path[0]).read_text().splitlines()]
    assert len({record[source.id] for record in records}) == 12
    template = parse_template(loaded.spec.corpus.text)
    used = {*template.fields(), *(field.path for field in loaded.spec.corpus.metadata)}
    assert all(used <= record.keys() for record in records)


@pytest.mark.parametrize("name", ["", "My", "a b", "9", "a" * 41, "a\n"])
def test_init_refuses_a_bad_name(name: str) -> None:
    with pytest.raises(SpecError, match="must match"):
        sample_files(name)
