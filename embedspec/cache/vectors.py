"""The vector cache: full-length float32 vectors by encoder and content hash, shared by every index.

    <cache>/vectors/<encoder>/*.keys, *.vectors     append-only segments, one writer each

Any number of processes read and write at once without locks: each writes a file of its own, and sees
what the others have finished writing at `refresh`. Anyone may delete the folder at any time, during a
run too. A vector is handed out only if its checksum holds, so damage costs time, never a wrong vector.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from embedspec.cache.index import Index, Run, halves
from embedspec.cache.segment import KEYS_SUFFIX, Segment, SegmentForm
from embedspec.types import HashArray, Matrix, Notice

log = logging.getLogger(__name__)

_WRITE_BYTES = 64 * 2**20
"""Most bytes of one write call (Linux takes at most 2 GB)."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    records: int
    """Entries of the index; a vector that two runs computed counts twice."""
    bytes: int
    segments: int


class VectorCache:
    """The vectors of one encoder. Safe for several threads."""

    def __init__(self, folder: Path, form: SegmentForm) -> None:
        self.folder = folder
        self.dimension = form.dimension
        self.unwritable: Notice | None = None
        """Why vectors are no longer kept, set at the first failure; the run goes on without."""
        self._form = form
        self._lock = threading.RLock()
        self._index = Index()
        self._segments: list[Segment] = []
        self._numbers: dict[Path, int] = {}
        self._own: int | None = None

    @classmethod
    def open(cls, cache_folder: Path, encoder: str, dimension: int) -> VectorCache:
        """`encoder` is the hex fingerprint, `dimension` the model's full length. Creates nothing."""
        cache = cls(cache_folder / "vectors" / encoder, SegmentForm(encoder, dimension))
        cache.refresh()
        return cache

    def refresh(self) -> None:
        """Take up what other processes wrote, and forget what was deleted."""
        with self._lock:
            try:
                paths = sorted(self.folder.glob(f"*{KEYS_SUFFIX}"))
            except OSError as error:
                log.debug("vector cache %s: %s", self.folder, error)
                return
            present = set(paths)
            for path, number in list(self._numbers.items()):
                if path not in present and number != self._own:
                    self._forget(number)
            for path in paths:
                if path not in self._numbers:
                    self._enter(Segment(path, self._form))
                self._load(self._numbers[path])

    def _enter(self, segment: Segment) -> int:
        number = len(self._segments)
        self._segments.append(segment)
        self._numbers[segment.keys] = number
        return number

    def _load(self, number: int) -> None:
        segment = self._segments[number]
        if segment.ignored:
            return
        before = segment.known
        try:
            self._index.add(segment.new_hashes(), number, before)
        except OSError as error:
            log.debug("vector cache %s: %s", segment.keys, error)
            self._forget(number)

    def _forget(self, number: int) -> None:
        """The segment is gone, or cannot be read: nothing of it is offered any more."""
        self._index.forget(number)
        self._numbers.pop(self._segments[number].keys, None)

    def contains(self, hashes: HashArray) -> npt.NDArray[np.bool_]:
        """(n,) whether there is a record of each hash. It is not read, and so may prove damaged."""
        with self._lock:
            return self._index.contains(hashes)

    def get(self, hashes: HashArray) -> tuple[npt.NDArray[np.bool_], Matrix]:
        """(n,) found, and (n, dimension) vectors, zero where not found. Every vector is verified."""
        found = np.zeros(len(hashes), dtype=bool)
        matrix = np.zeros((len(hashes), self.dimension), dtype=np.float32)
        with self._lock:
            for run in list(self._index.runs):
                self._get_from(run, hashes, found, matrix)
        return found, matrix

    def _get_from(self, run: Run, hashes: HashArray, found: npt.NDArray[np.bool_], matrix: Matrix) -> None:
        """Fill in what a run knows of the hashes not found yet, each of its entries in turn."""
        first, second = halves(hashes)
        wanted = np.flatnonzero(~found)
        start = None
        while len(wanted):
            at = run.find(first[wanted], second[wanted], start)
            wanted, at = wanted[at >= 0], at[at >= 0]
            for number in np.unique(run.segment[at]).tolist():
                here = np.flatnonzero(run.segment[at] == number)
                here = here[np.argsort(run.record[at[here]])]
                rows = wanted[here]
                try:
                    copied = self._segments[number].read(run.record[at[here]], hashes[rows], matrix, rows)
                except OSError as error:
                    log.debug("vector cache %s: %s", self._segments[number].keys, error)
                    self._forget(number)
                else:
                    found[rows[copied]] = True
            again = ~found[wanted]
            wanted, start = wanted[again], at[again] + 1

    def append(self, hashes: HashArray, matrix: Matrix) -> None:
        """Keep (n, dimension) float32 vectors. Visible to this object at once, to others at their
        next refresh; a kill after the return loses nothing. Never fails: see `unwritable`."""
        with self._lock:
            step = max(1, _WRITE_BYTES // self._form.record_bytes)
            for start in range(0, len(hashes), step):
                if self.unwritable is None:
                    self._append(hashes[start : start + step], matrix[start : start + step])

    def _append(self, hashes: HashArray, matrix: Matrix) -> None:
        try:
            if self._own is None or self._segments[self._own].deleted:
                self._own = self._enter(Segment.create(self.folder, self._form))
            own = self._segments[self._own]
            before = own.known
            own.append(hashes, matrix)
        except OSError as error:
            reason = error.strerror or str(error)
            self.unwritable = Notice(
                f"the vector cache cannot be written ({reason}): a later run embeds these texts again",
                str(self.folder),
            )
            return
        self._index.add(hashes, self._own, before)

    def stats(self) -> CacheStats:
        with self._lock:
            segments = [self._segments[number] for number in self._numbers.values()]
            return CacheStats(len(self._index), sum(s.size() for s in segments), len(segments))

    def close(self) -> None:
        with self._lock:
            for segment in self._segments:
                segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
