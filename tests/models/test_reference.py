"""Vectors equal those of sentence-transformers on torch, for everything the graph builder claims."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embedspec.models.encoder import Encoder, load_encoder
from embedspec.models.identity import encoder_identity
from embedspec.models.resolve import ResolvedModel

from .conftest import resolve
from .fixtures.tiny import TEXTS, VARIANTS, write_tiny_model


@pytest.mark.parametrize("name", VARIANTS)
def test_tiny_models_give_the_reference_vectors(
    name: str, tmp_path: Path, reference: dict[str, np.ndarray]
) -> None:
    resolved = resolve(write_tiny_model(tmp_path / name, VARIANTS[name]))
    encoder = load_encoder(resolved, weights="float32")
    expected = reference[f"tiny/{name}"]
    assert encoder.dimension == expected.shape[1]
    padded = encoder.encode(TEXTS)
    np.testing.assert_allclose(padded, expected, rtol=1e-5, atol=1e-5)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, rtol=1e-5, atol=1e-5)


def test_the_options_of_the_tiny_models_matter(reference: dict[str, np.ndarray]) -> None:
    """Otherwise the test above could pass with an option ignored."""
    plain = reference["tiny/mean"]
    equal = {
        name
        for name in VARIANTS
        if reference[f"tiny/{name}"].shape == plain.shape
        and np.abs(reference[f"tiny/{name}"] - plain).max() < 5e-5
    }
    assert equal == {"mean", "with-head", "lower-case-module"}


def test_minilm_gives_the_reference_vectors(
    minilm_float32: Encoder, reference: dict[str, np.ndarray]
) -> None:
    texts = [str(text) for text in reference["minilm/texts"]]
    np.testing.assert_allclose(minilm_float32.encode(texts), reference["minilm/mean"], atol=1e-5)


def test_minilm_gives_the_vector_of_its_model_card(minilm_float32: Encoder) -> None:
    vector = minilm_float32.encode(["This is an example sentence"])[0]
    np.testing.assert_allclose(vector[:5], [0.0677, 0.0635, 0.0487, 0.0793, 0.0374], atol=6e-5)


def test_the_fastest_arithmetic_stays_close(minilm_auto: Encoder, reference: dict[str, np.ndarray]) -> None:
    texts = [str(text) for text in reference["minilm/texts"]]
    vectors = minilm_auto.encode(texts)
    assert (np.einsum("ij,ij->i", vectors, reference["minilm/mean"]) >= 0.9998).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_f12_the_pooling_file_is_obeyed(
    minilm: ResolvedModel, minilm_copy: Path, reference: dict[str, np.ndarray]
) -> None:
    pooling = minilm_copy / "1_Pooling" / "config.json"
    settings = json.loads(pooling.read_text())
    settings.update(pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    pooling.write_text(json.dumps(settings))
    resolved = resolve(minilm_copy)
    assert resolved.modules.pooling == ("cls",)
    assert encoder_identity(resolved, "") != encoder_identity(minilm, "")
    texts = [str(text) for text in reference["minilm/texts"]]
    vectors = load_encoder(resolved, weights="float32").encode(texts)
    np.testing.assert_allclose(vectors, reference["minilm/cls"], atol=1e-5)
    assert (np.einsum("ij,ij->i", vectors, reference["minilm/mean"]) < 0.9).any()
