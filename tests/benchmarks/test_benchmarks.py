"""Every benchmark runs, in miniature, and says what it promises. No figure is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SIZES = {
    "bench_first_run": ("40", "1"),
    "bench_no_change": ("300", "1"),
    "bench_start": ("1",),
    "bench_store_writing": ("300", "1"),
}


def test_all_are_covered() -> None:
    assert sorted(path.stem for path in FOLDER.glob("bench_*.py")) == sorted(SIZES)
    readme = (FOLDER / "README.md").read_text()
    assert [path.name for path in FOLDER.glob("*.py") if f"`{path.name}`" not in readme] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_a_benchmark_runs_and_keeps_its_figures(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *SIZES[name]],
        env={**os.environ, "EMBEDSPEC_BENCH_RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (kept,) = tmp_path.glob("*.json")
    (figures,) = json.loads(kept.read_text()).values()
    assert figures["targets"]
    assert all(line in done.stdout for line in figures["lines"])
    assert figures["claim"] in kept.with_suffix(".md").read_text()
