"""What is refused: F13, pickles, remote code, folders that leave pooling open, unknown options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embedspec.errors import ModelError
from embedspec.models.encoder import load_encoder

from .conftest import resolve
from .fixtures.tiny import VARIANTS, write_tiny_model


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    save_file(change(tensors), path)


def refusal(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        resolve(folder)
    assert caught.value.code == 8
    return caught.value


def test_f13_a_missing_tensor_is_named(minilm_copy: Path) -> None:
    name = "encoder.layer.5.output.dense.weight"
    rewrite(minilm_copy, lambda tensors: {k: v for k, v in tensors.items() if k != name})
    error = refusal(minilm_copy)
    assert name in error.what
    assert "1 of 101" in error.what


def test_f13_b_a_strange_prefix_is_named(minilm_copy: Path) -> None:
    rewrite(minilm_copy, lambda tensors: {f"x.{k}": v for k, v in tensors.items()})
    error = refusal(minilm_copy)
    assert "embeddings.word_embeddings.weight" in error.what
    assert "101 of 101" in error.what
    assert "'x.embeddings.word_embeddings.weight'" in error.what


def test_an_encoder_that_is_there_twice_is_refused(tiny: Path) -> None:
    rewrite(tiny, lambda tensors: {**tensors, **{f"bert.{k}": v for k, v in tensors.items()}})
    assert "twice" in refusal(tiny).what


def test_a_tensor_of_another_shape_is_refused(tiny: Path) -> None:
    edit(tiny / "config.json", lambda c: c.update(intermediate_size=47))
    error = refusal(tiny)
    assert "encoder.layer.0.intermediate.dense.weight" in error.what
    assert "[48, 32]" in error.what
    assert "[47, 32]" in error.what


def test_layers_that_the_config_does_not_know_are_refused(tiny: Path) -> None:
    edit(tiny / "config.json", lambda c: c.update(num_hidden_layers=1))
    assert "encoder.layer.1." in refusal(tiny).what


def test_a_broken_download_is_refused(tiny: Path) -> None:
    path = tiny / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "broken download" in refusal(tiny).what
    header = b'{"a":{"dtype":"F32","shape":3,"data_offsets":[0,0]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "not a readable safetensors file" in refusal(tiny).what
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert "Git LFS" in refusal(tiny).what


def test_a_projection_without_its_tensor_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m", VARIANTS["dense-tanh"])
    edit(folder / "2_Dense/config.json", lambda c: c.update(out_features=19))
    resolved = resolve(folder)
    with pytest.raises(ModelError, match=r"2_Dense.*linear\.weight.*\[19, 32\].*\[20, 32\]"):
        load_encoder(resolved)


def test_pickled_weights_are_refused_with_the_way_out(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    error = refusal(tiny)
    assert "pytorch_model.bin" in error.what
    assert "safetensors" in error.what
    assert "convert" in (error.fix or "")


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json"])
def test_a_folder_that_leaves_pooling_open_is_refused(tiny: Path, file: str) -> None:
    (tiny / file).unlink()
    error = refusal(tiny)
    assert "nothing says how token vectors become one vector" in error.what
    assert file in (error.where or "")
    assert error.fix


def _set(**values: Any) -> Callable[[Any], None]:
    return lambda content: content.update(values)


def _module(at: int, **values: Any) -> Callable[[Any], None]:
    return lambda modules: modules[at].update(values)


REFUSED: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "remote code": ("config.json", _set(auto_map={"AutoModel": "modeling_x.X"}), "remote code"),
    "code module": ("modules.json", _module(1, type="custom_st.Pooling"), "code of the model's own"),
    "leads outside": ("modules.json", _module(1, path="../other"), "leads out of"),
    "another family": ("config.json", _set(model_type="t5"), "covered: bert"),
    "decoder": ("config.json", _set(is_decoder=True), "decoder"),
    "relative positions": ("config.json", _set(position_embedding_type="relative_key"), "relative_key"),
    "activation": ("config.json", _set(hidden_act="mish"), "'mish' is not covered; covered: gelu"),
    "epsilon": ("config.json", _set(layer_norm_eps="1e-12"), "layer_norm_eps"),
    "layers": ("config.json", _set(num_hidden_layers=0), "num_hidden_layers"),
    "heads": ("config.json", _set(num_attention_heads=5), "not a multiple"),
    "pooling": ("1_Pooling/config.json", _set(pooling_mode="lasttoken"), "'lasttoken' is not covered"),
    "no pooling": ("1_Pooling/config.json", _set(pooling_mode_mean_tokens=False), "no pooling mode"),
    "prompt left out": ("1_Pooling/config.json", _set(include_prompt=False), "include_prompt"),
    "pooled width": ("1_Pooling/config.json", _set(word_embedding_dimension=31), "31"),
    "other modules": ("modules.json", _module(2, type="sentence_transformers.models.LSTM"), "LSTM"),
    "order": ("modules.json", lambda m: [m[0], m[2], m[1]], "Normalize -> Pooling"),
    "another task": ("sentence_bert_config.json", _set(transformer_task="fill-mask"), "fill-mask"),
    "arguments": ("sentence_bert_config.json", _set(config_args={"is_causal": True}), "is_causal"),
    "window": ("sentence_bert_config.json", _set(max_seq_length="256"), "tokens above 2"),
    "pooling by number": ("1_Pooling/config.json", _set(pooling_mode=5), "a name or a list of names"),
    "list of activations": ("config.json", _set(hidden_act=["gelu"]), "is not covered"),
    "window that is no number": (
        "sentence_bert_config.json",
        _set(max_seq_length=float("nan")),
        "tokens above 2",
    ),
    "no object": ("config.json", lambda c: [c], "JSON object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_covered_is_refused_by_name(tiny: Path, case: str) -> None:
    file, change, words = REFUSED[case]
    edit(tiny / file, change)
    error = refusal(tiny)
    assert words in error.what
    assert str(tiny.name) in str(error)


def test_a_config_that_is_not_json_is_refused_with_its_place(tiny: Path) -> None:
    (tiny / "config.json").write_text('{"model_type": "bert",\n  oops}')
    error = refusal(tiny)
    assert "line 2" in error.what
    assert "config.json" in (error.where or "")


def test_a_tokenizer_of_another_model_is_refused(tiny: Path) -> None:
    edit(tiny / "tokenizer.json", lambda t: t["model"]["vocab"].update(extra=5000))
    with pytest.raises(ModelError, match="token id 5000"):
        load_encoder(resolve(tiny)).encode(["a"])


def test_a_damaged_tokenizer_is_refused(tiny: Path) -> None:
    (tiny / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        load_encoder(resolve(tiny)).encode(["a"])
