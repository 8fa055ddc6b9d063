"""The demo: its corpus is the same each time and made without a sound, and its tour holds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"


def make_corpus(path: Path, hash_seed: int) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", DEMO / "make_corpus.py", path],
        env={"PYTHONHASHSEED": str(hash_seed), "TERM": "xterm"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_corpus_is_the_same_each_time_and_made_in_silence(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    said = make_corpus(first, 1)
    make_corpus(second, 2)
    assert first.read_bytes() == second.read_bytes()
    records = [json.loads(line) for line in first.read_text(encoding="utf-8").split("\n") if line]
    assert said == f"{len(records):,} records in {first}\n"
    assert 3_000 < len(records) < 5_000
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    assert all(record["text"] and set(record) == set(records[0]) for record in records)
    assert by_id["collections.Counter"]["kind"] == "class"
    assert by_id["os.remove"]["module"] == "os"
    assert by_id["builtins.str.split"]["title"] == "str.split"


@pytest.mark.slow
def test_the_tour_holds(tmp_path: Path) -> None:
    """Twice: what the first tour left behind must not disturb the second."""
    files = ("make_corpus.py", "run.py", "spec.yaml", "embedspec.lock")
    for name in files:
        shutil.copy(DEMO / name, tmp_path / name)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, tmp_path / "run.py"], check=False, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Try next" in done.stdout
