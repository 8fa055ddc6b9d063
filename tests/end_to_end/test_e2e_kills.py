"""kill -9 at random moments: running again gives what an undisturbed run gives, next to nothing is
embedded twice, readers notice nothing, and no process is left over."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .corpora import edited, records
from .killing import Killing
from .looping_reader import K
from .project import Project
from .readers import Reader
from .truth import Truth

Change = dict[str, Any]

EXACT: Change = {"target.index": {"type": "exact"}}
HNSW: Change = {"target.index": {"type": "hnsw"}}


def killed_often(
    project: Project, calm: Project, changes: Sequence[Change], *, count: int, kills: int, seed: int
) -> None:
    """An initial run and later ones, each after a change of the corpus and the next of the `changes`
    of the spec, each killed some times, until there were all `changes` and `kills`. The project
    `calm` goes through the same undisturbed."""
    for each in (project, calm):
        each.change({"corpus.metadata": ["lang"]})
    corpus = records(count)
    queries = [r["text"] for r in corpus[:: count // 40]]
    written: list[tuple[float, set[str]]] = []
    needed: set[tuple[str, str]] = set()
    recipes: dict[str, Change] = {}
    killing = Killing(project, random.Random(seed))
    # Readers that come and go: at times there is no client, and the server stops.
    with Reader.of_sdk(project, queries, searches=5) as reader, calm.server():
        for version, change in enumerate(itertools.chain(changes, itertools.repeat({})), 1):
            now = {r["text"] for r in corpus}
            written.append((time.time(), now))
            for each in (project, calm):
                each.write(corpus)
                each.change(change)
            needed |= {(project.values["model"]["use"], text) for text in now}
            live = killing.run_to_the_end(min(kills // 3 + 1, kills - killing.kills))["live"]
            project.rows(live).same_as(calm.rows(calm.run("reconcile")["live"]))
            recipes[live] = {**project.values.get("embedding", {}), "use": project.values["model"]["use"]}
            if killing.kills >= kills and version > len(changes):
                break
            corpus = edited(corpus, version)
        again = project.run("reconcile")
        assert (again["class"], again["embedded"], again["written"]) == ("none", 0, 0)
        reader.wait_for_more()
        reader.end()
        answers = reader.answers()
    killing.check_cost(len(needed))
    texts = set().union(*(now for _, now in written))
    truths = {build: _truth(project, recipe, texts) for build, recipe in recipes.items()}
    _check_answers(answers, truths, queries, written)
    builds = {b["id"]: b["status"] for b in project.run("status")["builds"]}
    assert builds == {b: "live" if b == live else "kept" for b in recipes}, "no build was begun twice"


def _truth(project: Project, recipe: Change, texts: set[str]) -> Truth:
    return Truth(
        (project.folder / recipe["use"].removeprefix("path:")).resolve(),
        {text: text for text in texts},
        dimension=recipe.get("dimension"),
        float16=recipe.get("quantization") == "float16",
    )


def _check_answers(
    answers: list[dict[str, Any]],
    truths: dict[str, Truth],
    queries: list[str],
    written: list[tuple[float, set[str]]],
) -> None:
    """Always a whole list of one build; every hit has the score of its own text, and ids and texts
    belong together; a text that is in the corpus and was in the one before is found by itself."""
    asked = found = 0
    for answer in answers:
        query, hits, truth = queries[answer["query"]], answer["hits"], truths[answer["build"]]
        assert len(hits) == len({id for id, _, _ in hits}) == K, answer
        for id, score, text in hits:
            assert text.split()[0] == str(int(id[1:])), answer
            assert abs(truth.score(query, text) - score) <= truth.tolerance, answer
        version = max(i for i, (since, _) in enumerate(written) if since <= answer["at"])
        if all(query in texts for _, texts in written[max(version - 1, 0) : version + 1]):
            asked += 1
            found += any(text == query for _, _, text in hits)
    print(f"{len(answers)} answers; of {asked} texts that were surely there {found} were found")
    assert asked > 0
    # An approximate index may miss one now and then; half an index misses half of them.
    assert found >= 0.98 * asked, "a part of the index was missing"


@pytest.fixture
def calm(tmp_path: Path, tiny_models: tuple[Path, Path]) -> Project:
    return Project(tmp_path / "calm", tiny_models[0])


def test_killed_four_times(bare_project: Project, calm: Project) -> None:
    # More rows than one transaction writes.
    killed_often(bare_project, calm, [EXACT], count=5_000, kills=4, seed=11)


@pytest.fixture
def seed() -> int:
    chosen = random.SystemRandom().randrange(10**6)
    print(f"seed {chosen}")
    return chosen


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("change", [EXACT, HNSW], ids=["exact", "hnsw"])
def test_killed_twenty_times(change: Change, bare_project: Project, calm: Project, seed: int) -> None:
    bare_project.forbid_sequential_scans()
    killed_often(bare_project, calm, [change], count=10_000, kills=20, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_while_building_beside(
    bare_project: Project, calm: Project, tiny_models: tuple[Path, Path], seed: int
) -> None:
    for each in (bare_project, calm):
        (each.folder / "other").symlink_to(tiny_models[1], target_is_directory=True)
    changes: list[Change] = [
        EXACT,
        {"embedding.dimension": 16},
        {"model.use": "path:./other", **HNSW},
        {"embedding.quantization": "float16"},
        {"target.index": {"type": "hnsw", "m": 8}, "corpus.metadata": ["lang", "id"]},
        {"embedding.quantization": "float32", "embedding.dimension": 32},
    ]
    bare_project.forbid_sequential_scans()
    killed_often(bare_project, calm, changes, count=5_000, kills=18, seed=seed)
