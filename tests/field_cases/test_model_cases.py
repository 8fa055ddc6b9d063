"""F12, F13, F14: pooling, weights and cuts of the real model, by the vectors that end in the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embedspec import sdk

from .case import Case, cosine, records

REFERENCE = Path(__file__).parents[1] / "models" / "fixtures" / "reference.npz"
"""What sentence-transformers on torch gives for the same texts (made by make_reference.py beside it)."""

TEXTS = (
    "the keeper wrote down the wind",
    "bread rises in a warm kitchen",
    "a blue whale sings under the sea",
    "snow covers the roofs of the village",
    "the train to the coast leaves at noon",
    "rain falls on the tin roof",
    "the gardener plants tulips in autumn",
    "a clock ticks in the empty hall",
    "she mended the net before dawn",
    "the parliament voted on the budget",
    "photons scatter in the upper air",
    "compound interest grows a small sum",
    "the violin was out of tune",
    "a goalkeeper saved the penalty",
    "the court adjourned until Monday",
    "vaccines train the immune system",
    "glaciers retreat up the valley",
    "the compiler inlined the function",
    "olive trees live for centuries",
    "an antique map of the harbour",
)


def copy_model(original: Path, folder: Path) -> Path:
    """A copy in which files may be replaced; the weights are linked."""
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(original / "model.safetensors")
    return folder


def use_cls(folder: Path) -> None:
    pooling = folder / "1_Pooling" / "config.json"
    settings = json.loads(pooling.read_text())
    settings.update(pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    pooling.write_text(json.dumps(settings))


def test_f12_pooling_is_what_the_model_says(case: Case, real_model: Path) -> None:
    copy_model(real_model, case.folder / "mean")
    use_cls(copy_model(real_model, case.folder / "cls"))
    with np.load(REFERENCE) as file:
        reference = {"mean": file["minilm/mean"], "cls": file["minilm/cls"]}
        texts = [str(text) for text in file["minilm/texts"]]
    kept = [i for i, text in enumerate(texts) if text]
    case.write(*({"id": str(i), "text": texts[i]} for i in kept))
    case.change({"model.use": "path:mean"})
    case.reconcile()
    vectors = {"mean": case.stored_vectors()}
    before = case.run("status")

    case.change({"model.use": "path:cls"})
    planned = case.plan()
    assert planned["class"] == "rebuild"
    assert any("pooling" in reason for reason in planned["reasons"])
    assert planned["chunks"] == {"embed": len(kept), "reused": 0}
    done = case.reconcile()
    assert done["embedded"] == len(kept)
    vectors["cls"] = case.stored_vectors()
    after = case.run("status")

    for pooling, stored in vectors.items():
        for i in kept:
            assert cosine(stored[str(i)], reference[pooling][i]) >= 0.999
    for i in kept:
        assert cosine(vectors["mean"][str(i)], vectors["cls"][str(i)]) < 0.95
    fingerprints = {build["id"]: build["fingerprints"]["encoder"] for build in after["builds"]}
    assert fingerprints[before["live"]] != fingerprints[after["live"]]
    # Queries are pooled as the live build says.
    (hit,) = case.query(texts[kept[0]], "-k", "1")
    assert (hit["id"], round(hit["score"], 3)) == (str(kept[0]), 1.0)


@pytest.mark.parametrize("missing", ["1_Pooling/config.json", "modules.json"])
def test_f12_pooling_that_nobody_names_is_refused(case: Case, real_model: Path, missing: str) -> None:
    (copy_model(real_model, case.folder / "m") / missing).unlink()
    case.write({"id": "a", "text": "text"})
    case.change({"model.use": "path:m"})
    for verb in (("plan",), ("reconcile", "--yes")):
        error = case.run(*verb, code=8)["error"]
        assert missing in error["what"] + error["where"]
        assert error["fix"]
    assert case.run("status")["builds"] == []


def spoil(original: Path, folder: Path, how: str) -> Path:
    copy_model(original, folder)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    if how == "drop":
        del tensors["encoder.layer.5.output.dense.weight"]
    else:
        tensors = {f"x.{name}": tensor for name, tensor in tensors.items()}
    save_file(tensors, weights)
    return folder


@pytest.mark.parametrize(
    ("how", "first", "number"),
    [
        ("drop", "encoder.layer.5.output.dense.weight", "1 of 101"),
        ("prefix", "embeddings.word_embeddings.weight", "101 of 101"),
    ],
)
def test_f13_missing_tensors_are_refused(
    case: Case, real_model: Path, how: str, first: str, number: str
) -> None:
    spoil(real_model, case.folder / "m", how)
    case.write({"id": "a", "text": "text"})
    case.change({"model.use": "path:m"})
    for verb in (("plan",), ("reconcile", "--yes")):
        error = case.run(*verb, code=8)["error"]
        assert first in error["what"]
        assert number in error["what"]
    status = case.run("status")
    assert (status["live"], status["builds"], status["last_run"]) == (None, [], None)
    assert not (case.folder / "embedspec.lock").exists()


def test_f13_weights_that_break_under_a_live_index(case: Case, real_model: Path) -> None:
    model = copy_model(real_model, case.folder / "m")
    case.write({"id": "a", "text": "a text under weights that break"})
    case.change({"model.use": "path:m"})
    live = case.reconcile()["live"]
    locked = (case.folder / "embedspec.lock").read_bytes()
    spoil(real_model, case.folder / "spoilt", "drop")
    (model / "model.safetensors").unlink()
    (case.folder / "spoilt" / "model.safetensors").rename(model / "model.safetensors")
    case.write({"id": "a", "text": "a text under weights that broke"})
    for verb in (("reconcile", "--yes", "--upgrade"), ("query", "text")):
        assert "encoder.layer.5.output.dense.weight" in case.run(*verb, code=8)["error"]["what"]
    assert case.run("status")["live"] == live
    assert (case.folder / "embedspec.lock").read_bytes() == locked


@pytest.mark.parametrize(
    ("quantization", "metric", "tolerance"),
    [("float32", "dot", 1e-3), ("float16", "dot", 2e-3)],
)
def test_f14_a_cut_is_renormalised(case: Case, quantization: str, metric: str, tolerance: float) -> None:
    case.write(*records(TEXTS))
    case.change({"embedding": {"dimension": 128, "quantization": quantization, "metric": metric}})
    done = case.reconcile()
    assert any("Matryoshka" in warning for warning in done["warnings"])
    for vector in case.stored_vectors().values():
        assert vector.shape == (128,)
        assert abs(np.linalg.norm(vector) - 1) <= tolerance
    with sdk.open(case.spec) as index:
        for number, text in enumerate(TEXTS):
            hits = index.search(text, k=20).hits
            assert len(hits) == 20
            assert hits[0].id == f"d{number:04}"
            assert abs(hits[0].score - 1) <= tolerance


def test_f14_from_384_to_128_nothing_is_embedded(case: Case) -> None:
    case.write(*records(TEXTS))
    case.change({"embedding.metric": "dot"})
    case.reconcile()
    full = case.stored_vectors()
    case.change({"embedding.dimension": 128})
    planned = case.plan("--detailed-exitcode", code=2)
    assert (planned["class"], planned["chunks"]["embed"]) == ("derive", 0)
    done = case.reconcile()
    assert (done["class"], done["embedded"], done["written"]) == ("derive", 0, len(TEXTS))
    for document, vector in case.stored_vectors().items():
        cut = full[document][:128] / np.linalg.norm(full[document][:128])
        np.testing.assert_allclose(vector, cut, atol=1e-6)
    # The same again without the vector cache: from the old build's own full vectors.
    shutil.rmtree(case.home / "cache")
    case.change({"embedding.dimension": 64})
    done = case.reconcile()
    assert (done["class"], done["embedded"]) == ("derive", 0)
    assert all(abs(np.linalg.norm(vector) - 1) <= 1e-3 for vector in case.stored_vectors().values())
