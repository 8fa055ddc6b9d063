"""Texts to token ids, cut at the model's window as its makers do, and token counts for prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedspec.errors import ModelError
from embedspec.models.resolve import ResolvedModel

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_TEXTS_AT_ONCE = 512
"""The library's own record of one text is some 100 bytes a token; this bounds them."""

Ids = npt.NDArray[np.int32]
"""(tokens,) ids of one text, special tokens included."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    ids: list[Ids]
    truncated: npt.NDArray[np.bool_]
    """(n,) whether the text was longer than the window."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.array([len(ids) for ids in self.ids], dtype=np.int64)


class TextTokenizer:
    """The model's tokenizer with one prompt put before every text.

    Padding and truncation stored in tokenizer.json are leftovers of how the file was made (often
    128 tokens, padded) and are replaced by the model's window. Lone surrogates must have been
    replaced before: they cannot be encoded.
    """

    def __init__(self, resolved: ResolvedModel, prompt: str) -> None:
        self.prompt = prompt
        self.window = resolved.window
        self._tokenizer = _load(resolved)

    def encode(self, texts: Sequence[str]) -> Tokenized:
        ids: list[Ids] = []
        truncated: list[bool] = []
        for encoding in self._encodings(texts):
            ids.append(np.array(encoding.ids, dtype=np.int32))
            truncated.append(bool(encoding.overflowing))
        return Tokenized(ids, np.array(truncated, dtype=np.bool_))

    def count(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Tokens of each text after the cut, prompt and special tokens included, and whether it
        was cut. Both (n,)."""
        tokens: list[int] = []
        truncated: list[bool] = []
        for encoding in self._encodings(texts):
            tokens.append(len(encoding))
            truncated.append(bool(encoding.overflowing))
        return np.array(tokens, dtype=np.int64), np.array(truncated, dtype=np.bool_)

    def _encodings(self, texts: Sequence[str]) -> Iterator[Encoding]:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = [self.prompt + text for text in texts[start : start + _TEXTS_AT_ONCE]]
            yield from self._tokenizer.encode_batch_fast(part)


def _load(resolved: ResolvedModel) -> Tokenizer:
    from tokenizers import Tokenizer, normalizers

    path = resolved.folder / resolved.tokenizer_file
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ModelError(
            f"tokenizer.json cannot be read: {error}",
            where=str(path),
            fix="get the file again from the model's makers",
        ) from error
    settings = resolved.tokenizer
    lowercases = False
    if settings.bert_normalizer is not None:
        tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, **settings.bert_normalizer)
        lowercases = bool(settings.bert_normalizer["lowercase"])
    if settings.lower_case and not lowercases:
        rest = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
    tokenizer.no_padding()
    tokenizer.enable_truncation(resolved.window, direction=settings.truncation_side)
    _check(tokenizer, resolved, str(path))
    return tokenizer


def _check(tokenizer: Tokenizer, resolved: ResolvedModel, where: str) -> None:
    """Refuse a tokenizer that does not belong to the model."""
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= resolved.architecture.vocabulary:
        raise ModelError(
            f"the tokenizer has token id {largest}, the model only {resolved.architecture.vocabulary} tokens",
            where=where,
            fix="tokenizer.json and the weights must come from the same model",
        )
    if any(tokenizer.encode("a").type_ids):
        raise ModelError("the tokenizer gives single texts token types other than 0", where=where)
