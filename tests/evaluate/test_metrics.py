"""Metrics: worked out by hand, against the formulas on random data, and in the listed order."""

import builtins
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from embedspec.errors import EmbedspecError
from embedspec.evaluation.metrics import METRICS, average_scores, score_queries


def score(judgements: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[str]]) -> dict[str, float]:
    return average_scores(score_queries(judgements, run))


def test_one_query_worked_out_by_hand() -> None:
    """Relevant a (grade 2), b and c (grade 1); listed: x b a x2 … with c at rank 12."""
    listed = ["x", "b", "a", *(f"y{i}" for i in range(8)), "c"]
    values = score({"q": {"a": 2, "b": 1, "c": 1, "x": 0}}, {"q": listed})
    gain = 1 / math.log2(3) + 2 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert values == pytest.approx(
        {
            "ndcg@10": gain / ideal,
            "recall@10": 2 / 3,
            "recall@100": 1.0,
            "precision@10": 0.2,
            "mrr@10": 1 / 2,
            "map": (1 / 2 + 2 / 3 + 3 / 12) / 3,
        }
    )
    assert tuple(values) == METRICS


def test_mrr_is_cut_at_ten() -> None:
    tenth = [f"x{i}" for i in range(9)] + ["a"]
    assert score({"q": {"a": 1}}, {"q": tenth})["mrr@10"] == pytest.approx(0.1)
    assert score({"q": {"a": 1}}, {"q": ["y", *tenth]})["mrr@10"] == 0.0


def test_every_judged_query_counts_also_without_hits() -> None:
    values = score_queries({"1": {"a": 1}, "2": {"b": 1}, "3": {"c": 1}}, {"1": ["a"], "2": []})
    assert values["ndcg@10"] == {"1": 1.0, "2": 0.0, "3": 0.0}
    assert average_scores(values)["recall@10"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_f23_metrics_follow_the_listed_order(first: str, second: str) -> None:
    """trec_eval would put the greater id of two equal scores first; the list decides instead."""
    on_top = score({"q": {first: 1}}, {"q": [first, second]})
    assert (on_top["mrr@10"], on_top["ndcg@10"]) == (1.0, 1.0)
    below = score({"q": {first: 1}}, {"q": [second, first]})
    assert below["mrr@10"] == 0.5
    assert below["ndcg@10"] == pytest.approx(0.6309, abs=1e-4)


def test_f23_order_survives_in_long_lists() -> None:
    """Ids fall while ranks rise and the other way round: neither may decide."""
    ids = [f"d{i:06}" for i in range(20_000)]
    for listed in (ids, ids[::-1]):
        for rank in (1, 2, 9_999, 20_000):
            value = score({"q": {listed[rank - 1]: 1}}, {"q": listed})
            assert value["map"] == pytest.approx(1 / rank)


def test_f24_document_with_the_id_of_the_query_counts() -> None:
    values = score({"1": {"1": 1}, "2": {"2": 1}}, {"1": ["1", "2"], "2": ["2", "1"]})
    assert values["ndcg@10"] == values["mrr@10"] == 1.0


def test_f24_007_is_not_7() -> None:
    assert score({"1": {"007": 1}}, {"1": ["007"]})["ndcg@10"] == 1.0
    assert score({"1": {"7": 1}}, {"1": ["007"]})["ndcg@10"] == 0.0


def test_chunks_of_one_document_count_once_at_the_best_rank() -> None:
    chunks = score({"q": {"b": 1, "c": 1}}, {"q": ["a", "a", "a", "b", "a", "b", "c"]})
    assert chunks == score({"q": {"b": 1, "c": 1}}, {"q": ["a", "b", "c"]})
    assert chunks["mrr@10"] == 0.5


def test_negative_grades_are_not_relevant() -> None:
    assert score({"q": {"a": 1, "b": -2}}, {"q": ["b", "a"]}) == score(
        {"q": {"a": 1, "b": 0}}, {"q": ["b", "a"]}
    )


def test_ids_of_any_script() -> None:
    assert score({"Frage ü": {"文書 1": 1}}, {"Frage ü": ["文書 1"]})["ndcg@10"] == 1.0


def test_against_the_formulas_on_random_graded_data() -> None:
    draw = random.Random(7)
    documents = [str(i) for i in range(300)]
    judgements: dict[str, dict[str, int]] = {}
    run: dict[str, list[str]] = {}
    for number in range(40):
        query = f"q{number}"
        judged = draw.sample(documents, draw.randint(1, 30))
        judgements[query] = {document: draw.randint(0, 3) for document in judged}
        judgements[query][judged[0]] = 1
        run[query] = draw.sample(documents, draw.randint(1, 150))
    values = score_queries(judgements, run)
    for query, grades in judgements.items():
        listed = run[query]
        relevant = {document for document, grade in grades.items() if grade > 0}

        def gain(ordered: Sequence[int]) -> float:
            return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(ordered[:10], start=1))

        found = [document in relevant for document in listed]
        ideal = sorted(grades.values(), reverse=True)
        assert values["ndcg@10"][query] == pytest.approx(
            gain([grades.get(document, 0) for document in listed]) / gain(ideal)
        )
        for depth in (10, 100):
            assert values[f"recall@{depth}"][query] == pytest.approx(sum(found[:depth]) / len(relevant))
        assert values["precision@10"][query] == pytest.approx(sum(found[:10]) / 10)
        ranks = [rank for rank, hit in enumerate(found, start=1) if hit]
        assert values["mrr@10"][query] == pytest.approx(1 / ranks[0] if ranks and ranks[0] <= 10 else 0.0)
        assert values["map"][query] == pytest.approx(
            sum(i / rank for i, rank in enumerate(ranks, start=1)) / len(relevant)
        )


def test_missing_library_is_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_library(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pytrec_eval":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_library)
    with pytest.raises(EmbedspecError) as raised:
        score({"q": {"a": 1}}, {"q": ["a"]})
    assert raised.value.fix == "pip install 'embedspec[eval]'"
