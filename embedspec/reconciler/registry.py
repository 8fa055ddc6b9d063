"""Pure steps on the registry's records: new builds, switching, rolling back, what may be dropped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from embedspec.errors import EmbedspecError
from embedspec.reconciler.desired import Desired
from embedspec.stores.records import BuildRecord, Canary, IndexRecord, IndexState, Pointer, Rejection
from embedspec.types import BuildStatus

HISTORY = 20
GRACE_S = 600.0
"""A build that readers left is not dropped for so long: a slow reader may still hold its pointer."""


def new_build(
    desired: Desired, state: IndexState, now: datetime, canary: Canary | None
) -> tuple[IndexState, BuildRecord]:
    build = BuildRecord(
        index_name=desired.name,
        id=f"b{state.next_build}_{desired.fingerprints.build[:6]}",
        status=BuildStatus.building,
        fingerprints=desired.fingerprints,
        identity=dict(desired.identity),
        spec=dict(desired.spec),
        model=desired.model,
        dimension=desired.storage.dimension,
        quantization=desired.storage.quantization,
        metric=desired.storage.metric,
        index=dict(desired.storage.index),
        fields=dict(desired.recipe.fields),
        created=now,
        canary=canary,
    )
    return state.model_copy(update={"next_build": state.next_build + 1}), build


def pointer_for(desired: Desired, build: BuildRecord, now: datetime, reason: str) -> Pointer:
    """A pointer to `build` with the reader settings that the spec asks for."""
    return Pointer(
        build=build.id,
        model=desired.model,
        query_prompt=desired.query_prompt,
        search=dict(desired.search),
        reader=desired.reader,
        since=now,
        reason=reason,
    )


def point_to(
    record: IndexRecord, build: BuildRecord, pointer: Pointer, *, history: tuple[Pointer, ...] | None = None
) -> tuple[IndexState, list[BuildRecord]]:
    """The state and the build records after readers moved to `pointer` (which names `build`).
    `history` replaces the pointer's history (rollback); by default the old pointer joins it."""
    state = record.state
    if history is None:
        earlier = (*state.history, state.pointer) if state.pointer is not None else state.history
        history = earlier[-HISTORY:]
    changed = [build.model_copy(update={"status": BuildStatus.live, "left_live": None})]
    live = record.live
    if live is not None and live.id != build.id:
        changed.append(live.model_copy(update={"status": BuildStatus.kept, "left_live": record.now}))
    return state.model_copy(update={"pointer": pointer, "history": history}), changed


def roll_back(record: IndexRecord, build_id: str | None) -> tuple[IndexState, list[BuildRecord], Pointer]:
    """One step back in the pointer's history, or to the last step that named `build_id`.

    What is left is marked rejected: the whole build if another one becomes live, else only its
    reader settings, so that `reconcile` does not undo the rollback. Raises EmbedspecError.
    """
    pointer, history = record.state.pointer, record.state.history
    if pointer is None:
        raise EmbedspecError("nothing is live, so there is nothing to roll back", where=record.name)
    steps = [i for i, p in enumerate(history) if build_id is None or p.build == build_id]
    if not steps:
        known = ", ".join(dict.fromkeys(p.build for p in history)) or "none"
        wanted = f"build {build_id} was never live" if build_id else "there is no earlier pointer"
        raise EmbedspecError(
            f"{wanted}, so it cannot be rolled back to", where=record.name, fix=f"earlier: {known}"
        )
    target = history[steps[-1]]
    build = record.build(target.build)
    if build is None or build.dropped:
        raise EmbedspecError(
            f"build {target.build}, live before, has been dropped by gc",
            where=record.name,
            fix="change the spec back and reconcile; vectors come from the cache",
        )
    left = record.build(pointer.build)
    assert left is not None  # the pointer names a build of the registry
    whole = left.id != build.id
    rejection = Rejection(
        build=left.fingerprints.build,
        reader=None if whole else pointer.reader,
        status=BuildStatus.rejected,
        reason=f"rolled back from {left.id} to {build.id}"
        if whole
        else "its reader settings were rolled back",
        at=record.now,
    )
    pointer = target.model_copy(update={"since": record.now, "reason": f"rollback from {pointer.build}"})
    state, builds = point_to(record, build, pointer, history=history[: steps[-1]])
    accepted = _without_rejections_of(state, build.fingerprints.build, pointer.reader)
    state = state.model_copy(update={"rejections": (*accepted, rejection)})
    if whole:
        builds = [
            b if b.id != left.id else b.model_copy(update={"status": BuildStatus.rejected}) for b in builds
        ]
    return state, builds, pointer


def forget(record: IndexRecord, build_id: str) -> IndexRecord:
    """The record as it is without that build, whose tables are gone: dropped, and not live."""
    builds = tuple(b.model_copy(update={"dropped": True}) if b.id == build_id else b for b in record.builds)
    pointer = record.state.pointer
    if pointer is not None and pointer.build == build_id:
        pointer = None
    state = record.state.model_copy(update={"pointer": pointer})
    return record.model_copy(update={"builds": builds, "state": state})


def accept(state: IndexState, build: str, reader: str) -> IndexState:
    """The state after `promote`: neither the build identity (its fingerprint) nor these reader
    settings are refused any more."""
    return state.model_copy(update={"rejections": _without_rejections_of(state, build, reader)})


def _without_rejections_of(state: IndexState, build: str, reader: str) -> tuple[Rejection, ...]:
    return tuple(
        r for r in state.rejections if r.build != build or (r.reader is not None and r.reader != reader)
    )


def collectable(
    record: IndexRecord, keep_builds: int, grace_s: float, wanted: str | None
) -> tuple[list[tuple[BuildRecord, bool]], dict[str, str]]:
    """Builds that may be dropped, each with whether its registry row stays, and why others do not.

    `keep_builds` counts the live one. Unfinished builds go only if the spec no longer asks for them
    (`wanted` is its build fingerprint; None: unknown, unfinished builds stay). The registry row of a
    rejected or held identity stays, so that the identity is still refused.
    """
    drop: list[tuple[BuildRecord, bool]] = []
    stays: dict[str, str] = {}
    live = record.live
    grace = timedelta(seconds=grace_s)
    old: list[BuildRecord] = []
    for build in record.builds:
        if build.dropped:
            continue
        if live is not None and build.id == live.id:
            stays[build.id] = "live"
        elif build.status in {BuildStatus.building, BuildStatus.ready}:
            if wanted is None or build.fingerprints.build == wanted:
                stays[build.id] = "unfinished, and wanted by the spec"
            elif record.now - build.created < grace:
                stays[build.id] = "unfinished, and too young to drop"
            else:
                drop.append((build, False))
        elif build.status is BuildStatus.held and build.fingerprints.build == wanted:
            stays[build.id] = "held, and wanted by the spec"
        else:
            old.append(build)
    old.sort(key=lambda b: b.left_live or b.created, reverse=True)
    refused = {r.build for r in record.state.rejections if r.reader is None}
    for rank, build in enumerate(old):
        left = build.left_live or build.created
        if rank < keep_builds - 1:
            stays[build.id] = f"kept for rollback (keep_builds: {keep_builds})"
        elif record.now - left < grace:
            stays[build.id] = "readers may still hold its pointer (grace period)"
        else:
            drop.append((build, build.fingerprints.build in refused))
    return drop, stays


def run_note(result: dict[str, Any], actor: str, at: datetime) -> dict[str, Any]:
    """The short record of a run that stays in the registry."""
    keys = ("class", "embedded", "cached", "written", "patched", "deleted", "failed", "tokens")
    return {"actor": actor, "at": at.isoformat(), **{k: result[k] for k in keys}}
