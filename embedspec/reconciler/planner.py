"""The planner: pure functions from what is wanted and what was seen to the work and its plan.

No I/O, no clock, no randomness. `make_work` says what has to be done to which rows; between it and
`make_plan` the caller asks the cache which vectors are at hand and counts tokens; `plan` prints the
very objects that `apply` executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embedspec.reconciler.decide import Decision
from embedspec.reconciler.desired import Desired, Recipe
from embedspec.reconciler.diff import (
    Indices,
    Prefixes,
    absent_protected,
    compare,
    contents_of,
    count_documents,
)
from embedspec.results import Chunks, Documents, Estimate, Plan, PolicyVerdict
from embedspec.spec.model import Source
from embedspec.stores.protocol import StoreEstimate
from embedspec.stores.records import IndexRecord
from embedspec.types import (
    ChangeClass,
    DeadLetter,
    FieldType,
    HashArray,
    RowHashes,
    document_prefixes,
)

MASS_DELETE_SHARE = 0.20


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What one pass over the corpus found; see `corpus.summary` for how."""

    rows: RowHashes
    positions: npt.NDArray[np.uint64]
    """Ordinal of each row's record over all files of the source."""
    protected: Prefixes
    dead: tuple[DeadLetter, ...]
    empty: int
    complete: bool
    incomplete_because: tuple[str, ...]
    limited: bool
    notices: tuple[str, ...]
    text_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Work:
    """What has to happen to the rows of one build. Indices point into the corpus rows."""

    decision: Decision
    insert: Indices
    replace: Indices
    patch: Indices
    delete: HashArray
    takeover: HashArray
    """Keys whose rows are copied from the live build: documents that cannot be read now."""
    needed: HashArray
    """Distinct content hashes of everything to be written with a vector, sorted."""
    documents: Documents
    live_documents: int
    """Documents of the live build; 0 where nothing is deleted."""
    fields_changed: bool

    @property
    def written(self) -> Indices:
        """Corpus rows to be written with a vector."""
        return np.concatenate([self.insert, self.replace])

    @property
    def touches_rows(self) -> bool:
        return bool(
            len(self.insert) or len(self.replace) or len(self.patch) or len(self.delete) or len(self.takeover)
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the vectors of the needed texts will come from."""

    embed: HashArray
    """Needed content hashes with no vector at hand, sorted."""
    reused: int
    tokens: int
    truncated: int
    sampled: bool


def make_work(
    desired: Desired,
    decision: Decision,
    corpus: CorpusFacts,
    live_rows: RowHashes,
    work_rows: RowHashes,
    live_fields: Mapping[str, FieldType] | None,
    *,
    limited: bool,
) -> Work:
    """`live_rows` and `work_rows` are empty where there is no such build; for a decision that works
    on the live build both are the same object."""
    proof = corpus.complete and not corpus.limited
    against_live = compare(corpus.rows, live_rows, corpus.protected, deletes=proof)
    documents = count_documents(corpus.rows, live_rows, against_live)
    documents.empty = corpus.empty
    nothing_to_fill = decision.blocked is not None and decision.live is None
    if decision.on_live:
        diff = against_live
        takeover = live_rows.key[:0]
    else:
        diff = compare(corpus.rows, work_rows, corpus.protected, deletes=proof)
        takeover = absent_protected(work_rows, live_rows, corpus.protected)
    if nothing_to_fill:
        none = np.empty(0, dtype=np.intp)
        diff = replace(diff, insert=none, replace=none, patch=none, delete=diff.delete[:0])
    written = np.concatenate([diff.insert, diff.replace])
    needed = np.unique(np.concatenate([corpus.rows.content[written], contents_of(live_rows, takeover)]))
    fields_changed = (
        not decision.follow_live and live_fields is not None and dict(live_fields) != desired.recipe.fields
    )
    decision = _withhold(decision, corpus, limited=limited)
    return Work(
        decision=decision,
        insert=diff.insert,
        replace=diff.replace,
        patch=diff.patch,
        delete=diff.delete,
        takeover=takeover,
        needed=needed,
        documents=documents,
        # Only a plan that deletes asks how many there are.
        live_documents=len(np.unique(document_prefixes(live_rows.key))) if documents.deleted else 0,
        fields_changed=fields_changed,
    )


def _withhold(decision: Decision, corpus: CorpusFacts, *, limited: bool) -> Decision:
    """A build filled from part of a corpus does not replace a live one."""
    other_build = decision.makes_build or (decision.work is not None and not decision.on_live)
    if decision.blocked is not None or not other_build:
        return decision
    if limited:
        return replace(
            decision, switch=False, blocked="--limit: a build of part of the corpus is never switched to"
        )
    if not corpus.complete and decision.live is not None:
        why = "; ".join(corpus.incomplete_because)
        return replace(
            decision,
            switch=False,
            blocked=f"the source is incomplete ({why}): the new build does not replace the live one",
        )
    return decision


def settle_class(work: Work, coverage: Coverage, live_rows: RowHashes) -> tuple[ChangeClass, list[str]]:
    """The plan's build class once it is known which vectors are at hand: a derive (or reindex) that
    lacks vectors of the live build's own texts is a rebuild, and says so."""
    build_class = work.decision.build_class
    if build_class in {ChangeClass.derive, ChangeClass.reindex} and len(coverage.embed):
        lost = int(np.isin(coverage.embed, live_rows.content).sum())
        if lost:
            return ChangeClass.rebuild, [
                f"{lost:,} texts of the live build have no full-length vector at hand "
                "(cache deleted?) and are embedded again"
            ]
    return build_class, []


def make_plan(
    desired: Desired,
    work: Work,
    coverage: Coverage,
    corpus: CorpusFacts,
    live_rows: RowHashes,
    record: IndexRecord | None,
    policy: list[PolicyVerdict],
    store_estimate: StoreEstimate,
    seconds: tuple[float | None, str],
    failed: int,
    proof: Mapping[str, Any],
) -> Plan:
    decision = work.decision
    build_class, lost = settle_class(work, coverage, live_rows)
    classes = {build_class}
    if len(work.insert) or len(work.replace) or len(work.takeover):
        classes.add(ChangeClass.upsert)
    if len(work.delete):
        classes.add(ChangeClass.delete)
    if len(work.patch) or work.fields_changed:
        classes.add(ChangeClass.patch)
    reasons = [*decision.reasons, *lost, *_content_reasons(work, build_class)]
    documents = work.documents.model_copy(update={"truncated": coverage.truncated})
    return Plan(
        spec=desired.name,
        class_=ChangeClass.strongest(classes),
        reasons=reasons,
        warnings=[*desired.warnings, *_warnings(work, corpus, record, desired)],
        policy=policy,
        documents=documents,
        chunks=Chunks(embed=len(coverage.embed), reused=coverage.reused),
        tokens=coverage.tokens,
        estimate=Estimate(
            tokens="sample" if coverage.sampled else "exact",
            seconds=seconds[0],
            seconds_basis=seconds[1],
            table_bytes=store_estimate.table_bytes,
            index_bytes=store_estimate.index_bytes,
            build_memory_bytes=store_estimate.build_memory_bytes,
            store_basis=store_estimate.basis,
        ),
        failed=failed,
        build=decision.work.id if decision.work else None,
        live=decision.live.id if decision.live else None,
        complete=corpus.complete,
        blocked=decision.blocked,
        proof=dict(proof),
    )


def _content_reasons(work: Work, build_class: ChangeClass) -> list[str]:
    """Why content is touched, for plans that change content only (a build class says why itself)."""
    if build_class is not ChangeClass.none:
        return []
    d = work.documents
    lines = [
        f"{count:,} {'document' if count == 1 else 'documents'} {what}"
        for count, what in (
            (d.added, "added"),
            (d.changed, "with changed text"),
            (d.metadata_changed, "with changed metadata only"),
            (d.deleted, "gone from the corpus"),
        )
        if count
    ]
    if work.fields_changed:
        lines.append("the list of metadata fields changed")
    return lines


def _warnings(work: Work, corpus: CorpusFacts, record: IndexRecord | None, desired: Desired) -> list[str]:
    lines = list(corpus.notices)
    if not corpus.complete:
        why = "; ".join(corpus.incomplete_because)
        lines.append(f"the source was not read completely ({why}): nothing is deleted")
    mass = mass_delete(work, record, desired)
    if mass:
        lines.append(mass + "; `reconcile` refuses without --allow-mass-delete")
    return lines


def mass_delete(work: Work, record: IndexRecord | None, desired: Desired) -> str | None:
    """The message of a mass delete, or None. It names the last source and actor: two specs of one
    name that take turns look exactly like this."""
    deleted, live = work.documents.deleted, work.live_documents
    if not live or deleted <= MASS_DELETE_SHARE * live:
        return None
    line = (
        f"the plan deletes {deleted:,} of {live:,} live documents ({deleted / live:.1%}), "
        f"more than {MASS_DELETE_SHARE:.0%}"
    )
    if record is not None and record.state.source and record.state.source != desired.source:
        line += f"; the last run, by {record.state.actor}, read another source: {record.state.source}"
    return line


def effective_recipe(desired: Desired, decision: Decision) -> Recipe:
    """Records become rows by the spec, or, while it asks for a refused build, by the live one's."""
    if decision.follow_live and decision.live is not None:
        corpus = decision.live.spec["corpus"]
        source = Source.model_validate(corpus["source"])
        return Recipe(source, corpus["text"], dict(decision.live.fields))
    return desired.recipe
