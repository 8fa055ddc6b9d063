"""Every class of change through the command, on pgvector: what the plan says is what is done, and
nothing is embedded that need not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .corpora import edited, records
from .project import Project
from .truth import FLOAT16_TOLERANCE, Truth

COUNT = 200
HNSW = {"type": "hnsw", "m": 8, "ef_construction": 40}


def step(project: Project, changes: dict[str, Any], expected: str) -> dict[str, Any]:
    """Edit the spec and reconcile: plan and result are of the class `expected`, nothing is embedded."""
    project.change(changes)
    result = project.run("reconcile")
    assert (result["class"], result["chunks"]["embed"], result["tokens"]) == (expected, 0, 0)
    assert (result["embedded"], result["failed"]) == (0, 0)
    assert bool(result["reasons"]) is (expected != "none")
    touched = "metadata_changed" if expected == "patch" else "unchanged"
    assert {key: number for key, number in result["documents"].items() if number} == {touched: COUNT}
    return result


def nothing_to_do(project: Project) -> None:
    again = project.run("reconcile")
    assert (again["class"], again["message"], again["proof"]["serial"]) == (
        "none",
        None,
        project.run("plan")["proof"]["serial"],
    ), "a run with nothing to do writes nothing"
    assert [again[key] for key in ("embedded", "written", "patched", "deleted")] == [0, 0, 0, 0]


def test_changes_of_the_spec_alone_embed_nothing(project: Project, tiny_models: tuple[Path, Path]) -> None:
    corpus = records(COUNT)
    project.write(corpus)
    project.change({"target.index": HNSW})
    with project.server():
        first = project.run("reconcile")
        assert (first["class"], first["embedded"], first["written"]) == ("create", COUNT, COUNT)
        assert first["live"] == first["build"]

        same = step(project, {"description": "other words", "keep_builds": 4}, "none")
        assert same["live"] == first["live"]

        tuned = step(project, {"target.index.ef_construction": 80}, "reindex")
        assert tuned["live"] != first["live"]
        project.rows(tuned["live"]).same_as(project.rows(first["live"]))

        prompted = step(project, {"model.prompts": {"query": "find: "}}, "repoint")
        assert (prompted["live"], prompted["written"]) == (tuned["live"], 0)
        assert project.run("status")["reader"]["query_prompt"] == "find: "

        searched = step(project, {"target.search": {"ef_search": 40}}, "repoint")
        assert (searched["live"], searched["written"]) == (tuned["live"], 0)

        patched = step(project, {"corpus.metadata": ["lang"]}, "patch")
        assert (patched["live"], patched["patched"], patched["written"]) == (tuned["live"], COUNT, 0)
        german = project.run("query", "garden", "--filter", "lang=de", "-k", "60")["hits"]
        assert len(german) == COUNT // 4
        assert {hit["metadata"]["lang"] for hit in german} == {"de"}

        texts = {r["id"]: r["text"] for r in corpus}
        half = step(project, {"embedding.quantization": "float16"}, "derive")
        assert (half["written"], half["cached"]) == (COUNT, COUNT)
        truth = Truth(tiny_models[0], texts)
        assert abs(project.rows(half["live"]).vectors - truth.vectors).max() < FLOAT16_TOLERANCE

        full = step(project, {"embedding.quantization": None}, "repoint")
        assert (full["live"], full["written"]) == (tuned["live"], 0), "the kept build, nothing built"

        short = step(project, {"embedding.dimension": 16}, "derive")
        cut = Truth(tiny_models[0], texts, dimension=16)
        assert abs(project.rows(short["live"]).vectors - cut.vectors).max() < 1e-5

        back = step(project, {"embedding.dimension": None}, "repoint")
        assert (back["live"], back["written"], back["patched"]) == (tuned["live"], 0, 0)
        builds = {b["id"]: b["status"] for b in project.run("status")["builds"]}
        assert builds[tuned["live"]] == "live"
        assert set(builds.values()) == {"live", "kept"}
        nothing_to_do(project)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["document prompt", "template", "model"])
def test_another_encoder_or_text_is_a_rebuild(
    change: str, project: Project, tiny_models: tuple[Path, Path]
) -> None:
    changes: dict[str, Any] = {
        "document prompt": {"model.prompts": {"document": "passage: "}},
        "template": {"corpus.text": "about {text}"},
        "model": {"model.use": "path:./other"},
    }[change]
    (project.folder / "other").symlink_to(tiny_models[1], target_is_directory=True)
    project.write(records(COUNT))
    with project.server():
        old = project.run("reconcile")["live"]
        before = project.rows(old)
        project.change(changes)
        planned = project.run("plan")
        assert (planned["class"], planned["chunks"]) == ("rebuild", {"embed": COUNT, "reused": 0})
        rebuilt = project.run("reconcile")
        assert (rebuilt["class"], rebuilt["embedded"], rebuilt["tokens_embedded"]) == (
            "rebuild",
            COUNT,
            planned["tokens"],
        )
        new = rebuilt["live"]
        assert new != old

        undone = project.run("rollback")
        print(f"rollback took {undone['seconds']} s")
        assert (undone["live"], undone["previous"]) == (old, new)
        project.rows(old).same_as(before)
        held = project.run("reconcile", code=3)
        assert (held["live"], held["embedded"], held["written"]) == (old, 0, 0)
        assert "rejected" in held["error"]["what"]
        builds = {b["id"]: b["status"] for b in project.run("status")["builds"]}
        assert builds == {old: "live", new: "rejected"}

        # The rejected build is not what the live one follows: its own recipe is.
        corpus = edited(records(COUNT), 1)
        project.write(corpus)
        followed = project.run("reconcile", code=3)
        assert followed["live"] == old
        assert dict(zip(*_texts(project, old), strict=True)) == {r["id"]: r["text"] for r in corpus}

        assert project.run("promote")["live"] == new
        caught_up = project.run("reconcile")
        assert (caught_up["live"], caught_up["class"]) == (new, "delete")
        assert project.run("reconcile")["class"] == "none"


def _texts(project: Project, build: str) -> tuple[list[str], list[str]]:
    rows = project.rows(build)
    return rows.ids, rows.texts


def test_content_changes_embed_only_new_texts(project: Project) -> None:
    before = records(400)
    after = edited(before, 1)
    project.write(before)
    project.change({"corpus.metadata": ["lang"], "target.index": HNSW})
    with project.server():
        live = project.run("reconcile")["live"]
        project.write(after)
        saved = project.folder / "plan.json"
        planned = project.run("plan", "--out", str(saved))
        documents = {
            "added": 20,
            "changed": 40,
            "metadata_changed": 20,
            "deleted": 20,
            "unchanged": 320,
            "empty": 0,
            "truncated": 0,
        }
        assert planned["documents"] == documents
        assert planned["chunks"] == {"embed": 60, "reused": 0}
        assert before[1]["text"] not in saved.read_text()
        result = project.run("reconcile", "--plan", str(saved))
        counts = ("embedded", "written", "patched", "deleted", "failed")
        assert [result[key] for key in counts] == [60, 60, 20, 20, 0]
        assert result["documents"] == documents
        assert (result["live"], result["tokens_embedded"]) == (live, planned["tokens"])
        rows = project.rows(live)
        assert rows.ids == sorted(r["id"] for r in after)
        assert [json.loads(m)["lang"] for m in rows.metadata] == [
            r["lang"] for r in sorted(after, key=lambda r: r["id"])
        ]
        stale = project.run("reconcile", "--plan", str(saved), code=1)
        assert "out of date" in stale["error"]["what"]
        # Back again: every text was seen before.
        project.write(before)
        undone = project.run("reconcile")
        assert [undone[key] for key in counts] == [0, 60, 20, 20, 0]
