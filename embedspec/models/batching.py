"""Cutting length-sorted texts into batches by padded token count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ROW_MULTIPLE = 8
"""Rows are padded to a multiple of this many tokens."""


def padded_length(tokens: int) -> int:
    return -(-tokens // ROW_MULTIPLE) * ROW_MULTIPLE


def token_budget_batches(
    lengths: Sequence[int] | npt.NDArray[np.integer], budget_tokens: int
) -> list[npt.NDArray[np.intp]]:
    """Indices into `lengths`, grouped so that rows x padded longest row <= `budget_tokens`.

    Longest first, so that the batch that needs most memory comes at once. A text longer than the
    budget is a batch of its own. Every index occurs exactly once; equal lengths keep their order.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        row = max(padded_length(int(sizes[order[start]])), 1)
        rows = max(budget_tokens // row, 1)
        batches.append(order[start : start + rows])
        start += rows
    return batches
