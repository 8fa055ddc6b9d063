"""Cut, renormalise, float16: in that order, and bad rows told one by one."""

from __future__ import annotations

import numpy as np
import pytest

from embedspec.errors import ModelError
from embedspec.models.encoder import Encoder
from embedspec.models.reduce import invalid_rows, reduce_vectors
from embedspec.types import Metric, Quantization

FLOAT32, FLOAT16 = Quantization.float32, Quantization.float16


def test_f14_a_cut_is_renormalised(minilm_auto: Encoder) -> None:
    texts = [
        f"document number {i} about {word}"
        for i, word in enumerate(("sea", "fox", "tax", "law", "war", "art") * 3)
    ]
    full = minilm_auto.encode(texts)
    cut = reduce_vectors(full, 128, True, FLOAT32)
    assert cut.shape == (18, 128)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(full[:, :128], axis=1).max() < 0.9  # what a plain slice would have stored
    scores = cut @ cut.T
    assert (scores.argmax(axis=1) == np.arange(18)).all()
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-3)
    half = reduce_vectors(full, 128, True, FLOAT16)
    assert half.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(half.astype(np.float32), axis=1), 1, atol=1e-3)


def test_the_order_is_cut_then_normalise_then_float16() -> None:
    full = np.array([[3e5, 4e5, 1e9]], dtype=np.float32)
    np.testing.assert_array_equal(reduce_vectors(full, 2, True, FLOAT16), np.array([[0.6, 0.8]], np.float16))


def test_without_renormalising_values_stay() -> None:
    full = np.array([[3, 4, 5], [6, 7, 8]], dtype=np.float32)
    cut = reduce_vectors(full, 2, False, FLOAT32)
    np.testing.assert_array_equal(cut, [[3, 4], [6, 7]])
    assert cut.flags.c_contiguous
    for dimension in (2, 3):
        reduce_vectors(full, dimension, False, FLOAT32)[:] = 0
        reduce_vectors(full, dimension, True, FLOAT32)[:] = 0
    np.testing.assert_array_equal(full, [[3, 4, 5], [6, 7, 8]])


@pytest.mark.parametrize("dimension", [0, 4, -1])
def test_a_dimension_outside_is_refused(dimension: int) -> None:
    with pytest.raises(ModelError, match=r"outside 1\.\.3"):
        reduce_vectors(np.ones((1, 3), dtype=np.float32), dimension, True, FLOAT32)


def test_bad_rows_are_told_and_the_others_go_on() -> None:
    full = np.array(
        [[1, 2, 3], [np.nan, 1, 1], [0, 0, 5], [70000, 1, 1], [np.inf, 0, 1], [0, 1, 0]], dtype=np.float32
    )
    half = reduce_vectors(full, 2, False, FLOAT16)
    np.testing.assert_array_equal(half[[0, 5]], np.array([[1, 2], [0, 1]], np.float16))
    told = dict(invalid_rows(half, Metric.cosine))
    assert sorted(told) == [1, 2, 3, 4]
    assert "NaN" in told[1]
    assert "zero" in told[2]  # zero only after the cut
    assert "65504" in told[3]
    assert [row for row, _ in invalid_rows(half, Metric.dot)] == [1, 3, 4]
    whole = reduce_vectors(full, 3, False, FLOAT32)
    assert [row for row, _ in invalid_rows(whole, Metric.l2)] == [1, 4]
    assert "infinity" in dict(invalid_rows(whole, Metric.l2))[4]


def test_zero_and_nan_rows_survive_renormalising() -> None:
    full = np.array([[0, 0, 7], [np.nan, 1, 0], [0, 2, 0]], dtype=np.float32)
    cut = reduce_vectors(full, 2, True, FLOAT32)
    np.testing.assert_array_equal(cut[[0, 2]], [[0, 0], [0, 1]])
    assert [row for row, _ in invalid_rows(cut, Metric.cosine)] == [0, 1]


def test_the_largest_float16_is_allowed() -> None:
    vectors = reduce_vectors(np.array([[65504, 1]], dtype=np.float32), 2, False, FLOAT16)
    assert invalid_rows(vectors, Metric.dot) == []


def test_nothing_gives_nothing() -> None:
    empty = np.empty((0, 3), dtype=np.float32)
    assert reduce_vectors(empty, 2, True, FLOAT16).shape == (0, 2)
    assert invalid_rows(empty, Metric.cosine) == []
