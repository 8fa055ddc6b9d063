"""The demo as the README shows it is the demo as it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import ROOT, blocks_of, difference, environment

FILES = ("make_corpus.py", "run.py", "spec.yaml", "embedspec.lock")


def without_numbers(lines: list[str]) -> list[str]:
    """The library's documentation, and so every count, differs between versions of Python."""
    numbers = [re.sub(r"\d[\d,.]*", "N", line) for line in lines]
    return [re.sub(r"\bN (ms|s|min)\b", "N s", line) for line in numbers]


@pytest.mark.slow
def test_the_readme_shows_the_demo(tmp_path: Path, tools: Path) -> None:
    demo = tmp_path / "examples" / "demo"
    demo.mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / "examples" / "demo" / name, demo / name)
    done = subprocess.run(
        ["python", "examples/demo/run.py"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (block,) = [b for b in blocks_of(ROOT / "README.md") if b.text.startswith("$ make demo")]
    shown = block.text.splitlines()[1:]
    problem = difference(
        without_numbers(shown), without_numbers([x for x in done.stdout.splitlines() if x.strip()])
    )
    assert problem is None, problem
