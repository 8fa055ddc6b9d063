"""`eval`: golden labels against the live build, through its own store and index."""

from __future__ import annotations

from pathlib import Path

from embedspec.errors import SpecError
from embedspec.evaluation.golden import load_golden
from embedspec.evaluation.metrics import DEPTH
from embedspec.evaluation.run import Run, evaluate_run, write_trec_run
from embedspec.reconciler.observe import Listener
from embedspec.reconciler.reader import Index, LiveBuild, has_index
from embedspec.reconciler.retry import retrying
from embedspec.reconciler.session import Session
from embedspec.results import EvalResult
from embedspec.types import Event, hash_array, row_key

QUERIES_AT_ONCE = 256


def evaluate(session: Session, *, run_file: Path | None, on_event: Listener) -> EvalResult:
    """Raises SpecError (exit 1) where the spec names no golden labels, with the two ways out."""
    declared = session.spec.evaluation
    if declared is None or declared.golden is None:
        raise SpecError(
            "the spec names no golden labels to measure against",
            where=session.loaded.where("evaluation"),
            fix="add `evaluation: {golden: {queries: …, qrels: …}}`, or look at hits with `embedspec query`",
        )
    base = session.loaded.base
    golden = load_golden(base / declared.golden.queries, base / declared.golden.qrels)
    done = 0
    with session.open_store(write=False) as store:
        index = Index(
            store,
            session.spec.name,
            base=base,
            home=session.home,
            max_k=session.adapter.capabilities.max_k,
        )
        live = index.live()

        def search(texts: list[str]) -> list[list[tuple[str, float]]]:
            nonlocal done
            found, lists = index.search_many(texts, DEPTH)
            if found.build.id != live.build.id:
                raise SpecError(
                    f"readers moved from build {live.build.id} to {found.build.id} during the measurement",
                    where=session.spec.name,
                    fix="run `embedspec eval` again",
                )
            done += len(texts)
            on_event(Event("eval", "", done=done, total=len(golden.queries), unit="queries"))
            return [[(hit.id, hit.score) for hit in hits] for hits in lists]

        def known(ids: list[str]) -> set[str]:
            keys = hash_array([row_key(i, 0) for i in ids])
            return {row.id for row in retrying(lambda: list(store.rows(live.build, keys)))}

        measured = evaluate_run(golden, search, known)
        if run_file is not None:
            write_trec_run(run_file, measured.run)
        metrics: dict[str, float | None] = {
            **measured.metrics,
            "ann_recall@10": _index_recall(index, live, [q.text for q in golden.queries], measured.run),
        }
    return EvalResult(
        metrics=metrics,
        queries=measured.queries,
        verdict=None,
        build=live.build.id,
        warnings=measured.warnings,
    )


def _index_recall(index: Index, live: LiveBuild, texts: list[str], run: Run) -> float | None:
    """Share of the exact ten nearest that the index found too, averaged over the queries; None for a
    build without an approximate index. Documents, not rows, are compared."""
    if not has_index(live.build):
        return None
    shares = []
    found = iter(run.values())
    for start in range(0, len(texts), QUERIES_AT_ONCE):
        _, lists = index.search_many(texts[start : start + QUERIES_AT_ONCE], DEPTH, exact=True)
        for hits in lists:
            exact = list(dict.fromkeys(hit.id for hit in hits))[:10]
            seen = {document for document, _ in next(found)[:10]}
            if exact:
                shares.append(len(seen.intersection(exact)) / len(exact))
    return sum(shares) / len(shares) if shares else None
