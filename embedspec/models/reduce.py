"""From full-length float32 vectors to what is stored: cut, renormalise, float16; and bad rows.

The order is fixed (DESIGN.md, order of operations). Cutting a normalised vector shortens it by an
amount that differs from text to text, so under dot product the order of hits would change unless
it is normalised again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedspec.errors import ModelError
from embedspec.types import Matrix, Metric, Quantization

FLOAT16_MAX = float(np.finfo(np.float16).max)
"""65504: the largest float16; IEEE 754 binary16, and pgvector's halfvec."""


def reduce_vectors(
    full: Matrix, dimension: int, renormalize: bool, quantization: Quantization
) -> npt.NDArray[np.floating[Any]]:
    """(n, D) float32 -> (n, `dimension`) float32 or float16, C-contiguous; `full` is not changed.

    `renormalize`: rows get length 1 after the cut; zero rows stay zero, rows with NaN stay so, for
    `invalid_rows` to tell. A number that float16 cannot hold (beyond 65504) becomes infinity, so
    that `invalid_rows` refuses its row and the others go on; always ask it before storing.
    Raises ModelError for a cut longer than the vectors.
    """
    if not 1 <= dimension <= full.shape[1]:
        raise ModelError(
            f"dimension {dimension} is outside 1..{full.shape[1]}, what the model gives",
            fix=f"set embedding.dimension to {full.shape[1]} or less",
        )
    vectors = np.ascontiguousarray(full[:, :dimension], dtype=np.float32)
    if renormalize:
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        norms = np.where(norms > 0, norms, 1.0)[:, None]
        vectors = np.divide(vectors, norms, dtype=np.float64, casting="same_kind", out=np.empty_like(vectors))
    elif vectors is full or vectors.base is not None:
        vectors = vectors.copy()
    if Quantization(quantization) is Quantization.float32:
        return vectors
    with np.errstate(over="ignore"):  # becomes infinity, which invalid_rows refuses row by row
        return vectors.astype(np.float16)


def invalid_rows(vectors: npt.NDArray[np.floating[Any]], metric: Metric) -> list[tuple[int, str]]:
    """(row, reason) of the rows of `vectors`, as they would be stored, that no store may get."""
    found: list[tuple[int, str]] = []
    finite = np.isfinite(vectors).all(axis=1)
    for row in np.flatnonzero(~finite):
        if np.isnan(vectors[row]).any():
            reason = "the model gave a vector with NaN"
        elif vectors.dtype == np.float16:
            reason = f"a number beyond {FLOAT16_MAX:.0f}, the largest float16; use quantization float32"
        else:
            reason = "the model gave a vector with infinity"
        found.append((int(row), reason))
    if Metric(metric) is Metric.cosine:
        zero = finite & ~vectors.any(axis=1)
        found += [(int(row), "the vector is zero, which has no cosine") for row in np.flatnonzero(zero)]
    return sorted(found)
