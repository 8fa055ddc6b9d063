"""Running golden queries through a search, and the TREC run file that other tools read."""

from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from embedspec.errors import SpecError, UsageError
from embedspec.evaluation.golden import Golden, GoldenQuery, load_golden
from embedspec.evaluation.run import evaluate_run, strictly_falling, write_trec_run


def golden(judgements: dict[str, dict[str, int]]) -> Golden:
    return Golden(tuple(GoldenQuery(query, f"text of {query}") for query in judgements), judgements)


class DotProductSearch:
    """Exact search over a small matrix; equal scores in the order of ids."""

    def __init__(self, documents: dict[str, list[float]], queries: dict[str, list[float]]) -> None:
        self.documents = documents
        self.queries = queries
        self.batches: list[int] = []

    def __call__(self, texts: list[str]) -> list[list[tuple[str, float]]]:
        self.batches.append(len(texts))
        return [self._rank(self.queries[text]) for text in texts]

    def _rank(self, query: list[float]) -> list[tuple[str, float]]:
        scored = [(name, float(np.dot(vector, query))) for name, vector in self.documents.items()]
        return sorted(scored, key=lambda hit: (-hit[1], hit[0]))


def test_f23_documents_of_equal_score_are_judged_as_listed() -> None:
    documents = {"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [0.0, 1.0]}
    search = DotProductSearch(documents, {"text of 1": [1.0, 0.0]})
    assert evaluate_run(golden({"1": {"a": 1}}), search).metrics["mrr@10"] == 1.0
    assert evaluate_run(golden({"1": {"b": 1}}), search).metrics["mrr@10"] == 0.5


def test_f24_shared_number_space() -> None:
    documents = {str(i): [float(i == j) for j in range(1, 6)] for i in range(1, 6)}
    search = DotProductSearch(documents, {"text of 1": documents["1"], "text of 2": documents["2"]})
    result = evaluate_run(
        golden({"1": {"1": 1}, "2": {"2": 1}}), search, lambda ids: set(ids) & set(documents)
    )
    assert result.metrics["ndcg@10"] == 1.0
    assert result.warnings == []
    assert result.queries == 2


def test_f24_judged_document_that_is_not_in_the_index_is_named() -> None:
    search = DotProductSearch({"007": [1.0]}, {"text of 1": [1.0]})
    labels = golden({"1": {"7": 1, "007": 1, "9": 0}})
    result = evaluate_run(labels, search, lambda ids: set(ids) & {"007"})
    assert result.warnings == [
        "1 of 2 relevant documents of the golden labels are not in the index (7); "
        "ids are compared as text, so 007 is not 7"
    ]
    assert result.metrics["recall@10"] == 0.5


def test_without_relevant_documents_the_index_is_not_asked() -> None:
    def known(ids: list[str]) -> set[str]:
        raise AssertionError(ids)

    result = evaluate_run(golden({"1": {"a": 0}}), lambda texts: [[("a", 1.0)]], known)
    assert result.metrics["ndcg@10"] == 0.0


def test_queries_go_in_batches_and_lists_are_cut_to_k_documents() -> None:
    names = [f"q{i}" for i in range(600)]
    hits = [("a", 0.9), ("a", 0.8), ("b", 0.7), ("a", 0.6), ("c", 0.5), ("d", 0.4)]
    batches = []

    def search(texts: list[str]) -> list[list[tuple[str, float]]]:
        batches.append(texts)
        return [hits] * len(texts)

    result = evaluate_run(golden({name: {"c": 1} for name in names}), search, k=3)
    assert [text for batch in batches for text in batch] == [f"text of {name}" for name in names]
    assert max(map(len, batches)) < 600
    assert result.run["q0"] == [("a", 0.9), ("b", 0.7), ("c", 0.5)]
    assert result.queries == 600
    assert result.metrics["mrr@10"] == pytest.approx(1 / 3)


def test_a_search_that_loses_a_query_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate_run(golden({"1": {"a": 1}, "2": {"a": 1}}), lambda texts: [[("a", 1.0)]])


def test_written_run_gives_the_same_metrics_to_trec_eval(tmp_path: Path) -> None:
    """Ten equal scores in an order that ids do not follow, and gaps that vanish in float32."""
    order = ["d", "a", "z", "c", "y", "b"]
    scores = [0.7, 0.7, 0.7, 0.7 - 1e-9, 0.7 - 2e-9, 0.1]
    labels = {"1": {"c": 2, "y": 1, "q": 1}}
    result = evaluate_run(golden(labels), lambda texts: [list(zip(order, scores, strict=True))])
    path = tmp_path / "run.trec"
    write_trec_run(path, result.run)
    lines = [line.split() for line in path.read_text().splitlines()]
    assert [(line[0], line[1], line[2], int(line[3]), line[5]) for line in lines] == [
        ("1", "Q0", document, rank, "embedspec") for rank, document in enumerate(order, start=1)
    ]
    written = np.array([line[4] for line in lines], dtype=np.float32)
    assert (np.diff(written) < 0).all()
    assert written == pytest.approx(np.array(scores), abs=1e-6)
    with path.open() as file:
        run = pytrec_eval.parse_run(file)
    measured = pytrec_eval.RelevanceEvaluator(labels, {"ndcg_cut.10", "map"}).evaluate(run)["1"]
    assert measured["ndcg_cut_10"] == pytest.approx(result.metrics["ndcg@10"])
    assert measured["map"] == pytest.approx(result.metrics["map"])


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6, width=32), max_size=50))
def test_scores_fall_strictly_as_float32_through_text(scores: list[float]) -> None:
    scores = sorted(scores + scores + [0.0, 0.0, -0.0], reverse=True)
    fallen = strictly_falling(scores)
    read_back = np.array([f"{score:.9g}" for score in fallen], dtype=np.float32)
    assert (np.diff(read_back) < 0).all()
    assert fallen[0] == scores[0]


def test_run_file_refuses_ids_with_white_space_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_trec_run(path, {"1": [("a", 1.0)]})
    before = path.read_text()
    for run in ({"1": [("a b", 1.0)]}, {"q 1": [("a", 1.0)]}):
        with pytest.raises(SpecError, match="holds white space"):
            write_trec_run(path, run)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_run_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the run file"):
        write_trec_run(tmp_path / "absent" / "run.trec", {"1": [("a", 1.0)]})
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot write the run file"):
        write_trec_run(tmp_path / "folder", {"1": [("a", 1.0)]})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["scifact", "xquad/de"])
def test_ideal_and_reversed_runs_of_public_sets(shared: Path, name: str) -> None:
    folder = shared / "data" / name
    labels = load_golden(folder / "queries.jsonl", folder / "qrels" / "test.tsv")
    by_text = {query.text: labels.judgements[query.id] for query in labels.queries}
    ideal = evaluate_run(
        labels, lambda texts: [[(document, 1.0) for document in by_text[text]] for text in texts]
    )
    assert ideal.metrics["ndcg@10"] == ideal.metrics["recall@100"] == ideal.metrics["mrr@10"] == 1.0
    behind_one = evaluate_run(
        labels, lambda texts: [[("no-such", 1.0), *((d, 1.0) for d in by_text[text])] for text in texts]
    )
    assert behind_one.metrics["mrr@10"] == 0.5
    assert behind_one.queries == len(labels.queries)
