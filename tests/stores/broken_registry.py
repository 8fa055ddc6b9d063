"""Memory stores that break a promise of the registry or the lease."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from embedspec.errors import LeaseHeld, LeaseLost, StoreError
from embedspec.stores import memory_store
from embedspec.stores.memory_store import MemoryStore
from embedspec.stores.memory_target import HeldLease
from embedspec.stores.protocol import Lease
from embedspec.stores.records import BuildRecord, IndexRecord, IndexState, LeaseInfo
from embedspec.types import (
    DeadLetter,
    HashArray,
    RowBatch,
    hash_list,
)

from .breaking import fails

# --- registry -------------------------------------------------------------------------------------


@fails("test_every_write_raises_the_serial")
class PatchKeepsTheSerial(MemoryStore):
    def patch(self, lease: Lease, *args: Any) -> int:
        index = self._writable(lease)
        serial = index.serial
        changed = super().patch(lease, *args)
        index.serial = serial
        return changed


@fails("test_every_write_raises_the_serial")
class RenewRaisesTheSerial(MemoryStore):
    def renew(self, lease: Lease, ttl_s: float) -> None:
        super().renew(lease, ttl_s)
        self._writable(lease).serial += 1


@fails("test_create_build_twice_leaves_the_build_alone")
class CreatesTheTablesAnew(MemoryStore):
    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        super().create_build(lease, state, build)
        self._rows(build).clear()


@fails("test_lineage_is_made_once")
class MakesALineagePerBuild(MemoryStore):
    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        super().create_build(lease, state, build)
        self._writable(lease).lineage = uuid.uuid4().hex


@fails("test_switch_is_atomic_for_readers")
class SwitchesInTwoSteps(MemoryStore):
    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        self.save(lease, state, builds)
        time.sleep(0.002)
        super().switch(lease, state, builds)


@fails("test_save_and_create_build_never_move_readers")
class SaveMovesReaders(MemoryStore):
    def save(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord] = ()) -> None:
        self.switch(lease, state, builds)


@fails("test_save_writes_state_and_builds")
class SaveForgetsTheLastRun(MemoryStore):
    def save(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord] = ()) -> None:
        super().save(lease, state.model_copy(update={"last_run": None}), builds)


@fails("test_drop_with_and_without_record")
class DropKeepsTheTables(MemoryStore):
    def drop(self, lease: Lease, build: BuildRecord, *, keep_record: bool) -> None:
        rows = self._rows(build)
        super().drop(lease, build, keep_record=keep_record)
        if keep_record:
            self._writable(lease).builds[build.id].rows = rows


@fails("test_dead_letters_are_replaced_as_a_whole")
class AppendsDeadLetters(MemoryStore):
    def replace_dead_letters(self, lease: Lease, name: str, letters: Sequence[DeadLetter]) -> None:
        super().replace_dead_letters(lease, name, [*self.dead_letters(name), *letters])


@fails("test_indexes_of_one_target_do_not_see_each_other")
class SharesDeadLetters(MemoryStore):
    def dead_letters(self, name: str) -> list[DeadLetter]:
        return [letter for index in self._target.indexes.values() for letter in index.letters]


@fails("test_nothing_is_observed_before_the_first_build")
class ALeaseMakesAnIndex(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        lease = super().acquire(name, holder, ttl_s)
        self._target.indexes.setdefault(name, memory_store.Index("0" * 32, IndexState()))
        return lease


@fails("test_reading_an_empty_target_creates_nothing")
class ReadersMayWrite(MemoryStore):
    def _require_write(self) -> None:
        pass


@fails("test_create_build_is_seen_by_every_connection")
class ForgetsTheIdentity(MemoryStore):
    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        super().create_build(lease, state, build.model_copy(update={"identity": {}}))


@fails("test_times_keep_their_instant")
class KeepsWholeSeconds(MemoryStore):
    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        whole = build.created.replace(microsecond=0)
        super().create_build(lease, state, build.model_copy(update={"created": whole}))


@fails("test_switch_moves_readers")
class SwitchOnlySaves(MemoryStore):
    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        self.save(lease, state, builds)


@fails("test_switch_to_a_build_that_is_not_there_is_refused")
class SwitchesToNothing(MemoryStore):
    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        with self._target.lock:
            self.save(lease, state, builds)
            self._writable(lease).state = state


@fails("test_names_with_dashes")
class FoldsNames(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        return super().acquire(name.replace("-", "_"), holder, ttl_s)

    def observe(self, name: str) -> IndexRecord | None:
        return super().observe(name.replace("-", "_"))


# --- lease ----------------------------------------------------------------------------------------


@fails("test_a_stale_holder_changes_nothing")
class IgnoresFencing(MemoryStore):
    def _prove(self, lease: Lease, build: BuildRecord | None = None) -> HeldLease:
        return self._target.leases[lease.name]


@fails("test_a_stale_holder_changes_nothing")
class ProvesTheLeaseAfterwards(MemoryStore):
    def delete(self, lease: Lease, build: BuildRecord, keys: HashArray) -> int:
        held = self._rows(build)
        gone = sum(held.pop(key, None) is not None for key in hash_list(keys))
        super().delete(lease, build, keys)
        return gone


@fails("test_a_held_lease_is_refused_and_names_its_holder")
class GivesTheLeaseToAnyone(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        self._target.leases.pop(name, None)
        return super().acquire(name, holder, ttl_s)


@fails("test_a_dead_process_is_replaced_at_once")
class WaitsForTheDead(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        return super().acquire(name, holder.model_copy(update={"started": 0.0, "boot": ""}), ttl_s)


@fails("test_the_lease_is_observed")
class ForgetsTheStartTime(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        return super().acquire(name, holder.model_copy(update={"started": 0.0}), ttl_s)


@fails("test_release_frees_and_ends_the_right_to_write")
class ReleasesAnyonesLease(MemoryStore):
    def release(self, lease: Lease) -> None:
        self._target.leases.pop(lease.name, None)


@fails("test_renew_keeps_the_lease")
class RenewDoesNothing(MemoryStore):
    def renew(self, lease: Lease, ttl_s: float) -> None:
        self._prove(lease)


@fails("test_an_expired_lease_can_be_taken")
class RenewsALostLease(MemoryStore):
    def renew(self, lease: Lease, ttl_s: float) -> None:
        try:
            super().renew(lease, ttl_s)
        except LeaseLost:
            return


@fails("test_acquire_twice_by_one_owner")
class KnowsNobodyAgain(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        held = self._target.leases.get(name)
        if held is not None and held.holder.owner == holder.owner:
            raise LeaseHeld(f"{holder.owner} on {holder.host} holds it")
        return super().acquire(name, holder, ttl_s)


@fails("test_leases_are_per_index")
class HasOneLeaseForAll(MemoryStore):
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        if self._target.leases.keys() - {name}:
            raise LeaseHeld("another index is being written")
        return super().acquire(name, holder, ttl_s)


@fails("test_renew_from_another_thread_while_writing")
class RenewsOnTheWritersConnection(MemoryStore):
    busy = False

    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        self.busy = True
        time.sleep(0.01)
        super().upsert(lease, build, rows, fresh=fresh)
        self.busy = False

    def renew(self, lease: Lease, ttl_s: float) -> None:
        if self.busy:
            raise StoreError("another command is already in progress")
        super().renew(lease, ttl_s)
