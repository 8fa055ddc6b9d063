"""Token ids are made once, for the price and for the run, within a bound."""

from __future__ import annotations

import numpy as np
import pytest

from embedspec.models.tokenization import TextTokenizer, Tokenized
from embedspec.reconciler import tokens as module
from embedspec.reconciler.session import Session
from embedspec.reconciler.tokens import Tokens
from embedspec.types import digest

from .conftest import TEXTS, Workspace

CONTENTS = [digest(text.encode()) for text in TEXTS]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts whose ids the tokenizer was asked for, in order."""
    texts: list[str] = []
    encode = TextTokenizer.encode

    def listening(self: TextTokenizer, asked: list[str]) -> Tokenized:
        texts.extend(asked)
        return encode(self, asked)

    monkeypatch.setattr(TextTokenizer, "encode", listening)
    return texts


@pytest.mark.parametrize(
    ("keep", "bound", "kept"), [(True, 1 << 20, 8), (True, 1000, 4), (False, 1 << 20, 0)]
)
def test_ids_are_kept_within_the_bound(
    workspace: Workspace,
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    keep: bool,
    bound: int,
    kept: int,
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", bound)
    monkeypatch.setattr(module, "_TEXTS_AT_ONCE", 2)
    model = Session(workspace.spec()).model
    tokens = Tokens(model, keep=keep)
    pairs = list(zip(CONTENTS, TEXTS, strict=True))
    expected = TextTokenizer(model.resolved, model.document_prompt).encode(TEXTS).ids
    assert tokens.count(pairs) == (sum(map(len, expected)), 0, 8)
    made.clear()
    order = [5, 0, 7, 1, 2, 6, 3, 4]
    found = tokens.take([CONTENTS[i] for i in order], [TEXTS[i] for i in order])
    for at, ids in zip(order, found, strict=True):
        np.testing.assert_array_equal(ids, expected[at])
    assert sorted(made) == sorted(TEXTS[kept:])
    made.clear()
    tokens.take(CONTENTS[:1], TEXTS[:1])  # kept no longer than until they are taken
    assert made == [TEXTS[0]]


def test_a_run_tokenizes_each_text_once(workspace: Workspace, made: list[str]) -> None:
    result = workspace.run()
    assert result.embedded == 8
    assert all(made.count(text) == 1 for text in TEXTS)
    assert result.busy.keys() == {"read", "tokenize", "embed", "write"}


def test_a_plan_only_counts(workspace: Workspace, made: list[str]) -> None:
    assert workspace.plan().tokens > 0
    assert made == []
