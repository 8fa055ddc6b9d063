"""One pass over a source: hashes of every document as arrays, 56 bytes a row, and what was wrong.

Planning works on this and never holds a text. The digest of a summary stands for everything that
was read; a byte order mark, other compression, other file names or times do not change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedspec.corpus.duplicates import Positions, explain_duplicates, find_duplicates
from embedspec.corpus.jsonl import Block, JsonlSource, LongLine, PartFault
from embedspec.corpus.letters import (
    distinct_keys,
    letter_of_fault,
    letter_of_long_line,
    letter_of_record,
)
from embedspec.corpus.records import Findings, RecordRefused, RecordRules, compile_reader
from embedspec.types import (
    HASH_DTYPE,
    DeadLetter,
    HashArray,
    RowHashes,
    document_prefixes,
    hash_array,
    row_key,
)

_ROW_BYTES = 48
"""Key, content hash and metadata hash; the position makes it 56."""
_PREFIX_BYTES = 12
"""Of a key: what stands for the document; the chunk number, 0 here, follows (types.row_key)."""
_CHUNK_0 = b"\0\0\0\0"


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    rows: RowHashes
    """Documents with text, in the order of the source; keys are those of chunk 0."""
    positions: Positions
    """(n,) ordinal of each row's record over all files."""
    empty_keys: HashArray
    """Documents that are there but have no text."""
    dead: tuple[DeadLetter, ...]
    protected: npt.NDArray[np.bytes_]
    """(m,) S12 document prefixes of dead letters with an id that no readable record has: whatever
    a store holds of those documents stays."""
    incomplete_because: tuple[str, ...]
    """Why absence from this summary proves nothing; empty if it does prove it."""
    limited: bool
    """The limit ended reading before the source did."""
    notices: tuple[str, ...]
    records: int
    text_bytes: int
    digest: str
    absent_template_fields: tuple[str, ...]
    """Template fields that no record has, sorted: a misspelt template."""
    absent_metadata_fields: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.incomplete_because

    @property
    def empty(self) -> int:
        return len(self.empty_keys)


def summarize(
    source: JsonlSource,
    rules: RecordRules,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> CorpusSummary:
    """Read the source once. `limit` stops after so many documents with text; `on_progress` is told
    the records read so far, every megabyte or so, and may raise to stop.

    Raises SourceError if no file matches. Everything else that is wrong is in the summary.
    """
    spool = _Spool(rules, limit)
    with closing(source.chunks()) as chunks:
        for chunk in chunks:
            if isinstance(chunk, Block):
                spool.take(chunk)
            elif isinstance(chunk, LongLine):
                spool.records += 1
                spool.lose(letter_of_long_line(chunk))
            else:
                spool.break_off(chunk)
            if on_progress is not None:
                on_progress(spool.records)
            if spool.full:
                break
    return spool.summary(source)


class _Spool:
    """What a pass has gathered so far."""

    def __init__(self, rules: RecordRules, limit: int | None) -> None:
        self.rules = rules
        self.records = 0
        self.full = limit == 0
        self._left = -1 if limit is None else limit
        self._read, self._findings = compile_reader(rules)
        self._hash = hashlib.blake2b(digest_size=16)
        self._rows: list[npt.NDArray[np.uint8]] = []
        self._positions: list[Positions] = []
        self._empty: list[bytes] = []
        self._empty_positions: list[int] = []
        self._dead: list[DeadLetter] = []
        self._faults: list[str] = []
        self._without_id: list[DeadLetter] = []
        self._text_bytes = 0

    def take(self, block: Block) -> None:
        read = self._read
        fresh_hash = hashlib.blake2b(digest_size=16).copy  # a third cheaper than the constructor
        hashes: list[bytes] = []
        add = hashes.append
        skipped: list[int] = []
        text_bytes = 0
        left = self._left
        index = -1
        for index, (line, expected) in enumerate(zip(block.lines(), block.expected_keys(), strict=True)):
            try:
                id_bytes, text, metadata = read(line, expected)
            except RecordRefused as refused:
                skipped.append(index)
                self.lose(letter_of_record(refused, block.part, block.place(index), line))
                continue
            key = fresh_hash()
            key.update(id_bytes)
            if not text:
                skipped.append(index)
                self._empty.append(key.digest()[:_PREFIX_BYTES] + _CHUNK_0)
                self._empty_positions.append(block.position + index)
                continue
            text_bytes += len(text)
            content = fresh_hash()
            content.update(text)
            metadata_hash = fresh_hash()
            metadata_hash.update(metadata)
            add(key.digest())
            add(content.digest())
            add(metadata_hash.digest())
            left -= 1
            if not left:
                self.full = True
                break
        self._left = left
        self._text_bytes += text_bytes
        self.records += index + 1
        rows = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, _ROW_BYTES).copy()
        rows[:, _PREFIX_BYTES : HASH_DTYPE.itemsize] = 0
        self._hash.update(rows.data)
        self._rows.append(rows)
        positions = np.arange(block.position, block.position + index + 1, dtype=np.uint64)
        self._positions.append(np.delete(positions, skipped) if skipped else positions)

    def lose(self, letter: DeadLetter) -> None:
        self._dead.append(letter)
        if letter.id is None:
            self._without_id.append(letter)

    def break_off(self, fault: PartFault) -> None:
        self._dead.append(letter_of_fault(fault))
        self._faults.append(f"{fault.part} {fault.reason}, after line {fault.line}")

    def summary(self, source: JsonlSource) -> CorpusSummary:
        rows, positions = self._arrays()
        empty = hash_array(self._empty)
        empty_positions = np.array(self._empty_positions, dtype=np.uint64)
        found = find_duplicates(
            np.concatenate([rows.key, empty]), np.concatenate([positions, empty_positions])
        )
        if found is not None:
            self._dead.extend(explain_duplicates(source, self.rules, found))
            keep = ~np.isin(positions, found.losers)
            rows = RowHashes(rows.key[keep], rows.content[keep], rows.metadata[keep])
            positions = positions[keep]
            empty = empty[~np.isin(empty_positions, found.losers)]
        dead = distinct_keys(self._dead)
        read_any = bool(len(rows) or len(empty))
        unseen = self._findings.unseen_fields if read_any else set()
        return CorpusSummary(
            rows=rows,
            positions=positions,
            empty_keys=empty,
            dead=dead,
            protected=_protected(dead, rows.key, empty),
            incomplete_because=self._incomplete_because(),
            limited=self.full,
            notices=_notices(self._findings),
            records=self.records,
            text_bytes=self._text_bytes,
            digest=self._digest(dead),
            absent_template_fields=tuple(sorted(unseen & set(self.rules.template.fields()))),
            absent_metadata_fields=tuple(sorted(unseen & {path for path, _ in self.rules.metadata})),
        )

    def _arrays(self) -> tuple[RowHashes, Positions]:
        rows = np.concatenate([np.empty((0, _ROW_BYTES), dtype=np.uint8), *self._rows]).view(HASH_DTYPE)
        self._rows.clear()
        key, content, metadata = (np.ascontiguousarray(rows[:, i]) for i in range(3))
        positions = np.concatenate([np.empty(0, dtype=np.uint64), *self._positions])
        return RowHashes(key, content, metadata), positions

    def _incomplete_because(self) -> tuple[str, ...]:
        reasons = list(self._faults)
        if self._without_id:
            first = self._without_id[0]
            count = len(self._without_id)
            what = "1 record without a usable id" if count == 1 else f"{count:,} records without a usable id"
            reasons.append(f"{what}, the first at {first.place}: {first.reason}")
        return tuple(reasons)

    def _digest(self, dead: tuple[DeadLetter, ...]) -> str:
        self._hash.update(b"".join([b"empty", *self._empty]))
        self._hash.update("\0".join(["dead", *sorted(letter.key for letter in dead)]).encode())
        self._hash.update("\0".join(["faults", *self._faults]).encode())
        return self._hash.hexdigest()


def _protected(dead: tuple[DeadLetter, ...], keys: HashArray, empty: HashArray) -> npt.NDArray[np.bytes_]:
    """Sorting the keys is left out where nothing is lost, so nearly always."""
    lost = hash_array(sorted({row_key(letter.id, 0) for letter in dead if letter.id is not None}))
    if not len(lost):
        return document_prefixes(lost)
    return document_prefixes(np.setdiff1d(np.setdiff1d(lost, keys), empty))


def _notices(findings: Findings) -> tuple[str, ...]:
    lines = []
    for tally, what in (
        (findings.surrogates, "half a surrogate pair"),
        (findings.nuls, "a NUL character"),
    ):
        if tally.count:
            records = "1 record" if tally.count == 1 else f"{tally.count:,} records"
            lines.append(f"{records} with {what}, replaced by U+FFFD (the first: {tally.first!r})")
    return tuple(lines)
