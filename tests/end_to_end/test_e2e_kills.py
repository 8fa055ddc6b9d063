"""kill -9 at random moments: running again gives what an undisturbed run gives, next to nothing is
embedded twice, readers notice nothing, and no process is left over."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .corpora import edited, records
from .looping_reader import K
from .project import Project, sent
from .readers import Reader
from .truth import FLOAT32_TOLERANCE, Truth

BATCHES_IN_FLIGHT = 4
PAUSE_S = 0.01

LONGEST_S = {"": 1.2, "read: done": 0.5, "load: done": 0.6, "embed:": 0.2, "index:": 0.03}
"""What the run has told when the clock of the kill starts ("": it was just started), and the most
that the clock runs. Embedding comes after the load, index and switch after it."""
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
        """By run, in order: the batches it gave to the model."""
        self.killed: list[bool] = []
        self.stages: list[str] = []

    def run_to_the_end(self, kills: int) -> dict[str, Any]:
        """Start and kill so many times, then let it finish; less if a run is faster than its kill."""
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
        if run.wait_for(lambda: stage in run.stderr):
            time.sleep(self.choose.uniform(0.0, LONGEST_S[stage]))
        killed = run.kill()
        assert killed or run.process.returncode == 0, run.stderr
        self._note(killed=killed)
        return killed

    def _log(self) -> Path:
        return self.project.folder / f"sent-{self.logs}"

    def _start(self) -> Any:
        self.logs += 1
        return self.project.start("reconcile", "-v", log=self._log(), pause_s=PAUSE_S)

    def _note(self, *, killed: bool) -> None:
        self.batches.append(sent(self._log()))
        self.killed.append(killed)

    def check_cost(self, unique: int) -> None:
        """Only what was in flight at a kill was embedded twice."""
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


def set_up(project: Project, index: str) -> None:
    project.change({"target.index": {"type": index}, "corpus.metadata": ["lang"]})


def killed_often(project: Project, calm: Project, *, index: str, count: int, kills: int, seed: int) -> None:
    """An initial run and incremental ones, each killed up to `kills` / 3 times, until there were
    `kills` of them; `calm` goes through the same without."""
    set_up(project, index)
    set_up(calm, index)
    if index == "hnsw":
        project.forbid_sequential_scans()
    corpus = records(count)
    queries = [r["text"] for r in corpus[:: count // 40]]
    texts: set[str] = set()
    steady = set(queries)
    killing = Killing(project, random.Random(seed))
    # Readers that come and go: at times there is no client, and the server stops.
    with Reader.of_sdk(project, queries, searches=5) as reader, calm.server():
        for version in itertools.count(1):
            now = {r["text"] for r in corpus}
            texts |= now
            steady &= now
            project.write(corpus)
            calm.write(corpus)
            live = killing.run_to_the_end(min(kills // 3 + 1, kills - killing.kills))["live"]
            project.rows(live).same_as(calm.rows(calm.run("reconcile")["live"]))
            if killing.kills >= kills and version > 1:
                break
            corpus = edited(corpus, version)
        again = project.run("reconcile")
        assert (again["class"], again["embedded"], again["written"]) == ("none", 0, 0)
        reader.wait_for_more()
        reader.end()
        answers = reader.answers()
    killing.check_cost(len(texts))
    _check_answers(answers, project.folder / "model", queries, texts, steady, exact=index == "exact")
    builds = {b["status"] for b in project.run("status")["builds"]}
    assert builds == {"live"}, "one build from beginning to end, whatever was killed"


def _check_answers(
    answers: list[dict[str, Any]],
    model: Path,
    queries: list[str],
    texts: set[str],
    steady: set[str],
    *,
    exact: bool,
) -> None:
    """Always a whole list; every hit has the score of its own text, and ids and texts belong together;
    a text that was there all the time is found by itself."""
    truth = Truth(model, {text: text for text in texts})
    row = {text: number for number, text in enumerate(truth.texts)}
    asked = found = 0
    for answer in answers:
        query, hits = queries[answer["query"]], answer["hits"]
        assert len(hits) == len({id for id, _, _ in hits}) == K, answer
        scores = truth.scores(query)
        for id, score, text in hits:
            assert text.split()[0] == str(int(id[1:])), answer
            assert abs(float(scores[row[text]]) - score) <= FLOAT32_TOLERANCE, answer
        if query in steady:
            asked += 1
            found += hits[0][2] == query
    print(f"{len(answers)} answers; of {asked} texts that were there all the time {found} were found")
    assert asked > 0
    assert found == asked if exact else found >= 0.98 * asked, "a part of the index was missing"


@pytest.fixture
def calm(tmp_path: Path, tiny_models: tuple[Path, Path]) -> Project:
    return Project(tmp_path / "calm", tiny_models[0])


def test_killed_four_times(bare_project: Project, calm: Project) -> None:
    # More rows than one transaction writes.
    killed_often(bare_project, calm, index="exact", count=5_000, kills=4, seed=11)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_killed_twenty_times(index: str, bare_project: Project, calm: Project) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    killed_often(bare_project, calm, index=index, count=10_000, kills=20, seed=seed)
