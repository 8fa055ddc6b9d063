"""`plan` and `reconcile` as processes: approval, exit codes, the JSON of each end, signals."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import COMMAND, PATIENCE_S, RECORDS, Ended, Terminal, environment, write_project

Run = Callable[..., Ended]
Start = Callable[..., Terminal]

PLAN_KEYS = {
    "spec",
    "class",
    "reasons",
    "warnings",
    "policy",
    "documents",
    "chunks",
    "tokens",
    "estimate",
}
RUN_KEYS = PLAN_KEYS | {
    "embedded",
    "cached",
    "written",
    "patched",
    "deleted",
    "failed",
    "moved",
    "build",
    "live",
    "seconds",
    "estimate_error",
}


def break_a_record(spec: Path) -> None:
    corpus = spec.with_suffix(".jsonl")
    corpus.write_text(corpus.read_text() + "{not json\n")


# --- plan ---------------------------------------------------------------------------------------------


def test_plan_shows_the_change_and_the_next_command(embedspec: Run, project: Path) -> None:
    done = embedspec("plan", project.name)
    assert done.code == 0, done
    assert "hints  create" in done.out
    assert "+ 4 added" in done.out
    assert "Plan: create; 4 added" in done.out
    assert done.out.endswith("\nNext: embedspec reconcile hints.yaml\n")
    assert "\x1b" not in done.out + done.err


def test_plan_as_json(embedspec: Run, project: Path) -> None:
    done = embedspec("plan", project, "--json")
    assert done.code == 0
    assert set(done.json) >= PLAN_KEYS
    assert (done.json["class"], done.json["chunks"]) == ("create", {"embed": 4, "reused": 0})
    pending = embedspec("plan", project, "--json", "--detailed-exitcode")
    assert pending.code == 2
    assert pending.json["class"] == "create"


def test_plan_writes_a_comment(embedspec: Run, project: Path, tmp_path: Path) -> None:
    done = embedspec("plan", project, "--markdown", "comment.md", "--json")
    assert done.code == 0
    assert done.json["class"] == "create"
    comment = (tmp_path / "comment.md").read_text()
    assert comment.startswith("### embedspec: hints: `create`\n")
    assert embedspec("plan", project, "--markdown", "-").out == comment
    refused = embedspec("plan", project, "--markdown", "no/such/folder.md", "--json")
    assert refused.code == 1
    assert refused.json["error"]["where"] == "no/such/folder.md"


def test_a_policy_that_refuses_ends_with_8_and_the_plan(embedspec: Run, project: Path) -> None:
    project.write_text(project.read_text() + "policy: {licenses: [proprietary-1.0]}\n")
    for verb in (["plan"], ["plan", "--detailed-exitcode"], ["reconcile", "--yes"]):
        done = embedspec(verb[0], project, *verb[1:], "--json")
        assert done.code == 8, done
        assert done.json["error"]["code"] == 8
        assert "licenses" in done.json["error"]["what"]
        assert set(done.json) <= {"error", "plan"}
    shown = embedspec("plan", project)
    assert shown.code == 8
    assert "fail licenses" in shown.out
    assert "Next:" not in shown.out


# --- approval -----------------------------------------------------------------------------------------


def test_without_a_terminal_a_plan_is_shown_and_refused(embedspec: Run, project: Path) -> None:
    done = embedspec("reconcile", project)
    assert done.code == 64
    assert "+ 4 added" in done.out
    assert "--yes" in done.err
    machine = embedspec("reconcile", project, "--json")
    assert machine.code == 64
    assert set(machine.json) == {"error", "plan"}
    assert machine.json["plan"]["class"] == "create"


def test_yes_runs_and_tells_plan_and_result(embedspec: Run, project: Path) -> None:
    done = embedspec("reconcile", project, "--yes")
    assert done.code == 0, done
    assert done.out.index("+ 4 added") < done.out.index("hints  done in")
    assert "texts embedded" in done.out
    assert "\nNext: embedspec query" in done.out
    assert "embed: " in done.err
    assert " done in " in done.err
    assert "\x1b" not in done.out + done.err


def test_json_of_a_run(embedspec: Run, project: Path) -> None:
    done = embedspec("reconcile", project, "--yes", "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert set(done.json) >= RUN_KEYS
    assert (done.json["embedded"], done.json["written"], done.json["failed"]) == (4, 4, 0)
    assert done.json["live"] == done.json["build"]


def test_the_question_takes_only_yes(terminal: Start, project: Path) -> None:
    for answer in ("y\n", "no\n", "\n", "\x04"):
        asked = terminal("reconcile", project)
        asked.read_until("Answer:")
        asked.type(answer)
        assert asked.end() == 1
        assert "+ 4 added" in asked.screen
        assert "not approved; nothing was changed" in asked.screen
        assert "done in" not in asked.screen


def test_yes_at_the_question_runs(terminal: Start, project: Path) -> None:
    asked = terminal("reconcile", project)
    asked.read_until("Answer:")
    asked.type("yes\n")
    assert asked.end() == 0
    assert "texts embedded" in asked.screen
    assert "Traceback" not in asked.screen


def test_the_question_leaves_standard_output_to_the_json(
    terminal: Start, project: Path, tmp_path: Path
) -> None:
    asked = terminal("reconcile", project, "--json", out_to=tmp_path / "out.json")
    asked.read_until("Answer:")
    assert "+ 4 added" in asked.screen
    asked.type("yes\n")
    assert asked.end() == 0
    assert json.loads((tmp_path / "out.json").read_text())["written"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_question_changes_nothing(
    number: signal.Signals, terminal: Start, project: Path, tmp_path: Path
) -> None:
    asked = terminal("reconcile", project, "--json", out_to=tmp_path / "out.json")
    asked.read_until("Answer:")
    asked.signal(number)
    assert asked.end() == 130
    assert json.loads((tmp_path / "out.json").read_text())["error"]["code"] == 130
    assert "Traceback" not in asked.screen


# --- ends ---------------------------------------------------------------------------------------------


def test_dead_letters_end_with_9_and_the_result(embedspec: Run, project: Path) -> None:
    break_a_record(project)
    done = embedspec("reconcile", project, "--yes", "--json")
    assert done.code == 9
    assert set(done.json) >= RUN_KEYS | {"error"}
    assert (done.json["written"], done.json["failed"], done.json["error"]["code"]) == (4, 1, 9)
    assert done.json["error"]["what"]
    soft = embedspec("reconcile", project, "--yes", "--json", "--soft-exit", "6,7,9")
    assert soft.code == 0
    assert soft.json["error"]["code"] == 9
    shown = embedspec("reconcile", project, "--yes")
    assert shown.code == 9
    assert "1 record" in shown.out


def test_time_that_is_up_ends_with_7(embedspec: Run, project: Path) -> None:
    done = embedspec("reconcile", project, "--yes", "--json", "--max-seconds", "0")
    assert done.code == 7
    assert set(done.json) >= RUN_KEYS | {"error"}
    assert "again" in done.json["error"]["fix"]


def test_a_missing_corpus_is_1_and_names_it(embedspec: Run, project: Path) -> None:
    project.with_suffix(".jsonl").unlink()
    for verb in (["plan"], ["reconcile", "--yes"]):
        done = embedspec(verb[0], project, *verb[1:], "--json")
        assert done.code == 1
        assert set(done.json) == {"error"}
        assert "hints.jsonl" in done.json["error"]["what"]
        assert done.json["error"]["where"]
        assert done.json["error"]["fix"]


def test_one_failing_spec_does_not_stop_the_others(embedspec: Run, tmp_path: Path) -> None:
    first, second, third = (write_project(tmp_path, name=name) for name in ("one", "two", "three"))
    second.with_suffix(".jsonl").unlink()
    break_a_record(third)
    done = embedspec("reconcile", first, second, third, "--yes", "--json")
    assert done.code == 1
    specs = done.json["specs"]
    assert [entry["spec"] for entry in specs] == ["one", "two", "three"]
    assert [entry.get("error", {}).get("code") for entry in specs] == [None, 1, 9]
    assert [entry.get("written") for entry in specs] == [4, None, 4]
    shown = embedspec("reconcile", first, third, "--yes", "--soft-exit", "9")
    assert shown.code == 0
    assert "one  done in" in shown.out
    assert "three  done, but" in shown.out


# --- signals ------------------------------------------------------------------------------------------


@pytest.fixture
def long_project(tmp_path: Path) -> Path:
    """A corpus that takes far longer than a signal to arrive."""
    spec = write_project(tmp_path, name="long")
    words = " ".join(record["text"] for record in RECORDS)
    with spec.with_suffix(".jsonl").open("w") as corpus:
        for number in range(4000):
            corpus.write(
                json.dumps({"id": str(number), "text": f"{number} {words * 4}", "topic": "x"}) + "\n"
            )
    return spec


def running(spec: Path) -> subprocess.Popen[str]:
    """A reconcile that is embedding."""
    process = subprocess.Popen(
        [COMMAND, "reconcile", spec, "--yes", "--json", "-v"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("load: done"):
            break
    return process


def test_the_first_signal_ends_with_7_and_the_result_so_far(long_project: Path) -> None:
    process = running(long_project)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 7, err
    result = json.loads(out)
    assert result["error"]["code"] == 7
    assert result["embedded"] < 4000
    assert "Stopping after the batch in flight" in err
    assert "Traceback" not in err


def test_the_second_signal_ends_with_130_and_one_object(long_project: Path) -> None:
    process = running(long_project)
    # Both are pending when it goes on, so that the second always finds it at work.
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert json.loads(out) == {"error": json.loads(out)["error"]}
    assert json.loads(out)["error"]["code"] == 130
    assert "Traceback" not in err


def test_bars_on_a_terminal_vanish_before_the_result(terminal: Start, project: Path) -> None:
    shown = terminal("reconcile", project, "--yes", columns=60)
    assert shown.end() == 0
    assert "\x1b[?25h" in shown.screen
    assert "texts embedded" in shown.screen.rpartition("\x1b[?25h")[2]
    plain = terminal("reconcile", project, "--yes", env={"NO_COLOR": "1"})
    assert plain.end() == 0
    assert "\x1b[32m" not in plain.screen
    assert "\x1b[1;32m" not in plain.screen
