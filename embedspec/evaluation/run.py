"""Run golden queries through a search and score what comes back; write the lists as a TREC run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from embedspec.errors import SpecError, UsageError
from embedspec.evaluation.golden import Golden, name_some
from embedspec.evaluation.metrics import DEPTH, average_scores, require_trec_eval, score_queries
from embedspec.files import write_atomically

Search: TypeAlias = Callable[[list[str]], list[list[tuple[str, float]]]]
"""Query texts → for each, (document id, score) best first; a document may come several times."""
KnownIds: TypeAlias = Callable[[list[str]], set[str]]
"""Document ids → those of them that the index holds."""
Run: TypeAlias = dict[str, list[tuple[str, float]]]
"""query id → (document id, score) best first, each document once."""

_QUERIES_PER_CALL = 256


class Evaluation(NamedTuple):
    metrics: dict[str, float]
    queries: int
    """How many judged queries the metrics average over."""
    warnings: list[str]
    run: Run


def evaluate_run(
    golden: Golden, search: Search, known_ids: KnownIds | None = None, k: int = DEPTH
) -> Evaluation:
    """Search every golden query and score the first `k` documents of each list.

    `search` should return enough hits for `k` distinct documents. With `known_ids`, relevant
    documents that the index does not hold are named in a warning: they pull the figures down, and
    the cause is mostly an id written differently. Raises what `search` raises, and EmbedspecError
    if pytrec_eval is missing; that is found out before the first search.
    """
    require_trec_eval()
    warnings = list(golden.warnings)
    if known_ids is not None:
        warnings.extend(_missing_documents(golden, known_ids))
    run: Run = {}
    for start in range(0, len(golden.queries), _QUERIES_PER_CALL):
        batch = golden.queries[start : start + _QUERIES_PER_CALL]
        found = search([query.text for query in batch])
        for query, hits in zip(batch, found, strict=True):
            run[query.id] = _first_documents(hits, k)
    scores = score_queries(
        golden.judgements, {query: [document for document, _ in hits] for query, hits in run.items()}
    )
    return Evaluation(average_scores(scores), len(run), warnings, run)


def _first_documents(hits: Iterable[tuple[str, float]], k: int) -> list[tuple[str, float]]:
    """Chunk hits → the first `k` documents, each with the score of its best rank."""
    best: dict[str, float] = {}
    for document, score in hits:
        best.setdefault(document, score)
    return list(best.items())[:k]


def _missing_documents(golden: Golden, known_ids: KnownIds) -> list[str]:
    relevant = {
        document: None
        for judged in golden.judgements.values()
        for document, score in judged.items()
        if score > 0
    }
    known = known_ids(list(relevant)) if relevant else set()
    missing = [document for document in relevant if document not in known]
    if not missing:
        return []
    return [
        f"{len(missing)} of {len(relevant)} relevant documents of the golden labels are not in the index "
        f"({name_some(missing)}); ids are compared as text, so 007 is not 7"
    ]


def write_trec_run(
    path: Path, run: Mapping[str, Sequence[tuple[str, float]]], tag: str = "embedspec"
) -> None:
    """Write `query Q0 document rank score tag` lines, ranks from 1, in the order listed.

    Scores are those of the run as float32, lowered where they would not fall strictly: trec_eval
    reads float32 and orders equal scores by id. Raises SpecError for an id with white space, which
    the format cannot hold, and UsageError if the file cannot be written. Replaces the file at once.
    """
    lines = []
    for query, hits in run.items():
        scores = strictly_falling([score for _, score in hits])
        for rank, ((document, _), score) in enumerate(zip(hits, scores, strict=True), start=1):
            lines.append(f"{_one_word(query)} Q0 {_one_word(document)} {rank} {score:.9g} {tag}\n")
    try:
        write_atomically(path, "".join(lines).encode())
    except OSError as error:
        raise UsageError(f"cannot write the run file: {error.strerror or error}", where=str(path)) from None


def strictly_falling(scores: Sequence[float]) -> list[float]:
    """Scores as float32 values, each below the one before, moved as little as that needs."""
    fallen: list[float] = []
    for score in scores:
        value = np.float32(score)
        if fallen and value >= fallen[-1]:
            last = np.float32(fallen[-1])
            # 1e-9 keeps the steps around 0 out of the denormal range, which some readers round to 0.
            value = last - np.maximum(np.abs(np.spacing(last)), np.float32(1e-9))
        fallen.append(float(value))
    return fallen


def _one_word(name: str) -> str:
    if name.split() != [name]:
        raise SpecError(
            f"the id {name!r} holds white space, which a TREC run cannot hold",
            fix="evaluate without --run, or write ids without white space",
        )
    return name
