"""The lines at given positions of a source, found without parsing the others."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedspec.corpus.jsonl import Block, Chunk, JsonlSource, LongLine, PartFault


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in the source now, and where."""

    position: int
    part: str
    place: str
    data: bytes
    expected_keys: int


def select_lines(
    source: JsonlSource, positions: npt.NDArray[np.uint64]
) -> Iterator[Line | LongLine | PartFault]:
    """The lines at `positions` (sorted, each once), in order; reading ends with the last of them.

    Faults on the way are told as they come, as positions after them may mean other records than
    they did when they were recorded.
    """
    if not len(positions):
        return
    wanted = positions.astype(np.int64)
    last = int(wanted[-1])
    with closing(source.chunks()) as chunks:
        yield from _select(chunks, wanted, last)


def _select(
    chunks: Generator[Chunk], wanted: npt.NDArray[np.int64], last: int
) -> Iterator[Line | LongLine | PartFault]:
    for chunk in chunks:
        if isinstance(chunk, PartFault):
            yield chunk
            continue
        if isinstance(chunk, LongLine):
            if chunk.position in wanted:
                yield chunk
        else:
            yield from _lines_of(chunk, wanted)
        if chunk.position + (len(chunk) if isinstance(chunk, Block) else 1) > last:
            return


def _lines_of(block: Block, wanted: npt.NDArray[np.int64]) -> Iterator[Line]:
    first, end = np.searchsorted(wanted, (block.position, block.position + len(block)))
    if first == end:
        return
    expected = block.expected_keys()
    for position in wanted[first:end].tolist():
        at = position - block.position
        yield Line(position, block.part, block.place(at), block.line_at(at), expected[at])
