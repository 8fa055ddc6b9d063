"""What the registry in a store holds about an index: builds, pointer, verdicts, lease.

Adapters keep these as JSON text and never look inside beyond the fields named in `protocol.py`;
only the core reads and writes their meaning. `FORMAT` is raised when a change would mislead an
older embedspec: newer than we know is refused, older is migrated forward by `reconcile`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from embedspec.types import BuildStatus, FieldType, Metric, Quantization

FORMAT = 1


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fingerprints(Record):
    """Hex hashes of the three identities, one inside the other (DESIGN: Three identities)."""

    encoder: str
    vector: str
    build: str


class ModelReference(Record):
    """Enough to load the same model again, with no spec at hand."""

    use: str
    revision: str | None
    """Resolved commit; None for folders and packages."""
    encoder: str
    """Encoder fingerprint that the loaded model must have."""


class Canary(Record):
    """Full-length float32 vectors of the fixed texts, base64 of little-endian bytes."""

    encoder: str
    version: int
    dimension: int
    vectors: str


class BuildRecord(Record):
    """One physical table or index behind an index's name."""

    index_name: str
    """The index it belongs to; ids are unique in one index only."""
    id: str
    status: BuildStatus
    fingerprints: Fingerprints
    identity: dict[str, Any]
    """The build identity in full (encoder and vector identities inside), as hashed."""
    spec: dict[str, Any]
    """The spec as applied: names of things, never a secret."""
    model: ModelReference
    dimension: int
    quantization: Quantization
    metric: Metric
    index: dict[str, Any]
    fields: dict[str, FieldType]
    """Filterable metadata fields."""
    created: datetime
    left_live: datetime | None = None
    """When the pointer last left this build; starts the grace period of `gc`."""
    rows: int | None = None
    """As counted at the end of the last run; for people, never for decisions."""
    canary: Canary | None = None
    verdict: dict[str, Any] | None = None
    dropped: bool = False
    """Tables are gone; the row is kept because its identity is held or rejected."""


class Pointer(Record):
    """What readers take in one read: the live build and how to query it."""

    build: str
    model: ModelReference
    query_prompt: str
    search: dict[str, Any]
    """Reader settings of the store (`ef_search`, …), every default written out."""
    reader: str
    """Fingerprint of the reader settings (query prompt and `search`)."""
    since: datetime
    reason: str


class Rejection(Record):
    """A (build identity, reader settings) that was left by rollback or failed a gate.

    `reader` None: the build identity is refused whatever the reader settings.
    It stays until `promote`; `reconcile` never switches to it by itself.
    """

    build: str
    reader: str | None
    status: BuildStatus
    reason: str
    at: datetime


class IndexState(Record):
    """The mutable state of one index, kept as one JSON document in the store."""

    pointer: Pointer | None = None
    history: tuple[Pointer, ...] = ()
    """Earlier pointers, oldest first, cut to the last 20."""
    rejections: tuple[Rejection, ...] = ()
    next_build: int = 1
    source: str | None = None
    """The corpus source of the last run, as written in its spec."""
    actor: str | None = None
    """user@host of the last run."""
    last_run: dict[str, Any] | None = None


class LeaseInfo(Record):
    """Who holds the lease, as the store tells it. Times are the store's clock."""

    owner: str
    host: str
    boot: str
    pid: int
    started: float
    """Process start time in seconds since boot: a reused pid does not look alive."""
    generation: int
    acquired: datetime
    expires_in_s: float


class IndexRecord(Record):
    """One consistent read of everything the registry holds about an index."""

    name: str
    lineage: str
    """Made at first creation; two indexes of one name at different times differ in it."""
    serial: int
    """Raised by every write to the index."""
    format: int = FORMAT
    state: IndexState = Field(default_factory=IndexState)
    builds: tuple[BuildRecord, ...] = ()
    lease: LeaseInfo | None = None
    view: str | None = None
    """`current`, `behind`, or None where the store has no view for plain-SQL readers."""
    now: datetime
    """The store's clock at the time of the read."""

    def build(self, build_id: str | None) -> BuildRecord | None:
        return next((b for b in self.builds if b.id == build_id), None)

    @property
    def live(self) -> BuildRecord | None:
        return self.build(self.state.pointer.build) if self.state.pointer else None
