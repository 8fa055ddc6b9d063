"""What plain-SQL readers see: function, view, grants; and what is not ours stays untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest

from embedspec.errors import StoreError
from embedspec.testing import Bench
from embedspec.testing.bench import make_items, unit_vectors
from embedspec.testing.registry_promises import go_live
from embedspec.types import Quantization

Connection = psycopg.Connection[Any]


def _text(vector: np.ndarray) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def test_function_and_view_follow_the_switch(bench: Bench, sql: Connection) -> None:
    """Across a change of dimension and of quantization, and back."""
    shapes = [(8, Quantization.float32), (5, Quantization.float32), (5, Quantization.float16)]
    with bench.open_store() as store:
        lease = bench.lease(store)
        builds = []
        for number, (dimension, quantization) in enumerate(shapes, 1):
            items = make_items(30 + number, dimension=dimension)
            build = bench.build(number, dimension=dimension, quantization=quantization, index="hnsw")
            store.create_build(lease, bench.state(), build)
            bench.write(store, lease, build, items)
            store.finish(lease, build)
            builds.append((build, items))
        for build, items in [*builds, builds[0]]:
            assert go_live(bench, store, lease, build).view == "current"
            (count,) = sql.execute(f"SELECT count(*) FROM {bench.name}").fetchone() or (0,)
            assert count == len(items)
            hits = sql.execute(
                f"SELECT id, chunk, score, text, metadata FROM {bench.name}_search(%s, 3)",
                (_text(items[7].vector),),
            ).fetchall()
            assert hits[0][:2] == ("d7", 0)
            assert hits[0][2] == pytest.approx(1, abs=1e-3)
            assert hits[0][3:] == ("text 7", {"lang": "de", "n": 7})
            assert len(hits) == 3


@pytest.mark.parametrize("quantization", [Quantization.float32, Quantization.float16])
def test_view_and_search_use_the_index(bench: Bench, sql: Connection, quantization: Quantization) -> None:
    items = make_items(2000, dimension=64)
    with bench.open_store() as store:
        lease, build = bench.fill(store, items, dimension=64, index="hnsw", quantization=quantization)
        go_live(bench, store, lease, build)
        kind = "vector" if quantization is Quantization.float32 else "halfvec"
        plan = "\n".join(
            row[0]
            for row in sql.execute(
                f"EXPLAIN SELECT id FROM {bench.name}"
                f" ORDER BY embedding <=> '{_text(items[0].vector)}'::{kind} LIMIT 5"
            )
        )
        assert "_hnsw" in plan


def test_the_function_has_the_pointers_settings(bench: Bench, sql: Connection) -> None:
    with bench.open_store() as store:
        lease, build = bench.fill(store, make_items(300), index="hnsw")
        state = bench.observed(store).state
        pointer = bench.pointer(build).model_copy(update={"search": {"ef_search": 77}})
        store.switch(lease, state.model_copy(update={"pointer": pointer}), [build])
    (settings,) = sql.execute(
        "SELECT proconfig FROM pg_proc WHERE proname = %s", (f"{bench.name}_search",)
    ).fetchone() or ([],)
    assert settings == ["hnsw.ef_search=77", "hnsw.iterative_scan=relaxed_order"]
    rows = sql.execute(
        f"SELECT id FROM {bench.name}_search(%s, 70)", (_text(unit_vectors(1, 8)[0]),)
    ).fetchall()
    assert len(rows) == 70


def test_a_reader_in_transaction_holds_back_the_view_alone(bench: Bench, sql: Connection) -> None:
    with bench.open_store() as store, bench.open_store(write=False) as reader:
        lease, build = bench.fill(store, make_items(3))
        go_live(bench, store, lease, build)
        second = bench.build(2)
        store.create_build(lease, bench.observed(store).state, second)
        bench.write(store, lease, second, make_items(5))
        with sql.transaction():
            sql.execute(f"SELECT count(*) FROM {bench.name}")
            assert go_live(bench, store, lease, second).view == "behind"
            assert bench.observed(reader).live == bench.observed(store).build(second.id)
            assert (
                len(sql.execute(f"SELECT id FROM {bench.name}_search('[1,0,0,0,0,0,0,0]')").fetchall()) == 5
            )
            assert not store.finish_switch(lease, bench.name)
            with pytest.raises(StoreError) as held:
                store.drop(lease, build, keep_record=False)
            assert held.value.transient
        with pytest.raises(StoreError, match="depend"):
            store.drop(lease, build, keep_record=False)
        assert store.finish_switch(lease, bench.name)
        serial = bench.serial(store)
        assert store.finish_switch(lease, bench.name)
        assert bench.serial(store) == serial, "nothing was behind, so nothing may be written"
        assert bench.observed(reader).view == "current"
        assert sql.execute(f"SELECT count(*) FROM {bench.name}").fetchone() == (5,)
        store.drop(lease, build, keep_record=False)


def test_rights_of_readers_outlive_switches(bench: Bench, sql: Connection) -> None:
    role = f"reader_{bench.name}"
    sql.execute(f"CREATE ROLE {role}")
    try:
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(3))
            go_live(bench, store, lease, build)
            live = f"{bench.name}__{build.id}"
            sql.execute(f"GRANT SELECT ON {bench.name}, {live}, {live}_vec TO {role}")
            for number, quantization in ((2, Quantization.float16), (3, Quantization.float32)):
                new = bench.build(number, quantization=quantization)
                store.create_build(lease, bench.observed(store).state, new)
                bench.write(store, lease, new, make_items(2 + number))
                go_live(bench, store, lease, new)
                with sql.transaction():
                    sql.execute(f"SET LOCAL ROLE {role}")
                    assert sql.execute(f"SELECT count(*) FROM {bench.name}").fetchone() == (2 + number,)
                    found = sql.execute(f"SELECT id FROM {bench.name}_search('[1,0,0,0,0,0,0,0]')").fetchall()
                    assert len(found) == 2 + number
    finally:
        sql.execute(f"DROP OWNED BY {role}")
        sql.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_a_foreign_relation_is_refused_before_anything_is_written(
    bench: Bench, sql: Connection, kind: str
) -> None:
    body = "(a int)" if kind == "TABLE" else "AS SELECT 1 AS a"
    sql.execute(f"CREATE {kind} {bench.name} {body}")
    with bench.open_store() as store:
        with pytest.raises(StoreError, match=f"owns the name public.{bench.name}") as refused:
            bench.start(store, bench.build())
        assert refused.value.fix
        assert store.observe(bench.name) is None
    assert sql.execute(f"SELECT count(a) FROM {bench.name}").fetchone() is not None


def test_a_foreign_function_is_refused(bench: Bench, sql: Connection) -> None:
    sql.execute(f"CREATE FUNCTION {bench.name}_search(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with bench.open_store() as store, pytest.raises(StoreError, match="function"):
        bench.start(store, bench.build())


def test_a_foreign_table_that_came_later_is_left_alone(bench: Bench, sql: Connection) -> None:
    with bench.open_store() as store:
        lease, build = bench.fill(store, make_items(3))
        sql.execute(f"CREATE TABLE {bench.name} (a int)")
        assert go_live(bench, store, lease, build).view == "behind"
        assert not store.finish_switch(lease, bench.name)
        sql.execute(f"DROP TABLE {bench.name}")
        assert store.finish_switch(lease, bench.name)


def test_names_of_the_registry_are_refused_as_index_names(elsewhere: Callable[..., Bench]) -> None:
    bench = elsewhere()
    bench = Bench(bench.adapter, bench.target, bench.open_store, "embedspec_lease")
    with bench.open_store() as store, pytest.raises(StoreError, match="owns the name"):
        bench.start(store, bench.build())
