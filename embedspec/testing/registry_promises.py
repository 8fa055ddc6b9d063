"""Conformance tests of the registry: observe, create_build, save, switch, drop, serial, dead letters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from embedspec.errors import BuildMissing, EmbedspecError, StoreError
from embedspec.stores.protocol import Lease, Store
from embedspec.stores.records import BuildRecord, Canary, IndexRecord, IndexState, Rejection
from embedspec.testing.bench import (
    CREATED,
    Bench,
    EmptyTarget,
    batch,
    keys,
    make_items,
    must_raise,
    scan_hashes,
)
from embedspec.types import BuildStatus, DeadLetter, hash_array


def live(record: BuildRecord) -> BuildRecord:
    return record.model_copy(update={"status": BuildStatus.live})


def go_live(bench: Bench, store: Store, lease: Lease, build: BuildRecord) -> IndexRecord:
    """Switch to `build`; the build that was live becomes kept."""
    record = bench.observed(store)
    old = record.live
    builds = [live(build)]
    if old is not None and old.id != build.id:
        builds.append(old.model_copy(update={"status": BuildStatus.kept}))
    state = record.state.model_copy(update={"pointer": bench.pointer(build, f"to {build.id}")})
    store.switch(lease, state, builds)
    return bench.observed(store)


class RegistryPromises:
    def test_nothing_is_observed_before_the_first_build(self, bench: Bench) -> None:
        with bench.open_store() as store:
            assert store.observe(bench.name) is None, (
                "an index that was never created is observed; if this fails, check that observe looks for "
                "the name exactly and treats a missing registry as empty"
            )
            assert store.dead_letters(bench.name) == [], (
                "an index that does not exist has dead letters; if this fails, check that dead_letters "
                "filters by name and treats a missing registry as empty"
            )
            lease = bench.lease(store)
            assert store.observe(bench.name) is None, (
                "a lease alone makes an index; if this fails, check that only create_build writes the "
                "index's row (its lineage is made there)"
            )
            store.release(lease)

    def test_create_build_is_seen_by_every_connection(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            build = bench.build()
            bench.start(store, build)
            for connection in (store, reader):
                record = bench.observed(connection)
                assert record.name == bench.name
                assert record.builds == (build,), (
                    "the build record comes back changed; if this fails, check that it is kept as JSON text "
                    "and parsed by BuildRecord, with no field looked into or rounded"
                )
                assert record.state.next_build == 2, "create_build must save the state it is given"
                assert record.live is None, "a new build must not be live before switch"
                assert record.format == 1
                assert record.now.tzinfo is not None, "now must carry its time zone"
                assert store.count(build) == 0

    def test_create_build_twice_leaves_the_build_alone(self, bench: Bench) -> None:
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(3))
            before = bench.observed(store)
            store.create_build(lease, before.state, build.model_copy(update={"rows": 99}))
            after = bench.observed(store)
            assert store.count(build) == 3, (
                "create_build on a build that is there lost its rows; if this fails, check that tables are "
                "created only if they do not exist"
            )
            assert after.builds == before.builds, "the record of a build that is there must be left alone"
            assert after.lineage == before.lineage

    def test_lineage_is_made_once(self, bench: Bench) -> None:
        other = Bench(bench.adapter, bench.target, bench.open_store)
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(1))
            first = bench.observed(store)
            second = bench.build(2)
            store.create_build(lease, first.state, second)
            go_live(bench, store, lease, second)
            store.drop(lease, build, keep_record=False)
            other.start(store, other.build())
            assert bench.observed(store).lineage == first.lineage, (
                "the lineage changed; if this fails, check that only the first create_build makes it"
            )
            assert other.observed(store).lineage != first.lineage, "two indexes share a lineage"
            assert len(first.lineage) >= 16, "a lineage must be random enough never to be met twice"

    def test_every_write_raises_the_serial(self, bench: Bench) -> None:
        items = make_items(4)
        with bench.open_store() as store:
            build, second = bench.build(), bench.build(2)
            lease = bench.start(store, build)
            state = bench.observed(store).state
            letter = DeadLetter("d9", "unreadable", "c.jsonl:9")
            one = batch(build, items[:1])
            writes: dict[str, Callable[[], object]] = {
                "upsert (fresh)": lambda: store.upsert(lease, build, batch(build, items[:2]), fresh=True),
                "upsert": lambda: store.upsert(lease, build, batch(build, items[1:]), fresh=False),
                "patch": lambda: store.patch(lease, build, one.keys, one.metadata_hash, ['{"a":1}']),
                "delete": lambda: store.delete(lease, build, keys(items[:1])),
                "create_build": lambda: store.create_build(lease, state, second),
                "save": lambda: store.save(lease, state, [build]),
                "switch": lambda: go_live(bench, store, lease, build),
                "replace_dead_letters": lambda: store.replace_dead_letters(lease, bench.name, [letter]),
                "drop (record kept)": lambda: store.drop(lease, second, keep_record=True),
                "drop": lambda: store.drop(lease, second, keep_record=False),
            }
            for name, write in writes.items():
                before = bench.serial(store)
                write()
                assert bench.serial(store) > before, (
                    f"{name} did not raise the serial; if this fails, check that the serial is raised in the "
                    "transaction of every write: a saved plan is refused by it"
                )
            before = bench.serial(store)
            store.renew(lease, 60)
            list(store.scan(build))
            store.release(lease)
            assert bench.serial(store) == before, "reads and the lease's own calls must not raise the serial"

    def test_save_writes_state_and_builds(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            build, second = bench.build(), bench.build(2)
            lease = bench.start(store, build, second)
            canary = Canary(encoder="e" * 32, version=1, dimension=2, vectors="AAAA")
            changed = second.model_copy(
                update={"status": BuildStatus.ready, "rows": 3, "canary": canary, "left_live": CREATED}
            )
            rejection = Rejection(
                build="x", reader=None, status=BuildStatus.held, reason='it\'s "bad"', at=CREATED
            )
            state = IndexState(
                rejections=(rejection,),
                next_build=7,
                source="jsonl c.jsonl",
                actor="a@b",
                last_run={"written": 3, "deep": {"x": [1, 2.5, None, "ü"]}},
            )
            for _ in range(2):
                store.save(lease, state, [changed])
                record = bench.observed(reader)
                assert record.state == state, "save must keep the state whole; check the JSON round trip"
                assert record.build(second.id) == changed, "save must replace the given build records"
                assert record.build(build.id) == build, "save must leave the other build records alone"

    def test_save_and_create_build_never_move_readers(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            build, second, third = bench.build(), bench.build(2), bench.build(3)
            lease = bench.start(store, build, second)
            before = go_live(bench, store, lease, build).state.pointer
            moved = bench.observed(store).state.model_copy(update={"pointer": bench.pointer(second)})
            store.save(lease, moved, [second])
            assert bench.observed(reader).state.pointer == before, (
                "save moved the readers; if this fails, check that only switch writes the pointer"
            )
            store.create_build(lease, moved, third)
            assert bench.observed(reader).state.pointer == before, (
                "create_build moved the readers; if this fails, check that only switch writes the pointer"
            )

    def test_switch_moves_readers(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            build, second = bench.build(), bench.build(2)
            lease = bench.start(store, build, second)
            for target in (build, second, second, build):
                go_live(bench, store, lease, target)
                record = bench.observed(reader)
                assert record.live is not None
                assert record.live.id == target.id, "switch did not move the pointer to the build it names"
                assert record.state.pointer == bench.pointer(target, f"to {target.id}")
                assert store.finish_switch(lease, bench.name), (
                    "finish_switch says something is behind though nobody holds a lock; if this fails, check "
                    "that it brings the view up to the pointer"
                )
                assert store.finish_switch(lease, bench.name), "finish_switch twice must be fine"
                assert bench.observed(reader).view in {None, "current"}

    def test_switch_is_atomic_for_readers(self, bench: Bench) -> None:
        """A reader in a loop always sees one live build, and it is the one the pointer names."""
        faults: list[str] = []
        seen: set[str] = set()
        stop = threading.Event()

        def read(store: Store) -> None:
            while not stop.is_set():
                record = store.observe(bench.name)
                if record is None or record.live is None:
                    faults.append("no live build")
                    continue
                seen.add(record.live.id)
                alive = [b.id for b in record.builds if b.status is BuildStatus.live]
                if alive != [record.live.id]:
                    faults.append(f"pointer on {record.live.id}, live: {alive}")

        with bench.open_store() as store, bench.open_store(write=False) as reader:
            builds = [bench.build(), bench.build(2)]
            lease = bench.start(store, *builds)
            go_live(bench, store, lease, builds[0])
            thread = threading.Thread(target=read, args=(reader,))
            thread.start()
            try:
                for i in range(1, 200):
                    go_live(bench, store, lease, builds[i % 2])
                    if len(seen) == 2 and i >= 20:
                        break
            finally:
                stop.set()
                thread.join()
        assert not faults, (
            f"a reader saw a half-done switch ({faults[0]}); if this fails, check that pointer and build "
            "records are written in one transaction and that observe is one consistent read"
        )

    def test_switch_to_a_build_that_is_not_there_is_refused(self, bench: Bench) -> None:
        with bench.open_store() as store:
            build = bench.build()
            lease = bench.start(store, build)
            before = go_live(bench, store, lease, build)
            state = before.state.model_copy(update={"pointer": bench.pointer(bench.build(9))})
            with pytest.raises(StoreError):
                store.switch(lease, state, [])
            assert bench.observed(store).state == before.state, "a refused switch must change nothing"

    def test_drop_with_and_without_record(self, bench: Bench) -> None:
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(3))
            second = bench.build(2)
            store.create_build(lease, bench.observed(store).state, second)
            for _ in range(2):
                store.drop(lease, build, keep_record=True)
                record = bench.observed(store).build(build.id)
                assert record is not None, "drop with keep_record must keep the registry row"
                assert record == build.model_copy(update={"dropped": True}), (
                    "drop with keep_record must mark the row dropped and change nothing else"
                )
            reads: dict[str, Callable[[], object]] = {
                "search": lambda: store.search(build, make_items(1)[0].vector.reshape(1, -1), 1, search={}),
                "count": lambda: store.count(build),
                "scan": lambda: list(store.scan(build)),
                "rows": lambda: list(store.rows(build, keys(make_items(3)))),
                "vectors": lambda: list(store.vectors(build, hash_array([b"x" * 16]))),
            }
            for name, read in reads.items():
                must_raise(
                    BuildMissing,
                    read,
                    f"{name} of a dropped build; if this fails, check how the driver's 'no such table' is "
                    "translated",
                )
            assert store.count(second) == 0, "drop must not touch other builds"
            for _ in range(2):
                store.drop(lease, build, keep_record=False)
                assert bench.observed(store).builds == (second,), (
                    "drop without keep_record must remove the registry row"
                )

    def test_dead_letters_are_replaced_as_a_whole(self, bench: Bench) -> None:
        letters = [
            DeadLetter("d1", 'it\'s "odd" \\ ünï\n2nd line', "c.jsonl:1", id="d1", content="ab" * 16),
            DeadLetter("c.jsonl:ff00", "no id", "c.jsonl:2", stage="write"),
        ]
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            lease = bench.start(store, bench.build())
            for wanted in (letters, letters, letters[1:], []):
                store.replace_dead_letters(lease, bench.name, wanted)
                found = sorted(reader.dead_letters(bench.name), key=lambda letter: letter.key)
                assert found == sorted(wanted, key=lambda letter: letter.key), (
                    "dead letters are not exactly those last given; if this fails, check that replacing "
                    "deletes the old ones in the same transaction and keeps every field"
                )

    def test_indexes_of_one_target_do_not_see_each_other(self, bench: Bench) -> None:
        other = Bench(bench.adapter, bench.target, bench.open_store)
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(3))
            other_lease, other_build = other.fill(store, make_items(5))
            assert build.id == other_build.id, "the point of this test"
            store.replace_dead_letters(lease, bench.name, [DeadLetter("a", "b", "c")])
            before = scan_hashes(store, build)
            store.delete(other_lease, other_build, keys(make_items(2)))
            go_live(other, store, other_lease, other_build)
            assert scan_hashes(store, build) == before, (
                "a write to one index changed another; if this fails, check that tables are "
                "named by index and build"
            )
            assert bench.observed(store).live is None
            assert bench.observed(store).builds == (build,)
            assert store.dead_letters(other.name) == [], "dead letters of one index are seen in another"

    def test_names_with_dashes(self, bench: Bench) -> None:
        """`a-b` and `a_b` are two indexes, or the second is refused; never one."""
        name = bench.name.replace("_", "-")
        dashed = Bench(bench.adapter, bench.target, bench.open_store, name)
        scored = Bench(bench.adapter, bench.target, bench.open_store, name.replace("-", "_"))
        with bench.open_store() as store:
            lease, build = dashed.fill(store, make_items(3))
            go_live(dashed, store, lease, build)
            assert dashed.observed(store).name == name, "the name must come back as it was given"
            assert dashed.ids(store, build, make_items(3)[1].vector, 1) == ["d1"]
            before = dashed.observed(store)
            refusal = None
            try:
                scored.fill(store, make_items(1))
            except EmbedspecError as error:
                refusal = str(error)
            assert name in (refusal or name), "the refusal must name the index that is in the way"
            after = dashed.observed(store)
            assert (after.serial, after.state, after.builds) == (
                before.serial,
                before.state,
                before.builds,
            ), "an index whose name differs only in '-' and '_' changed this one"
            assert store.count(build) == 3

    def test_times_keep_their_instant(self, bench: Bench) -> None:
        odd = CREATED + timedelta(microseconds=123456)
        with bench.open_store() as store:
            build = bench.build().model_copy(update={"created": odd})
            bench.start(store, build)
            assert bench.observed(store).builds[0].created == odd, "times must keep their microseconds"

    def test_reading_an_empty_target_creates_nothing(self, empty: EmptyTarget, bench: Bench) -> None:
        before = empty.inventory()
        with empty.open_store(write=False) as store:
            assert store.observe(bench.name) is None
            assert store.dead_letters(bench.name) == []
            with pytest.raises(EmbedspecError):
                bench.lease(store)
        assert empty.inventory() == before, (
            "a connection opened for reading created something; if this fails, check that neither server, "
            "schema nor registry is made with context.write False"
        )
