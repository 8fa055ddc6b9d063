"""A corpus together with the rules its records become rows by, as the corpus package takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedspec.corpus.jsonl import JsonlSource
from embedspec.corpus.parts import find_parts
from embedspec.corpus.records import Record, RecordRules
from embedspec.corpus.reread import read_selected
from embedspec.corpus.summary import CorpusSummary, summarize
from embedspec.reconciler.desired import Recipe
from embedspec.spec.template import parse_template
from embedspec.types import DeadLetter


@dataclass(frozen=True, slots=True)
class Reading:
    source: JsonlSource
    rules: RecordRules
    stamp: tuple[tuple[str, int, int], ...]
    """Name, size and mtime of every file when the reading was set up."""

    @staticmethod
    def of(recipe: Recipe, base: Path, max_text_bytes: int | None) -> Reading:
        """Raises SourceError if a pattern matches no file."""
        source = recipe.source
        paths = (source.path,) if isinstance(source.path, str) else tuple(source.path)
        files = JsonlSource(base, paths)
        rules = RecordRules(
            source.id,
            parse_template(recipe.template),
            tuple(recipe.fields.items()),
            max_text_bytes,
        )
        return Reading(files, rules, _stamp(files))

    def summarize(self, limit: int | None, on_progress: Callable[[int], None]) -> CorpusSummary:
        return summarize(self.source, self.rules, limit=limit, on_progress=on_progress)

    def records(self, positions: npt.NDArray[np.uint64]) -> Iterator[Record | DeadLetter]:
        """The records at these positions (sorted, each once), as they are now."""
        return read_selected(self.source, self.rules, positions)

    def moved(self) -> bool:
        """Whether a file was written since this reading was set up. Only a hint to look again."""
        return _stamp(self.source) != self.stamp


def _stamp(source: JsonlSource) -> tuple[tuple[str, int, int], ...]:
    stamps = []
    for part in find_parts(source.base, source.patterns):
        try:
            stat = part.path.stat()
        except OSError:
            continue  # told when it is read
        stamps.append((part.name, stat.st_size, stat.st_mtime_ns))
    return tuple(stamps)
