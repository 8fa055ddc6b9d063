"""Memory stores that break a promise about rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from embedspec.errors import StoreError
from embedspec.stores.memory_store import MemoryStore
from embedspec.stores.memory_target import Row
from embedspec.stores.protocol import Finished, Lease
from embedspec.stores.records import BuildRecord
from embedspec.types import (
    Candidate,
    HashArray,
    Matrix,
    RowBatch,
    RowHashes,
    StoredRow,
    hash_array,
    hash_list,
)

from .breaking import fails


@fails("test_scan_is_complete_over_several_pages")
class LosesTheLastRowOfAScan(MemoryStore):
    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        pages = list(super().scan(build))
        yield from pages[:-1]
        for last in pages[-1:]:
            yield RowHashes(last.key[:-1], last.content[:-1], last.metadata[:-1])


@fails("test_scan_is_complete_over_several_pages")
class RepeatsRowsAtPageEnds(MemoryStore):
    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        for page in super().scan(build):
            yield page
            yield RowHashes(page.key[-1:], page.content[-1:], page.metadata[-1:])


@fails("test_scan_reads_one_snapshot")
class ScansWhatIsThereNow(MemoryStore):
    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        for page in super().scan(build):
            there = np.array([key in self._rows(build) for key in hash_list(page.key)], dtype=bool)
            yield RowHashes(page.key[there], page.content[there], page.metadata[there])


@fails("test_hashes_are_exact")
class CutsTrailingNuls(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        cut = [content.rstrip(b"\0").ljust(16, b" ") for content in hash_list(rows.content)]
        super().upsert(lease, build, replace(rows, content=hash_array(cut)), fresh=fresh)


@fails("test_hashes_are_exact")
class GivesNumpyBytes(MemoryStore):
    """`array[i]` of an S16 array is bytes without trailing NULs."""

    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        for key, vector in super().vectors(build, content):
            yield bytes(hash_array([key])[0]), vector


@fails("test_upsert_replaces_rows_with_the_same_key")
class KeepsOldRowsWhenFresh(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        if fresh:
            held = self._rows(build)
            rows = rows.take([i for i, key in enumerate(hash_list(rows.keys)) if key not in held])
        super().upsert(lease, build, rows, fresh=fresh)


@fails("test_upsert_replaces_rows_with_the_same_key")
class FailsOnKnownKeysWhenFresh(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        if fresh and any(key in self._rows(build) for key in hash_list(rows.keys)):
            raise StoreError("duplicate key")
        super().upsert(lease, build, rows, fresh=fresh)


@fails("test_upsert_replaces_rows_with_the_same_key")
class KeepsTheOldVector(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        old = {key: row.vector for key, row in self._rows(build).items()}
        super().upsert(lease, build, rows, fresh=fresh)
        held = self._rows(build)
        held.update({key: Row(held[key].stored, vector) for key, vector in old.items()})


@fails("test_a_batch_is_one_transaction")
class WritesRowByRow(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        for i in range(len(rows)):
            super().upsert(lease, build, rows.take([i]), fresh=fresh)


@fails("test_patch_changes_metadata_alone")
class PatchRewritesTheVector(MemoryStore):
    def patch(self, lease: Lease, build: BuildRecord, keys: HashArray, *columns: Any) -> int:
        changed = super().patch(lease, build, keys, *columns)
        held = self._rows(build)
        for key in hash_list(keys):
            if key in held:
                held[key] = Row(held[key].stored, np.ones_like(held[key].vector))
        return changed


@fails("test_patch_changes_metadata_alone")
class PatchCountsWhatWasAsked(MemoryStore):
    def patch(self, lease: Lease, build: BuildRecord, keys: HashArray, *columns: Any) -> int:
        super().patch(lease, build, keys, *columns)
        return len(keys)


@fails("test_delete_counts_what_was_there")
class DeleteCountsWhatWasAsked(MemoryStore):
    def delete(self, lease: Lease, build: BuildRecord, keys: HashArray) -> int:
        super().delete(lease, build, keys)
        return len(keys)


@fails("test_metadata_keeps_its_json_types")
class MetadataBecomesText(MemoryStore):
    def search(self, *args: Any, **kwargs: Any) -> list[list[Candidate]]:
        return [
            [replace(hit, metadata={k: str(v) for k, v in hit.metadata.items()}) for hit in hits]
            for hits in super().search(*args, **kwargs)
        ]


@fails("test_odd_ids_and_texts")
class StripsTexts(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        rows = replace(rows, texts=[text.replace("\r\n", "\n").replace("\r", "\n") for text in rows.texts])
        super().upsert(lease, build, rows, fresh=fresh)


@fails("test_vectors_come_back_exactly")
class GivesFloat16(MemoryStore):
    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        for key, vector in super().vectors(build, content):
            yield key, vector.astype(np.float16).astype(np.float32)


@fails("test_the_same_vector_of_several_rows")
class GivesAVectorPerRow(MemoryStore):
    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        for row in self._rows(build).values():
            if row.stored.content in hash_list(content):
                yield row.stored.content, row.vector.reshape(1, -1)


@fails("test_finish_twice")
class BuildsTheIndexAgain(MemoryStore):
    def finish(self, lease: Lease, build: BuildRecord) -> Finished:
        super().finish(lease, build)
        return Finished(index_built=True)


@fails("test_upsert_keeps_every_column")
class KeepsOneByteOfTheChunk(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        rows = replace(rows, chunks=[chunk & 0xFF for chunk in rows.chunks])
        super().upsert(lease, build, rows, fresh=fresh)


@fails("test_rows_skips_keys_that_are_not_there")
class MissesAbsentKeys(MemoryStore):
    def rows(self, build: BuildRecord, keys: HashArray) -> Iterator[StoredRow]:
        found = list(super().rows(build, keys))
        if len(found) < len(keys):
            raise StoreError("no such row")
        yield from found


@fails("test_empty_calls")
class CannotWriteNothing(MemoryStore):
    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        if not len(rows):
            raise StoreError("INSERT needs at least one row")
        super().upsert(lease, build, rows, fresh=fresh)
