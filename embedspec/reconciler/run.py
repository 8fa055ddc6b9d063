"""`reconcile`: plan, take the lease, apply, switch, tidy up, and say what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from embedspec.reconciler.application import Application
from embedspec.reconciler.approval import Approve, require_no_mass_delete, require_unmoved, same_work
from embedspec.reconciler.closing import Closing, letters_moved
from embedspec.reconciler.lease import HeldLease
from embedspec.reconciler.limits import Limits
from embedspec.reconciler.observe import Listener, Observation, observe
from embedspec.reconciler.outcome import Outcome
from embedspec.reconciler.report import Report
from embedspec.reconciler.retry import retrying
from embedspec.reconciler.session import Session
from embedspec.reconciler.speed import remember_speed
from embedspec.results import Plan, ReconcileResult
from embedspec.stores.protocol import Store
from embedspec.stores.records import IndexRecord
from embedspec.types import ChangeClass, DeadLetter, Event

PASSES = 3
"""How often a new build is brought up to date before the switch, if the corpus keeps moving."""


class Look(Protocol):
    """Observe and plan anew, with the guards that the first plan passed."""

    def __call__(
        self, store: Store, before: Observation | None = None, refused: Sequence[DeadLetter] = ()
    ) -> Observation: ...


@dataclass(slots=True)
class RunOptions:
    limit: int | None = None
    allow_mass_delete: bool = False
    lock_timeout_s: float = 0.0
    budget_tokens: int | None = None
    max_seconds: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)


def reconcile(
    session: Session,
    options: RunOptions,
    *,
    saved: Plan | None = None,
    approve: Approve | None = None,
    on_event: Listener,
) -> ReconcileResult:
    """Make the store agree with the spec. `saved`: execute exactly this plan or refuse. `approve`:
    asked about a plan that is not empty (again, if it changed while waiting for the lease); False
    ends with nothing changed."""
    limits = Limits(
        stop=options.stop,
        budget_tokens=options.budget_tokens,
        deadline=None if options.max_seconds is None else time.monotonic() + options.max_seconds,
    )
    report = Report(session, limits)
    session.require_policy()

    def look(
        store: Store, before: Observation | None = None, refused: Sequence[DeadLetter] = ()
    ) -> Observation:
        seen = observe(
            session, store, limit=options.limit, refused=refused, keep_tokens=True, on_event=on_event
        )
        if saved is not None and before is None:
            require_unmoved(saved, seen.plan)
        if not options.allow_mass_delete:
            require_no_mass_delete(seen, session.loaded.where("corpus.source"), before)
        return seen

    def untouched(seen: Observation) -> ReconcileResult:
        if not seen.work.decision.follow_live:
            session.write_lock()  # a missing entry is added by every run, or `--locked` could never pass
        return report.untouched(seen, seen.record)

    def declined(seen: Observation) -> bool:
        return saved is None and approve is not None and not seen.plan.empty and not approve(seen.plan)

    with session.open_store(write=True) as store:
        seen = look(store)
        if not _anything_to_do(seen):
            return untouched(seen)
        if declined(seen):
            return _not_approved(report, seen)
        with HeldLease(store, session.spec.name, timeout_s=options.lock_timeout_s, stop=options.stop) as held:
            if _moved(seen.record, retrying(lambda: store.observe(session.spec.name))):
                approved, seen = seen.plan, look(store)
                if not _anything_to_do(seen):
                    return untouched(seen)
                if not same_work(approved, seen.plan) and declined(seen):
                    return _not_approved(report, seen)
            application = Application(session, store, held, limits, on_event)
            closing = Closing(store, held, session.spec.name)
            return _apply(application, closing, seen, look, report, on_event)


def _not_approved(report: Report, seen: Observation) -> ReconcileResult:
    result = report.untouched(seen, seen.record)
    result.message, result.exit_code = "not approved: nothing was changed", 0
    return result


def _moved(before: IndexRecord | None, after: IndexRecord | None) -> bool:
    if before is None or after is None:
        return after is not before
    return (before.lineage, before.serial) != (after.lineage, after.serial)


def _anything_to_do(seen: Observation) -> bool:
    return (
        seen.plan.class_ is not ChangeClass.none
        or (seen.record is not None and seen.record.view == "behind")
        or letters_moved(seen.registered, seen.standing)
    )


def _apply(
    application: Application,
    closing: Closing,
    planned: Observation,
    look: Look,
    report: Report,
    on_event: Listener,
) -> ReconcileResult:
    session, limits = report.session, report.limits
    closing.catch_up_view(planned.record)
    if planned.plan.class_ is ChangeClass.none:
        closing.keep_letters(planned.registered, planned.standing)
        return report.untouched(planned, closing.record())
    build = application.prepare(planned)
    outcome = Outcome(build)
    seen = _fill(application, planned, outcome, look, limits)
    on_live = planned.work.decision.on_live
    finished = limits.reason is None and not seen.corpus.limited
    whole = finished and seen.corpus.complete
    switching = finished and planned.work.decision.switch and seen.work.decision.switch
    if (on_live and planned.work.touches_rows) or (not on_live and (whole or switching)):
        application.finish(outcome)
    letters = list({x.key: x for x in (*seen.standing, *outcome.flow.dead)}.values())
    closing.keep_letters(planned.registered, letters)
    result = report.done(planned, seen, outcome, closing.record(), letters)
    if switching:
        if not on_live:
            application.verify(seen, outcome)
        on_event(Event("switch", f"moving readers to build {build.id}"))
        closing.switch(build, seen, result)
    else:
        closing.settle(build, seen, result, finished=whole)
    if switching and not on_live:
        on_event(Event("gc", "looking for builds to drop"))
        dropped, _ = closing.collect(session.spec.keep_builds, seen.desired.fingerprints.build)
        outcome.notes += [f"dropped old build {name}" for name in dropped]
    remember_speed(session.home, seen.model, outcome.flow.tokens, outcome.flow.busy.get("embed", 0.0))
    return report.published(report.done(planned, seen, outcome, closing.record(), letters), letters)


def _fill(
    application: Application, planned: Observation, outcome: Outcome, look: Look, limits: Limits
) -> Observation:
    """Bring the build's rows to what the corpus says, and return the look they were filled from.

    A build that is not live yet is looked at again while the corpus moves under it, and once more
    where documents were refused: those keep their last good rows, taken over from the live build.
    """
    seen = planned
    application.fill(seen, outcome)
    for _ in range(PASSES - 1):
        refused = outcome.flow.dead
        takes_over = seen.work.decision.live is not None and len(refused) > 0
        moved = outcome.flow.moved > 0 or seen.reading.moved()
        if seen.work.decision.on_live or limits.reason or not (moved or takes_over):
            break
        again = look(application.store, before=seen, refused=refused)
        outcome.flow.moved = 0
        seen = again
        if not seen.work.touches_rows:
            break
        application.fill(seen, outcome)
    return seen
