"""Retrieval metrics of ranked lists, computed by pytrec_eval (trec_eval's own C code).

trec_eval sorts by score and, among equal scores, by id; users saw another order. So it is handed
scores that fall by one from rank to rank: whole numbers, exact in float32, the type it reads them
into. Its figures then follow the listed order (cvangysel/pytrec_eval#56).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

from embedspec.errors import EmbedspecError

_TREC_NAMES = {
    "ndcg@10": "ndcg_cut_10",
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "precision@10": "P_10",
    "map": "map",
}
_MEASURES = {"ndcg_cut.10", "recall.10,100", "P.10", "map"}

METRICS = ("ndcg@10", "recall@10", "recall@100", "precision@10", "mrr@10", "map")
"""Every metric, in the order of reports. `map` is over the whole list that is given."""

DEPTH = 100
"""How long a ranked list must be for every metric to mean what it says."""


def score_queries(
    judgements: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """metric → query id → value in [0, 1], for every judged query.

    `run` holds document ids, best first. An id listed twice (several chunks of one document) counts
    at its best rank. A query without a list, or without a relevant document, has 0. A document whose
    id equals the query's is a document like any other. Grades are linear gains; below 0 is 0.
    Raises EmbedspecError if pytrec_eval is not installed.
    """
    pytrec_eval = require_trec_eval()
    grades = {
        query: {document: max(score, 0) for document, score in judged.items()}
        for query, judged in judgements.items()
    }
    ranked = {query: distinct(run.get(query, ())) for query in grades}
    full = pytrec_eval.RelevanceEvaluator(grades, _MEASURES).evaluate(
        {query: _falling(documents) for query, documents in ranked.items()}
    )
    first_ten = pytrec_eval.RelevanceEvaluator(grades, {"recip_rank"}).evaluate(
        {query: _falling(documents[:10]) for query, documents in ranked.items()}
    )
    scores: dict[str, dict[str, float]] = {}
    for metric in METRICS:
        found, name = (first_ten, "recip_rank") if metric == "mrr@10" else (full, _TREC_NAMES[metric])
        scores[metric] = {query: float(found[query][name]) for query in grades}
    return scores


def average_scores(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """metric → mean over the queries."""
    return {metric: sum(by_query.values()) / len(by_query) for metric, by_query in scores.items()}


def distinct(documents: Iterable[str]) -> list[str]:
    """Each id once, where it comes first."""
    return list(dict.fromkeys(documents))


def _falling(documents: Sequence[str]) -> dict[str, float]:
    return {document: float(len(documents) - rank) for rank, document in enumerate(documents)}


def require_trec_eval() -> ModuleType:
    """The library behind the figures. Raises EmbedspecError with what to install."""
    try:
        import pytrec_eval
    except ImportError:
        raise EmbedspecError(
            "the metrics need the package pytrec-eval-terrier, which is not installed",
            fix="pip install 'embedspec[eval]'",
        ) from None
    module: ModuleType = pytrec_eval
    return module
