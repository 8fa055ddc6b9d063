"""Token ids of the texts that a run embeds: made once to count them, kept for the run that follows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from functools import cached_property

from embedspec.models.tokenization import Ids, TextTokenizer
from embedspec.reconciler.session import ModelInUse

KEPT_BYTES = 64 << 20
"""Of kept ids; texts beyond are tokenized again when their turn comes."""
_OVERHEAD_BYTES = 200
"""Of one kept text, beside its ids: the array's head, the hash, the place in the table."""
_TEXTS_AT_ONCE = 4096


class Tokens:
    """The tokenizer of a model with its document prompt, and ids at hand by content hash.

    Not thread-safe: counting is over when the pipeline's reader begins.
    """

    def __init__(self, model: ModelInUse, *, keep: bool) -> None:
        self._model = model
        self._keep = keep
        self._kept: dict[bytes, Ids] = {}
        self._kept_bytes = 0
        self.spent_s = 0.0
        """Seconds spent on tokenizing."""

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer(self._model.resolved, self._model.document_prompt)

    def count(self, texts: Iterable[tuple[bytes, str]]) -> tuple[int, int, int]:
        """(tokens, truncated texts, texts) of (content hash, text) pairs."""
        tokens = truncated = count = 0
        source = iter(texts)
        while chunk := list(itertools.islice(source, _TEXTS_AT_ONCE)):
            started = time.perf_counter()
            count += len(chunk)
            if self._keep and self._kept_bytes < KEPT_BYTES:
                found = self._tokenizer.encode([text for _, text in chunk])
                tokens += int(found.lengths.sum())
                truncated += int(found.truncated.sum())
                for (content, _), ids in zip(chunk, found.ids, strict=True):
                    self._kept[content] = ids
                    self._kept_bytes += ids.nbytes + _OVERHEAD_BYTES
            else:
                lengths, cut = self._tokenizer.count([text for _, text in chunk])
                tokens += int(lengths.sum())
                truncated += int(cut.sum())
            self.spent_s += time.perf_counter() - started
        return tokens, truncated, count

    def take(self, contents: Sequence[bytes], texts: Sequence[str]) -> list[Ids]:
        """Ids of these texts, in their order; those at hand are not kept any longer."""
        started = time.perf_counter()
        ids = [self._kept.pop(content, None) for content in contents]
        missing = [at for at, found in enumerate(ids) if found is None]
        if missing:
            made = self._tokenizer.encode([texts[at] for at in missing]).ids
            for at, found in zip(missing, made, strict=True):
                ids[at] = found
        self.spent_s += time.perf_counter() - started
        return [found for found in ids if found is not None]
