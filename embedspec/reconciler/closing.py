"""The end of a run in the registry: move readers, write down what is left, drop what is too old."""

from __future__ import annotations

from embedspec.errors import LeaseLost, StoreError
from embedspec.reconciler.lease import HeldLease
from embedspec.reconciler.observe import Observation
from embedspec.reconciler.registry import GRACE_S, collectable, point_to, pointer_for, run_note
from embedspec.reconciler.retry import retrying
from embedspec.results import ReconcileResult
from embedspec.stores.lease import actor
from embedspec.stores.protocol import Store
from embedspec.stores.records import BuildRecord, IndexRecord, IndexState
from embedspec.types import BuildStatus, DeadLetter


class Closing:
    """Every step reads the registry anew and may be made twice."""

    def __init__(self, store: Store, held: HeldLease, name: str) -> None:
        self._store = store
        self._held = held
        self._name = name

    def record(self) -> IndexRecord:
        record = retrying(lambda: self._store.observe(self._name))
        assert record is not None  # a build of it was created or found before
        return record

    def switch(self, build: BuildRecord, seen: Observation, result: ReconcileResult) -> None:
        """Readers move to `build` and the spec's reader settings; what the run leaves is written in
        the same step, so that a kill right after it loses nothing."""
        record = self.record()
        state, builds = point_to(
            record,
            self._settled(record, build, seen),
            pointer_for(seen.desired, build, record.now, result.class_.value),
        )
        state = _signed(state, record, seen, result)
        moved = {b.id: b for b in builds}
        for lost in seen.gone:
            known = moved.get(lost) or record.build(lost)
            if known is not None:
                moved[lost] = known.model_copy(update={"dropped": True})
        retrying(lambda: self._store.switch(self._held.lease, state, list(moved.values())))

    def settle(
        self, build: BuildRecord, seen: Observation, result: ReconcileResult, *, finished: bool
    ) -> None:
        """The same without a switch."""
        record = self.record()
        build = self._settled(record, build, seen)
        if build.status is BuildStatus.building and finished:
            build = build.model_copy(update={"status": BuildStatus.ready})
        state = _signed(record.state, record, seen, result)
        retrying(lambda: self._store.save(self._held.lease, state, [build]))

    def _settled(self, record: IndexRecord, build: BuildRecord, seen: Observation) -> BuildRecord:
        """The build's record with its rows counted and, unless it is followed by its own spec, the
        spec as applied."""
        build = record.build(build.id) or build
        changes: dict[str, object] = {"rows": retrying(lambda: self._store.count(build))}
        if not seen.work.decision.follow_live:
            changes |= {"spec": dict(seen.desired.spec), "fields": dict(seen.desired.recipe.fields)}
        return build.model_copy(update=changes)

    def keep_letters(self, before: list[DeadLetter], letters: list[DeadLetter]) -> None:
        if letters_moved(before, letters):
            retrying(lambda: self._store.replace_dead_letters(self._held.lease, self._name, letters))

    def catch_up_view(self, record: IndexRecord | None) -> None:
        """Convenience objects that a reader held up at the last switch."""
        if record is not None and record.view == "behind":
            retrying(lambda: self._store.finish_switch(self._held.lease, self._name))

    def collect(
        self, keep_builds: int, wanted: str, grace_s: float = GRACE_S
    ) -> tuple[list[str], dict[str, str]]:
        """Drop builds beyond `keep_builds` whose readers are long gone. Returns the dropped ones, and
        why the others stay; one that is still read just now stays until the next time."""
        drop, stays = collectable(self.record(), keep_builds, grace_s, wanted)
        dropped = []
        for build, keep_record in drop:
            try:
                self._store.drop(self._held.lease, build, keep_record=keep_record)
            except LeaseLost:
                raise
            except StoreError as error:
                stays[build.id] = f"could not be dropped: {error.what}"
            else:
                dropped.append(build.id)
        return dropped, stays


def _signed(state: IndexState, record: IndexRecord, seen: Observation, result: ReconcileResult) -> IndexState:
    """The state with who ran what over which corpus: a refused mass delete names them."""
    return state.model_copy(
        update={
            "source": seen.desired.source,
            "actor": actor(),
            "last_run": run_note(result.dump(), actor(), record.now),
        }
    )


def letters_moved(before: list[DeadLetter], after: list[DeadLetter]) -> bool:
    return {(x.key, x.reason, x.content) for x in before} != {(x.key, x.reason, x.content) for x in after}
