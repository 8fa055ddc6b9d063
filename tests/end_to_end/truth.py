"""What a build must answer, computed from texts, model and recipe alone: no store, no cache, no plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from embedspec.models.encoder import Encoder, load_encoder
from embedspec.models.resolve import resolve_model
from embedspec.types import Matrix

FLOAT32_TOLERANCE = 5e-6
"""Scores are told with six digits, and vectors differ in the last bits from batch to batch."""
FLOAT16_TOLERANCE = 2e-3
"""Of a sum of 16 or 32 products whose factors are rounded to 11 bits."""


@cache
def encoder_of(model: Path) -> Encoder:
    return load_encoder(resolve_model(f"path:{model}", None, base=model), weights="float32")


def cut(vectors: Matrix, dimension: int) -> Matrix:
    """The first numbers of each row, of length 1 again."""
    short = vectors[:, :dimension].astype(np.float64)
    unit: Matrix = (short / np.linalg.norm(short, axis=1)[:, None]).astype(np.float32)
    return unit


class Truth:
    """The answers of one build under one query prompt."""

    def __init__(
        self,
        model: Path,
        texts: Mapping[str, str],
        *,
        document_prompt: str = "",
        query_prompt: str = "",
        dimension: int | None = None,
        float16: bool = False,
    ) -> None:
        self._encoder = encoder_of(model)
        self._query_prompt = query_prompt
        self._dimension = dimension or self._encoder.dimension
        self.tolerance = FLOAT16_TOLERANCE if float16 else FLOAT32_TOLERANCE
        self.texts = dict(texts)
        self._at = {id: row for row, id in enumerate(self.texts)}
        self.vectors = cut(self._encoder.encode(list(self.texts.values()), document_prompt), self._dimension)
        self._queries: dict[str, Matrix] = {}

    def scores(self, query: str) -> Matrix:
        """(n,) cosine with every document."""
        if query not in self._queries:
            vector = cut(self._encoder.encode([query], self._query_prompt), self._dimension)
            self._queries[query] = self.vectors @ vector[0]
        return self._queries[query]

    def score(self, query: str, id: str) -> float:
        return float(self.scores(query)[self._at[id]])

    def fits(self, hits: Sequence[Sequence[object]], scores: Matrix, k: int) -> bool:
        """Whether these (id, score, text) are the `k` nearest of this build and nothing else."""
        if len(hits) != min(k, len(scores)) or len({hit[0] for hit in hits}) != len(hits):
            return False
        kth = np.sort(scores)[-len(hits)]
        told = [float(hit[1]) for hit in hits]  # type: ignore[arg-type]
        return told == sorted(told, reverse=True) and all(
            self.texts.get(str(id)) == text
            and abs(float(scores[self._at[str(id)]]) - score) <= self.tolerance
            and score >= kth - self.tolerance
            for (id, _, text), score in zip(hits, told, strict=True)
        )
