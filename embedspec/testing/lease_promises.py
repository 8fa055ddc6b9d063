"""Conformance tests of the lease: one writer, and a stale one can change nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from embedspec.errors import LeaseHeld, LeaseLost
from embedspec.stores.lease import provably_dead, this_process
from embedspec.stores.protocol import Lease, Store
from embedspec.stores.records import BuildRecord, LeaseInfo
from embedspec.testing.bench import TTL_S, Bench, batch, keys, make_items, must_raise
from embedspec.types import BuildStatus, DeadLetter

SHORT_S = 0.2
"""Life of a lease that a test waits for."""

PATIENCE_S = 10.0
"""How long a test waits for something that should come soon."""


def dead_process() -> LeaseInfo:
    """A real process of this machine that has ended."""
    code = "from embedspec.stores.lease import this_process; print(this_process().model_dump_json())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    return LeaseInfo.model_validate_json(ended.stdout)


def acquire_when_expired(store: Store, name: str) -> Lease:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return store.acquire(name, this_process(), TTL_S)
        except LeaseHeld:
            assert time.monotonic() < deadline, (
                f"a lease of {SHORT_S} s is still held after {PATIENCE_S} s; if this fails, check that "
                "acquire compares the expiry with the store's own clock"
            )
            time.sleep(0.05)


class LeasePromises:
    def test_a_held_lease_is_refused_and_names_its_holder(self, bench: Bench) -> None:
        holder = this_process()
        with bench.open_store() as store, bench.open_store() as other:
            store.acquire(bench.name, holder, TTL_S)
            for connection in (store, other):
                with pytest.raises(LeaseHeld) as refused:
                    connection.acquire(bench.name, this_process(), TTL_S)
                message = str(refused.value)
                assert holder.owner in message, "LeaseHeld must name the holder"
                assert holder.host in message, "LeaseHeld must name the holder's host"

    def test_the_lease_is_observed(self, bench: Bench) -> None:
        holder = this_process().model_copy(update={"expires_in_s": 1e9, "generation": 77})
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            lease = store.acquire(bench.name, holder, TTL_S)
            store.create_build(lease, bench.state(), bench.build())
            seen = bench.observed(reader).lease
            assert seen is not None, "observe must show who holds the lease"
            for field in ("owner", "host", "boot", "pid", "started"):
                assert getattr(seen, field) == getattr(holder, field), f"the lease's {field} changed"
            assert 0 < seen.expires_in_s <= TTL_S, (
                "expires_in_s is not by the store's clock; if this fails, check that the holder's own times "
                "are ignored"
            )
            assert seen.generation == lease.generation
            store.release(lease)
            assert bench.observed(reader).lease is None, "a released lease must not be shown"

    def test_acquire_twice_by_one_owner(self, bench: Bench) -> None:
        """An answer that was lost is asked for again."""
        holder = this_process()
        with bench.open_store() as store:
            store.acquire(bench.name, holder, TTL_S)
            lease = store.acquire(bench.name, holder, TTL_S)
            store.create_build(lease, bench.state(), bench.build())

    def test_release_frees_and_ends_the_right_to_write(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store() as other:
            lease, build = bench.fill(store, make_items(2))
            store.release(lease)
            store.release(lease)
            with pytest.raises(LeaseLost):
                store.delete(lease, build, keys(make_items(2)))
            assert store.count(build) == 2
            taken = bench.lease(other)
            store.release(lease)
            other.delete(taken, build, keys(make_items(1)))
            assert store.count(build) == 1, "release of a lost lease must not touch the new holder's"
            assert taken.generation > lease.generation, "a new holder must have a higher generation"

    def test_leases_are_per_index(self, bench: Bench) -> None:
        other = Bench(bench.adapter, bench.target, bench.open_store)
        with bench.open_store() as store:
            bench.lease(store)
            other.lease(store)

    def test_renew_keeps_the_lease(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store() as other:
            lease = store.acquire(bench.name, this_process(), SHORT_S)
            store.create_build(lease, bench.state(), bench.build())
            for _ in range(2):
                store.renew(lease, TTL_S)
            time.sleep(2 * SHORT_S)
            with pytest.raises(LeaseHeld):
                bench.lease(other)
            seen = bench.observed(other).lease
            assert seen is not None
            assert seen.expires_in_s > TTL_S / 2, "renew must set the expiry to now + ttl_s"

    def test_an_expired_lease_can_be_taken(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store() as other:
            old = store.acquire(bench.name, this_process(), SHORT_S)
            new = acquire_when_expired(other, bench.name)
            assert new.generation > old.generation
            with pytest.raises(LeaseLost):
                store.renew(old, TTL_S)
            store.release(old)
            other.renew(new, TTL_S)

    def test_a_dead_process_is_replaced_at_once(self, bench: Bench) -> None:
        dead = dead_process()
        if not provably_dead(dead):
            pytest.skip("this system does not tell whether a process is dead")
        with bench.open_store() as store:
            store.acquire(bench.name, dead, 3600.0)
            try:
                bench.lease(store)
            except LeaseHeld:
                pytest.fail(
                    "the lease of a process that is gone is still held; if this fails, check that acquire "
                    "asks provably_dead with the holder's boot, host, pid and start time as stored"
                )

    def test_a_stale_holder_changes_nothing(self, bench: Bench) -> None:
        items = make_items(3)
        with bench.open_store() as store, bench.open_store() as other:
            stale, build = bench.fill(store, items)
            second = bench.build(2, index=sorted(bench.adapter.capabilities.index_types)[-1])
            store.create_build(stale, bench.observed(store).state, second)
            store.replace_dead_letters(stale, bench.name, [DeadLetter("a", "b", "c")])
            store.renew(stale, SHORT_S)
            fresh = acquire_when_expired(other, bench.name)
            before, contents = bench.observed(other), bench.contents(other, build)
            for name, write in stale_writes(bench, store, stale, build, second).items():
                must_raise(
                    LeaseLost,
                    write,
                    f"{name} by a holder whose lease was taken over; if this fails, check that every write "
                    "proves its generation in its own transaction",
                )
                after = bench.observed(other)
                assert (after.serial, after.state, after.builds) == (
                    before.serial,
                    before.state,
                    before.builds,
                ), f"{name} by a stale holder changed the registry before it was refused"
                assert bench.contents(other, build) == contents, f"{name} by a stale holder changed rows"
                assert other.count(second) == 0
                assert other.dead_letters(bench.name) == [DeadLetter("a", "b", "c")]
            other.delete(fresh, build, keys(items[:1]))

    def test_renew_from_another_thread_while_writing(self, bench: Bench) -> None:
        errors: list[BaseException] = []
        stop = threading.Event()

        def beat(store: Store, lease: Lease) -> None:
            try:
                while not stop.wait(0.005):
                    store.renew(lease, TTL_S)
            except BaseException as error:
                errors.append(error)

        items = make_items(300)
        with bench.open_store() as store:
            build = bench.build()
            lease = bench.start(store, build)
            thread = threading.Thread(target=beat, args=(store, lease))
            thread.start()
            try:
                for start in range(0, len(items), 10):
                    store.upsert(lease, build, batch(build, items[start : start + 10]), fresh=True)
            finally:
                stop.set()
                thread.join()
            assert not errors, (
                f"renew failed beside a write ({errors[0]!r}); if this fails, check that it has its own "
                "connection and that a heartbeat does not conflict with the write's proof of the lease"
            )
            assert store.count(build) == len(items)


def stale_writes(
    bench: Bench, store: Store, lease: Lease, build: BuildRecord, second: BuildRecord
) -> dict[str, Callable[[], object]]:
    """Every write of the protocol, each of which would change something."""
    more = batch(build, make_items(5, seed=1))
    one = keys(make_items(1))
    state = bench.observed(store).state.model_copy(update={"next_build": 50})
    moved = state.model_copy(update={"pointer": bench.pointer(build)})
    ready = build.model_copy(update={"status": BuildStatus.ready})
    return {
        "create_build": lambda: store.create_build(lease, state, bench.build(3)),
        "save": lambda: store.save(lease, state, [ready]),
        "switch": lambda: store.switch(lease, moved, [ready]),
        "upsert": lambda: store.upsert(lease, build, more, fresh=False),
        "upsert (fresh)": lambda: store.upsert(lease, second, more, fresh=True),
        "patch": lambda: store.patch(lease, build, one, more.metadata_hash[1:2], ['{"x":1}']),
        "delete": lambda: store.delete(lease, build, one),
        "finish": lambda: store.finish(lease, second),
        "replace_dead_letters": lambda: store.replace_dead_letters(lease, bench.name, []),
        "drop (record kept)": lambda: store.drop(lease, build, keep_record=True),
        "drop": lambda: store.drop(lease, build, keep_record=False),
    }
