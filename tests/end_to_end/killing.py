"""Runs that are killed at random moments, and what that cost."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .project import Project, Run, sent

BATCHES_IN_FLIGHT = 4
PAUSE_S = 0.01

LONGEST_S = {"": 1.2, "read": 0.5, "load": 0.6, "embed": 0.2, "index": 0.03}
"""The stage whose end the run has told when the clock of the kill starts ("": it was just started),
and the most that the clock runs. Embedding comes after the load, index and switch after it."""
OFTEN = [2, 2, 5, 2, 1]
"""How often each of them is chosen."""


@dataclass
class Killing:
    """Runs on one project, killed again and again."""

    project: Project
    choose: random.Random
    kills: int = 0
    logs: int = 0

    def __post_init__(self) -> None:
        self.batches: list[list[list[str]]] = []
        """By run, in order: the batches it gave to the model, each text with the model's name."""
        self.killed: list[bool] = []
        self.stages: list[str] = []

    def run_to_the_end(self, kills: int) -> dict[str, Any]:
        """Start and kill so many times, then let it finish; fewer if a run is faster than its kill."""
        for _ in range(kills):
            self.stages += self.choose.choices(list(LONGEST_S), OFTEN)
            if not self._one(self.stages[-1]):
                break
            self.kills += 1
        result = self._start().end()
        self._note(killed=False)
        assert result.code == 0, result.err
        return result.json

    def _one(self, stage: str) -> bool:
        run = self._start()
        if run.wait_for(lambda: not stage or run.has_told(stage)):
            time.sleep(self.choose.uniform(0.0, LONGEST_S[stage]))
        killed = run.kill()
        assert killed or run.process.returncode == 0, run.stderr
        self._note(killed=killed)
        return killed

    def _log(self) -> Path:
        return self.project.folder / f"sent-{self.logs}"

    def _start(self) -> Run:
        self.logs += 1
        return self.project.start("reconcile", "-v", log=self._log(), pause_s=PAUSE_S)

    def _note(self, *, killed: bool) -> None:
        encoder = json.dumps(self.project.values["model"])
        self.batches.append([[encoder + text for text in batch] for batch in sent(self._log())])
        self.killed.append(killed)

    def check_cost(self, unique: int) -> None:
        """Only what was in flight at a kill was embedded twice. `unique`: texts times models."""
        total = sum(len(batch) for run in self.batches for batch in run)
        distinct = {text for run in self.batches for batch in run for text in batch}
        in_flight = sum(
            len(batch)
            for run, killed in zip(self.batches, self.killed, strict=True)
            for batch in run[-BATCHES_IN_FLIGHT:]
            if killed
        )
        told = f"{total} embedded, {unique} distinct, {self.kills} kills after {self.stages}"
        print(told)
        assert len(distinct) == unique, told
        assert total <= unique + in_flight, told
        for number, run in enumerate(self.batches):
            later = {text for other in self.batches[number + 1 :] for batch in other for text in batch}
            safe = run[:-BATCHES_IN_FLIGHT] if self.killed[number] else run
            assert not later & {text for batch in safe for text in batch}
