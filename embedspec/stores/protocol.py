"""The store protocol: the few calls an adapter has to make, and its limits as data.

Rules for every adapter:

- Every call may be made twice with the same result. A call that fails may or may not have taken
  effect; making it again after `observe` and `scan` must converge.
- Errors of the driver are translated into `embedspec.errors`; a transient one says so. Adapters
  do not retry (the core does, in one place), print or log above DEBUG.
- Every write proves the lease in its own transaction (`LeaseLost` otherwise, nothing written) and
  raises the index's serial.
- Metric arithmetic, quantizing, chunking, retries, fusion and reports never live in an adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pydantic import BaseModel

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
    StorageDefinition,
    StoredRow,
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do, known without a connection."""

    store: str
    metrics: frozenset[Metric]
    quantizations: frozenset[Quantization]
    index_types: frozenset[str]
    max_dimension: Mapping[tuple[Quantization, str], int]
    """By (quantization, index type)."""
    write_batch_rows: int
    """A good number of rows for one `upsert`, `patch` or `delete` call."""
    max_text_bytes: int | None = None
    """Longest text of one row in UTF-8 bytes; None: no limit below memory."""
    max_metadata_bytes: int | None = None
    max_k: int | None = None
    """Most hits an approximate search can return; above, the core asks for exact search."""
    locks: bool = True
    """The store can hold a lease. If not, the plan says the single writer is the user's duty."""


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """An adapter's reading of `target` for one spec: pure data, no connection."""

    storage: StorageDefinition
    search: Mapping[str, Any]
    """Reader settings, every default written out. Part of the pointer, not of the build."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreEstimate:
    """What a build of so many rows will take in the store, and how that was worked out."""

    table_bytes: int
    index_bytes: int
    build_memory_bytes: int
    basis: str


@dataclass(frozen=True, slots=True)
class OpenContext:
    """Where an adapter may look for files when it connects."""

    base: Path
    """Folder of the spec: relative paths in `target` resolve against it."""
    home: Path
    """The `.embedspec` folder (may not exist yet)."""
    write: bool = True
    """False: the caller only reads. Nothing may be created, neither server, schema nor tables."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one index. `generation` is proved by every write."""

    name: str
    owner: str
    generation: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What `finish` did: notes for the report (e.g. 'index build did not fit in memory')."""

    notes: tuple[str, ...] = ()
    index_built: bool = False
    """False when the index was already there."""


class Adapter(Protocol):
    """What the entry point (group `embedspec.stores`) names: no driver is imported by it."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def target_model(self) -> type[BaseModel]:
        """The pydantic model of `target` for this store: `store`, `url`, `index`, `search`, …"""
        ...

    def resolve(
        self, target: BaseModel, *, dimension: int, quantization: Quantization, metric: Metric
    ) -> ResolvedTarget:
        """Turn the declared target into storage and reader settings, every default written out.

        Raises CapabilityError with the limit and the way out. Opens nothing.
        """
        ...

    def estimate(self, storage: StorageDefinition, rows: int, text_bytes: int) -> StoreEstimate: ...

    def open(self, target: BaseModel, context: OpenContext) -> Store:
        """Connect. Raises StoreError; a missing driver is a StoreError that names the extra.

        With `context.write` False and nothing there yet (no embedded server, no schema), the store
        behaves as an empty one.
        """
        ...


class Store(Protocol):
    """An open connection to one target. Safe for one writer thread, plus `renew` from another."""

    def identity(self) -> str | None:
        """What the server says of itself (system identifier and database), never the URL. None: the
        store was opened for reading where nothing is yet."""
        ...

    def observe(self, name: str) -> IndexRecord | None:
        """One consistent read of the registry. None: nothing of that name, or no registry yet."""
        ...

    def observe_live(self, name: str) -> IndexRecord | None:
        """What a reader needs, in one small read: as `observe`, but of the builds only the live one,
        and that without its canary vectors. None as for `observe`."""
        ...

    # -- lease ------------------------------------------------------------------------------------
    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        """Take the lease if it is free, expired by the store's clock, or held by one that
        `embedspec.stores.lease.provably_dead` says is dead. Creates the registry if need be and
        migrates an older format forward. Of `holder` only who it is counts, not its times or
        generation. Raises LeaseHeld naming the holder, host, age and remaining time."""
        ...

    def renew(self, lease: Lease, ttl_s: float) -> None:
        """Extend the lease. Called from a thread of its own while writes are in flight, so on its
        own connection. Raises LeaseLost."""
        ...

    def release(self, lease: Lease) -> None:
        """Give the lease up. Not an error if it is lost already."""
        ...

    # -- registry ---------------------------------------------------------------------------------
    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        """Create the build's tables (no index yet), its registry row, and the index's row with a
        fresh lineage if the name is new. A build of that id that is there already is left alone."""
        ...

    def save(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord] = ()) -> None:
        """Write state and these build records in one transaction. Never moves readers."""
        ...

    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        """As `save`, and readers move to `state.pointer` in the same transaction. Convenience
        objects that may wait for readers (a view) follow afterwards, bounded in time; until they
        do, `observe` says `view: behind`, and `finish_switch` tries again."""
        ...

    def finish_switch(self, lease: Lease, name: str) -> bool:
        """Bring convenience objects up to the pointer. True if nothing is behind."""
        ...

    def drop(self, lease: Lease, build: BuildRecord, *, keep_record: bool) -> None:
        """Drop the build's tables; its registry row too, or mark it `dropped` if `keep_record`.
        Waits for readers only briefly, then StoreError(transient)."""
        ...

    # -- rows -------------------------------------------------------------------------------------
    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        """All rows of the build, in pages of any size and order, from one snapshot. A row that lost
        its vector, whatever took it away, is not there."""
        ...

    def rows(self, build: BuildRecord, keys: HashArray) -> Iterator[StoredRow]:
        """The rows with these keys, in any order; keys that are not there are skipped."""
        ...

    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        """(content hash, (1, dimension) float32 vector) for these content hashes, each once;
        hashes that no row has are skipped."""
        ...

    def count(self, build: BuildRecord) -> int: ...

    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        """Insert rows, or replace those with the same key. All rows in one transaction.

        `fresh`: the caller has seen that none of the keys is in the build, so the fastest way in
        may be tried first; a key that is there after all must still be replaced, not fail.
        Raises RowRefused, with nothing written, if a value is not acceptable to the store."""
        ...

    def patch(
        self,
        lease: Lease,
        build: BuildRecord,
        keys: HashArray,
        metadata_hash: HashArray,
        metadata: Sequence[str],
    ) -> int:
        """Replace the metadata of rows, leaving text and vector alone. Returns rows changed."""
        ...

    def delete(self, lease: Lease, build: BuildRecord, keys: HashArray) -> int:
        """Delete rows by key. Returns how many were there."""
        ...

    def finish(self, lease: Lease, build: BuildRecord) -> Finished:
        """Create and wait for the index the build's record asks for, unless it is there and valid
        (an invalid one is replaced), and refresh statistics. Called after every load."""
        ...

    # -- dead letters -----------------------------------------------------------------------------
    def dead_letters(self, name: str) -> list[DeadLetter]: ...

    def replace_dead_letters(self, lease: Lease, name: str, letters: Sequence[DeadLetter]) -> None:
        """The index's dead letters are now exactly these."""
        ...

    # -- search -----------------------------------------------------------------------------------
    def search(
        self,
        build: BuildRecord,
        vectors: Matrix,
        k: int,
        *,
        search: Mapping[str, Any],
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[list[Candidate]]:
        """Up to `k` nearest rows for each of the (q, dimension) float32 query vectors.

        `exact`: compare with every row that matches, using no approximate index. Without it the
        build's index is used with the reader settings `search`, raised where `k` needs it; fewer
        than `k` hits may come back, and the core then asks again with `exact`.
        Ordered by score falling, then id, then chunk. Raises BuildMissing if the tables are gone.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


__all__ = [
    "Adapter",
    "Capabilities",
    "Finished",
    "Lease",
    "OpenContext",
    "ResolvedTarget",
    "Store",
    "StoreEstimate",
]
