"""The end of the pipeline: collects rows with full-length vectors, reduces them, writes batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from embedspec.errors import RowRefused
from embedspec.models.reduce import invalid_rows, reduce_vectors
from embedspec.reconciler.retry import retrying
from embedspec.stores.protocol import Lease, Store
from embedspec.stores.records import BuildRecord
from embedspec.types import DeadLetter, Event, Matrix, RowBatch, hash_array

Vectors: TypeAlias = Matrix | None
"""Full-length vectors beside their rows; None: to be fetched from the base builds by content hash."""


BATCH_BYTES = 32 << 20
"""Texts (in characters) and vectors that are collected for one write, at most; rows come first."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row on its way to the store."""

    key: bytes
    id: str
    chunk: int
    text: str
    metadata: str
    content: bytes
    metadata_hash: bytes
    place: str
    fresh: bool
    """The key is not in the build yet."""


@dataclass(frozen=True, slots=True)
class Base:
    """A build whose vectors can be reused. `exact`: it has the very vector identity that is written;
    otherwise it holds full-length float32 vectors of the same encoder."""

    build: BuildRecord
    exact: bool


class RowWriter:
    """Not thread-safe: lives in the writer thread. `done` counts rows written."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        build: BuildRecord,
        bases: Sequence[Base],
        *,
        batch_rows: int,
        normalized: bool,
        check: Callable[[], None],
        on_event: Callable[[Event], None],
        expected_rows: int,
    ) -> None:
        self._store = store
        self._lease = lease
        self._build = build
        self._bases = bases
        self._normalized = normalized
        self._check = check
        self._on_event = on_event
        self._expected_rows = expected_rows
        self._full_rows: list[Row] = []
        self._full: list[Matrix] = []
        self._rows: list[Row] = []
        self._vectors: list[npt.NDArray[np.floating[Any]]] = []
        self._bytes = 0
        self.batch_rows = batch_rows
        self.done = 0
        self.dead: list[DeadLetter] = []
        self.busy_s = 0.0
        self.not_found: list[Row] = []
        """Rows whose vector a base build turned out not to have; the next run embeds them."""

    def add(self, rows: list[Row], vectors: Vectors) -> None:
        started = time.perf_counter()
        if vectors is None:
            self._add_from_bases(rows)
        else:
            self._full_rows += rows
            self._full.append(vectors)
        self._bytes += sum([len(row.text) for row in rows])
        self._bytes += len(rows) * self._build.dimension * 4
        if len(self._rows) + len(self._full_rows) >= self.batch_rows or self._bytes >= BATCH_BYTES:
            self._write_out()
        self.busy_s += time.perf_counter() - started

    def flush(self) -> None:
        started = time.perf_counter()
        self._write_out()
        self.busy_s += time.perf_counter() - started

    def _reduce_full(self) -> None:
        """A whole batch at a time: the model's own batches are so small that calls would cost more
        than numbers."""
        if not self._full:
            return
        rows, full = self._full_rows, np.concatenate(self._full)
        self._full_rows, self._full = [], []
        self._accept(rows, self._reduce(full))

    def _reduce(self, full: Matrix) -> npt.NDArray[np.floating[Any]]:
        return reduce_vectors(full, self._build.dimension, self._normalized, self._build.quantization)

    def _accept(self, rows: list[Row], reduced: npt.NDArray[np.floating[Any]]) -> None:
        """Take rows with vectors as they will be stored; those that no store may get are dead."""
        bad = dict(invalid_rows(reduced, self._build.metric))
        if bad:
            self.dead += [_letter(rows[i], reason, "embed") for i, reason in bad.items()]
            keep = [i for i in range(len(rows)) if i not in bad]
            rows, reduced = [rows[i] for i in keep], reduced[keep]
        self._rows += rows
        self._vectors.append(reduced)

    def _add_from_bases(self, rows: list[Row]) -> None:
        wanted = {row.content for row in rows}
        for base in self._bases:
            if not wanted:
                break
            ask = hash_array(sorted(wanted))
            got = retrying(lambda b=base, w=ask: dict(self._store.vectors(b.build, w)))  # type: ignore[misc]
            here = [row for row in rows if row.content in got]
            if not here:
                continue
            found = np.concatenate([got[row.content] for row in here])
            self._accept(
                here, found.astype(self._build.quantization.value) if base.exact else self._reduce(found)
            )
            wanted -= got.keys()
            rows = [row for row in rows if row.content not in got]
        self.not_found += rows

    def _write_out(self) -> None:
        self._reduce_full()
        self._bytes = 0
        if not self._rows:
            return
        rows, matrix = self._rows, np.concatenate(self._vectors)
        self._rows, self._vectors = [], []
        for fresh in (True, False):
            chosen, vectors = rows, matrix
            if any(row.fresh is not fresh for row in rows):
                at = [i for i, row in enumerate(rows) if row.fresh is fresh]
                chosen, vectors = [rows[i] for i in at], matrix[at]
            for start in range(0, len(chosen), self.batch_rows):
                part = slice(start, start + self.batch_rows)
                self._upsert(chosen[part], vectors[part], fresh)

    def _upsert(self, rows: list[Row], matrix: npt.NDArray[np.floating[Any]], fresh: bool) -> None:
        self._check()
        batch = RowBatch(
            keys=hash_array([r.key for r in rows]),
            ids=[r.id for r in rows],
            chunks=[r.chunk for r in rows],
            content=hash_array([r.content for r in rows]),
            metadata_hash=hash_array([r.metadata_hash for r in rows]),
            texts=[r.text for r in rows],
            metadata=[r.metadata for r in rows],
            vectors=matrix,
        )
        try:
            retrying(lambda: self._store.upsert(self._lease, self._build, batch, fresh=fresh))
        except RowRefused as error:
            named = error.rows or ({0: error.what} if len(rows) == 1 else {})
            if named:
                self.dead += [
                    _letter(rows[i], f"refused by the store: {why}", "write") for i, why in named.items()
                ]
                others = [i for i in range(len(rows)) if i not in named]
                if others:
                    self._upsert([rows[i] for i in others], matrix[others], fresh)
                return
            half = len(rows) // 2
            self._upsert(rows[:half], matrix[:half], fresh)
            self._upsert(rows[half:], matrix[half:], fresh)
            return
        self.done += len(rows)
        self._on_event(Event("write", "", done=self.done, total=self._expected_rows, unit="rows"))


def _letter(row: Row, reason: str, stage: str) -> DeadLetter:
    return DeadLetter(
        key=row.id, reason=reason, place=row.place, id=row.id, content=row.content.hex(), stage=stage
    )
