"""The bench the suite's tests work at: indexes of fresh names, builds, rows and pointers to write."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pytest

from embedspec.stores.lease import this_process
from embedspec.stores.protocol import Adapter, Lease, ResolvedTarget, Store
from embedspec.stores.records import (
    BuildRecord,
    Fingerprints,
    IndexRecord,
    IndexState,
    ModelReference,
    Pointer,
)
from embedspec.types import (
    BuildStatus,
    FieldType,
    Filter,
    HashArray,
    Metric,
    Quantization,
    RowBatch,
    RowHashes,
    StoredRow,
    digest,
    hash_array,
    hash_list,
    row_key,
)

CREATED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
"""When every build of the suite says it was created; whole seconds, as any store can keep them."""

TTL_S = 600.0
"""Life of a lease that no test waits for."""

FIELDS: Mapping[str, FieldType] = {
    "lang": FieldType.keyword,
    "tags": FieldType.keyword,
    "meta.year": FieldType.integer,
    "price": FieldType.float,
    "public": FieldType.boolean,
}
"""Filterable fields of the suite's builds."""


class OpenStore(Protocol):
    """Opens one more connection to the same target; the fixture closes it after the test."""

    def __call__(self, *, write: bool = True) -> Store: ...


@dataclass(frozen=True, slots=True)
class EmptyTarget:
    """A target in which nobody has written yet, and a way to see that nothing was created there.

    `inventory` lists whatever a store may create (files, schemas, tables) without creating it.
    """

    open_store: OpenStore
    inventory: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Item:
    """One row to be written. `vector` is (dimension,) float32."""

    id: str
    vector: npt.NDArray[np.float32]
    chunk: int = 0
    text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    """16 bytes; default: the hash of id, chunk and text, so that no two items share it."""

    @property
    def key(self) -> bytes:
        return row_key(self.id, self.chunk)

    @property
    def metadata_text(self) -> str:
        return json.dumps(self.metadata, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @property
    def content_hash(self) -> bytes:
        return self.content or digest(f"{self.id}\0{self.chunk}\0{self.text}".encode())


Contents = dict[bytes, tuple[StoredRow, Any, bytes]]
"""By key: the row (metadata text emptied), the parsed metadata, the vector's float32 bytes."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One test's place of work. `name` is an index that does not exist yet."""

    adapter: Adapter
    target: Mapping[str, Any]
    open_store: OpenStore
    name: str = field(default_factory=lambda: f"suite_{uuid.uuid4().hex[:12]}")

    # -- definitions ------------------------------------------------------------------------------

    def resolve(
        self,
        *,
        index: str = "exact",
        dimension: int = 8,
        quantization: Quantization = Quantization.float32,
        metric: Metric = Metric.cosine,
    ) -> ResolvedTarget:
        model = self.adapter.target_model.model_validate({**self.target, "index": {"type": index}})
        return self.adapter.resolve(model, dimension=dimension, quantization=quantization, metric=metric)

    def build(self, number: int = 1, *, name: str | None = None, **storage: Any) -> BuildRecord:
        """A build record of the index `name`; `storage` as for `resolve`. Ids are unique in one index
        only: a store that names tables by build names them by index and build."""
        resolved = self.resolve(**storage).storage
        own = name or self.name
        return BuildRecord(
            index_name=own,
            id=f"b{number}_0f{number:04x}",
            status=BuildStatus.building,
            fingerprints=Fingerprints(
                encoder="e" * 32, vector="f" * 32, build=digest(f"{own} {number}".encode()).hex()
            ),
            identity={"encoder": {"pooling": "mean"}, "text": {"template": "{text}"}},
            spec={"name": own, "description": "quotes ' \" and \\ and ünïcödé"},
            model=ModelReference(use="path:model", revision=None, encoder="e" * 32),
            dimension=resolved.dimension,
            quantization=resolved.quantization,
            metric=resolved.metric,
            index=dict(resolved.index),
            fields=dict(FIELDS),
            created=CREATED,
        )

    def pointer(self, build: BuildRecord, reason: str = "first build") -> Pointer:
        return Pointer(
            build=build.id,
            model=build.model,
            query_prompt="query: ",
            search={},
            reader="r" * 32,
            since=CREATED,
            reason=reason,
        )

    def state(self) -> IndexState:
        return IndexState(next_build=2, source="jsonl c.jsonl", actor="someone@here")

    # -- steps ------------------------------------------------------------------------------------

    def lease(self, store: Store, name: str | None = None) -> Lease:
        return store.acquire(name or self.name, this_process(), TTL_S)

    def start(self, store: Store, *builds: BuildRecord) -> Lease:
        """Take the lease and create these builds."""
        lease = self.lease(store)
        for number, build in enumerate(builds, 1):
            record = store.observe(self.name)
            state = record.state if record else IndexState()
            store.create_build(lease, state.model_copy(update={"next_build": number + 1}), build)
        return lease

    def fill(self, store: Store, items: Sequence[Item], **storage: Any) -> tuple[Lease, BuildRecord]:
        """A first build that holds these items, index finished."""
        build = self.build(**storage)
        lease = self.start(store, build)
        self.write(store, lease, build, items)
        store.finish(lease, build)
        return lease, build

    def write(self, store: Store, lease: Lease, build: BuildRecord, items: Sequence[Item]) -> None:
        """Upsert new items in batches of the size that the store likes."""
        rows = self.adapter.capabilities.write_batch_rows
        for start in range(0, len(items), rows):
            store.upsert(lease, build, batch(build, items[start : start + rows]), fresh=True)

    def patch(self, store: Store, lease: Lease, build: BuildRecord, items: Sequence[Item]) -> int:
        """Give rows the metadata of these items."""
        columns = batch(build, items)
        return store.patch(lease, build, columns.keys, columns.metadata_hash, columns.metadata)

    def observed(self, store: Store, name: str | None = None) -> IndexRecord:
        record = store.observe(name or self.name)
        assert record is not None, (
            "observe gives None for an index that has a build; if this fails, check that create_build "
            "writes the index's row and that observe reads committed data on every connection"
        )
        return record

    def serial(self, store: Store) -> int:
        return self.observed(store).serial

    def contents(self, store: Store, build: BuildRecord) -> Contents:
        """Everything a build holds, for comparing. Needs content hashes that differ."""
        scanned = RowHashes.concat(list(store.scan(build)))
        rows = {row.key: row for row in store.rows(build, scanned.key)}
        vectors = {key: matrix.tobytes() for key, matrix in store.vectors(build, scanned.content)}
        return {
            key: (
                StoredRow(key, row.id, row.chunk, row.text, "", row.content, row.metadata_hash),
                json.loads(row.metadata),
                vectors[row.content],
            )
            for key, row in rows.items()
        }

    def ids(
        self,
        store: Store,
        build: BuildRecord,
        vector: npt.NDArray[np.float32],
        k: int,
        *,
        filter: Filter | None = None,
    ) -> list[str]:
        """Ids that an exact search finds, in order."""
        found = store.search(build, vector.reshape(1, -1), k, search={}, filter=filter, exact=True)
        return [hit.id for hit in found[0]]


def must_raise(kind: type[BaseException], call: Callable[[], object], why: str) -> None:
    """Fails with `why` and what came back, unless the call raises `kind`."""
    try:
        result = call()
    except kind:
        return
    pytest.fail(f"{kind.__name__} expected, got {result!r}: {why}")


def batch(build: BuildRecord, items: Sequence[Item]) -> RowBatch:
    """Items as columns, quantized as the build holds them."""
    dtype = np.float16 if build.quantization is Quantization.float16 else np.float32
    vectors: npt.NDArray[np.floating[Any]] = np.array([item.vector for item in items], dtype=dtype)
    return RowBatch(
        keys=keys(items),
        ids=[item.id for item in items],
        chunks=[item.chunk for item in items],
        content=hash_array([item.content_hash for item in items]),
        metadata_hash=hash_array([digest(item.metadata_text.encode()) for item in items]),
        texts=[item.text for item in items],
        metadata=[item.metadata_text for item in items],
        vectors=vectors.reshape(len(items), build.dimension),
    )


def keys(items: Sequence[Item]) -> HashArray:
    return hash_array([item.key for item in items])


def make_items(count: int, dimension: int = 8, *, seed: int = 0) -> list[Item]:
    """Items `d0`, `d1`, … with random unit vectors, texts and metadata."""
    vectors = unit_vectors(count, dimension, seed=seed)
    return [
        Item(f"d{i}", vectors[i], text=f"text {i}", metadata={"lang": "de" if i % 2 else "en", "n": i})
        for i in range(count)
    ]


def unit_vectors(count: int, dimension: int, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """(count, dimension) float32 of length 1, the same for the same seed."""
    raw = np.random.default_rng(seed).standard_normal((count, dimension))
    unit: npt.NDArray[np.float32] = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return unit


def scan_hashes(store: Store, build: BuildRecord) -> dict[bytes, tuple[bytes, bytes]]:
    """Key to (content hash, metadata hash); fails on a key that is given twice."""
    scanned = RowHashes.concat(list(store.scan(build)))
    found = hash_list(scanned.key)
    assert len(set(found)) == len(found), (
        "scan gives a key twice; if this fails, check that pages do not overlap and that one snapshot "
        "serves the whole scan"
    )
    return dict(
        zip(found, zip(hash_list(scanned.content), hash_list(scanned.metadata), strict=True), strict=True)
    )
