"""Canary vectors: 64 fixed texts that show whether a loaded model is the one that filled an index.

A wrong prompt, pooling, precision or engine moves some of them by far more than rounding does:
bfloat16 against float32 arithmetic stays above cosine 0.9999 (measured on MiniLM), the bound is
0.9995.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedspec.errors import ModelError
from embedspec.files import write_atomically
from embedspec.models.canary_texts import CANARY_TEXTS, CANARY_VERSION
from embedspec.models.encoder import Encoder
from embedspec.types import Matrix

THRESHOLD = 0.9995
"""Least cosine between a stored canary vector and the one computed here."""
_REMEMBERED = 100
"""Passed checks that are kept; older ones are forgotten and cost a check."""


@dataclass(frozen=True, slots=True)
class CanaryVectors:
    """Full-length float32 vectors of the fixed texts, (64, dimension)."""

    version: int
    dimension: int
    vectors: Matrix
    encoder: str = ""
    """Fingerprint of the encoder that made them."""


def make_canary(encoder: Encoder, prompt: str, fingerprint: str) -> CanaryVectors:
    """The canary vectors of a loaded encoder with this document prompt."""
    vectors = encoder.encode(CANARY_TEXTS, prompt)
    return CanaryVectors(CANARY_VERSION, encoder.dimension, vectors, fingerprint)


def to_base64(vectors: Matrix) -> str:
    """Little-endian float32, row after row."""
    return base64.b64encode(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).decode("ascii")


def from_base64(text: str, dimension: int) -> Matrix:
    """(n, `dimension`) float32. Raises ModelError if the text is no such matrix."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ModelError(f"the stored canary vectors are damaged: {error}") from error
    if dimension < 1 or len(raw) % (4 * dimension):
        raise ModelError(f"the stored canary vectors ({len(raw)} bytes) have no {dimension} numbers a row")
    return np.frombuffer(raw, dtype="<f4").reshape(-1, dimension).astype(np.float32)


def check_canary(encoder: Encoder, prompt: str, stored_vectors: Matrix, sample: int | None = None) -> float:
    """Encode the fixed texts (`sample` of them, spread over all kinds) and compare.

    Returns the least cosine. Raises ModelError below THRESHOLD, naming the text and likely causes.
    """
    expected = (len(CANARY_TEXTS), encoder.dimension)
    if stored_vectors.shape != expected:
        raise ModelError(
            f"the stored canary vectors have shape {stored_vectors.shape}, this encoder gives {expected}",
            fix="the index was filled by another model (or another version of the canary texts)",
        )
    step = 1 if sample is None else max(len(CANARY_TEXTS) // sample, 1)
    chosen = np.arange(0, len(CANARY_TEXTS), step)
    found = encoder.encode([CANARY_TEXTS[i] for i in chosen], prompt)
    cosines = _cosines(found, stored_vectors[chosen])
    worst = int(np.argmin(cosines))
    cosine = float(cosines[worst])
    if cosine < THRESHOLD:
        below = int((cosines < THRESHOLD).sum())
        text = CANARY_TEXTS[chosen[worst]]
        raise ModelError(
            f"the encoder does not give the vectors that the index was filled with: canary text "
            f"{chosen[worst]} ({text[:40]!r}) has cosine {cosine:.4f}, below {THRESHOLD} "
            f"({below} of {len(chosen)} texts checked are)",
            where=f"{encoder.resolved.use}, {encoder.engine_version}, {encoder.numeric}, {encoder.device}",
            fix="likely causes: another document prompt or pooling, other weights or tokenizer behind "
            "the same name, an engine with other arithmetic; nothing was written",
        )
    return cosine


def _cosines(a: Matrix, b: Matrix) -> Matrix:
    """(n,) cosine of each pair of rows; 1 for two zero rows, -1 where a number is NaN or one is zero."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.einsum("ij,ij->i", a, b) / lengths
    result: Matrix = np.where(both_zero, 1.0, np.nan_to_num(cosines, nan=-1.0)).astype(np.float32)
    return result


class PassedChecks:
    """`canary-checks.json` in `folder`: which (encoder, engine version, device) passed already.

    Losing the file costs a check, never a wrong vector.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "canary-checks.json"

    def has(self, encoder: Encoder, fingerprint: str) -> bool:
        return _check_key(encoder, fingerprint) in self._read()

    def add(self, encoder: Encoder, fingerprint: str) -> None:
        key = _check_key(encoder, fingerprint)
        keys = [*(known for known in self._read() if known != key), key][-_REMEMBERED:]
        # A read-only folder costs a check in every run, no more.
        with contextlib.suppress(OSError):
            content = json.dumps(keys, indent=0, ensure_ascii=False)
            write_atomically(self._path, content.encode(), parents=True)

    def _read(self) -> list[str]:
        try:
            keys = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return []
        return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _check_key(encoder: Encoder, fingerprint: str) -> str:
    texts = f"texts {CANARY_VERSION}"
    return " | ".join((fingerprint, texts, encoder.engine_version, encoder.numeric, encoder.device))
