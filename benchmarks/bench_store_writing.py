"""Writing rows to a new build against one bare binary COPY of the same two tables.

    python benchmarks/bench_store_writing.py [rows] [rounds]

Ours are the store's `upsert` in batches as a run makes them, each a transaction that proves the lease,
and, for comparison, the run's whole writer, which also cuts, normalises and checks the vectors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import NamedTuple

import corpora
import numpy as np
from ground import BareTables, Ground, batch, ground, session
from measure import Cost, Report, alternate, begin, ratio

from embedspec.reconciler.lease import HeldLease
from embedspec.reconciler.registry import new_build
from embedspec.reconciler.writer import Row, RowWriter
from embedspec.stores.protocol import Lease, Store
from embedspec.stores.records import BuildRecord, IndexState
from embedspec.types import Matrix, RowBatch, hash_list

BOUND = 0.9
ROWS_AT_ONCE = 16
"""As many texts of 60 tokens as a batch of the model takes."""


def main(count: int, rounds: int) -> None:
    report = begin("store_writing", f"writing {count:,} rows: at least {BOUND} x a bare binary COPY")
    with ground() as place:
        measure(place, report, count, rounds)
    report.save()


def measure(place: Ground, report: Report, count: int, rounds: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((count, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = batch(corpora.records(count), vectors)
    arriving = as_rows(rows)
    tables = BareTables()
    report.say(f"  {count:,} rows of 384 numbers: {corpora.source()}")

    def bare(_: int) -> Cost:
        tables.make()
        return place.clock.time(lambda: tables.fill(rows))

    sides = {
        "bare COPY": bare,
        "store": lambda number: write(place, f"store-{number}", count, lambda to: upsert(to, rows)),
        "writer": lambda number: write(
            place, f"writer-{number}", count, lambda to: write_all(to, arriving, vectors)
        ),
    }
    costs = alternate(rounds, sides)
    report.sides(costs)
    value = ratio(costs, "bare COPY", "store")
    report.target("speed of the store / bare COPY, CPU", value, BOUND, at_least=True)
    for side in ("store", "writer"):
        cpu, wall = (ratio(costs, "bare COPY", side, what) for what in ("cpu_s", "wall_s"))
        report.say(f"  speed of the {side} / bare COPY: CPU {cpu:.3f}, wall {wall:.3f}")


class Target(NamedTuple):
    """A new build of an index, the lease held."""

    store: Store
    lease: Lease
    build: BuildRecord
    batch_rows: int


def write(place: Ground, name: str, count: int, call: Callable[[Target], None]) -> Cost:
    project = place.project(name)
    record = dict.fromkeys(("id", "title", "text", "module", "kind"), "x")
    corpora.write([record], project / "corpus.jsonl")
    ours = session(project)
    with ours.open_store(write=True) as store, HeldLease(store, ours.spec.name) as held:
        state, build = new_build(ours.desired, IndexState(), datetime.now(UTC), None)
        store.create_build(held.lease, state, build)
        place.connection.execute("CHECKPOINT")
        target = Target(store, held.lease, build, ours.adapter.capabilities.write_batch_rows)
        cost = place.clock.time(lambda: call(target))
        assert store.count(build) == count
    place.destroy(name)
    return cost


def upsert(to: Target, rows: RowBatch) -> None:
    for start in range(0, len(rows), to.batch_rows):
        part = slice(start, start + to.batch_rows)
        columns = [getattr(rows, column.name)[part] for column in fields(RowBatch)]
        to.store.upsert(to.lease, to.build, RowBatch(*columns), fresh=True)


def write_all(to: Target, arriving: list[Row], vectors: Matrix) -> None:
    writer = RowWriter(
        to.store,
        to.lease,
        to.build,
        [],
        batch_rows=to.batch_rows,
        normalized=True,
        check=lambda: None,
        on_event=lambda _: None,
        expected_rows=len(arriving),
    )
    for at in range(0, len(arriving), ROWS_AT_ONCE):
        writer.add(arriving[at : at + ROWS_AT_ONCE], vectors[at : at + ROWS_AT_ONCE])
    writer.flush()


def as_rows(rows: RowBatch) -> list[Row]:
    columns = (
        hash_list(rows.keys),
        rows.ids,
        rows.chunks,
        rows.texts,
        rows.metadata,
        hash_list(rows.content),
        hash_list(rows.metadata_hash),
    )
    return [Row(*values, place="", fresh=True) for values in zip(*columns, strict=True)]


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [20_000, 5][len(given) :]))
