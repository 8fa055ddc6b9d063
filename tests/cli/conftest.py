"""The installed command for each test: with pipes, on a terminal, and a project to run it on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_process import Ended, Terminal, run_command, write_project


@pytest.fixture
def embedspec(tmp_path: Path) -> Callable[..., Ended]:
    """Run `embedspec ARGUMENTS` with pipes, in `cwd` (default: the test's folder)."""

    def run(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ended:
        return run_command(*arguments, cwd=cwd or tmp_path, env=env)

    return run


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start `embedspec ARGUMENTS` on a pseudo-terminal."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str | Path, cwd: Path | None = None, **options: Any) -> Terminal:
            started = Terminal([str(a) for a in arguments], cwd=cwd or tmp_path, **options)
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A spec over four records whose store ends with the process: nothing is ever live in it."""
    return write_project(tmp_path)
