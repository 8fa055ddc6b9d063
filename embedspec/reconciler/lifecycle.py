"""The verbs that move readers or drop builds without touching the corpus: status, promote,
rollback, gc."""

from __future__ import annotations

import time

from embedspec.errors import BuildMissing, EmbedspecError, Held
from embedspec.reconciler.closing import Closing
from embedspec.reconciler.lease import HeldLease
from embedspec.reconciler.registry import GRACE_S, accept, point_to, pointer_for, roll_back
from embedspec.reconciler.retry import retrying
from embedspec.reconciler.session import Session
from embedspec.results import BuildStatusInfo, GcResult, LockInfo, StatusResult, SwitchResult
from embedspec.stores.lease import provably_dead
from embedspec.stores.protocol import Store
from embedspec.stores.records import BuildRecord, IndexRecord, LeaseInfo, Pointer
from embedspec.types import BuildStatus

PROMOTABLE = frozenset({BuildStatus.ready, BuildStatus.held, BuildStatus.rejected, BuildStatus.kept})


def status(session: Session) -> StatusResult:
    """What the store holds of this index. Never reads the corpus, never loads a model."""
    name = session.spec.name
    with session.open_store(write=False) as store:
        record = retrying(lambda: store.observe(name))
        if record is None:
            return StatusResult(spec=name, live=None, builds=[], lock=None, view=None, store=None)
        builds = [_describe(store, record, b) for b in record.builds]
        letters = retrying(lambda: store.dead_letters(name))
        pointer = record.state.pointer
        return StatusResult(
            spec=name,
            live=pointer.build if pointer else None,
            builds=builds,
            lock=_lock(record.lease),
            view=record.view,
            store=retrying(store.identity),
            failed=len(letters),
            last_run=record.state.last_run,
            reader={"query_prompt": pointer.query_prompt, **pointer.search} if pointer else None,
        )


def _describe(store: Store, record: IndexRecord, build: BuildRecord) -> BuildStatusInfo:
    rejection = [
        r for r in record.state.rejections if r.build == build.fingerprints.build and r.reader is None
    ]
    is_live = record.live is not None and record.live.id == build.id
    reason = rejection[-1].reason if rejection and not is_live else None
    rows = None
    if build.dropped:
        reason = reason or "dropped"
    else:
        try:
            rows = retrying(lambda: store.count(build))
        except BuildMissing:
            reason = "its tables are gone; `embedspec reconcile` makes them anew"
    return BuildStatusInfo(
        id=build.id,
        status=BuildStatus.live if is_live else build.status,
        rows=rows,
        created=build.created,
        fingerprints=build.fingerprints.model_dump(),
        dimension=build.dimension,
        quantization=build.quantization.value,
        metric=build.metric.value,
        index=build.index,
        model=build.model.use,
        reason=reason,
    )


def _lock(lease: LeaseInfo | None) -> LockInfo | None:
    if lease is None:
        return None
    return LockInfo(
        owner=lease.owner,
        host=lease.host,
        pid=lease.pid,
        acquired=lease.acquired,
        expires_in_s=round(lease.expires_in_s, 1),
        dead=provably_dead(lease),
    )


def promote(
    session: Session, build_id: str | None, *, force: bool, reason: str | None, lock_timeout_s: float
) -> SwitchResult:
    """Move readers to a finished build of the spec's identity (by default the newest ready, held or
    rejected one), or to the spec's reader settings if those were rolled back. Where that build was
    dropped, only its rejection is lifted, and the next `reconcile` builds it."""
    started = time.perf_counter()
    name = session.spec.name
    session.require_policy()
    with session.open_store(write=True) as store:
        _require(store, name)
        with HeldLease(store, name, timeout_s=lock_timeout_s) as held:
            record = _require(store, name)
            desired = session.desired
            build = _promotable(session, record, build_id)
            if build is None:
                return _lift_rejection(session, store, held, record, started)
            verdict = (build.verdict or {}).get("verdict", "pass")
            needs_force = build.status is BuildStatus.held or verdict != "pass"
            if needs_force and not force:
                raise Held(
                    f"build {build.id} has no passing verdict",
                    where=name,
                    fix="pass --force --reason TEXT to promote it all the same; the reason is kept",
                )
            why = f"promoted{', forced' if needs_force else ''}: {reason}" if reason else "promoted"
            pointer = pointer_for(desired, build, record.now, why)
            state, builds = point_to(record, build, pointer)
            state = accept(state, build.fingerprints.build, desired.reader)
            retrying(lambda: store.switch(held.lease, state, builds))
            return _switched(store, record, pointer, started)


def _lift_rejection(
    session: Session, store: Store, held: HeldLease, record: IndexRecord, started: float
) -> SwitchResult:
    desired = session.desired
    state = accept(record.state, desired.fingerprints.build, desired.reader)
    retrying(lambda: store.save(held.lease, state))
    for build in record.builds:
        if build.dropped and build.fingerprints.build == desired.fingerprints.build:
            retrying(lambda b=build: store.drop(held.lease, b, keep_record=False))  # type: ignore[misc]
    live = record.live
    return SwitchResult(
        spec=record.name,
        live=live.id if live else None,
        previous=live.id if live else None,
        reason="its build was dropped: the rejection is lifted, and the next `embedspec reconcile` builds it",
        seconds=round(time.perf_counter() - started, 3),
        view=record.view,
    )


def _promotable(session: Session, record: IndexRecord, build_id: str | None) -> BuildRecord | None:
    """The build to promote; None if only a rejection of what the spec asks for is there."""
    desired = session.desired
    wanted = desired.fingerprints.build
    live, pointer = record.live, record.state.pointer
    if build_id is not None:
        build = record.build(build_id)
        if build is None or build.dropped:
            known = ", ".join(b.id for b in record.builds if not b.dropped) or "none"
            raise EmbedspecError(f"there is no build {build_id}", where=record.name, fix=f"builds: {known}")
        if build.fingerprints.build != wanted:
            raise EmbedspecError(
                f"build {build_id} is not what the spec asks for; the next reconcile would switch back",
                where=record.name,
                fix="use `embedspec rollback` to return to an earlier build, or change the spec",
            )
    else:
        finished = [
            b
            for b in record.builds
            if b.fingerprints.build == wanted
            and b.status in PROMOTABLE
            and not b.dropped
            and (live is None or b.id != live.id)
        ]
        if finished:
            build = max(finished, key=lambda b: b.created)
        elif live is not None and live.fingerprints.build == wanted:
            build = live
        elif any(r.build == wanted for r in record.state.rejections):
            return None
        else:
            raise EmbedspecError(
                "no finished build of what the spec asks for is there to promote",
                where=record.name,
                fix="run `embedspec reconcile`; `embedspec status` lists the builds",
            )
    if build.status is BuildStatus.building:
        raise EmbedspecError(
            f"build {build.id} is unfinished", where=record.name, fix="run `embedspec reconcile` to finish it"
        )
    if live is not None and build.id == live.id and pointer is not None and pointer.reader == desired.reader:
        raise EmbedspecError(
            f"build {build.id} is live already, with these reader settings",
            where=record.name,
            fix="nothing needs to be done; `embedspec status` shows what readers use",
        )
    return build


def rollback(session: Session, build_id: str | None, *, lock_timeout_s: float) -> SwitchResult:
    """One step back in the pointer's history; what it leaves is rejected until `promote`."""
    started = time.perf_counter()
    name = session.spec.name
    with session.open_store(write=True) as store:
        _require(store, name)
        with HeldLease(store, name, timeout_s=lock_timeout_s) as held:
            record = _require(store, name)
            state, builds, pointer = roll_back(record, build_id)
            retrying(lambda: store.switch(held.lease, state, builds))
            return _switched(store, record, pointer, started)


def _switched(store: Store, before: IndexRecord, pointer: Pointer, started: float) -> SwitchResult:
    seconds = round(time.perf_counter() - started, 3)
    record = retrying(lambda: store.observe(before.name))
    previous = before.state.pointer
    target = before.build(pointer.build)
    notices = []
    if target is not None and target.left_live is not None:
        notices.append(
            f"build {target.id} holds the corpus as of {target.left_live:%Y-%m-%d %H:%M} UTC; "
            "`embedspec reconcile` brings it up to date"
        )
    return SwitchResult(
        spec=before.name,
        live=pointer.build,
        previous=previous.build if previous else None,
        reason=pointer.reason,
        seconds=seconds,
        view=record.view if record else None,
        notices=notices,
    )


def gc(session: Session, *, grace_s: float | None, lock_timeout_s: float) -> GcResult:
    """Drop builds that are beyond `keep_builds` and that readers left at least `grace_s` ago."""
    name = session.spec.name
    with session.open_store(write=True) as store:
        if retrying(lambda: store.observe(name)) is None:
            return GcResult(spec=name, dropped=[], kept=[])
        with HeldLease(store, name, timeout_s=lock_timeout_s) as held:
            closing = Closing(store, held, name)
            dropped, stays = closing.collect(
                session.spec.keep_builds,
                session.desired.fingerprints.build,
                GRACE_S if grace_s is None else grace_s,
            )
            closing.catch_up_view(closing.record())
    return GcResult(spec=name, dropped=dropped, kept=[f"{b}: {why}" for b, why in stays.items()])


def _require(store: Store, name: str) -> IndexRecord:
    record = retrying(lambda: store.observe(name))
    if record is None:
        raise EmbedspecError(
            f"there is no index {name!r} in the target", where=name, fix="run `embedspec reconcile` first"
        )
    return record
