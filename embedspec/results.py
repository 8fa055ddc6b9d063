"""What the verbs return: pydantic objects whose dump is the `--json` output (docs/json.md).

`dump` is the one way to turn a result into JSON data, so that the SDK and the command line cannot
drift apart.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from embedspec.types import BuildStatus, ChangeClass


class Result(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    def dump(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


class PolicyVerdict(Result):
    rule: str
    verdict: str
    """pass | fail | unknown"""
    reason: str
    source: str
    """Where the fact came from, e.g. `README.md of package:…`."""
    blocking: bool = Field(default=False, exclude=True)
    """Whether this verdict ends the run with exit 8 (a fail, or unknown under `unknown: error`)."""


class Documents(Result):
    """Documents against the live build; `empty` and dead letters are in none of the others."""

    added: int = 0
    changed: int = 0
    metadata_changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    empty: int = 0
    truncated: int = 0


class Chunks(Result):
    embed: int = 0
    """Distinct texts to send through the model; predicts `embedded`."""
    reused: int = 0
    """Distinct texts to be written whose vector is at hand."""


class Estimate(Result):
    tokens: str = "exact"
    """exact | sample: how `tokens` was counted."""
    seconds: float | None = None
    """Time to embed `tokens`; None = unknown."""
    seconds_basis: str = "unknown"
    table_bytes: int = 0
    index_bytes: int = 0
    build_memory_bytes: int = 0
    store_basis: str = ""


class Plan(Result):
    """What would change, why, and what it costs. Holds no document text and no secret."""

    spec: str
    class_: ChangeClass = Field(alias="class")
    reasons: list[str] = []
    warnings: list[str] = []
    policy: list[PolicyVerdict] = []
    documents: Documents = Documents()
    chunks: Chunks = Chunks()
    tokens: int = 0
    estimate: Estimate = Estimate()
    failed: int = 0
    """Dead letters that this plan already knows of."""
    build: str | None = None
    """The build to be worked on; None before a new one is created."""
    live: str | None = None
    complete: bool = True
    """False: the source was not read to its end, or a record had no id; deletes are not planned."""
    blocked: str | None = None
    """Why the wanted build will not be switched to (held, rejected, source incomplete, --limit)."""
    proof: dict[str, Any] = Field(default_factory=dict)
    """What a saved plan is bound to: spec, lock entry, corpus, store lineage and serial."""

    @property
    def empty(self) -> bool:
        return self.class_ is ChangeClass.none


class Seconds(Result):
    read: float = 0.0
    embed: float = 0.0
    write: float = 0.0
    index: float = 0.0
    total: float = 0.0


class ReconcileResult(Plan):
    embedded: int = 0
    cached: int = 0
    written: int = 0
    patched: int = 0
    deleted: int = 0
    failed: int = 0
    moved: int = 0
    """Records that changed between planning and applying; the next run takes them up."""
    build: str | None = None
    live: str | None = None
    seconds: Seconds = Seconds()
    estimate_error: float | None = None
    """Actual over estimated embedding time, minus 1; None where the estimate was unknown."""
    busy: dict[str, float] = Field(default_factory=dict)
    """Seconds each stage (read, tokenize, embed, write) was at work, not waiting."""
    tokens_embedded: int = 0
    exit_code: int = Field(default=0, exclude=True)
    message: str | None = None
    """Why the exit code is not 0, or what a person should know."""
    dead_letters: str | None = None
    """The JSON-lines file of dead letters, if any stand."""


class SearchHit(Result):
    id: str
    chunk: int
    score: float
    text: str
    metadata: dict[str, Any]


class QuerySeconds(Result):
    load: float = 0.0
    embed: float = 0.0
    search: float = 0.0
    total: float = 0.0


class QueryResult(Result):
    hits: list[SearchHit]
    build: str
    seconds: QuerySeconds
    notices: list[str] = []


class EvalResult(Result):
    metrics: dict[str, float | None]
    queries: int
    verdict: str | None
    """pass | fail | inconclusive; None without gates."""
    build: str
    warnings: list[str] = []


class BuildStatusInfo(Result):
    id: str
    status: BuildStatus
    rows: int | None
    created: datetime
    fingerprints: dict[str, str]
    dimension: int
    quantization: str
    metric: str
    index: dict[str, Any]
    model: str
    reason: str | None = None


class LockInfo(Result):
    owner: str
    host: str
    pid: int
    acquired: datetime
    expires_in_s: float
    dead: bool
    """The holder is provably dead; the next run takes the lease over at once."""


class StatusResult(Result):
    spec: str
    live: str | None
    builds: list[BuildStatusInfo]
    lock: LockInfo | None
    view: str | None
    store: str | None
    failed: int = 0
    last_run: dict[str, Any] | None = None
    reader: dict[str, Any] | None = None
    """Query prompt and search settings that readers use now."""


class SwitchResult(Result):
    """promote and rollback."""

    spec: str
    live: str | None
    previous: str | None
    reason: str
    seconds: float
    view: str | None = None
    notices: list[str] = []


class GcResult(Result):
    spec: str
    dropped: list[str]
    kept: list[str]
    """Builds that stay, each with the reason."""


class ValidateResult(Result):
    spec: str
    path: str
    valid: bool = True
    warnings: list[str] = []
