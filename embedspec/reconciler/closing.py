"""The end of a run in the registry: move readers, write down what is left, drop what is too old."""

from __future__ import annotations

from embedspec.errors import StoreError
from embedspec.reconciler.lease import HeldLease
from embedspec.reconciler.observe import Observation
from embedspec.reconciler.registry import GRACE_S, collectable, point_to, run_note
from embedspec.reconciler.retry import retrying
from embedspec.results import ReconcileResult
from embedspec.stores.lease import actor
from embedspec.stores.protocol import Store
from embedspec.stores.records import BuildRecord, IndexRecord, Pointer
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

    def switch(self, build: BuildRecord, seen: Observation) -> None:
        """Readers move to `build` and the spec's reader settings, in one step."""
        record = self.record()
        desired = seen.desired
        pointer = Pointer(
            build=build.id,
            model=desired.model,
            query_prompt=desired.query_prompt,
            search=dict(desired.search),
            reader=desired.reader,
            since=record.now,
            reason=seen.plan.class_.value,
        )
        state, builds = point_to(record, record.build(build.id) or build, pointer)
        retrying(lambda: self._store.switch(self._held.lease, state, builds))

    def settle(
        self, build: BuildRecord, seen: Observation, result: ReconcileResult, *, finished: bool
    ) -> None:
        """The build's row count and spec as applied, and who ran what."""
        record = self.record()
        build = record.build(build.id) or build
        changes: dict[str, object] = {"rows": retrying(lambda: self._store.count(build))}
        if not seen.work.decision.follow_live:
            changes |= {"spec": dict(seen.desired.spec), "fields": dict(seen.desired.recipe.fields)}
        if build.status is BuildStatus.building and finished:
            changes["status"] = BuildStatus.ready
        state = record.state.model_copy(
            update={
                "source": seen.desired.source,
                "actor": actor(),
                "last_run": run_note(result.dump(), actor(), record.now),
            }
        )
        retrying(lambda: self._store.save(self._held.lease, state, [build.model_copy(update=changes)]))

    def keep_letters(self, before: list[DeadLetter], letters: list[DeadLetter]) -> None:
        if letters_moved(before, letters):
            retrying(lambda: self._store.replace_dead_letters(self._held.lease, self._name, letters))

    def catch_up_view(self) -> None:
        """Convenience objects that a reader held up at the last switch."""
        if self.record().view == "behind":
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
            except StoreError as error:
                stays[build.id] = f"could not be dropped: {error.what}"
            else:
                dropped.append(build.id)
        return dropped, stays


def letters_moved(before: list[DeadLetter], after: list[DeadLetter]) -> bool:
    return {(x.key, x.reason, x.content) for x in before} != {(x.key, x.reason, x.content) for x in after}
