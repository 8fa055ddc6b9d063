"""Canaries: 64 fixed texts tell one encoder from another, and a passed check is remembered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from embedspec.errors import ModelError
from embedspec.models.canaries import PassedChecks, check_canary, from_base64, make_canary, to_base64
from embedspec.models.canary_texts import CANARY_TEXTS, CANARY_VERSION
from embedspec.models.encoder import Encoder, load_encoder
from embedspec.models.tokenization import TextTokenizer

from .conftest import resolve
from .fixtures.tiny import VARIANTS, write_tiny_model


def test_the_texts_are_fixed() -> None:
    """Changing one changes what stored canaries mean: it takes a new CANARY_VERSION."""
    assert len(set(CANARY_TEXTS)) == 64
    digest = hashlib.sha256("\0".join(CANARY_TEXTS).encode()).hexdigest()
    assert (CANARY_VERSION, digest[:16]) == (1, "2249180a88781122")


def test_the_texts_are_short_long_and_over_the_window(minilm_auto: Encoder) -> None:
    tokens, truncated = TextTokenizer(minilm_auto.resolved, "").count(CANARY_TEXTS)
    assert tokens.min() == 3
    assert truncated[::8].any()
    assert not truncated.all()


def test_fast_and_exact_arithmetic_agree(minilm_auto: Encoder, minilm_float32: Encoder) -> None:
    canary = make_canary(minilm_float32, "", "fingerprint")
    assert (canary.version, canary.dimension, canary.encoder) == (CANARY_VERSION, 384, "fingerprint")
    assert check_canary(minilm_float32, "", canary.vectors) > 0.999999
    assert 0.9999 < check_canary(minilm_auto, "", canary.vectors) <= 1.000001
    assert 0.9999 < check_canary(minilm_auto, "", canary.vectors, sample=8) <= 1.000001


@pytest.mark.parametrize("sample", [None, 8])
@pytest.mark.parametrize("other", ["cls", "relu", "cased", "one-token-type"])
def test_another_encoder_is_refused(
    tiny_encoder: Encoder, tmp_path: Path, other: str, sample: int | None
) -> None:
    canary = make_canary(tiny_encoder, "", "")
    imposter = load_encoder(resolve(write_tiny_model(tmp_path / other, VARIANTS[other])), weights="float32")
    with pytest.raises(ModelError) as caught:
        check_canary(imposter, "", canary.vectors, sample)
    assert caught.value.code == 8
    assert "canary text" in caught.value.what
    assert "below 0.9995" in caught.value.what
    assert f"of {sample or 64} texts" in caught.value.what
    assert "prompt" in (caught.value.fix or "")


def test_another_prompt_is_refused(minilm_auto: Encoder) -> None:
    canary = make_canary(minilm_auto, "", "")
    with pytest.raises(ModelError, match="cosine"):
        check_canary(minilm_auto, "passage: ", canary.vectors, sample=8)


def test_numbers_that_are_none_are_refused(tiny_encoder: Encoder) -> None:
    canary = make_canary(tiny_encoder, "", "")
    broken = canary.vectors.copy()
    broken[17, 3] = np.nan
    with pytest.raises(ModelError, match="canary text 17"):
        check_canary(tiny_encoder, "", broken)


def test_another_dimension_is_refused(tiny_encoder: Encoder) -> None:
    with pytest.raises(ModelError, match=r"\(64, 16\).*\(64, 32\)"):
        check_canary(tiny_encoder, "", np.zeros((64, 16), dtype=np.float32))


def test_base64_keeps_every_bit() -> None:
    vectors = np.array([[1.5, -0.0, np.nan], [3e-45, 3.4e38, 0.1]], dtype=np.float32)
    text = to_base64(vectors)
    assert from_base64(text, 3).tobytes() == vectors.tobytes()
    assert to_base64(vectors.astype(">f4")) == text  # little-endian whatever the machine
    assert text.startswith("AADAPw")


@pytest.mark.parametrize(("text", "dimension"), [("AADAPw==", 3), ("not base64!", 1), ("AADAPw==", 0)])
def test_damaged_base64_is_refused(text: str, dimension: int) -> None:
    with pytest.raises(ModelError, match="stored canary vectors"):
        from_base64(text, dimension)


class _Elsewhere:
    """The same encoder as another machine or engine version would show it."""

    def __init__(self, encoder: Encoder, **shown: str) -> None:
        self.__dict__.update(
            engine_version=encoder.engine_version, numeric=encoder.numeric, device=encoder.device
        )
        self.__dict__.update(shown)


def test_a_passed_check_is_remembered_by_encoder_engine_and_device(
    tiny_encoder: Encoder, tmp_path: Path
) -> None:
    folder = tmp_path / "not-there-yet"
    assert not PassedChecks(folder).has(tiny_encoder, "f1")
    PassedChecks(folder).add(tiny_encoder, "f1")
    assert PassedChecks(folder).has(tiny_encoder, "f1")
    assert not PassedChecks(folder).has(tiny_encoder, "f2")
    for shown in ({"engine_version": "openvino 1"}, {"device": "other"}, {"numeric": "f16"}):
        assert not PassedChecks(folder).has(_Elsewhere(tiny_encoder, **shown), "f1")  # type: ignore[arg-type]


def test_the_memory_of_checks_is_bounded_and_may_be_damaged(tiny_encoder: Encoder, tmp_path: Path) -> None:
    checks = PassedChecks(tmp_path)
    for number in range(150):
        checks.add(tiny_encoder, f"f{number}")
    assert checks.has(tiny_encoder, "f149")
    assert not checks.has(tiny_encoder, "f0")
    path = tmp_path / "canary-checks.json"
    assert len(json.loads(path.read_text())) == 100
    path.write_text("{")
    assert not checks.has(tiny_encoder, "f149")
