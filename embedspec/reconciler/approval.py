"""Whether a plan may be executed: not a mass delete unawares, not a saved plan that is out of date."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embedspec.errors import PlanRefused
from embedspec.reconciler.observe import Observation
from embedspec.reconciler.planner import mass_delete
from embedspec.results import Plan
from embedspec.types import document_prefixes

Approve = Callable[[Plan], bool]

_MOVED = {
    "spec": "the spec was edited",
    "model": "the model (or its lock entry) is another one",
    "corpus": "the corpus changed",
    "store": "the target is another server or database",
    "lineage": "the index was destroyed and made anew",
    "serial": "the index was written to",
    "limit": "--limit differs",
}


def require_unmoved(saved: Plan, now: Plan) -> None:
    """A saved plan is executed exactly or not at all; raises PlanRefused with the plan of now. That
    the cache holds more by now is fine."""
    moved = [why for key, why in _MOVED.items() if saved.proof.get(key) != now.proof.get(key)]
    if not moved and now.chunks.embed > saved.chunks.embed:
        more = f"{now.chunks.embed:,} texts instead of {saved.chunks.embed:,}"
        moved = [f"it would now embed {more} (cache deleted?)"]
    if not moved and saved.class_ is not now.class_:
        moved = [f"its class is now {now.class_.value} instead of {saved.class_.value}"]
    if moved:
        refused = PlanRefused(
            "the saved plan is out of date: " + "; ".join(moved),
            where=saved.spec,
            fix="make a new one with `embedspec plan --out`",
        )
        refused.result = now
        raise refused


def require_no_mass_delete(seen: Observation, where: str) -> None:
    """Raises PlanRefused with the plan if it deletes more than the set share of live documents."""
    if not seen.plan.documents.deleted:
        return
    documents = len(np.unique(document_prefixes(seen.live_rows.key)))
    mass = mass_delete(seen.plan.documents, documents, seen.record, seen.desired)
    if mass:
        refused = PlanRefused(
            mass,
            where=where,
            fix="check the source; if the deletes are meant, pass --allow-mass-delete",
        )
        refused.result = seen.plan
        raise refused


def same_work(before: Plan, after: Plan) -> bool:
    """Whether a plan made again asks for what was approved; only the proof may differ."""
    return before.model_dump(exclude={"proof"}) == after.model_dump(exclude={"proof"})
