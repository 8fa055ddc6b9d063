"""F15, F16, F23: filters, long lists and ties, in the store that people run and in the reference store."""

from __future__ import annotations

import json
import random

import pytest

from embedspec import sdk
from embedspec.errors import SpecError

from .case import Case, records

FILES = ("2025_0042", "1e3", "1000", "nan", "D'Arcy", "true")
#: What is asked for, and the files that are found.
FILTERS: dict[str, list[str]] = {
    "file=2025_0042": ["2025_0042"],
    "file=1e3": ["1e3"],
    "file=nan": ["nan"],
    "file=D'Arcy": ["D'Arcy"],
    "file=x' OR 1=1 --": [],
    "file=1000.0": [],
    "file=NaN": [],
    'file="true"': [],
    "file=": [],
    "file=%": [],
    "file=%s": [],
    "file=$1": [],
    "file=1e3,nan": ["1e3", "nan"],
    "file=1e3\\,nan": [],
    "file!=true": ["2025_0042", "1e3", "1000", "nan", "D'Arcy"],
    "file>=a": ["nan", "true"],
    "file<2": ["1e3", "1000"],
}


@pytest.fixture
def darcy(case: Case) -> Case:
    case.change({"corpus.metadata": ["file"]})
    case.write(
        *({"id": str(i), "text": f"document number {i}", "file": file} for i, file in enumerate(FILES)),
        {"id": "without", "text": "document without a file"},
    )
    return case


def test_f15_filter_values_are_text(darcy: Case) -> None:
    darcy.reconcile()
    for asked in ("file=2025_0042", "file=D'Arcy", "file=x' OR 1=1 --"):
        hits = darcy.query("document", "-k", "10", "--filter", asked)
        assert [hit["metadata"]["file"] for hit in hits] == FILTERS[asked]
    error = darcy.run("query", "document", "-k", "10", "--filter", "fi'le=1", code=1)["error"]
    assert "fi'le" in error["what"]
    assert "file" in error["fix"]


@pytest.mark.parametrize("store", ["memory", "pgvector"])
def test_f15_every_store_gives_the_same(darcy: Case, store: str) -> None:
    if store == "memory":
        darcy.change({"target": {"store": "memory"}})
    assert sdk.reconcile(darcy.spec).exit_code == 0
    with sdk.open(darcy.spec) as index:
        for asked, files in FILTERS.items():
            expected = set(files) | ({None} if "!=" in asked else set())
            found = index.search("document", 10, [asked]).hits
            assert {hit.metadata.get("file") for hit in found} == expected, asked
            assert len(found) == len(expected), asked
        for asked in ("fi'le=1", "id=1", "text=document", 'file"=1', "file'; DROP TABLE x --=1"):
            with pytest.raises(SpecError, match="is no metadata field of this index"):
                index.search("document", 10, [asked])
        assert len(index.search("document", 10).hits) == len(FILES) + 1


def test_f16_index_returns_more_than_40_rows(case: Case) -> None:
    case.change({"corpus.metadata": ["half"]})
    case.write(
        *({"id": str(i), "text": f"note {i}", "half": "ab"[i % 2]} for i in range(1500)),
    )
    case.reconcile()
    # Sequential scans off: so few rows would else never be read by the index.
    off = {"PGOPTIONS": "-c enable_seqscan=off"}
    for arguments, expected in (
        (["-k", "200"], 200),
        (["-k", "200", "--filter", "half=a"], 200),
        (["-k", "1200"], 1200),
        (["-k", "3000"], 1500),
    ):
        hits = case.query("note", *arguments, env=off)
        assert len(hits) == expected, arguments
        assert len({hit["id"] for hit in hits}) == expected
        scores = [hit["score"] for hit in hits]
        assert scores == sorted(scores, reverse=True)
        if "--filter" in arguments:
            assert {hit["metadata"]["half"] for hit in hits} == {arguments[-1][-1]}


TIED = "the same words twice"


def tied(first: str, second: str) -> list[dict[str, str]]:
    return [
        {"id": first, "text": TIED},
        {"id": second, "text": TIED},
        *({"id": f"x{i}", "text": f"another thing, number {i}"} for i in range(10)),
    ]


@pytest.fixture
def judged(case: Case) -> Case:
    case.change({"evaluation": {"golden": {"queries": "queries.jsonl", "qrels": "qrels.tsv"}}})
    case.write({"_id": "q1", "text": TIED}, name="queries.jsonl")
    case.write(b"query-id\tcorpus-id\tscore", b"q1\ta\t1", name="qrels.tsv")
    return case


def test_f23_equal_scores_keep_the_listed_order(judged: Case) -> None:
    judged.write(*tied("a", "b"))
    judged.reconcile()
    for _ in range(3):
        assert judged.ids(TIED, "-k", "2") == ["a", "b"]
        metrics = judged.run("eval")["metrics"]
        assert (metrics["mrr@10"], metrics["ndcg@10"]) == (1.0, 1.0)
    # The rule: by id, whatever the order in the corpus.
    judged.write(*tied("b", "a"))
    sdk.reconcile(judged.spec)
    assert [hit.id for hit in sdk.query(judged.spec, TIED, k=2).hits] == ["a", "b"]
    judged.write(b"query-id\tcorpus-id\tscore", b"q1\tb\t1", name="qrels.tsv")
    metrics = judged.run("eval")["metrics"]
    assert (metrics["mrr@10"], round(metrics["ndcg@10"], 4)) == (0.5, 0.6309)


def test_f23_equal_scores_keep_the_listed_order_in_memory(judged: Case) -> None:
    judged.change({"target": {"store": "memory"}})
    for first, second in (("a", "b"), ("b", "a")):
        judged.write(*tied(first, second))
        sdk.reconcile(judged.spec)
        for relevant, reciprocal in (("a", 1.0), ("b", 0.5)):
            judged.write(b"query-id\tcorpus-id\tscore", f"q1\t{relevant}\t1".encode(), name="qrels.tsv")
            assert [hit.id for hit in sdk.query(judged.spec, TIED, k=2).hits] == ["a", "b"]
            assert sdk.evaluate(judged.spec).metrics["mrr@10"] == reciprocal


@pytest.mark.parametrize("index", ["hnsw", "exact"])
def test_f23_more_ties_than_were_asked_for(case: Case, index: str) -> None:
    ids = [f"d{i:04}" for i in range(150)]
    shuffled = random.Random(3).sample(ids, len(ids))
    others = records(f"another thing, number {i}" for i in range(300))
    case.write(
        *({"id": name, "text": TIED} for name in shuffled),
        *({**record, "id": f"x{record['id']}"} for record in others),
    )
    case.change({"target.index.type": index})
    case.reconcile()
    with sdk.open(case.spec) as live:
        for k in (1, 2, 10, 100, 149, 150, 151):
            found = [hit.id for hit in live.search(TIED, k).hits]
            assert found[:150] == ids[:k], k
            assert len(found) == k


def test_f23_a_run_file_ranks_as_users_saw(judged: Case) -> None:
    judged.write(*tied("b", "a"))
    judged.reconcile()
    judged.run("eval", "--run", "run.txt")
    rows = [line.split() for line in (judged.folder / "run.txt").read_text().splitlines()]
    assert [row[2] for row in rows[:2]] == ["a", "b"]
    assert [row[2] for row in rows] == judged.ids(TIED, "-k", str(len(rows)))
    scores = [float(row[4]) for row in rows]
    assert scores == sorted(set(scores), reverse=True)


def test_f24_the_id_of_a_query_is_no_document(case: Case) -> None:
    texts = ["red fox", "blue whale", "green frog", "brown bear", "white owl"]
    case.write(*({"id": str(i), "text": text} for i, text in enumerate(texts, 1)))
    case.change({"evaluation": {"golden": {"queries": "queries.jsonl", "qrels": "qrels.tsv"}}})
    case.write(
        {"_id": "1", "text": "a fox with red fur"},
        {"_id": "2", "text": "the whale was blue"},
        name="queries.jsonl",
    )
    case.write(b"query-id\tcorpus-id\tscore", b"1\t1\t1", b"2\t2\t1", name="qrels.tsv")
    case.reconcile()
    assert case.run("eval")["metrics"]["ndcg@10"] == 1.0

    case.write(*({"id": f"00{i}", "text": text} for i, text in enumerate(texts, 1)))
    case.reconcile("--allow-mass-delete")
    case.write(b"query-id\tcorpus-id\tscore", b"1\t001\t1", b"2\t002\t1", name="qrels.tsv")
    measured = case.run("eval")
    assert (measured["metrics"]["ndcg@10"], measured["warnings"]) == (1.0, [])
    case.write(b"query-id\tcorpus-id\tscore", b"1\t1\t1", b"2\t002\t1", name="qrels.tsv")
    told = case.start("eval", "--json")
    assert told.code == 0
    assert told.json["metrics"]["ndcg@10"] == 0.5
    (warning,) = told.json["warnings"]
    assert "1 of 2 relevant documents" in warning
    assert "007 is not 7" in warning
    assert json.loads(json.dumps(warning)) in case.start("eval").err.replace("\n", " ")
