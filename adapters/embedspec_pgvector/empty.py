"""The store a reader meets before anything was written: no server runs, and everything is empty."""

# ruff: noqa: ARG002 - the protocol's arguments, of which an empty store needs none

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from embedspec.errors import BuildMissing, StoreError
from embedspec.stores.protocol import Finished, Lease
from embedspec.stores.records import BuildRecord, IndexRecord, IndexState, LeaseInfo
from embedspec.types import (
    Candidate,
    DeadLetter,
    Filter,
    HashArray,
    Matrix,
    RowBatch,
    RowHashes,
    StoredRow,
)

WHERE = "embedded server, not made yet"


def _refuse() -> NoReturn:
    raise StoreError("there is no embedded server yet", where=WHERE, fix="run `embedspec reconcile` first")


def _missing(build: BuildRecord) -> NoReturn:
    raise BuildMissing(f"build {build.id} is not there", where=WHERE, fix="run `embedspec reconcile` first")


class EmptyStore:
    """Reads give nothing, writes are refused."""

    def identity(self) -> str | None:
        return None

    def observe_live(self, name: str) -> IndexRecord | None:
        return None

    def observe(self, name: str) -> IndexRecord | None:
        return None

    def dead_letters(self, name: str) -> list[DeadLetter]:
        return []

    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        _refuse()

    def renew(self, lease: Lease, ttl_s: float) -> None:
        _refuse()

    def release(self, lease: Lease) -> None:
        _refuse()

    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        _refuse()

    def save(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord] = ()) -> None:
        _refuse()

    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        _refuse()

    def finish_switch(self, lease: Lease, name: str) -> bool:
        _refuse()

    def drop(self, lease: Lease, build: BuildRecord, *, keep_record: bool) -> None:
        _refuse()

    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        _missing(build)

    def rows(self, build: BuildRecord, keys: HashArray) -> Iterator[StoredRow]:
        _missing(build)

    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        _missing(build)

    def count(self, build: BuildRecord) -> int:
        _missing(build)

    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        _refuse()

    def patch(
        self,
        lease: Lease,
        build: BuildRecord,
        keys: HashArray,
        metadata_hash: HashArray,
        metadata: Sequence[str],
    ) -> int:
        _refuse()

    def delete(self, lease: Lease, build: BuildRecord, keys: HashArray) -> int:
        _refuse()

    def finish(self, lease: Lease, build: BuildRecord) -> Finished:
        _refuse()

    def replace_dead_letters(self, lease: Lease, name: str, letters: Sequence[DeadLetter]) -> None:
        _refuse()

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
        _missing(build)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open."""
