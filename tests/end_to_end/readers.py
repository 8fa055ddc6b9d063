"""Starting and ending the looping readers, and what they were told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from .project import HERE, Project, environment, wait_for


class Reader:
    """A looping reader. As a context manager it is ended, and has seen at least one more answer."""

    def __init__(self, script: str, arguments: list[str], out: Path) -> None:
        self._out = out
        out.touch()
        self._errors = out.with_suffix(".err")
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / script), *arguments],
                cwd=out.parent,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    @classmethod
    def of_sdk(
        cls,
        project: Project,
        queries: list[str],
        *,
        searches: int = 0,
        slow_s: float = 0.0,
        name: str = "reader",
    ) -> Self:
        """`searches`: open the index anew after so many. `slow_s`: how much slower the model is."""
        out = project.folder / f"{name}.jsonl"
        asked = project.folder / "queries.json"
        asked.write_text(json.dumps(queries))
        numbers = [str(searches), str(slow_s)]
        return cls("looping_reader.py", [str(project.spec), str(asked), str(out), *numbers], out)

    @classmethod
    def of_sql(cls, project: Project, dsn: str, name: str, statement: str) -> Self:
        out = project.folder / f"{name}.jsonl"
        return cls("looping_sql.py", [dsn, statement, str(out)], out)

    def lines(self) -> list[dict[str, Any]]:
        """All that was told so far."""
        text = self._out.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def answers(self) -> list[dict[str, Any]]:
        """Only answers; fails if an error was told."""
        lines = self.lines()
        errors = [line["error"] for line in lines if "error" in line]
        assert not errors, f"{len(errors)} errors, the first: {errors[0]}"
        return [line for line in lines if "nothing" not in line]

    def wait_for_more(self, number: int = 3, patience_s: float = 60.0) -> None:
        """Until so many more answers came, all of them asked for after this call began."""
        before = len(self.lines())
        wait_for(
            lambda: len(self.lines()) > before + number,
            patience_s,
            lambda: f"the reader hangs or died: {self._errors.read_text()} {self.lines()[-3:]}",
        )

    def end(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) == 0, self._errors.read_text()
        assert not self._errors.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
