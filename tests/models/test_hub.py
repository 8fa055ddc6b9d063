"""Hub models: pinned to a commit, fetched no further than needed, and used without a network.

Each call runs in a process of its own, because huggingface_hub reads its environment on import.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedspec.models.hashing import sha256_of

from .fixtures.hub_double import NAME, HubDouble, serve
from .fixtures.tiny import VARIANTS, write_tiny_model

COMMIT, NEWER = "a" * 40, "b" * 40
SMALL = {"README.md", "config.json", "modules.json", "sentence_bert_config.json", "tokenizer.json",
         "tokenizer_config.json", "1_Pooling/config.json", "2_Dense/config.json"}  # fmt: skip

CODE = """
import json, logging, sys
from pathlib import Path
from embedspec.errors import ModelError
from embedspec.models.resolve import resolve_model
logging.basicConfig(level=logging.WARNING)
use, options = sys.argv[1], json.loads(sys.argv[2])
revision = options.pop("revision", None)
try:
    found = resolve_model(use, revision, base=Path("."), **options)
except ModelError as error:
    print(json.dumps(error.as_json()))
else:
    print(json.dumps({"revision": found.revision, "folder": str(found.folder), "files": dict(found.files),
                      "pooling": found.modules.pooling, "card": found.card is not None}))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    folder = write_tiny_model(tmp_path / "repository", VARIANTS["dense-tanh"])
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "vocab.txt").unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx/config.json").write_text("{}")
    (folder / "onnx/model.onnx").write_bytes(b"x")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with serve(HubDouble(folder, COMMIT)) as double:
        yield double


class Caller:
    """Calls resolve_model with a cache of its own."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home = home
        self.endpoint = endpoint

    def __call__(self, use: str = NAME, *, switched_off: str = "0", **options: Any) -> dict[str, Any]:
        environment = {
            **os.environ,
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_OFFLINE": switched_off,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
        }
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
            environment.pop(name, None)
        done = subprocess.run(
            [sys.executable, "-c", CODE, use, json.dumps(options)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout), "log": done.stderr}


@pytest.fixture
def call(hub: HubDouble, tmp_path: Path) -> Caller:
    return Caller(tmp_path / "home", hub.url)


def test_a_name_becomes_a_commit_and_only_what_is_needed_is_fetched(hub: HubDouble, call: Caller) -> None:
    found = call()
    assert found["revision"] == COMMIT
    assert found["folder"].endswith(f"models--acme--tiny/snapshots/{COMMIT}")
    assert found["card"]
    assert hub.fetched() == SMALL | {"model.safetensors", "2_Dense/model.safetensors"}
    for name, digest in found["files"].items():
        assert digest == sha256_of(hub.folder / name)


def test_planning_fetches_no_weights_but_knows_their_hashes(hub: HubDouble, call: Caller) -> None:
    planned = call(weights_needed=False)
    assert hub.fetched() == SMALL
    assert planned["files"]["model.safetensors"] == sha256_of(hub.folder / "model.safetensors")
    assert planned["files"] == call()["files"]
    hub.asked.clear()
    assert call(weights_needed=False, locked_commit=COMMIT)["files"] == planned["files"]
    assert hub.asked == []  # a commit never changes: all of it is in the cache


def test_the_lock_holds_while_main_moves(hub: HubDouble, call: Caller) -> None:
    hub.commits.add(NEWER)
    hub.heads["main"] = NEWER
    assert call(locked_commit=COMMIT)["revision"] == COMMIT
    assert call()["revision"] == NEWER
    assert call(revision=COMMIT)["revision"] == COMMIT


def test_offline_uses_the_cache_or_is_one_clear_error(hub: HubDouble, call: Caller) -> None:
    missing = call(switched_off="1")
    assert missing["code"] == 8
    assert "the hub is switched off" in missing["what"]
    assert "HF_HUB_OFFLINE" in missing["fix"]
    assert hub.asked == []
    online = call()
    hub.asked.clear()
    assert call(switched_off="1", revision=COMMIT)["files"] == online["files"]
    assert call(offline=True, locked_commit=COMMIT)["files"] == online["files"]
    unknown = call(switched_off="1", revision="v9")
    assert COMMIT in unknown["fix"]
    assert hub.asked == []


def test_offline_with_configs_only_says_that_the_weights_are_missing(hub: HubDouble, call: Caller) -> None:
    call(weights_needed=False)
    found = call(switched_off="1", locked_commit=COMMIT)
    assert found["code"] == 8
    assert "not (completely) in the cache" in found["what"]


def test_a_cache_with_a_hole_is_completed(hub: HubDouble, call: Caller) -> None:
    found = call(revision=COMMIT)
    for name in ("2_Dense/model.safetensors", "tokenizer.json"):
        path = Path(found["folder"]) / name
        path.resolve().unlink()
        path.unlink()
        hub.asked.clear()
        assert "fix" in call(switched_off="1", revision=COMMIT)
        assert call(revision=COMMIT)["files"] == found["files"]
        assert hub.fetched() == {name}


def test_a_hand_made_cache_is_read_by_branch(hub: HubDouble, call: Caller) -> None:
    storage = call.home / "hub" / "models--acme--tiny"
    snapshot = storage / "snapshots" / NEWER
    snapshot.parent.mkdir(parents=True)
    hub.folder.rename(snapshot)
    (storage / "refs").mkdir()
    (storage / "refs/main").write_text(NEWER)
    assert call(switched_off="1")["revision"] == NEWER
    assert call(switched_off="1", revision="main")["pooling"] == ["mean"]


def test_a_hub_that_is_down_falls_back_on_the_cache_and_says_so(hub: HubDouble, call: Caller) -> None:
    call(revision=COMMIT)
    (call.home / "hub/models--acme--tiny/refs").mkdir(exist_ok=True)
    (call.home / "hub/models--acme--tiny/refs/main").write_text(COMMIT)
    hub.status = 503
    found = call()
    assert found["revision"] == COMMIT
    assert "using commit" in found["log"]
    nowhere = call("acme/other")
    assert nowhere["code"] == 8
    assert "cannot be reached" in nowhere["what"]


def test_unknown_names_and_revisions_are_clear_errors(call: Caller) -> None:
    assert "knows no such model" in call("acme/typo")["what"]
    assert "has no revision v9" in call(revision="v9")["what"]


def test_a_consent_wall_is_named(hub: HubDouble, call: Caller) -> None:
    hub.status, hub.error_code = 403, "GatedRepo"
    found = call()
    assert "consent" in found["what"]
    assert "HF_TOKEN" in found["fix"]
    hub.status, hub.error_code = 401, None
    assert "401" in call()["what"] or "HF_TOKEN" in call()["what"]


def test_weights_that_are_not_those_listed_are_refused(hub: HubDouble, call: Caller) -> None:
    hub.listed_sha256["model.safetensors"] = "0" * 64
    found = call()
    assert found["code"] == 8
    assert "differs from the hub's" in found["what"]


def test_a_repository_with_pickles_only_is_refused_before_the_weights(hub: HubDouble, call: Caller) -> None:
    (hub.folder / "model.safetensors").unlink()
    found = call()
    assert found["code"] == 8
    assert "pytorch_model.bin" in found["what"]
    assert "pytorch_model.bin" not in hub.fetched()
