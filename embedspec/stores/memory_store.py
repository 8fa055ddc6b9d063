"""The memory store's calls: the oracle that other stores are measured by.

Small and plainly correct before fast: one lock per target, every row a Python object, every search
exact.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from embedspec.errors import BuildMissing, LeaseHeld, LeaseLost, StoreError
from embedspec.stores.filters import matches
from embedspec.stores.lease import provably_dead
from embedspec.stores.memory_target import Build, HeldLease, Index, Row, Target
from embedspec.stores.protocol import Finished, Lease
from embedspec.stores.records import BuildRecord, IndexRecord, IndexState, LeaseInfo
from embedspec.types import (
    Candidate,
    DeadLetter,
    Filter,
    HashArray,
    Matrix,
    Metric,
    Quantization,
    RowBatch,
    RowHashes,
    StoredRow,
    hash_array,
    hash_list,
)

PAGE_ROWS = 1000
"""Rows per page of a scan."""

R = TypeVar("R", bound=BaseModel)


class MemoryStore:
    """A connection to a target. Everything that goes in or comes out is copied: no caller can
    change what is held by keeping a reference. Every call holds the target's lock to its end."""

    def __init__(self, target: Target, *, write: bool = True) -> None:
        self._target = target
        self._write = write

    def identity(self) -> str:
        return f"memory:{self._target.id}"

    def observe(self, name: str) -> IndexRecord | None:
        with self._target.lock:
            index = self._target.indexes.get(name)
            if index is None:
                return None
            now = self._target.clock()
            held = self._target.leases.get(name)
            lease = held and held.holder.model_copy(
                update={"expires_in_s": (held.expires - now).total_seconds()}
            )
            return IndexRecord(
                name=name,
                lineage=index.lineage,
                serial=index.serial,
                state=_copied(index.state),
                builds=tuple(_copied(build.record) for build in index.builds.values()),
                lease=lease,
                view=None,
                now=now,
            )

    def observe_live(self, name: str) -> IndexRecord | None:
        record = self.observe(name)
        live = record.live if record else None
        builds = (live.model_copy(update={"canary": None}),) if live else ()
        return record.model_copy(update={"builds": builds}) if record else None

    # -- lease ------------------------------------------------------------------------------------

    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        with self._target.lock:
            self._require_write()
            now = self._target.clock()
            held = self._target.leases.get(name)
            if held is not None and held.holder.owner != holder.owner:
                remaining_s = (held.expires - now).total_seconds()
                if remaining_s > 0 and not provably_dead(held.holder):
                    age_s = (now - held.holder.acquired).total_seconds()
                    raise LeaseHeld(
                        f"{held.holder.owner} (process {held.holder.pid} on {held.holder.host}) has worked "
                        f"on index {name!r} for {age_s:.0f} s; its lease ends in {remaining_s:.0f} s "
                        "unless renewed",
                        where=f"lease of {name}",
                        fix="wait for it, or run again with --lock-timeout",
                    )
            generation = self._target.generations.get(name, 0) + 1
            self._target.generations[name] = generation
            taken = holder.model_copy(
                update={"generation": generation, "acquired": now, "expires_in_s": ttl_s}
            )
            self._target.leases[name] = HeldLease(taken, now + timedelta(seconds=ttl_s))
            return Lease(name, holder.owner, generation)

    def renew(self, lease: Lease, ttl_s: float) -> None:
        with self._target.lock:
            self._prove(lease).expires = self._target.clock() + timedelta(seconds=ttl_s)

    def release(self, lease: Lease) -> None:
        with self._target.lock:
            held = self._target.leases.get(lease.name)
            if held is not None and held.holder.generation == lease.generation:
                del self._target.leases[lease.name]

    def _prove(self, lease: Lease, build: BuildRecord | None = None) -> HeldLease:
        """An expired lease that nobody took is still held: no other writer can have been there."""
        self._require_write()
        held = self._target.leases.get(lease.name)
        if held is None or held.holder.generation != lease.generation:
            now_held = f"{held.holder.owner} holds it now" if held else "nobody holds it now"
            raise LeaseLost(
                f"the lease on index {lease.name!r} was lost ({now_held}); this step was not written",
                where=f"lease of {lease.name}",
                fix="run again",
            )
        if build is not None and build.index_name != lease.name:
            raise StoreError(
                f"build {build.id!r} belongs to index {build.index_name!r}, not to {lease.name!r}"
            )
        return held

    def _require_write(self) -> None:
        if not self._write:
            raise StoreError("this connection was opened for reading only", where="memory")

    # -- registry ---------------------------------------------------------------------------------

    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        with self._target.lock:
            self._prove(lease, build)
            index = self._target.indexes.get(lease.name)
            if index is None:
                index = Index(uuid.uuid4().hex, _copied(state.model_copy(update={"pointer": None})))
                self._target.indexes[lease.name] = index
            if build.id not in index.builds:
                index.builds[build.id] = Build(_copied(build))
            self._save(index, state, ())

    def save(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord] = ()) -> None:
        with self._target.lock:
            self._save(self._writable(lease), state, builds)

    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        with self._target.lock:
            index = self._writable(lease)
            if state.pointer is not None and state.pointer.build not in index.builds:
                raise StoreError(
                    f"there is no build {state.pointer.build!r} to switch to", where=f"index {lease.name}"
                )
            self._save(index, state, builds)
            index.state = _copied(state)

    def _save(self, index: Index, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        unknown = [record.id for record in builds if record.id not in index.builds]
        if unknown:
            raise StoreError(f"there is no build {unknown[0]!r} to save", where="memory")
        index.state = _copied(state.model_copy(update={"pointer": index.state.pointer}))
        for record in builds:
            index.builds[record.id].record = _copied(record)
        index.serial += 1

    def finish_switch(self, lease: Lease, name: str) -> bool:  # noqa: ARG002 - nothing to bring up
        with self._target.lock:
            self._prove(lease)
            return True

    def drop(self, lease: Lease, build: BuildRecord, *, keep_record: bool) -> None:
        with self._target.lock:
            index = self._writable(lease, build)
            held = index.builds.get(build.id)
            if held is None:
                return
            if keep_record:
                held.rows = None
                held.index_built = False
                held.record = held.record.model_copy(update={"dropped": True})
            else:
                del index.builds[build.id]
            index.serial += 1

    def _writable(self, lease: Lease, build: BuildRecord | None = None) -> Index:
        self._prove(lease, build)
        index = self._target.indexes.get(lease.name)
        if index is None:
            raise StoreError(f"there is no index {lease.name!r} yet", where="memory")
        return index

    # -- rows -------------------------------------------------------------------------------------

    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        with self._target.lock:
            rows = [row.stored for row in self._rows(build).values()]
        for start in range(0, len(rows), PAGE_ROWS):
            page = rows[start : start + PAGE_ROWS]
            yield RowHashes(
                hash_array([row.key for row in page]),
                hash_array([row.content for row in page]),
                hash_array([row.metadata_hash for row in page]),
            )

    def rows(self, build: BuildRecord, keys: HashArray) -> Iterator[StoredRow]:
        with self._target.lock:
            held = self._rows(build)
            found = [held[key].stored for key in dict.fromkeys(hash_list(keys)) if key in held]
        yield from found

    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        with self._target.lock:
            by_content = {row.stored.content: row.vector for row in self._rows(build).values()}
            found = [
                (wanted, by_content[wanted].astype(np.float32).reshape(1, -1))
                for wanted in dict.fromkeys(hash_list(content))
                if wanted in by_content
            ]
        yield from found

    def count(self, build: BuildRecord) -> int:
        with self._target.lock:
            return len(self._rows(build))

    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:  # noqa: ARG002 - one way in for both
        with self._target.lock:
            index = self._writable(lease, build)
            held = self._rows(build)
            vectors = _quantized(build, rows.vectors)
            hashes = zip(
                hash_list(rows.keys), hash_list(rows.content), hash_list(rows.metadata_hash), strict=True
            )
            columns = zip(rows.ids, rows.chunks, rows.texts, rows.metadata, hashes, vectors, strict=True)
            new = [
                Row(StoredRow(key, id, chunk, text, metadata, content, metadata_hash), vector.copy())
                for id, chunk, text, metadata, (key, content, metadata_hash), vector in columns
            ]
            held.update({row.stored.key: row for row in new})
            index.serial += 1

    def patch(
        self,
        lease: Lease,
        build: BuildRecord,
        keys: HashArray,
        metadata_hash: HashArray,
        metadata: Sequence[str],
    ) -> int:
        with self._target.lock:
            index = self._writable(lease, build)
            held = self._rows(build)
            asked = zip(hash_list(keys), hash_list(metadata_hash), metadata, strict=True)
            new = {
                key: replace(
                    held[key], stored=replace(held[key].stored, metadata=text, metadata_hash=new_hash)
                )
                for key, new_hash, text in asked
                if key in held
            }
            held.update(new)
            index.serial += 1
            return len(new)

    def delete(self, lease: Lease, build: BuildRecord, keys: HashArray) -> int:
        with self._target.lock:
            index = self._writable(lease, build)
            held = self._rows(build)
            gone = sum(held.pop(key, None) is not None for key in hash_list(keys))
            index.serial += 1
            return gone

    def finish(self, lease: Lease, build: BuildRecord) -> Finished:
        with self._target.lock:
            index = self._writable(lease, build)
            self._rows(build)
            held = index.builds[build.id]
            new = not held.index_built and build.index["type"] != "exact"
            held.index_built = True
            index.serial += 1
            return Finished(index_built=new)

    def _rows(self, build: BuildRecord) -> dict[bytes, Row]:
        index = self._target.indexes.get(build.index_name)
        held = index.builds.get(build.id) if index else None
        if held is not None and held.rows is not None:
            return held.rows
        raise BuildMissing(f"build {build.id!r} is not there", where="memory", fix="read the pointer again")

    # -- dead letters -----------------------------------------------------------------------------

    def dead_letters(self, name: str) -> list[DeadLetter]:
        with self._target.lock:
            index = self._target.indexes.get(name)
            return list(index.letters) if index else []

    def replace_dead_letters(self, lease: Lease, name: str, letters: Sequence[DeadLetter]) -> None:
        with self._target.lock:
            index = self._writable(lease)
            if name != lease.name:
                raise StoreError(f"the lease is on {lease.name!r}, not on {name!r}", where="memory")
            index.letters = list(letters)
            index.serial += 1

    # -- search -----------------------------------------------------------------------------------

    def search(
        self,
        build: BuildRecord,
        vectors: Matrix,
        k: int,
        *,
        search: Mapping[str, Any],  # noqa: ARG002 - every search is exact
        filter: Filter | None = None,
        exact: bool = False,  # noqa: ARG002
    ) -> list[list[Candidate]]:
        with self._target.lock:
            rows = list(self._rows(build).values())
        if filter is not None:
            rows = [row for row in rows if matches(filter, json.loads(row.stored.metadata))]
        if not rows:
            return [[] for _ in vectors]
        matrix = np.stack([row.vector for row in rows]).astype(np.float64)
        results = []
        for query in np.asarray(vectors, dtype=np.float64):
            scores = score(build.metric, matrix, query)
            order = sorted(
                np.flatnonzero(~np.isnan(scores)).tolist(),
                key=lambda i: (-scores[i], rows[i].stored.id, rows[i].stored.chunk),
            )
            results.append([_candidate(rows[i].stored, float(scores[i])) for i in order[:k]])
        return results

    def close(self) -> None:
        """Nothing to give back: the target lives on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def score(
    metric: Metric, matrix: npt.NDArray[np.float64], query: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(n,) the metric between each row of (n, d) and the query (d,); higher is better.

    Summed row by row rather than by a matrix product, whose last bits depend on a row's place:
    equal rows must have equal scores. Cosine with a zero vector is NaN, and found by no search.
    """
    if metric is Metric.l2:
        return -np.sqrt(_row_sums(np.square(matrix - query)))
    dot = _row_sums(matrix * query)
    if metric is Metric.dot:
        return dot
    norms = np.sqrt(_row_sums(np.square(matrix))) * np.sqrt(np.square(query).sum())
    nothing = np.full_like(dot, np.nan)
    cosine: npt.NDArray[np.float64] = np.divide(dot, norms, out=nothing, where=norms > 0)
    return cosine


def _row_sums(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sums: npt.NDArray[np.float64] = matrix.sum(axis=1)
    return sums


def _candidate(row: StoredRow, value: float) -> Candidate:
    return Candidate(row.id, row.chunk, value, row.text, json.loads(row.metadata))


def _quantized(build: BuildRecord, vectors: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    if vectors.ndim != 2 or vectors.shape[1] != build.dimension:
        raise StoreError(
            f"vectors of shape {vectors.shape} do not fit dimension {build.dimension}", where=build.id
        )
    if not np.isfinite(vectors).all():
        raise StoreError("a vector holds NaN or infinity", where=build.id)
    return vectors.astype(np.float16 if build.quantization is Quantization.float16 else np.float32)


def _copied(record: R) -> R:
    return record.model_copy(deep=True)
