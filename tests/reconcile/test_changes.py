"""What each change of spec or corpus does to a real build: nothing is embedded that need not be."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from embedspec import sdk
from embedspec.errors import PlanRefused, SpecError

from .conftest import TEXTS, Workspace
from .tiny_model import make_model

N = len(TEXTS)


def test_first_run_then_nothing(workspace: Workspace) -> None:
    plan = workspace.plan()
    assert (plan.class_, plan.chunks.embed, plan.documents.added) == ("create", N, N)
    assert plan.tokens > N
    first = workspace.run()
    assert (first.exit_code, first.embedded, first.written, first.failed) == (0, N, N, 0)
    assert first.tokens_embedded == plan.tokens
    assert first.live == first.build
    again = workspace.run()
    assert (again.class_, again.embedded, again.written, again.patched, again.deleted) == ("none", 0, 0, 0, 0)
    before = sdk.status(workspace.spec())
    assert before.last_run is not None
    assert before.last_run["class"] == "create", "a run with nothing to do leaves no trace"
    assert workspace.hits(TEXTS[3])[0] == "d3"


def test_content_changes_embed_only_new_texts(workspace: Workspace) -> None:
    records = [{"id": f"d{i}", "text": t, "lang": "en"} for i, t in enumerate(TEXTS)]
    fields: dict[str, Any] = {"corpus.metadata": ["lang"]}
    workspace.write(records)
    workspace.run(**fields)
    records[0]["text"] = "an entirely new sentence"
    records[1]["lang"] = "de"
    records[2] = {"id": "e2", "text": TEXTS[2], "lang": "en"}  # renamed: delete and add, no embedding
    records.append({"id": "copy", "text": TEXTS[4], "lang": "en"})
    workspace.write(records)
    plan = workspace.plan(**fields)
    assert plan.class_ == "delete"
    d = plan.documents
    assert (d.added, d.changed, d.metadata_changed, d.deleted, d.unchanged) == (2, 1, 1, 1, N - 3)
    assert plan.chunks.embed == 1
    result = workspace.run(**fields)
    assert (result.embedded, result.cached, result.written, result.patched, result.deleted) == (1, 2, 3, 1, 1)
    hits = sdk.query(workspace.spec(**fields), TEXTS[1], k=20, filter=["lang=de"]).hits
    assert [h.id for h in hits] == ["d1"]
    assert workspace.run(**fields).class_ == "none"


SPEC_ONLY: list[tuple[str, dict[str, Any], str]] = [
    ("description", {"description": "other words"}, "none"),
    ("index type", {"target.index": {"type": "hnsw", "m": 8}}, "reindex"),
    ("metric", {"embedding.metric": "dot"}, "reindex"),
    ("float16", {"embedding.quantization": "float16"}, "derive"),
    ("dimension", {"embedding.dimension": 16}, "derive"),
    ("query prompt", {"model.prompts": {"query": "find: "}}, "repoint"),
    ("metadata list", {"corpus.metadata": ["lang"]}, "patch"),
]


@pytest.mark.parametrize("cache", ["cache", "no cache"])
@pytest.mark.parametrize(("change", "expected"), [c[1:] for c in SPEC_ONLY], ids=[c[0] for c in SPEC_ONLY])
def test_spec_only_changes_embed_nothing(
    workspace: Workspace, change: dict[str, Any], expected: str, cache: str
) -> None:
    """With the cache deleted, the live build's own full-length vectors serve as well."""
    workspace.write({"id": f"d{i}", "text": t, "lang": "en"} for i, t in enumerate(TEXTS))
    first = workspace.run()
    if cache == "no cache":
        shutil.rmtree(workspace.folder / ".embedspec" / "cache")
    plan = workspace.plan(**change)
    assert plan.class_ == expected
    assert plan.chunks.embed == 0
    assert plan.class_ == "none" or plan.reasons
    result = workspace.run(**change)
    assert (result.class_, result.embedded, result.exit_code) == (expected, 0, 0)
    assert (result.live != first.live) is (expected in {"derive", "reindex"})
    assert workspace.run(**change).class_ == "none"
    if "model.prompts" not in change:  # a prompt moves the query's vector, at random with this model
        assert workspace.hits(TEXTS[5], **change)[0] == "d5"


@pytest.mark.parametrize(
    "change",
    [
        {"model.prompts": {"document": "passage: "}},
        {"corpus.text": "about {text}"},
        {"model.use": "path:./other"},
    ],
    ids=["document prompt", "template", "model"],
)
def test_rebuild_rollback_and_promote(workspace: Workspace, change: dict[str, Any]) -> None:
    make_model(workspace.folder / "other", seed=2)
    old = workspace.run().live
    result = workspace.run(**change)
    assert (result.class_, result.embedded) == ("rebuild", N)
    assert result.live != old
    assert sdk.rollback(workspace.spec(**change)).live == old
    held = workspace.run(**change)
    assert (held.exit_code, held.live, held.embedded, held.class_) == (3, old, 0, "none")
    # The corpus moves on: the live build follows by its own recipe, the refused one does not come back.
    workspace.write({"id": f"d{i}", "text": t} for i, t in enumerate([*TEXTS, "a newcomer among the texts"]))
    followed = workspace.run(**change)
    assert (followed.exit_code, followed.live, followed.written) == (3, old, 1)
    assert workspace.hits("a newcomer among the texts", k=1) == [f"d{N}"]
    assert workspace.run(**change).written == 0
    assert sdk.promote(workspace.spec(**change)).live == result.live
    caught_up = workspace.run(**change)
    assert (caught_up.exit_code, caught_up.live, caught_up.written) == (0, result.live, 1)
    assert workspace.run(**change).class_ == "none"


def test_going_back_finds_the_kept_build(workspace: Workspace) -> None:
    first = workspace.run().live
    small = {"embedding.dimension": 16}
    second = workspace.run(**small).live
    back = workspace.plan()
    assert (back.class_, back.chunks.embed, back.build) == ("repoint", 0, first)
    result = workspace.run()
    assert (result.live, result.written, result.embedded) == (first, 0, 0)
    assert {b.id: b.status for b in sdk.status(workspace.spec()).builds} == {first: "live", second: "kept"}


def test_kept_build_is_brought_up_to_date_before_it_is_switched_to(workspace: Workspace) -> None:
    first = workspace.run().live
    small = {"embedding.dimension": 16}
    workspace.run(**small)
    workspace.write({"id": f"d{i}", "text": t} for i, t in enumerate([*TEXTS[1:], "words that are new"]))
    workspace.run({"allow_mass_delete": True}, **small)
    result = workspace.run({"allow_mass_delete": True})
    assert (result.class_, result.live, result.embedded) == ("repoint", first, 0)
    assert workspace.hits("words that are new", k=1) == [f"d{N - 1}"]
    assert workspace.hits(TEXTS[1], k=1) == ["d0"]


def test_lost_vectors_make_a_derive_a_rebuild(workspace: Workspace) -> None:
    half = {"embedding.quantization": "float16"}
    workspace.run(**half)
    shutil.rmtree(workspace.folder / ".embedspec" / "cache")
    plan = workspace.plan(**{"embedding.dimension": 16})
    assert (plan.class_, plan.chunks.embed) == ("rebuild", N)
    assert any("embedded again" in reason for reason in plan.reasons)
    assert workspace.run(**{"embedding.dimension": 16}).embedded == N


def test_mass_delete_is_refused_and_names_the_last_source(workspace: Workspace) -> None:
    workspace.run()
    workspace.write([{"id": "d0", "text": TEXTS[0]}], "other.jsonl")
    other = {"corpus.source.path": "other.jsonl"}
    assert any("--allow-mass-delete" in w for w in workspace.plan(**other).warnings)
    with pytest.raises(PlanRefused, match=r"another source: jsonl c\.jsonl") as refused:
        workspace.run(**other)
    assert refused.value.result.documents.deleted == N - 1
    assert len(workspace.hits(TEXTS[0], k=20)) == N
    assert workspace.run({"allow_mass_delete": True}, **other).deleted == N - 1


def test_limit_never_deletes_and_is_never_switched_to(workspace: Workspace) -> None:
    part = workspace.run({"limit": 3})
    assert (part.live, part.written, part.exit_code) == (None, 3, 0)
    assert part.message is not None
    assert "--limit" in part.message
    whole = workspace.run()
    assert (whole.embedded, whole.cached, whole.written) == (N - 3, 0, N - 3)
    assert workspace.run({"limit": 3}).class_ == "none"
    assert len(workspace.hits(TEXTS[0], k=20)) == N


def test_saved_plan_is_executed_exactly_or_refused(workspace: Workspace) -> None:
    path = workspace.folder / "plan.json"
    sdk.save_plan(workspace.plan(), path)
    saved = sdk.load_plan(path)
    assert TEXTS[0] not in path.read_text()
    assert workspace.run({"plan": saved}).written == N
    with pytest.raises(PlanRefused, match="written to"):
        workspace.run({"plan": saved})
    fresh = workspace.plan()
    assert workspace.run({"plan": fresh}).class_ == "none"
    workspace.write([{"id": f"d{i}", "text": t} for i, t in enumerate(TEXTS)] + [{"id": "x", "text": "x"}])
    with pytest.raises(PlanRefused, match="the corpus changed"):
        workspace.run({"plan": fresh})
    with pytest.raises(PlanRefused, match="the spec was edited"):
        workspace.run({"plan": fresh}, keep_builds=3)


def test_budget_stops_and_the_next_run_goes_on(workspace: Workspace) -> None:
    tokens = workspace.plan().tokens
    stopped = workspace.run({"budget_tokens": 1})
    assert (stopped.exit_code, stopped.embedded, stopped.live) == (7, 0, None)
    done = workspace.run({"budget_tokens": tokens})
    assert (done.exit_code, done.embedded) == (0, N)


def test_empty_texts_have_no_row(workspace: Workspace) -> None:
    workspace.run()
    records = [{"id": f"d{i}", "text": t} for i, t in enumerate(TEXTS)]
    records[0]["text"] = "   "
    workspace.write(records)
    result = workspace.run()
    assert (result.exit_code, result.documents.empty, result.documents.deleted, result.deleted) == (
        0,
        1,
        1,
        1,
    )
    assert workspace.run().class_ == "none"


def test_a_misspelt_id_field_is_an_error_of_the_spec(workspace: Workspace) -> None:
    with pytest.raises(SpecError, match="no record of the corpus has the id field '_id'"):
        workspace.run(**{"corpus.source.id": "_id"})
    assert sdk.status(workspace.spec()).builds == []


def test_a_plan_tells_why_records_are_dead_and_that_a_corpus_is_empty(workspace: Workspace) -> None:
    workspace.write([{"id": "a", "text": "one"}, {"id": "a", "text": "two"}])
    assert any("c.jsonl:2" in w and "twice" in w for w in workspace.plan().warnings)
    workspace.write([])
    assert any("no text at all" in w for w in workspace.plan().warnings)


def test_a_short_run_leaves_the_speed_of_a_long_one(workspace: Workspace) -> None:
    workspace.run()
    path = workspace.folder / ".embedspec" / "cache" / "speed.json"
    speeds = json.loads(path.read_text())
    (key,) = speeds
    speeds[key] |= {"tokens": 500_000, "tokens_per_s": 12345.0}
    path.write_text(json.dumps(speeds))
    workspace.write([{"id": f"d{i}", "text": t} for i, t in enumerate([*TEXTS, "one more"])])
    workspace.run()
    assert json.loads(path.read_text())[key]["tokens_per_s"] == 12345.0
