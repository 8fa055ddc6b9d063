"""Token ids as the makers' library gives them, cut at the window; batches by token budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedspec.models.batching import ROW_MULTIPLE, padded_length, token_budget_batches
from embedspec.models.resolve import ResolvedModel
from embedspec.models.tokenization import TextTokenizer

from .conftest import resolve


def test_truncation_and_padding_of_the_file_do_not_count(minilm: ResolvedModel) -> None:
    """tokenizer.json of the real model pads and cuts at 128; the model's window is 256."""
    tokenizer = TextTokenizer(minilm, "")
    tokens = tokenizer.encode(["short", "word " * 254, "word " * 255, "word " * 3000])
    assert tokens.lengths.tolist() == [3, 256, 256, 256]
    assert tokens.truncated.tolist() == [False, False, True, True]
    assert tokens.ids[0].dtype == np.int32
    assert tokens.ids[0].tolist() == [101, 2460, 102]
    assert tokens.ids[3][-1] == 102


def test_counts_are_those_of_the_encoding(tiny: Path) -> None:
    tokenizer = TextTokenizer(resolve(tiny), "query : ")
    texts = ["", "the sea", "fox " * 30] * 400  # more than one internal part
    tokens = tokenizer.encode(texts)
    counted, truncated = tokenizer.count(texts)
    np.testing.assert_array_equal(counted, tokens.lengths)
    np.testing.assert_array_equal(truncated, tokens.truncated)
    assert counted[:3].tolist() == [4, 6, 24]
    assert truncated[:3].tolist() == [False, False, True]


def test_nothing_gives_nothing(tiny: Path) -> None:
    tokenizer = TextTokenizer(resolve(tiny), "")
    assert tokenizer.encode([]).ids == []
    assert len(tokenizer.count([])[0]) == 0


def test_a_left_cut_keeps_the_end(tiny: Path) -> None:
    from .test_safety import edit

    edit(tiny / "tokenizer_config.json", lambda c: c.update(truncation_side="left"))
    tokenizer = TextTokenizer(resolve(tiny), "")
    whole, end = tokenizer.encode(["a " * 40 + "fox", "fox"]).ids
    assert len(whole) == 24
    assert whole[-2] == end[1]


@given(
    st.lists(st.integers(min_value=0, max_value=600), max_size=300),
    st.integers(min_value=1, max_value=5000),
)
def test_batches_hold_every_text_once_and_keep_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_budget_batches(lengths, budget)
    seen = np.concatenate(batches) if batches else np.array([], dtype=int)
    assert sorted(seen.tolist()) == list(range(len(lengths)))
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, row in zip(batches, longest, strict=True):
        assert len(batch) == 1 or len(batch) * padded_length(row) <= budget


def test_equal_lengths_keep_their_order() -> None:
    (batch,) = token_budget_batches([5, 7, 5, 7, 5], 1000)
    assert batch.tolist() == [1, 3, 0, 2, 4]


@pytest.mark.parametrize(("tokens", "padded"), [(1, 1), (ROW_MULTIPLE, 1), (ROW_MULTIPLE + 1, 2)])
def test_rows_are_padded_to_the_multiple(tokens: int, padded: int) -> None:
    assert padded_length(tokens) == padded * ROW_MULTIPLE
