"""Where things are in a database: schemas, extension, roles, registry formats; and finishing a build."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from embedspec.errors import StoreError
from embedspec.testing import Bench
from embedspec.testing.bench import batch, keys, make_items, unit_vectors
from embedspec.testing.registry_promises import go_live
from embedspec.types import Eq, FieldType, Quantization
from embedspec_pgvector import finishing

Connection = psycopg.Connection[Any]
Elsewhere = Callable[..., Bench]


@pytest.mark.parametrize("quantization", [Quantization.float32, Quantization.float16])
def test_odd_schema_and_extension_elsewhere(
    elsewhere: Elsewhere, database: str, quantization: Quantization
) -> None:
    """Everything is named with its schema: search_path holds neither ours nor the extension's."""
    bench = elsewhere(schema='It\'s "odd" {x} ünï')
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute('CREATE SCHEMA "ext\'s"')
        sql.execute('CREATE EXTENSION vector SCHEMA "ext\'s"')
    items = make_items(60)
    with bench.open_store() as store:
        lease, build = bench.fill(store, items[:50], index="hnsw", quantization=quantization)
        store.upsert(lease, build, batch(build, items), fresh=False)
        assert go_live(bench, store, lease, build).view == "current"
        second = bench.build(2, quantization=quantization)
        store.create_build(lease, bench.observed(store).state, second)
        bench.write(store, lease, second, items)
        assert go_live(bench, store, lease, second).view == "current"
        german = Eq("lang", FieldType.keyword, "de")
        found = store.search(build, unit_vectors(2, 8), 5, search={"ef_search": 10}, filter=german)
        assert [len(hits) for hits in found] == [5, 5]
        assert len(bench.contents(store, build)) == 60
        store.drop(lease, build, keep_record=True)
        assert store.count(second) == 60


def test_extension_and_schema_are_made_on_first_write(elsewhere: Elsewhere, database: str) -> None:
    bench = elsewhere(schema="fresh")
    with bench.open_store(write=False) as reader:
        assert reader.observe(bench.name) is None
        with psycopg.connect(database) as sql:
            assert sql.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'fresh'").fetchone() == (0,)
            assert sql.execute("SELECT count(*) FROM pg_extension WHERE extname = 'vector'").fetchone() == (
                0,
            )
    with bench.open_store() as store:
        _, build = bench.fill(store, make_items(1))
        assert store.count(build) == 1


def test_an_old_pgvector_is_refused(elsewhere: Elsewhere, database: str) -> None:
    """`ALTER EXTENSION` was forgotten after an upgrade of the packages."""
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute("CREATE EXTENSION vector")
        sql.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    bench = elsewhere()
    with (
        bench.open_store() as store,
        pytest.raises(StoreError, match=r"pgvector 0.7.4 is too old") as refused,
    ):
        bench.lease(store)
    assert "ALTER EXTENSION" in (refused.value.fix or "")


def test_a_newer_registry_is_refused(elsewhere: Elsewhere, database: str) -> None:
    bench = elsewhere()
    with bench.open_store() as store:
        lease, _ = bench.fill(store, make_items(1))
        store.release(lease)
        with psycopg.connect(database, autocommit=True) as sql:
            sql.execute("UPDATE embedspec_index SET format = 99")
        for call in (lambda: store.observe(bench.name), lambda: bench.lease(store)):
            with pytest.raises(StoreError, match="newer embedspec") as refused:
                call()
            assert refused.value.fix == "upgrade embedspec"


@pytest.fixture
def role(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A role that may log in and nothing else; the target's URL names it."""
    name = f"limited_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
        monkeypatch.setenv("LIMITED_URL", psycopg.conninfo.make_conninfo(database, user=name, password="pw"))
        yield name
        sql.execute(f"DROP OWNED BY {name}")
        sql.execute(f"DROP ROLE {name}")


def test_a_role_with_select_alone_can_observe_and_search(
    elsewhere: Elsewhere, role: str, database: str
) -> None:
    bench, limited = elsewhere(), elsewhere(url="env:LIMITED_URL")
    with bench.open_store() as store, limited.open_store(write=False) as reader:
        lease, build = bench.fill(store, make_items(20), index="hnsw")
        go_live(bench, store, lease, build)
        with pytest.raises(StoreError, match="permission denied") as refused:
            reader.observe(bench.name)
        assert not refused.value.transient
        with psycopg.connect(database, autocommit=True) as sql:
            sql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        record = reader.observe(bench.name)
        assert record is not None
        assert record.live is not None
        assert reader.identity() == store.identity(), "a plan made by a reader must fit a writer's store"
        query = unit_vectors(1, 8)
        for exact in (False, True):
            assert len(reader.search(build, query, 5, search={"ef_search": 40}, exact=exact)[0]) == 5
        assert sum(len(page) for page in reader.scan(build)) == 20


def test_a_role_that_may_create_nothing_is_told_so(elsewhere: Elsewhere, role: str, database: str) -> None:
    limited = elsewhere(url="env:LIMITED_URL")
    with limited.open_store() as store:
        with pytest.raises(StoreError, match="may not install it"):
            limited.lease(store)
        with psycopg.connect(database, autocommit=True) as sql:
            sql.execute("CREATE EXTENSION vector")
            sql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        with pytest.raises(StoreError, match="permission denied for schema public") as refused:
            limited.lease(store)
        assert refused.value.fix


def test_an_invalid_index_is_replaced(elsewhere: Elsewhere, database: str) -> None:
    bench = elsewhere()
    with bench.open_store() as store:
        lease, build = bench.fill(store, make_items(50), index="hnsw")
        with psycopg.connect(database, autocommit=True) as sql:
            sql.execute(
                "UPDATE pg_index SET indisvalid = false FROM pg_class c WHERE c.oid = indexrelid"
                " AND c.relname LIKE '%\\_hnsw'"
            )
            assert store.finish(lease, build).index_built
            valid = sql.execute("SELECT bool_and(indisvalid) FROM pg_index").fetchone()
        assert valid == (True,)
        assert not store.finish(lease, build).index_built


def test_a_build_that_does_not_fit_in_memory_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "memory_settings", lambda *_: {"maintenance_work_mem": "1024kB"})
    with bench.open_store() as store:
        build = bench.build(index="hnsw", dimension=128)
        lease = bench.start(store, build)
        bench.write(store, lease, build, make_items(3000, dimension=128))
        finished = store.finish(lease, build)
    assert any("no longer fits" in note and "1 MB" in note for note in finished.notes)


def test_memory_follows_the_rows(bench: Bench) -> None:
    """4 * dimension + 800 bytes a row and a tenth, between 64 MB and the cap."""
    with bench.open_store() as store:
        _, build = bench.fill(store, make_items(10), index="hnsw")
        names, session = store._names(build), store._session  # type: ignore[attr-defined]
        large = build.model_copy(update={"dimension": 30_000_000})
        with session.cursor("test") as cursor:
            wanted = 10 * (4 * 30_000_000 + 800) * 11 // 10
            found = finishing.memory_settings(cursor, names, large, 1 << 40)
            assert found == {"maintenance_work_mem": f"{wanted >> 10}kB"}
            found = finishing.memory_settings(cursor, names, large, 100 << 20)
            assert found == {"maintenance_work_mem": f"{100 << 10}kB"}
            found = finishing.memory_settings(cursor, names, build, None)
            assert found == {"maintenance_work_mem": f"{64 << 10}kB"}
            found = finishing.memory_settings(cursor, names, large, None)
            assert found == {"maintenance_work_mem": f"{1 << 20}kB"}


def test_f16_more_than_forty_hits(bench: Bench) -> None:
    items = make_items(1500, dimension=16)
    with bench.open_store() as store:
        _, build = bench.fill(store, items, index="hnsw", dimension=16)
        query = unit_vectors(1, 16, seed=3)
        english = Eq("lang", FieldType.keyword, "en")
        for k, filter in ((200, None), (200, english), (990, None)):
            (hits,) = store.search(build, query, k, search={"ef_search": 40}, filter=filter)
            assert len({hit.id for hit in hits}) == k
            scores = [hit.score for hit in hits]
            assert scores == sorted(scores, reverse=True)
        (hits,) = store.search(build, query, 3000, search={"ef_search": 40}, exact=True)
        assert len(hits) == 1500


def test_deleted_rows_do_not_use_up_the_answer(bench: Bench) -> None:
    """Rows stay in the graph until vacuum: the scan must go on past them."""
    items = make_items(1000, dimension=16)
    query = items[0].vector.reshape(1, -1)
    with bench.open_store() as store:
        lease, build = bench.fill(store, items, index="hnsw", dimension=16)
        nearest = {hit.id for hit in store.search(build, query, 300, search={}, exact=True)[0]}
        gone = [item for item in items if item.id in nearest]
        store.delete(lease, build, keys(gone))
        (hits,) = store.search(build, query, 10, search={"ef_search": 40})
        assert len(hits) == 10
        assert not {hit.id for hit in hits} & nearest
