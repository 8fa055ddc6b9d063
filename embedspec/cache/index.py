"""Where the vector of a content hash stands: a sorted index in memory, 32 bytes a record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedspec.types import HashArray

Halves = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def halves(hashes: HashArray) -> tuple[Halves, Halves]:
    """The two 8-byte halves of 16-byte hashes as numbers, which sort and compare fast."""
    both = np.ascontiguousarray(hashes).view(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


@dataclass(frozen=True, slots=True)
class Run:
    """Entries sorted by their first half; a hash may stand in several."""

    first: Halves
    second: Halves
    segment: Places
    record: Places

    def __len__(self) -> int:
        return len(self.first)

    def find(self, first: Halves, second: Halves, start: Places | None = None) -> Places:
        """(n,) index of an entry for each hash, at or after `start`; -1 if there is none."""
        at = np.searchsorted(self.first, first).astype(np.int64) if start is None else start.copy()
        result = np.full(len(first), -1, dtype=np.int64)
        open_ = np.arange(len(first))
        while len(open_):
            open_ = open_[at[open_] < len(self)]
            open_ = open_[self.first[at[open_]] == first[open_]]
            match = self.second[at[open_]] == second[open_]
            result[open_[match]] = at[open_[match]]
            open_ = open_[~match]
            at[open_] += 1
        return result


def sorted_run(first: Halves, second: Halves, segment: Places, record: Places) -> Run:
    order = np.argsort(first)
    return Run(first[order], second[order], segment[order], record[order])


class Index:
    """Runs whose sizes fall by half at least, so that adding a batch costs little however many there
    are and a look-up goes through few."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(self, hashes: HashArray, segment: int, first_record: int) -> None:
        """Enter records first_record, first_record + 1, … of a segment."""
        count = len(hashes)
        if not count:
            return
        records = np.arange(first_record, first_record + count, dtype=np.int64)
        self.runs.append(sorted_run(*halves(hashes), np.full(count, segment, dtype=np.int64), records))
        while len(self.runs) > 1 and len(self.runs[-2]) < 2 * len(self.runs[-1]):
            small, large = self.runs.pop(), self.runs.pop()
            self.runs.append(
                sorted_run(
                    np.concatenate([large.first, small.first]),
                    np.concatenate([large.second, small.second]),
                    np.concatenate([large.segment, small.segment]),
                    np.concatenate([large.record, small.record]),
                )
            )

    def forget(self, segment: int) -> None:
        """Drop the entries of a segment that is gone."""
        kept = [(run, run.segment != segment) for run in self.runs]
        self.runs = [
            Run(run.first[keep], run.second[keep], run.segment[keep], run.record[keep])
            for run, keep in kept
            if keep.any()
        ]

    def contains(self, hashes: HashArray) -> npt.NDArray[np.bool_]:
        first, second = halves(hashes)
        found = np.zeros(len(hashes), dtype=bool)
        for run in self.runs:
            left = np.flatnonzero(~found)
            found[left] = run.find(first[left], second[left]) >= 0
        return found
