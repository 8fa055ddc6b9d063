"""All the reading that a plan rests on: registry, corpus, rows of builds, cache, token counts.

`observe` returns the plan together with the work behind it; nothing is written anywhere, save small
cache files, and no model is loaded (`probe` apart).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from embedspec.cache.vectors import VectorCache
from embedspec.errors import BuildMissing, SpecError
from embedspec.reconciler.decide import Decision, decide
from embedspec.reconciler.desired import Desired, holds_full_vectors
from embedspec.reconciler.planner import (
    CorpusFacts,
    Coverage,
    Work,
    effective_recipe,
    make_plan,
    make_work,
)
from embedspec.reconciler.pricing import count_tokens, probe_speed
from embedspec.reconciler.reading import Reading
from embedspec.reconciler.registry import forget
from embedspec.reconciler.retry import retrying
from embedspec.reconciler.session import ModelInUse, Session, model_of_build
from embedspec.reconciler.speed import estimate_seconds
from embedspec.reconciler.tokens import Tokens
from embedspec.reconciler.writer import Base
from embedspec.results import Plan
from embedspec.spec.identity import spec_fingerprint
from embedspec.stores.protocol import Store
from embedspec.stores.records import BuildRecord, IndexRecord
from embedspec.types import (
    DeadLetter,
    Event,
    HashArray,
    RowHashes,
    document_prefixes,
    hash_array,
    hash_list,
    row_key,
)

SHOWN_LETTERS = 3
"""How many dead letters a plan tells with their reason; all are in the result's file."""

Listener = Callable[[Event], None]


@dataclass(slots=True, kw_only=True)
class Observation:
    """A plan and everything needed to execute it."""

    plan: Plan
    work: Work
    record: IndexRecord | None
    desired: Desired
    model: ModelInUse
    reading: Reading
    corpus: CorpusFacts
    live_rows: RowHashes
    coverage: Coverage
    tokens: Tokens
    bases: list[Base]
    base_contents: HashArray
    cache: VectorCache
    standing: list[DeadLetter]
    """Dead letters known before anything is embedded: of this reading, and earlier ones whose
    content did not change."""
    registered: list[DeadLetter]
    gone: frozenset[str]
    """Builds that the registry knows and whose tables are not there; `record` has them as dropped."""
    read_s: float
    """Seconds spent reading the corpus and scanning the store."""


def observe(
    session: Session,
    store: Store,
    *,
    limit: int | None = None,
    probe: bool = False,
    refused: Sequence[DeadLetter] = (),
    keep_tokens: bool = False,
    on_event: Listener,
) -> Observation:
    """`refused`: documents that this very run could not embed or write; with the same content they
    are not tried again, and keep their last good rows. `keep_tokens`: what is counted will also be
    embedded."""
    desired = session.desired
    record = retrying(lambda: store.observe(desired.name))
    on_event(Event("read", "reading the corpus", unit="records"))
    registered = retrying(lambda: store.dead_letters(desired.name)) if record else []
    started = time.perf_counter()
    gone: dict[str, str] = {}
    while True:
        decision = decide(desired, record)
        recipe = effective_recipe(desired, decision)
        reading = Reading.of(recipe, session.loaded.base, session.adapter.capabilities.max_text_bytes)
        try:
            corpus, live_rows, work_rows = _read_and_scan(session, store, reading, decision, limit, on_event)
        except _TablesGone as missing_build:
            assert record is not None  # it named the build
            gone[missing_build.id] = f"the tables of build {missing_build.id} are gone: it counts as dropped"
            record = forget(record, missing_build.id)
        else:
            break
    decision = replace(decision, reasons=(*gone.values(), *decision.reasons))
    read_s = time.perf_counter() - started
    known = [*refused, *(registered if decision.on_live else ())]
    corpus, standing = _set_aside(corpus, known, live_rows if decision.on_live else RowHashes.empty())
    live_fields = decision.live.fields if decision.on_live and decision.live else None
    work = make_work(desired, decision, corpus, live_rows, work_rows, live_fields, limited=limit is not None)
    model = _model_for(session, decision)
    cache = session.open_cache(model.fingerprint, model.facts.native_dimension)
    bases, base_contents, missing = _find_vectors(store, record, work, live_rows, model, desired, cache)
    tokens = Tokens(model, keep=keep_tokens)
    coverage = count_tokens(store, reading, corpus, work, missing, tokens)
    if probe and len(missing):
        probe_speed(session, reading, corpus, work, missing, model)
    plan = make_plan(
        desired,
        work,
        coverage,
        corpus,
        live_rows,
        record,
        session.policy,
        session.adapter.estimate(desired.storage, len(corpus.rows), corpus.text_bytes),
        estimate_seconds(session.home, model, coverage.tokens),
        len(corpus.dead) + len(standing),
        proof={
            "spec": spec_fingerprint(session.spec, session.target.model_dump(mode="json")),
            "model": model.fingerprint,
            "reader": desired.reader,
            "corpus": corpus.digest,
            "store": retrying(store.identity),
            "lineage": record.lineage if record else None,
            "serial": record.serial if record else None,
            "limit": limit,
        },
    )
    return Observation(
        plan=plan,
        work=work,
        record=record,
        desired=desired,
        model=model,
        reading=reading,
        corpus=corpus,
        live_rows=live_rows,
        coverage=coverage,
        tokens=tokens,
        bases=bases,
        base_contents=base_contents,
        cache=cache,
        standing=[*corpus.dead, *standing],
        registered=registered,
        gone=frozenset(gone),
        read_s=read_s,
    )


def _read_and_scan(
    session: Session,
    store: Store,
    reading: Reading,
    decision: Decision,
    limit: int | None,
    on_event: Listener,
) -> tuple[CorpusFacts, RowHashes, RowHashes]:
    """The corpus, and beside it the rows of the live build and of the one to be worked on (the same
    object if that is the live one). The store is used by the scanning thread alone meanwhile."""
    with ThreadPoolExecutor(1, "embedspec-scan") as beside:
        live = beside.submit(_scan, store, decision.live)
        other = live if decision.on_live else beside.submit(_scan, store, decision.work)
        corpus = _read_corpus(session, reading, limit, on_event)
        return corpus, live.result(), other.result()


class _TablesGone(Exception):
    """Somebody dropped a build's tables without the registry."""

    def __init__(self, build_id: str) -> None:
        self.id = build_id


def _scan(store: Store, build: BuildRecord | None) -> RowHashes:
    if build is None:
        return RowHashes.empty()
    try:
        return retrying(lambda: RowHashes.concat(list(store.scan(build))))
    except BuildMissing:
        raise _TablesGone(build.id) from None


def _read_corpus(session: Session, reading: Reading, limit: int | None, on_event: Listener) -> CorpusFacts:
    summary = reading.summarize(limit, lambda records: on_event(Event("read", done=records, unit="records")))
    on_event(Event("read", done=summary.records, total=summary.records, unit="records"))
    absent = summary.absent_template_fields
    if absent and summary.records:
        named = ", ".join(repr(f) for f in absent)
        raise SpecError(
            f"the text template names {named}, which no record of the corpus has",
            where=session.loaded.where("corpus.text"),
            fix="check the field's name; nested fields are written with dots, e.g. {meta.title}",
        )
    _require_ids(
        session, summary.dead, seen=len(summary.rows) + summary.empty, id_field=reading.rules.id_field
    )
    notices = list(summary.notices)
    notices += [f"{letter.place}: {letter.reason}" for letter in summary.dead[:SHOWN_LETTERS]]
    if not len(summary.rows) and summary.complete:
        notices.append("the corpus holds no text at all")
    if summary.records:
        notices += [
            f"metadata field {f!r} is in no record of the corpus" for f in summary.absent_metadata_fields
        ]
    return CorpusFacts(
        rows=summary.rows,
        positions=summary.positions,
        protected=summary.protected,
        dead=summary.dead,
        empty=summary.empty,
        complete=summary.complete,
        incomplete_because=summary.incomplete_because,
        limited=summary.limited,
        notices=tuple(notices),
        text_bytes=summary.text_bytes,
        digest=summary.digest,
    )


def _require_ids(session: Session, dead: Sequence[DeadLetter], *, seen: int, id_field: str) -> None:
    """Raises SpecError if no record at all has the id field: the spec is wrong, not every record."""
    missing = f"no id: the record has no field {id_field!r}"
    if not seen and dead and all(letter.reason == missing for letter in dead):
        raise SpecError(
            f"no record of the corpus has the id field {id_field!r}",
            where=session.loaded.where("corpus.source.id"),
            fix="name the field that holds each record's id, e.g. `id: _id`",
        )


def _set_aside(
    corpus: CorpusFacts, refused: Sequence[DeadLetter], live_rows: RowHashes
) -> tuple[CorpusFacts, list[DeadLetter]]:
    """Documents that the model or the store refused, with the same content now, are not tried again
    on the build that refused them; their last good rows stay. A letter about content that the live
    build holds after all (it was refused by another build) is settled."""
    letters = {
        row_key(letter.id, 0) + bytes.fromhex(letter.content): letter
        for letter in refused
        if letter.stage != "read" and letter.id is not None and letter.content is not None
    }
    if not letters:
        return corpus, []
    rows = corpus.rows
    held = _pairs(live_rows)
    keep = np.ones(len(rows), dtype=bool)
    still = []
    for i in np.flatnonzero(np.isin(rows.key, hash_array([pair[:16] for pair in letters]))):
        pair = hash_list(rows.key[i : i + 1])[0] + hash_list(rows.content[i : i + 1])[0]
        if pair in letters and pair not in held:
            keep[i] = False
            still.append(letters[pair])
    if not still:
        return corpus, []
    protected = np.concatenate([corpus.protected, document_prefixes(rows.key[~keep])])
    reduced = replace(corpus, rows=rows.take(keep), positions=corpus.positions[keep], protected=protected)
    return reduced, still


def _pairs(rows: RowHashes) -> set[bytes]:
    return {key + content for key, content in zip(hash_list(rows.key), hash_list(rows.content), strict=True)}


def _model_for(session: Session, decision: Decision) -> ModelInUse:
    """The spec's model; while a refused build is asked for, the one of the live build."""
    live = decision.live
    if not decision.follow_live or live is None:
        return session.model
    if session.model.fingerprint == live.fingerprints.encoder:
        return session.model
    return model_of_build(live, "", session.loaded.base, session.home, weights_needed=False)


def _find_vectors(
    store: Store,
    record: IndexRecord | None,
    work: Work,
    live_rows: RowHashes,
    model: ModelInUse,
    desired: Desired,
    cache: VectorCache,
) -> tuple[list[Base], HashArray, HashArray]:
    """Builds whose vectors are reused, the content hashes they hold, and those found nowhere.
    The cache is asked first; builds are looked at only for what it lacks."""
    missing = work.needed[~cache.contains(work.needed)]
    bases: list[Base] = []
    contents: list[HashArray] = []
    live = work.decision.live
    aim = live.fingerprints.vector if work.decision.follow_live and live else desired.fingerprints.vector
    for build in _reusable(record, live):
        if not len(missing):
            break
        exact = build.fingerprints.vector == aim
        if not exact and not holds_full_vectors(build, model.fingerprint, model.facts.native_dimension):
            continue
        try:
            rows = live_rows if live is not None and build.id == live.id else _scan(store, build)
        except _TablesGone:
            continue
        helps = np.intersect1d(missing, rows.content)
        if len(helps):
            bases.append(Base(build, exact))
            contents.append(helps)
            missing = np.setdiff1d(missing, helps)
    held = np.unique(np.concatenate(contents)) if contents else work.needed[:0]
    return bases, held, missing


def _reusable(record: IndexRecord | None, live: BuildRecord | None) -> list[BuildRecord]:
    if record is None:
        return []
    others = [b for b in record.builds if not b.dropped and (live is None or b.id != live.id)]
    return ([live] if live is not None else []) + sorted(others, key=lambda b: b.created, reverse=True)
