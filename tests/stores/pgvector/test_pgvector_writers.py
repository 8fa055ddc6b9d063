"""Two writers, lost connections, and keys that are there after all."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedspec.errors import LeaseHeld, LeaseLost, StoreError
from embedspec.stores.lease import this_process
from embedspec.stores.protocol import Lease
from embedspec.testing import Bench
from embedspec.testing.bench import batch, keys, make_items
from embedspec.types import RowHashes, hash_list
from embedspec_pgvector import rows as build_rows

Connection = psycopg.Connection[Any]


def test_a_takeover_waits_for_a_write_and_a_heartbeat_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = make_items(4)
    writing, go_on = threading.Event(), threading.Event()
    copy_in = build_rows.copy_in

    def slow(*args: Any) -> None:
        copy_in(*args)
        writing.set()
        assert go_on.wait(20)

    with bench.open_store() as store, bench.open_store() as other:
        lease = store.acquire(bench.name, this_process(), 0.5)
        build = bench.build()
        store.create_build(lease, bench.state(), build)
        monkeypatch.setattr(build_rows, "copy_in", slow)
        writer = threading.Thread(
            target=store.upsert, args=(lease, build, batch(build, items)), kwargs={"fresh": True}
        )
        writer.start()
        assert writing.wait(20)
        started = time.monotonic()
        store.renew(lease, 0.2)
        assert time.monotonic() - started < 5, "a heartbeat waited for a write"
        time.sleep(0.3)
        taken: list[Lease] = []
        taker = threading.Thread(target=lambda: taken.append(bench.lease(other)))
        taker.start()
        taker.join(0.5)
        assert taker.is_alive(), "the lease was taken over in the middle of a write"
        go_on.set()
        writer.join()
        taker.join()
        assert taken[0].generation > lease.generation
        assert other.count(build) == 4, "the write that came first counts"
        with pytest.raises(LeaseLost, match="holds it now"):
            store.delete(lease, build, keys(items))


def test_a_holder_that_renews_during_the_wait_keeps_the_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()
    copy_in = build_rows.copy_in

    def slow(*args: Any) -> None:
        copy_in(*args)
        writing.set()
        assert go_on.wait(20)

    with bench.open_store() as store, bench.open_store() as other:
        lease = store.acquire(bench.name, this_process(), 0.1)
        build = bench.build()
        store.create_build(lease, bench.state(), build)
        monkeypatch.setattr(build_rows, "copy_in", slow)
        writer = threading.Thread(
            target=store.upsert, args=(lease, build, batch(build, make_items(2))), kwargs={"fresh": True}
        )
        writer.start()
        assert writing.wait(20)
        time.sleep(0.2)
        refused: list[LeaseHeld] = []

        def take() -> None:
            try:
                bench.lease(other)
            except LeaseHeld as error:
                refused.append(error)

        taker = threading.Thread(target=take)
        taker.start()
        taker.join(0.5)
        store.renew(lease, 600)
        go_on.set()
        writer.join()
        taker.join()
        assert refused
        assert store.delete(lease, build, keys(make_items(1))) == 1


def test_of_many_acquirers_one_wins(bench: Bench) -> None:
    stores = [bench.open_store() for _ in range(6)]
    start = threading.Barrier(len(stores))
    won: list[Lease] = []
    lost: list[LeaseHeld] = []

    def take(store: Any) -> None:
        start.wait()
        try:
            won.append(bench.lease(store))
        except LeaseHeld as error:
            lost.append(error)

    threads = [threading.Thread(target=take, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == len(stores) - 1
    assert "expires in" in str(lost[0])


def test_two_first_writers_of_a_database_at_once(elsewhere: Any) -> None:
    """Extension, schema and registry are made by both at the same time."""
    bench = elsewhere(schema="new")
    other = Bench(bench.adapter, bench.target, bench.open_store)
    stores = [bench.open_store(), bench.open_store()]
    start = threading.Barrier(2)
    errors: list[BaseException] = []

    def take(which: Bench, store: Any) -> None:
        try:
            start.wait()
            which.fill(store, make_items(2))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=take, args=p) for p in zip((bench, other), stores, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_lost_connection_is_transient_and_made_anew(bench: Bench, sql: Connection) -> None:
    with bench.open_store() as store:
        lease, build = bench.fill(store, make_items(3))
        store.renew(lease, 600)
        for call in (
            lambda: store.count(build),
            lambda: store.observe(bench.name),
            lambda: store.upsert(lease, build, batch(build, make_items(5)), fresh=True),
            lambda: store.renew(lease, 600),
        ):
            sql.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'embedspec' AND datname = current_database()"
            )
            with pytest.raises(StoreError) as lost:
                call()
            assert lost.value.transient, "the caller would not try again"
            call()
        with pytest.raises(StoreError):
            store.count(build)
        assert store.count(build) == 5


def test_fresh_rows_that_are_there_after_all(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    old, new = make_items(10), make_items(3000, seed=1)
    with bench.open_store() as store:
        lease, build = bench.fill(store, old)
        with caplog.at_level("DEBUG", logger="embedspec_pgvector"):
            store.upsert(lease, build, batch(build, new), fresh=True)
        assert "replaced instead" in caplog.text
        assert bench.ids(store, build, new[5].vector, 1) == ["d5"]
        assert store.count(build) == 3000


@pytest.mark.parametrize("fresh", [True, False])
def test_of_two_rows_with_one_key_the_last_counts(bench: Bench, fresh: bool) -> None:
    first, second = make_items(3), make_items(3, seed=1)
    with bench.open_store() as store:
        build = bench.build()
        lease = bench.start(store, build)
        store.upsert(lease, build, batch(build, [*first, *second]), fresh=fresh)
        assert store.count(build) == 3
        assert bench.ids(store, build, second[1].vector, 1) == ["d1"]
        (row,) = store.rows(build, keys(second[1:2]))
        assert row.content == second[1].content_hash


def test_an_unchanged_vector_is_not_written_again(bench: Bench, sql: Connection) -> None:
    items = make_items(50)
    with bench.open_store() as store:
        lease, build = bench.fill(store, items, index="hnsw")
        table = f"{bench.name}__{build.id}_vec"
        before = sql.execute(f"SELECT array_agg(ctid::text ORDER BY key) FROM {table}").fetchone()
        store.upsert(lease, build, batch(build, items), fresh=False)
        after = sql.execute(f"SELECT array_agg(ctid::text ORDER BY key) FROM {table}").fetchone()
        assert before == after


def test_timeouts_of_the_role_do_not_end_writes(elsewhere: Any, database: str) -> None:
    bench = elsewhere()
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute(f'ALTER DATABASE "{sql.info.dbname}" SET statement_timeout = 20')
    with bench.open_store() as store:
        build = bench.build(index="hnsw", dimension=256)
        lease = bench.start(store, build)
        bench.write(store, lease, build, make_items(3000, dimension=256))
        assert store.finish(lease, build).index_built


def test_a_scan_does_not_stand_in_the_way_of_writes(bench: Bench) -> None:
    """Reads that stream have connections of their own: they may be consumed between writes."""
    items = make_items(3000, dimension=4)
    with bench.open_store() as store:
        lease, build = bench.fill(store, items[:2000], dimension=4)
        found = store.vectors(build, batch(build, items).content)
        next(found)
        store.upsert(lease, build, batch(build, items[2000:]), fresh=True)
        assert len(list(found)) == 1999
        scan = store.scan(build)
        next(scan)
        scan.close()  # type: ignore[attr-defined]
        assert store.count(build) == 3000


HOLDER = """
import sys
from pathlib import Path
from embedspec.stores.lease import this_process
from embedspec.stores.protocol import OpenContext
from embedspec_pgvector import adapter
target = adapter.target_model.model_validate({"store": "pgvector", "url": sys.argv[1]})
store = adapter.open(target, OpenContext(Path(sys.argv[2]), Path(sys.argv[2])))
lease = store.acquire(sys.argv[3], this_process(), 600)
with store._write(lease, "waiting") as cursor:
    print("writing", flush=True)
    cursor.execute("SELECT pg_sleep(60)")
"""


def test_a_holder_killed_in_a_long_statement_is_replaced_soon(
    bench: Bench, url: str, home: Path, dsn: str
) -> None:
    """Its server process must notice that nobody waits for the answer, and give the proof up."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(home), bench.name], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "writing\n"
    holder.kill()
    holder.communicate()
    with bench.open_store() as store:
        started = time.monotonic()
        bench.lease(store)
        assert time.monotonic() - started < 9


def test_scan_goes_through_all_blocks_in_one_snapshot(
    bench: Bench, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four blocks at a time; rows deleted and written meanwhile are as they were when it began."""
    monkeypatch.setattr(build_rows, "SCAN_BLOCKS", 4)
    items = make_items(600, dimension=4)
    with bench.open_store() as store:
        lease, build = bench.fill(store, items, dimension=4)
        table = f"{bench.name}__{build.id}"
        (blocks,) = sql.execute(f"SELECT pg_relation_size('{table}') / 8192").fetchone() or (0,)
        assert blocks > 8
        pages = store.scan(build)
        first = next(pages)
        store.delete(lease, build, keys(items[300:]))
        bench.write(store, lease, build, make_items(650, dimension=4)[600:])
        found = RowHashes.concat([first, *pages])
        assert sorted(hash_list(found.key)) == sorted(item.key for item in items)
        assert len(RowHashes.concat(list(store.scan(build)))) == 350
        sql.execute(f"UPDATE {table} SET content = 'short' WHERE id = 'd0'")
        with pytest.raises(StoreError, match="another program changed it"):
            list(store.scan(build))


def test_statistics_are_made_once_and_again_when_the_table_grew(bench: Bench, sql: Connection) -> None:
    items = make_items(3010, dimension=4)

    def described() -> list[float]:
        tables = f"{bench.name}__{build.id}%"
        found = sql.execute(
            "SELECT reltuples FROM pg_class WHERE relkind = 'r' AND relname LIKE %s ORDER BY relname",
            (tables,),
        )
        return [rows for (rows,) in found]

    with bench.open_store() as store:
        lease, build = bench.fill(store, items[:3000], dimension=4)
        first = sql.execute("SELECT count(*) FROM pg_stats WHERE tablename LIKE %s", (f"{bench.name}__%",))
        assert first.fetchone() == (9,)  # every column of both tables
        assert described() == [3000, 3000]
        bench.write(store, lease, build, items[3000:3010])
        store.finish(lease, build)
        # The vectors of a build that is still filled are vacuumed, which counts them by the way.
        assert described() == [3000, 3010]
        bench.write(store, lease, build, make_items(6000, dimension=4)[3010:])
        store.finish(lease, build)
        assert described() == [6000, 6000]
