"""`init` writes what works at once, overwrites nothing, and keeps git from taking caches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from cli_process import Ended

Run = Callable[..., Ended]


def test_init_writes_a_spec_that_is_valid(embedspec: Run, tmp_path: Path) -> None:
    done = embedspec("init", "new/place")
    assert done.code == 0, done
    assert "Next: embedspec plan new/place/handbook.yaml\n" in done.out
    assert sorted(f.name for f in (tmp_path / "new/place").iterdir()) == ["corpus.jsonl", "handbook.yaml"]
    assert embedspec("validate", "new/place").code == 0


def test_init_overwrites_nothing(embedspec: Run, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("mine")
    done = embedspec("init", "--json")
    assert done.code == 1
    assert done.json["error"]["where"] == "corpus.jsonl"
    assert [f.name for f in tmp_path.iterdir()] == ["corpus.jsonl"]
    assert (tmp_path / "corpus.jsonl").read_text() == "mine"


def test_init_where_nothing_can_be_written(embedspec: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = embedspec("init", "file/below", "--json")
    assert done.code == 1
    assert "cannot be written" in done.json["error"]["what"]


def test_init_in_a_git_repository_ignores_the_caches_once(embedspec: Run, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("*.pyc")
    first = embedspec("init", "--json")
    assert first.json["files"] == ["handbook.yaml", "corpus.jsonl", ".gitignore"]
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n.embedspec/\n"
    second = embedspec("init", "below", "--json")
    assert second.json["files"] == ["below/handbook.yaml", "below/corpus.jsonl"]
