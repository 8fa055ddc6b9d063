"""The adapter `memory`: the reference store as a target, living as long as the process.

Declared as `target: {store: memory}`. Two opens with the same `url` (any name) share one target;
without `url` the project's `.embedspec` folder is the name. Search is always exact; an `hnsw` index
is recorded and takes the same settings as in pgvector, so that a spec can be tried here first.
"""

from __future__ import annotations

import threading
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from embedspec.errors import CapabilityError
from embedspec.stores.memory_store import MemoryStore
from embedspec.stores.memory_target import Target
from embedspec.stores.protocol import Capabilities, OpenContext, ResolvedTarget, StoreEstimate
from embedspec.types import Metric, Quantization, StorageDefinition

ADAPTER_FORMAT = 1

CAPABILITIES = Capabilities(
    store="memory",
    metrics=frozenset(Metric),
    quantizations=frozenset(Quantization),
    index_types=frozenset({"exact", "hnsw"}),
    # The limits of pgvector, so that what works here works there.
    max_dimension={
        (Quantization.float32, "exact"): 16_000,
        (Quantization.float16, "exact"): 16_000,
        (Quantization.float32, "hnsw"): 2_000,
        (Quantization.float16, "hnsw"): 4_000,
    },
    write_batch_rows=1000,
)


# --- what a spec says under `target` --------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemoryIndex(_Section):
    type: Literal["exact", "hnsw"] = "hnsw"
    m: int | None = Field(default=None, ge=2, le=100)
    """hnsw: links per node; default 16."""
    ef_construction: int | None = Field(default=None, ge=4, le=1000)
    """hnsw: candidates looked at while building; default 64, at least 2 * m."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type == "exact" and (self.m is not None or self.ef_construction is not None):
            raise ValueError("m and ef_construction belong to type hnsw")
        if (self.ef_construction or 64) < 2 * (self.m or 16):
            raise ValueError("ef_construction must be at least 2 * m")
        return self


class MemorySearch(_Section):
    ef_search: int | None = Field(default=None, ge=1, le=1000)
    """hnsw: candidates looked at by a search; default 100."""


class MemoryTargetModel(_Section):
    store: Literal["memory"]
    url: str | None = None
    """A name: opens with the same name share one target."""
    index: MemoryIndex = MemoryIndex()
    search: MemorySearch = MemorySearch()


_targets: dict[str, Target] = {}
_targets_lock = threading.Lock()


def open_target(url: str) -> Target:
    """The target of that name, made if there is none. Tests reach its `clock` through this."""
    with _targets_lock:
        return _targets.setdefault(url, Target())


class MemoryAdapter:
    """What the entry point `memory` names."""

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def target_model(self) -> type[BaseModel]:
        return MemoryTargetModel

    def resolve(
        self, target: BaseModel, *, dimension: int, quantization: Quantization, metric: Metric
    ) -> ResolvedTarget:
        declared = _checked(target)
        limit = CAPABILITIES.max_dimension[quantization, declared.index.type]
        if dimension > limit:
            raise CapabilityError(
                f"dimension {dimension} > {limit}, the most that memory takes for {quantization.value} "
                f"with index type {declared.index.type}",
                where="embedding.dimension",
                fix=f"a dimension <= {limit}, float16, or index type exact",
            )
        index: dict[str, Any] = {"type": declared.index.type}
        search: dict[str, Any] = {}
        if declared.index.type == "hnsw":
            index |= {"m": declared.index.m or 16, "ef_construction": declared.index.ef_construction or 64}
            search = {"ef_search": declared.search.ef_search or 100}
        storage = StorageDefinition(dimension, quantization, metric, index, ADAPTER_FORMAT)
        return ResolvedTarget(storage, search)

    def estimate(self, storage: StorageDefinition, rows: int, text_bytes: int) -> StoreEstimate:
        vector_bytes = storage.dimension * storage.quantization.bytes_per_number
        return StoreEstimate(
            table_bytes=rows * (vector_bytes + 500) + text_bytes,
            index_bytes=0,
            build_memory_bytes=0,
            basis="vectors and texts held in this process, about 500 bytes of objects per row",
        )

    def open(self, target: BaseModel, context: OpenContext) -> MemoryStore:
        url = _checked(target).url
        name = url if url is not None else f"folder {context.home.absolute()}"
        return MemoryStore(open_target(name), write=context.write)


def _checked(target: BaseModel) -> MemoryTargetModel:
    if not isinstance(target, MemoryTargetModel):
        raise TypeError(f"expected MemoryTargetModel, got {type(target).__name__}")
    return target


adapter = MemoryAdapter()
