"""The encoder identity holds what shapes vectors and nothing else; the lock pins it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedspec.errors import ModelError, SpecError
from embedspec.models import lock
from embedspec.models.identity import encoder_identity

from .conftest import resolve
from .fixtures.tiny import VARIANTS, write_tiny_model
from .test_safety import edit, rewrite

Change = Callable[[Path], Any]


def _config(**values: Any) -> Change:
    return lambda folder: edit(folder / "config.json", lambda c: c.update(values))


def _nothing(_: Path) -> None:
    return None


UNSEEN: dict[str, Change] = {
    "names and versions": _config(_name_or_path="/home/me/x", transformers_version="9", architectures=["X"]),
    "training options": _config(hidden_dropout_prob=0.3, initializer_range=0.5, use_cache=True),
    "a default written out": _config(position_embedding_type="absolute", is_decoder=False),
    "another spelling": _config(hidden_act="gelu_python"),
    "the card": lambda folder: (folder / "README.md").write_text("# hello"),
    "a file beside": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"x"),
    "a tokenizer default": lambda folder: edit(
        folder / "tokenizer_config.json", lambda c: c.update(strip_accents=None, tokenize_chinese_chars=True)
    ),
    "module names": lambda folder: edit(folder / "modules.json", lambda m: m[1].update(name="pool", idx=7)),
    "the query prompt": lambda folder: (folder / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "q: "}}'
    ),
    "a looser window that does not bind": lambda folder: edit(
        folder / "tokenizer_config.json", lambda c: c.update(model_max_length=9999)
    ),
}

SEEN: dict[str, Change] = {
    "weights": lambda folder: rewrite(
        folder, lambda t: {**t, "embeddings.LayerNorm.bias": t["embeddings.LayerNorm.bias"] + 1}
    ),
    "tokenizer": lambda folder: edit(
        folder / "tokenizer.json", lambda t: t["model"].update(unk_token="[PAD]")
    ),
    "case": lambda folder: edit(folder / "tokenizer_config.json", lambda c: c.update(do_lower_case=False)),
    "pooling": lambda folder: edit(folder / "1_Pooling/config.json", lambda c: c.update(pooling_mode="max")),
    "normalising": lambda folder: edit(folder / "modules.json", lambda m: m[:2]),
    "window": lambda folder: edit(
        folder / "sentence_bert_config.json", lambda c: c.update(max_seq_length=20)
    ),
    "activation": _config(hidden_act="relu"),
    "epsilon": _config(layer_norm_eps=1e-5),
    "heads": _config(num_attention_heads=8),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_what_changes_no_vector_is_in_no_identity(tiny: Path, case: str) -> None:
    before = encoder_identity(resolve(tiny), "")
    UNSEEN[case](tiny)
    assert encoder_identity(resolve(tiny), "") == before


@pytest.mark.parametrize("case", SEEN)
def test_what_changes_vectors_is_in_the_identity(tiny: Path, case: str) -> None:
    before = resolve(tiny)
    entry = lock.lock_entry(before)
    SEEN[case](tiny)
    after = resolve(tiny)
    assert encoder_identity(after, "") != encoder_identity(before, "")
    verdict = lock.check(entry, after)
    assert verdict.status == "differs"
    assert len(verdict.differences) == 1
    assert " -> " in verdict.differences[0]


def test_folder_name_and_place_are_in_no_identity(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "elsewhere" / "other")
    identity = encoder_identity(resolve(tiny), "")
    assert encoder_identity(resolve(copy), "") == identity
    assert str(tmp_path) not in json.dumps(identity)


def test_prompt_and_numeric_class_are_in_the_identity(tiny: Path) -> None:
    resolved = resolve(tiny)
    plain = encoder_identity(resolved, "")
    assert encoder_identity(resolved, "passage: ") != plain
    assert (plain["numeric"], encoder_identity(resolved, "", "float32")["numeric"]) == ("full", "float32")
    with pytest.raises(ModelError, match="known: auto, float32"):
        encoder_identity(resolved, "", "int8")


def test_a_projection_is_in_the_identity(tmp_path: Path) -> None:
    resolved = resolve(write_tiny_model(tmp_path / "m", VARIANTS["dense-tanh"]))
    (projection,) = encoder_identity(resolved, "")["modules"]["projections"]
    assert projection["weights"] == resolved.files["2_Dense/model.safetensors"]
    assert projection["activation"] == "tanh"


def test_keys_of_the_lock() -> None:
    assert lock.lock_key("path:./m", None) == "path:./m"
    assert lock.lock_key("package:p/m", "ignored") == "package:p/m"
    assert lock.lock_key("org/name", None) == "org/name@main"
    assert lock.lock_key("org/name", "v2") == "org/name@v2"


def test_the_lock_is_written_read_and_checked(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / lock.FILE_NAME
    resolved = resolve(tiny)
    assert lock.read(path) == {}
    assert lock.check(None, resolved).status == "missing"
    lock.write(path, {"path:b": lock.lock_entry(resolved)})
    lock.write(path, {"path:a": lock.lock_entry(resolved)})
    entries = lock.read(path)
    assert list(entries) == ["path:a", "path:b"]
    assert lock.check(entries["path:b"], resolved) == lock.LockCheck("same")
    assert str(tmp_path) not in path.read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".embedspec")] == []


def test_a_lock_that_is_right_is_not_touched(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / lock.FILE_NAME
    entry = {"path:a": lock.lock_entry(resolve(tiny))}
    lock.write(path, entry)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    lock.write(path, entry)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"format": 1,\n "models": {\n  oops}}', ":3", "not JSON"),
        ('{"format": 1,\n<<<<<<< HEAD\n"models": {}}', ":2", "merge conflict"),
        ("[]", ":1", "`format` and `models`"),
        ('{"format": 1, "models": {"a": 3}}', ":1", "`format` and `models`"),
        ('{"format": 2, "models": {}}', ":1", "newer embedspec"),
        ("", ":1", "not JSON"),
    ],
)
def test_a_damaged_lock_is_one_error_with_its_place(
    tmp_path: Path, text: str, place: str, words: str
) -> None:
    path = tmp_path / lock.FILE_NAME
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        lock.read(path)
    assert (caught.value.where or "").endswith(f"{lock.FILE_NAME}{place}")
    assert words in str(caught.value)
    with pytest.raises(SpecError):
        lock.write(path, {})
    assert path.read_text() == text
