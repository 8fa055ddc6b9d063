"""Whether a plan may be executed: not a mass delete unawares, not a saved plan that is out of date."""

from __future__ import annotations

from collections.abc import Callable

from embedspec.errors import PlanRefused
from embedspec.reconciler.observe import Observation
from embedspec.reconciler.planner import MASS_DELETE_SHARE, mass_delete
from embedspec.results import Plan

Approve = Callable[[Plan], bool]

_MOVED = {
    "spec": "the spec was edited",
    "model": "the model (or its lock entry) is another one",
    "corpus": "the corpus changed",
    "store": "the target is another server or database",
    "lineage": "the index was destroyed and made anew",
    "serial": "the index was written to",
    "limit": "--limit differs",
    "reader": "the reader settings are others",
}


def require_unmoved(saved: Plan, now: Plan) -> None:
    """A saved plan is executed exactly or not at all; raises PlanRefused with the plan of now. That
    the cache holds more by now is fine."""
    moved = [why for key, why in _MOVED.items() if saved.proof.get(key) != now.proof.get(key)]
    if saved.proof.get("store") is None and now.proof.get("lineage") is None:
        # Planned before there was a server: any empty one is the one that was meant.
        moved = [why for why in moved if why != _MOVED["store"]]
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


def require_no_mass_delete(seen: Observation, where: str, before: Observation | None = None) -> None:
    """Raises PlanRefused with the plan if it deletes more than the set share of live documents.

    `before`: what this run filled a new build from a moment ago. A corpus that lost so much since
    is one that is just being written again, also where nothing is live yet.
    """
    mass = mass_delete(seen.work, seen.record, seen.desired)
    if mass is None and before is not None:
        filled = len(before.corpus.rows)
        if len(seen.work.delete) > MASS_DELETE_SHARE * filled:
            mass = f"the corpus lost {len(seen.work.delete):,} of {filled:,} rows while this run read it"
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
