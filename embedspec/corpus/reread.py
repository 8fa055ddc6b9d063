"""The second look at a source: full records at given positions, for those that are to be written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embedspec.corpus.jsonl import JsonlSource, LongLine, PartFault
from embedspec.corpus.letters import letter_of_fault, letter_of_long_line, letter_of_record
from embedspec.corpus.records import Record, RecordRefused, RecordRules, compile_reader, make_record
from embedspec.corpus.selection import select_lines
from embedspec.types import DeadLetter


def read_selected(
    source: JsonlSource, rules: RecordRules, positions: npt.NDArray[np.uint64]
) -> Iterator[Record | DeadLetter]:
    """Records at `positions` (sorted, each once; see `CorpusSummary.positions`) as they are now.

    Hashes are computed anew: the caller compares them with those of the summary and counts what
    moved meanwhile. What cannot be read any more comes as a dead letter; a source that has become
    shorter gives fewer records. Raises SourceError if no file matches any more.
    """
    read, _ = compile_reader(rules)
    for line in select_lines(source, positions):
        if isinstance(line, PartFault):
            yield letter_of_fault(line)
        elif isinstance(line, LongLine):
            yield letter_of_long_line(line)
        else:
            try:
                parsed = read(line.data, line.expected_keys)
            except RecordRefused as refused:
                yield letter_of_record(refused, line.part, line.place, line.data)
            else:
                yield make_record(parsed, line.position, line.place)
