"""Readers in a loop while everything about an index changes: no error, and every answer is the whole
answer of one build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from psycopg import sql

from .corpora import records
from .looping_reader import K
from .project import Project
from .readers import Reader
from .truth import Truth

COUNT = 200
QUERIES = ["garden and river", "the bread in the kitchen", "17 apple", "yellow zebra at the harbor"]

VIEW = (
    "SELECT count(*), md5(string_agg(id || '|' || text || '|' || embedding::text, '/' ORDER BY id))"
    " FROM public.t"
)
FUNCTION = "SELECT id, score, text FROM public.t_search('{}', 10)"


def view_digest(project: Project, build: str) -> list[Any]:
    """What the view's statement gives for this build, asked of the build's own tables."""
    docs, vectors = sql.Identifier(f"t__{build}"), sql.Identifier(f"t__{build}_vec")
    query = sql.SQL(
        "SELECT count(*), md5(string_agg(id || '|' || text || '|' || embedding::text, '/' ORDER BY id))"
        " FROM {} JOIN {} USING (key)"
    ).format(docs, vectors)
    with project.sql() as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return list(row)


class Known:
    """Builds met so far, with what each must answer."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.truths: dict[str, list[Truth]] = {}
        self.views: list[list[Any]] = []

    def add(self, build: str, truth: Truth) -> None:
        self.truths.setdefault(build, []).append(truth)
        digest = view_digest(self._project, build)
        assert digest[0] == COUNT
        if digest not in self.views:
            self.views.append(digest)


def test_no_reader_is_disturbed(project: Project, tiny_models: tuple[Path, Path]) -> None:
    corpus = records(COUNT)
    plain = {r["id"]: r["text"] for r in corpus}
    one, two = tiny_models
    (project.folder / "other").symlink_to(two, target_is_directory=True)
    project.write(corpus)
    known = Known(project)
    # What a plain-SQL reader embedded once, and goes on asking with whatever model is live.
    fixed = Truth(one, {"q": QUERIES[0]}).vectors[0]
    asked = FUNCTION.format([float(number) for number in fixed])
    with project.server() as dsn:
        first = project.run("reconcile")["live"]
        known.add(first, Truth(one, plain))
        with (
            Reader.of_sdk(project, QUERIES) as sdk,
            Reader.of_sql(project, dsn, "view", VIEW) as view,
            Reader.of_sql(project, dsn, "function", asked) as function,
        ):
            sdk.wait_for_more()
            live = _changes(project, known, sdk, function, two, plain, first)
            for reader in (sdk, view):
                reader.wait_for_more()
                reader.end()
            _check_sdk(sdk.answers(), known, first, live)
            _check_view(view.answers(), known, view_digest(project, live))
            _check_function(function.answers(), known, fixed)


def _changes(
    project: Project,
    known: Known,
    sdk: Reader,
    function: Reader,
    two: Path,
    plain: dict[str, str],
    first: str,
) -> str:
    """The life of an index, in steps; returns the build that is live at the end."""

    def reconcile(changes: dict[str, Any], expected: str, truth: Callable[[], Truth]) -> str:
        project.change(changes)
        result = project.run("reconcile")
        assert (result["class"], result["live"]) == (expected, result["build"])
        assert result["embedded"] == (COUNT if expected == "rebuild" else 0)
        known.add(result["live"], truth())
        sdk.wait_for_more()
        return str(result["live"])

    # Another model and another text at once.
    rebuilt = {"model.use": "path:./other", "corpus.text": "about {text}"}
    about = {id: f"about {text}" for id, text in plain.items()}
    second = reconcile(rebuilt, "rebuild", lambda: Truth(two, about))

    undone = project.run("rollback")
    assert (undone["live"], undone["previous"]) == (first, second)
    print(f"rollback moved readers in {undone['seconds']} s")
    sdk.wait_for_more()
    held = project.run("reconcile", code=3)
    assert (held["live"], held["embedded"], held["written"]) == (first, 0, 0)
    assert project.run("promote")["live"] == second
    sdk.wait_for_more()
    assert project.run("reconcile")["class"] == "none"

    # Half as wide a column type: view and function change their types as well.
    half = {"embedding.quantization": "float16"}
    third = reconcile(half, "derive", lambda: Truth(two, about, float16=True))
    prompt = {"model.prompts": {"query": "find: "}}
    assert (
        reconcile(prompt, "repoint", lambda: Truth(two, about, query_prompt="find: ", float16=True)) == third
    )
    assert project.run("rollback")["live"] == third, "only the reader settings go back"
    sdk.wait_for_more()

    collected = project.run("gc", "--grace", "0")
    assert collected["dropped"] == [first]
    sdk.wait_for_more()

    # From here on a vector of the old length is of no use to the function.
    function.wait_for_more()
    function.end()
    short = {"model.prompts": None, "embedding.quantization": None, "embedding.dimension": 16}
    fourth = reconcile(short, "derive", lambda: Truth(two, about, dimension=16))
    collected = project.run("gc", "--grace", "0")
    assert collected["dropped"] == [second]
    return fourth


def _check_answers(answers: list[dict[str, Any]], known: Known) -> None:
    for answer in answers:
        query = QUERIES[answer["query"]]
        truths = known.truths[answer["build"]]
        assert any(t.fits(answer["hits"], t.scores(query), K) for t in truths), answer


def _check_sdk(answers: list[dict[str, Any]], known: Known, first: str, last: str) -> None:
    _check_answers(answers, known)
    seen = Counter(answer["build"] for answer in answers)
    print(f"answers by build: {dict(seen)}")
    assert set(seen) == set(known.truths), "the reader met every build"
    assert (answers[0]["build"], answers[-1]["build"]) == (first, last)


def _check_view(answers: list[dict[str, Any]], known: Known, last: list[Any]) -> None:
    rows = [answer["rows"][0] for answer in answers]
    assert all(row in known.views for row in rows), "rows of two builds, or of half a build"
    assert rows[-1] == last


def _check_function(answers: list[dict[str, Any]], known: Known, fixed: np.ndarray[Any, Any]) -> None:
    truths = [truth for those in known.truths.values() for truth in those if len(truth.vectors[0]) == 32]
    scores = [truth.vectors @ fixed for truth in truths]
    for answer in answers:
        assert any(t.fits(answer["rows"], s, K) for t, s in zip(truths, scores, strict=True)), answer


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_readers_of_builds_that_go_away_at_once(project: Project, tiny_models: tuple[Path, Path]) -> None:
    """Nothing is kept, and every switch is followed by a gc without grace: readers that hold the old
    pointer take the new one."""
    (project.folder / "other").symlink_to(tiny_models[1], target_is_directory=True)
    corpus = records(COUNT)
    texts = {r["id"]: r["text"] for r in corpus}
    project.write(corpus)
    project.change({"keep_builds": 1})
    # With as many candidates as there are rows the approximate index finds all of them.
    hnsw = {"target.index": {"type": "hnsw"}, "target.search": {"ef_search": 2 * COUNT}}
    exact = {"target.index": {"type": "exact"}, "target.search": None}
    recipes: list[tuple[dict[str, Any], Callable[[], Truth]]] = [
        ({"embedding.dimension": 16}, lambda: Truth(tiny_models[0], texts, dimension=16)),
        ({"model.use": "path:./other"}, lambda: Truth(tiny_models[1], texts, dimension=16)),
        (hnsw, lambda: Truth(tiny_models[1], texts, dimension=16)),
        ({"embedding.dimension": None}, lambda: Truth(tiny_models[1], texts)),
        ({"model.use": "path:./model"}, lambda: Truth(tiny_models[0], texts)),
        (exact, lambda: Truth(tiny_models[0], texts)),
    ]
    known = Known(project)
    with project.server():
        first = project.run("reconcile")["live"]
        known.add(first, Truth(tiny_models[0], texts))
        with (
            Reader.of_sdk(project, QUERIES, name="one") as one,
            Reader.of_sdk(project, QUERIES, name="two", searches=7) as two,
            Reader.of_sdk(project, QUERIES, name="slow", slow_s=1.2) as slow,
        ):
            one.wait_for_more()
            last = first
            for change, truth in recipes * 2:
                project.change(change)
                # The gc comes the moment the lease is free, before the run or after it.
                run = project.start("reconcile", "--lock-timeout", "60")
                collected = project.run("gc", "--grace", "0", "--lock-timeout", "60")
                ended = run.end()
                assert ended.code == 0, ended.err
                # A build that is being read stays for now.
                for _ in range(5):
                    if collected["dropped"]:
                        break
                    collected = project.run("gc", "--grace", "0")
                    print(collected["kept"])
                assert collected["dropped"] == [last]
                last = ended.json["live"]
                known.add(last, truth())
            for reader in (one, two):
                reader.wait_for_more()
                reader.end()
                _check_sdk(reader.answers(), known, first, last)
            slow.end()
            _check_answers(slow.answers(), known)
        assert [b["id"] for b in project.run("status")["builds"]] == [last]
