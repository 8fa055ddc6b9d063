"""`reconcile`: plan, take the lease, apply, switch, tidy up, and say what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from embedspec.errors import PlanRefused, StoreError
from embedspec.reconcile.apply import Application, Outcome
from embedspec.reconcile.home import write_atomically
from embedspec.reconcile.lease import HeldLease
from embedspec.reconcile.observe import Listener, Observation, observe, remember_speed
from embedspec.reconcile.pipeline import Limits
from embedspec.reconcile.planner import mass_delete
from embedspec.reconcile.registry import GRACE_S, collectable, point_to, run_note
from embedspec.reconcile.retry import retrying
from embedspec.reconcile.session import Session
from embedspec.results import Plan, ReconcileResult, Seconds
from embedspec.stores.lease import actor
from embedspec.stores.protocol import Store
from embedspec.stores.records import IndexRecord, IndexState, Pointer
from embedspec.types import BuildStatus, ChangeClass, DeadLetter, Event

PASSES = 3
"""How often a new build is brought up to date before the switch, if the corpus keeps moving."""


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
    approve: Callable[[Plan], bool] | None = None,
    on_event: Listener,
) -> ReconcileResult:
    """Make the store agree with the spec. `saved`: execute exactly this plan or refuse.
    `approve`: asked once with a plan that is not empty; False ends with nothing changed."""
    started = time.perf_counter()
    session.require_policy()
    limits = Limits(
        stop=options.stop,
        budget_tokens=options.budget_tokens,
        deadline=None if options.max_seconds is None else time.monotonic() + options.max_seconds,
    )
    with session.open_store(write=True) as store:
        seen = _look(session, store, options, saved, on_event)
        if not _anything_to_do(seen):
            return _report(session, seen, None, limits, started, seen.record)
        if saved is None and approve is not None and not seen.plan.empty and not approve(seen.plan):
            result = _report(session, seen, None, limits, started, seen.record)
            result.message, result.exit_code = "not approved: nothing was changed", 0
            return result
        with HeldLease(store, session.spec.name, timeout_s=options.lock_timeout_s) as held:
            if _moved(seen.record, retrying(lambda: store.observe(session.spec.name))):
                seen = _look(session, store, options, saved, on_event)
                if not _anything_to_do(seen):
                    return _report(session, seen, None, limits, started, seen.record)
            return _apply(session, store, held, seen, options, limits, started, on_event)


def _look(
    session: Session, store: Store, options: RunOptions, saved: Plan | None, on_event: Listener
) -> Observation:
    seen = observe(session, store, limit=options.limit, on_event=on_event)
    if saved is not None:
        _require_unmoved(saved, seen.plan)
    live_documents = len(seen.live_rows)
    mass = mass_delete(seen.plan.documents, live_documents, seen.record, seen.desired)
    if mass and not options.allow_mass_delete:
        refused = PlanRefused(
            mass,
            where=session.loaded.where("corpus.source"),
            fix="check the source; if the deletes are meant, pass --allow-mass-delete",
        )
        refused.result = seen.plan
        raise refused
    return seen


def _require_unmoved(saved: Plan, now: Plan) -> None:
    """A saved plan is executed exactly or not at all. That the cache holds more by now is fine."""
    names = {
        "spec": "the spec was edited",
        "model": "the model (or its lock entry) is another one",
        "corpus": "the corpus changed",
        "store": "the target is another server or database",
        "lineage": "the index was destroyed and made anew",
        "serial": "the index was written to",
        "limit": "--limit differs",
    }
    moved = [why for key, why in names.items() if saved.proof.get(key) != now.proof.get(key)]
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


def _moved(before: IndexRecord | None, after: IndexRecord | None) -> bool:
    if before is None or after is None:
        return after is not before
    return (before.lineage, before.serial) != (after.lineage, after.serial)


def _anything_to_do(seen: Observation) -> bool:
    if seen.plan.class_ is not ChangeClass.none or seen.work.touches_rows:
        return True
    view_behind = seen.record is not None and seen.record.view == "behind"
    return view_behind or _letters_moved(seen.registered, seen.standing)


def _letters_moved(before: list[DeadLetter], after: list[DeadLetter]) -> bool:
    return {(x.key, x.reason) for x in before} != {(x.key, x.reason) for x in after}


def _apply(
    session: Session,
    store: Store,
    held: HeldLease,
    seen: Observation,
    options: RunOptions,
    limits: Limits,
    started: float,
    on_event: Listener,
) -> ReconcileResult:
    work = Application(session, store, held, limits, on_event)
    planned = seen
    if seen.plan.class_ is ChangeClass.none and not seen.work.touches_rows:
        return _bookkeeping(session, store, held, seen, limits, started)
    outcome = work.prepare(seen)
    decision = seen.work.decision
    on_live = decision.live is not None and outcome.build.id == decision.live.id
    for _ in range(PASSES):
        work.fill(seen, outcome)
        if on_live or limits.reason or not (outcome.flow.moved or seen.reading.moved()):
            break
        outcome.flow.moved = 0
        seen = observe(session, store, limit=options.limit, on_event=on_event)
        if not seen.work.touches_rows:
            break
    if seen.work.touches_rows or not on_live:
        work.finish(outcome)
    letters = _unique([*seen.standing, *outcome.flow.dead])
    complete = limits.reason is None
    if decision.switch and seen.work.decision.switch and complete:
        if not on_live:
            work.verify(seen, outcome)
        _switch(session, store, held, seen, outcome, on_event)
    _settle(session, store, held, seen, outcome, letters, planned, started, limits)
    record = retrying(lambda: store.observe(session.spec.name))
    if decision.switch and complete and not on_live and record is not None:
        _collect(session, store, held, record, seen, outcome)
        record = retrying(lambda: store.observe(session.spec.name))
    remember_speed(session, seen.model, outcome.flow.tokens, outcome.flow.busy.get("embed", 0.0))
    return _report(session, planned, outcome, limits, started, record, letters)


def _bookkeeping(
    session: Session, store: Store, held: HeldLease, seen: Observation, limits: Limits, started: float
) -> ReconcileResult:
    """Nothing to do to rows: only dead letters, or a view that was left behind."""
    if seen.record is not None and seen.record.view == "behind":
        retrying(lambda: store.finish_switch(held.lease, session.spec.name))
    if _letters_moved(seen.registered, seen.standing):
        retrying(lambda: store.replace_dead_letters(held.lease, session.spec.name, seen.standing))
    record = retrying(lambda: store.observe(session.spec.name))
    return _report(session, seen, None, limits, started, record)


def _switch(
    session: Session, store: Store, held: HeldLease, seen: Observation, outcome: Outcome, on_event: Listener
) -> None:
    record = retrying(lambda: store.observe(session.spec.name))
    assert record is not None  # the build was created in it
    on_event(Event("switch", f"moving readers to build {outcome.build.id}"))
    desired = seen.desired
    pointer = Pointer(
        build=outcome.build.id,
        model=desired.model,
        query_prompt=desired.query_prompt,
        search=dict(desired.search),
        reader=desired.reader,
        since=record.now,
        reason=seen.plan.class_.value,
    )
    build = record.build(outcome.build.id) or outcome.build
    state, builds = point_to(record, build, pointer)
    retrying(lambda: store.switch(held.lease, state, builds))


def _settle(
    session: Session,
    store: Store,
    held: HeldLease,
    seen: Observation,
    outcome: Outcome,
    letters: list[DeadLetter],
    planned: Observation,
    started: float,
    limits: Limits,
) -> None:
    """Write down what this run leaves: dead letters, the build's row count and spec, who ran it."""
    name = session.spec.name
    record = retrying(lambda: store.observe(name))
    assert record is not None  # the build was created in it
    build = record.build(outcome.build.id) or outcome.build
    rows = retrying(lambda: store.count(build))
    changes: dict[str, object] = {"rows": rows}
    if not seen.work.decision.follow_live:
        changes |= {"spec": dict(seen.desired.spec), "fields": dict(seen.desired.recipe.fields)}
    finished = limits.reason is None and not seen.work.incomplete and not seen.corpus.limited
    if build.status is BuildStatus.building and finished:
        changes["status"] = BuildStatus.ready
    result = _report(session, planned, outcome, limits, started, record, letters)
    state: IndexState = record.state.model_copy(
        update={
            "source": seen.desired.source,
            "actor": actor(),
            "last_run": run_note(result.dump(), actor(), record.now),
        }
    )
    retrying(lambda: store.save(held.lease, state, [build.model_copy(update=changes)]))
    if _letters_moved(seen.registered, letters):
        retrying(lambda: store.replace_dead_letters(held.lease, name, letters))


def _collect(
    session: Session, store: Store, held: HeldLease, record: IndexRecord, seen: Observation, outcome: Outcome
) -> None:
    """Drop builds beyond `keep_builds` whose readers are long gone; what is busy stays for `gc`."""
    wanted = seen.desired.fingerprints.build
    drop, _ = collectable(record, session.spec.keep_builds, GRACE_S, wanted)
    for build, keep_record in drop:
        try:
            store.drop(held.lease, build, keep_record=keep_record)
            outcome.notes.append(f"dropped old build {build.id}")
        except StoreError as error:
            outcome.notes.append(
                f"old build {build.id} could not be dropped ({error.what}); `embedspec gc` will"
            )


def _unique(letters: list[DeadLetter]) -> list[DeadLetter]:
    return list({letter.key: letter for letter in letters}.values())


def _report(
    session: Session,
    seen: Observation,
    outcome: Outcome | None,
    limits: Limits,
    started: float,
    record: IndexRecord | None,
    letters: list[DeadLetter] | None = None,
) -> ReconcileResult:
    letters = seen.standing if letters is None else letters
    plan = seen.plan.model_copy(update={"failed": len(letters)})
    done = outcome or Outcome(build=None)  # type: ignore[arg-type]  # only counters are read
    live = record.live if record else None
    total = time.perf_counter() - started
    embed_s = done.flow.busy.get("embed", 0.0)
    expected_s = plan.estimate.seconds
    result = ReconcileResult(
        **{k: getattr(plan, k) for k in Plan.model_fields if k not in {"build", "live", "warnings"}},
        warnings=[*plan.warnings, *done.notes],
        embedded=done.flow.embedded,
        cached=done.cached,
        written=done.written,
        patched=done.patched,
        deleted=done.deleted,
        moved=done.flow.moved,
        build=outcome.build.id if outcome else plan.build,
        live=live.id if live else None,
        tokens_embedded=done.flow.tokens,
        seconds=Seconds(
            read=round(done.flow.busy.get("read", 0.0), 3),
            embed=round(embed_s, 3),
            write=round(done.write_s, 3),
            index=round(done.index_s, 3),
            total=round(total, 3),
        ),
        busy={stage: round(seconds, 3) for stage, seconds in done.flow.busy.items()},
        estimate_error=round(embed_s / expected_s - 1, 3) if expected_s and embed_s else None,
    )
    result.exit_code, result.message = _exit(result, seen, limits)
    result.dead_letters = write_letters(session, letters)
    return result


def _exit(result: ReconcileResult, seen: Observation, limits: Limits) -> tuple[int, str | None]:
    rejected = seen.work.decision.follow_live
    if rejected:
        return 3, seen.plan.blocked
    if result.failed or not seen.plan.complete:
        why = []
        if result.failed:
            why.append(f"{result.failed:,} dead letters stand")
        if not seen.plan.complete:
            why.append(seen.plan.blocked or "the source was not read completely: nothing was deleted")
        return 9, "; ".join(why)
    if limits.reason is not None:
        return 7, f"{limits.reason}; run again to go on"
    return 0, seen.plan.blocked


def write_letters(session: Session, letters: list[DeadLetter]) -> str | None:
    """The JSON-lines file of dead letters for people; removed when none stand."""
    path: Path = session.home.dead_letters / f"{session.spec.name}.jsonl"
    if not letters:
        path.unlink(missing_ok=True)
        return None
    lines = b"".join(orjson.dumps(asdict(letter)) + b"\n" for letter in letters)
    if not path.is_file() or path.read_bytes() != lines:
        write_atomically(path, lines)
    return str(path)
