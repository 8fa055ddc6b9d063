"""The pgvector `target` of a spec: its keys, its limits, and what a build will take. No connection.

Limits (pgvector README, checked on 0.8.6): a `vector` or `halfvec` column holds up to 16,000
dimensions, an HNSW index 2,000 of `vector` and 4,000 of `halfvec`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from embedspec.errors import CapabilityError, SpecError
from embedspec.stores.protocol import Capabilities, ResolvedTarget, StoreEstimate
from embedspec.types import Metric, Quantization, StorageDefinition

ADAPTER_FORMAT = 1
"""Raised when the tables of a build change in a way that needs a new build."""

MAX_EF_SEARCH = 1000

CAPABILITIES = Capabilities(
    store="pgvector",
    metrics=frozenset(Metric),
    quantizations=frozenset({Quantization.float32, Quantization.float16}),
    index_types=frozenset({"hnsw", "exact"}),
    max_dimension={
        (Quantization.float32, "hnsw"): 2_000,
        (Quantization.float16, "hnsw"): 4_000,
        (Quantization.float32, "exact"): 16_000,
        (Quantization.float16, "exact"): 16_000,
    },
    write_batch_rows=4096,
    max_k=MAX_EF_SEARCH,
)


class _Part(BaseModel):
    # Inputs are hidden because a URL may hold a password that was written there by mistake.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class HnswIndex(_Part):
    """Approximate search over a graph, built after the load."""

    type: Literal["hnsw"] = "hnsw"
    m: int = Field(default=16, ge=2, le=100, description="links per node")
    ef_construction: int = Field(
        default=64, ge=4, le=1000, description="candidates kept while building; at least 2 * m"
    )

    @model_validator(mode="after")
    def _enough_candidates(self) -> Self:
        if self.ef_construction < 2 * self.m:
            raise ValueError(
                f"ef_construction {self.ef_construction} < 2 * m = {2 * self.m}; "
                f"raise ef_construction to {2 * self.m} or lower m to {self.ef_construction // 2}"
            )
        return self


class ExactIndex(_Part):
    """No index: every query is compared with every row. Right up to some 100,000 rows."""

    type: Literal["exact"]


def _index_type(value: Any) -> str | None:
    if isinstance(value, dict):
        return str(value.get("type", "hnsw"))
    return getattr(value, "type", None)


Index = Annotated[
    Annotated[HnswIndex, Tag("hnsw")] | Annotated[ExactIndex, Tag("exact")],
    Discriminator(
        _index_type,
        custom_error_type="index_type",
        custom_error_message="index must be a mapping whose type is hnsw or exact",
    ),
]


class Search(_Part):
    """Reader settings."""

    ef_search: int | None = Field(
        default=None,
        ge=1,
        le=MAX_EF_SEARCH,
        description="candidates kept while searching an hnsw index (default 100)",
    )


_URL = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_ENV = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


class Target(_Part):
    """Where the index lives in PostgreSQL and how it is searched."""

    store: Literal["pgvector"]
    url: str = Field(
        description="`embedded` (a server of embedspec's own), `env:NAME` (a variable that holds the "
        "URL), or a postgresql:// URL without a password"
    )
    schema_name: str = Field(
        default="public", alias="schema", min_length=1, max_length=63, description="schema for all tables"
    )
    index: Index = HnswIndex()
    search: Search = Search()

    @field_validator("url")
    @classmethod
    def _no_secret(cls, url: str) -> str:
        if url == "embedded" or _ENV.fullmatch(url):
            return url
        if not _URL.match(url):
            raise ValueError("url must be `embedded`, `env:NAME` or begin with postgresql://")
        # A raw password may itself hold / ? and @: all before the last @ is looked at.
        before_host = url.partition("://")[2].rpartition("@")[0]
        if ":" in before_host or re.search(r"[?&](ssl)?password=", url, re.IGNORECASE):
            # Not a ValueError: pydantic would keep the input, and with it the password.
            raise SpecError(
                "target.url holds a password; a spec never does",
                fix="put the whole URL into an environment variable and write `url: env:NAME`",
            )
        return url

    @field_validator("schema_name")
    @classmethod
    def _usable_schema(cls, schema: str) -> str:
        if "\0" in schema or "%" in schema or schema.startswith("pg_") or len(schema.encode()) > 63:
            # The driver takes a % for a parameter, in names too.
            raise ValueError("schema must have at most 63 bytes, no % in it, and not begin with pg_")
        return schema

    @model_validator(mode="after")
    def _search_fits_index(self) -> Self:
        if self.index.type == "exact" and self.search.ef_search is not None:
            raise ValueError("search.ef_search belongs to an hnsw index; the index here is exact")
        return self


def resolve(target: Target, dimension: int, quantization: Quantization, metric: Metric) -> ResolvedTarget:
    """Storage and reader settings with every default written out. Raises CapabilityError."""
    if quantization not in CAPABILITIES.quantizations:
        raise CapabilityError(
            f"quantization {quantization} is not available in pgvector",
            fix="use float32 or float16",
        )
    kind = target.index.type
    limit = CAPABILITIES.max_dimension[quantization, kind]
    if not 1 <= dimension <= limit:
        ways = [f"a dimension <= {limit}"]
        if kind == "hnsw" and quantization is Quantization.float32 and dimension <= 4_000:
            ways.insert(0, "quantization float16 (up to 4000)")
        if kind == "hnsw" and dimension <= 16_000:
            ways.append("index {type: exact} (up to 16000)")
        raise CapabilityError(
            f"dimension {dimension} > {limit}, the limit of a pgvector {kind} index with {quantization}",
            where="embedding.dimension",
            fix="use " + " or ".join(ways),
        )
    search = {} if kind == "exact" else {"ef_search": target.search.ef_search or 100}
    storage = StorageDefinition(
        dimension=dimension,
        quantization=quantization,
        metric=metric,
        index=target.index.model_dump(),
        adapter_format=ADAPTER_FORMAT,
    )
    return ResolvedTarget(storage, search)


PAGE_BYTES = 8192
_PAGE_ROOM = 8160
"""What a page holds besides its header and, in an index, its special area."""
_DOC_BYTES = 24 + 4 + 3 * 17 + 4 + 24 + 80
"""Tuple header, line pointer, three hashes, chunk, and a usual id and metadata."""
_KEY_INDEX_BYTES = 40
_ID_INDEX_BYTES = 48


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def estimate(storage: StorageDefinition, rows: int, text_bytes: int) -> StoreEstimate:
    """Bytes of tables and index, and the memory to build the index in.

    The HNSW figures follow pgvector's page layout (src/hnsw.h: 72 bytes per element beside the
    vector, 6 bytes per link, 2m links on the ground floor) and agree with measured sizes: 204.8 MB
    for 100,000 x 384 float32, 117.0 MB for float16. Build memory: 4 * dimension + 800 bytes a row,
    from the points at which pgvector says that the graph no longer fits.
    """
    width = storage.quantization.bytes_per_number
    vector = width * storage.dimension + 8
    tuple_bytes = _aligned(24 + 20 + vector) + 4
    if tuple_bytes <= _PAGE_ROOM:
        vectors = -(-rows // (_PAGE_ROOM // tuple_bytes)) * PAGE_BYTES
    else:
        vectors = rows * (vector + vector // 2000 * 60 + 80)
    table = vectors + rows * (_DOC_BYTES + 2 * _KEY_INDEX_BYTES + _ID_INDEX_BYTES) + text_bytes
    if storage.index["type"] != "hnsw":
        return StoreEstimate(table, 0, 0, "row sizes of the two tables; no index")
    element = _aligned(72 + vector) + 4
    links = _aligned(4 + 2 * int(storage.index["m"]) * 6) + 4
    if element + links <= _PAGE_ROOM:
        pages = -(-rows // (_PAGE_ROOM // (element + links)))
    else:
        pages = rows + -(-rows // (_PAGE_ROOM // links))
    return StoreEstimate(
        table_bytes=table,
        index_bytes=pages * PAGE_BYTES,
        build_memory_bytes=build_memory_bytes(storage.dimension, storage.quantization, rows),
        basis="page layout of pgvector's hnsw; build memory 4 * dimension + 800 bytes a row",
    )


def build_memory_bytes(dimension: int, quantization: Quantization, rows: int) -> int:
    """Memory that keeps an HNSW build of so many rows from spilling to disk (see `estimate`)."""
    return rows * (quantization.bytes_per_number * dimension + 800)
