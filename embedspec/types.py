"""Value types shared by every layer: enums, hashes, row batches, filters, search hits.

Arrays of hashes have dtype `S16` (16 raw bytes each). numpy strips trailing NULs only when a single
element is turned into `bytes`; comparing, sorting and searching whole arrays is exact. Use
`hash_list` to get full 16-byte values out.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

HASH_DTYPE = np.dtype("S16")
HashArray: TypeAlias = npt.NDArray[np.bytes_]
"""1-d, dtype S16."""
Matrix: TypeAlias = npt.NDArray[np.float32]
"""(n, dimension) float32, C-contiguous."""

MAX_ID_BYTES = 512
"""Longest document id in UTF-8 bytes; the same for every store."""


class Metric(enum.StrEnum):
    cosine = "cosine"
    dot = "dot"
    l2 = "l2"


class Quantization(enum.StrEnum):
    """What the index holds per number."""

    float32 = "float32"
    float16 = "float16"

    @property
    def bytes_per_number(self) -> int:
        return 4 if self is Quantization.float32 else 2


class FieldType(enum.StrEnum):
    """Type of a metadata field. `keyword` (the default) compares as text, whatever the JSON type."""

    keyword = "keyword"
    integer = "integer"
    float = "float"
    boolean = "boolean"


class ChangeClass(enum.StrEnum):
    """What a plan does, strongest first: comparing positions in this list gives a plan's class."""

    rebuild = "rebuild"
    create = "create"
    derive = "derive"
    reindex = "reindex"
    repoint = "repoint"
    delete = "delete"
    upsert = "upsert"
    patch = "patch"
    none = "none"

    @staticmethod
    def strongest(classes: Iterable[ChangeClass]) -> ChangeClass:
        order = list(ChangeClass)
        return min(classes, key=order.index, default=ChangeClass.none)


class BuildStatus(enum.StrEnum):
    building = "building"
    ready = "ready"
    held = "held"
    live = "live"
    kept = "kept"
    rejected = "rejected"


def digest(data: bytes) -> bytes:
    """16-byte BLAKE2b of `data`: the hash behind content, metadata and fingerprints."""
    return hashlib.blake2b(data, digest_size=16).digest()


def row_key(document_id: str, chunk: int) -> bytes:
    """16 bytes that stand for (document id, chunk number) in every store.

    12 bytes of BLAKE2b over the id, then the chunk number as 4 bytes big-endian: rows of one
    document share a prefix, so documents can be counted on arrays of keys without their ids.
    96 bits make an accidental collision among 10^9 documents a matter of 10^-11.
    """
    prefix = hashlib.blake2b(document_id.encode(), digest_size=16).digest()[:12]
    return prefix + chunk.to_bytes(4, "big")


def hash_array(values: Sequence[bytes]) -> HashArray:
    """Pack 16-byte values into an S16 array."""
    return np.frombuffer(b"".join(values), dtype=HASH_DTYPE)


def hash_list(values: HashArray) -> list[bytes]:
    """The full 16-byte values of an S16 array, trailing NULs included."""
    raw = np.ascontiguousarray(values).tobytes()
    return [raw[i : i + 16] for i in range(0, len(raw), 16)]


def document_prefixes(keys: HashArray) -> npt.NDArray[np.bytes_]:
    """(n,) S12: the part of each key that stands for the document."""
    raw = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 16)
    return np.ascontiguousarray(raw[:, :12]).view("S12").reshape(-1)


@dataclass(frozen=True, slots=True)
class RowHashes:
    """What a scan of a build returns, one entry per row, in any order. All three are S16, (n,)."""

    key: HashArray
    content: HashArray
    metadata: HashArray

    def __len__(self) -> int:
        return len(self.key)

    def take(self, mask: npt.NDArray[np.bool_]) -> RowHashes:
        """The rows where `mask`, (n,) bool, is True."""
        return RowHashes(self.key[mask], self.content[mask], self.metadata[mask])

    @staticmethod
    def empty() -> RowHashes:
        nothing = np.empty(0, dtype=HASH_DTYPE)
        return RowHashes(nothing, nothing, nothing)

    @staticmethod
    def concat(parts: Sequence[RowHashes]) -> RowHashes:
        if not parts:
            return RowHashes.empty()
        return RowHashes(
            np.concatenate([p.key for p in parts]),
            np.concatenate([p.content for p in parts]),
            np.concatenate([p.metadata for p in parts]),
        )


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows to write, as columns of equal length. `vectors` is (n, dimension) float32 or float16,
    already cut, normalised and quantized; `metadata` is canonical JSON text (flat dotted paths)."""

    keys: HashArray
    ids: Sequence[str]
    chunks: Sequence[int]
    content: HashArray
    metadata_hash: HashArray
    texts: Sequence[str]
    metadata: Sequence[str]
    vectors: npt.NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int]) -> RowBatch:
        """The rows at `indices`, in that order."""
        at = np.asarray(indices, dtype=np.intp)
        return RowBatch(
            self.keys[at],
            [self.ids[i] for i in indices],
            [self.chunks[i] for i in indices],
            self.content[at],
            self.metadata_hash[at],
            [self.texts[i] for i in indices],
            [self.metadata[i] for i in indices],
            self.vectors[at],
        )


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row read back from a build, without its vector."""

    key: bytes
    id: str
    chunk: int
    text: str
    metadata: str
    content: bytes
    metadata_hash: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """One search result as the store gives it. `score` is the metric itself, higher is better:
    cosine similarity, dot product, or minus the L2 distance."""

    id: str
    chunk: int
    score: float
    text: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StorageDefinition:
    """The physical form of a build, resolved by the adapter from the spec's target (pure data).

    `index` is the index type with its tuning, every default written out, e.g.
    `{"type": "hnsw", "m": 16, "ef_construction": 64}`. It is part of the build's identity.
    """

    dimension: int
    quantization: Quantization
    metric: Metric
    index: Mapping[str, Any]
    adapter_format: int


# --- filters -------------------------------------------------------------------------------------
# One language for all stores. A record without the field matches no positive test; a list value
# matches when any of its elements does.

Scalar: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Eq:
    field: str
    type: FieldType
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    field: str
    type: FieldType
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds that are None are open. Keywords compare by code point."""

    field: str
    type: FieldType
    gt: Scalar | None = None
    gte: Scalar | None = None
    lt: Scalar | None = None
    lte: Scalar | None = None


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True for every record for which `part` is not true, so also for records without the field."""

    part: Filter


Filter: TypeAlias = Eq | In | Range | And | Or | Not


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be processed. `key` identifies it from run to run: the document id
    if it has one, else `file:hash-of-line`. `place` is file:line, for people."""

    key: str
    reason: str
    place: str
    id: str | None = None
    content: str | None = None
    """Hex content hash, for letters that are tried again only when the content changed."""
    stage: str = "read"
    """read | embed | write"""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a store or reader wants said in the report; never an error."""

    what: str
    where: str | None = None


@dataclass(slots=True)
class Event:
    """Progress, for whoever listens. `done` and `total` are in `unit` (tokens, rows, records)."""

    stage: str
    message: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
