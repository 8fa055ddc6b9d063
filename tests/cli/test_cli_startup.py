"""`--help` is instant: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_process import environment

HEAVY = (
    "numpy",
    "orjson",
    "openvino",
    "psycopg",
    "tokenizers",
    "huggingface_hub",
    "safetensors",
    "pydantic",
    "yaml",
    "torch",
    "transformers",
    "pytrec_eval",
)


def imported_by(arguments: Sequence[str], cwd: Path) -> set[str]:
    """Top-level modules that the command has imported when it ends."""
    code = (
        f"import sys\nfrom embedspec.cli import main\nsys.argv[1:] = {list(arguments)!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\nMODULES ' + ' '.join({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(), capture_output=True, text=True, check=True
    )
    return set(done.stderr.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["reconcile", "--help"], ["--version"], ["plan", "--oops"]]
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    # typer itself reads the arguments of a verb with pydantic.
    heavy = set(HEAVY) if len(arguments) == 1 else set(HEAVY) - {"pydantic"}
    assert not imported_by(arguments, tmp_path) & heavy


def test_plan_imports_neither_engine_nor_driver(project: Path) -> None:
    heavy = {"openvino", "psycopg", "torch", "transformers", "pytrec_eval"}
    modules = imported_by(["plan", str(project), "--json"], project.parent)
    assert "embedspec" in modules
    assert not modules & heavy
