"""What is wrong with a command line is told with the way out, and ends with 64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import Ended

Run = Callable[..., Ended]

CASES = [
    (["recncile", "x.yaml"], "No such command 'recncile'", "reconcile"),
    (["plan", "x.yaml", "--detailed-exitcod"], "--detailed-exitcod", "--detailed-exitcode"),
    (["plan"], "Missing argument", "embedspec plan --help"),
    (["query", "x.yaml"], "Missing argument", "TEXT"),
    (["query", "x.yaml", "how", "do", "I"], "unexpected extra argument", "in quotes"),
    (["query", "x.yaml", "  "], "empty", "quotes"),
    (["query", "x.yaml", "text", "-k", "0"], "'0' is not a whole number of at least 1", "-k"),
    (["query", "x.yaml", "text", "-k", "many"], "'many' is not a whole number", "-k"),
    (["promote", "x.yaml", "b1", "b2"], "unexpected extra argument", "b2"),
    (["promote", "x.yaml", "--force"], "--force needs a reason", "--reason"),
    (["promote", "x.yaml", "--force", "--reason", " "], "--force needs a reason", "--reason"),
    (["reconcile", "x.yaml", "--lock-timeout", "5x"], "'5x' is not a duration", "90s, 5m, 2h"),
    (["reconcile", "x.yaml", "--lock-timeout", "-1"], "'-1' is not a duration", "90s, 5m, 2h"),
    (["reconcile", "x.yaml", "--max-seconds", "nan"], "'nan' is not a duration", "90s, 5m, 2h"),
    (["reconcile", "x.yaml", "--max-seconds", "9" * 400], "longer than a year", ""),
    (["gc", "x.yaml", "--grace", ""], "is not a duration", "90s, 5m, 2h"),
    (["reconcile", "x.yaml", "--limit", "0"], "'0' is not a whole number of at least 1", "--limit"),
    (["reconcile", "x.yaml", "--budget-tokens", "1.5"], "'1.5' is not a whole number", "--budget-tokens"),
    (["reconcile", "x.yaml", "--soft-exit", "6,1"], "'1' is not one of the codes", "3, 4, 6, 7, 9"),
    (["reconcile", "x.yaml", "--soft-exit", "all"], "'all' is not one of the codes", "3, 4, 6, 7, 9"),
    (["reconcile", "a.yaml", "b.yaml", "--plan", "p.json"], "--plan goes with exactly one spec, not 2", ""),
    (["plan", "a.yaml", "b.yaml", "--out", "p.json"], "--out goes with exactly one spec, not 2", ""),
    (["eval", "a.yaml", "b.yaml", "--run", "r.txt"], "--run goes with exactly one spec, not 2", ""),
]


@pytest.mark.parametrize(("arguments", "what", "way_out"), CASES)
def test_usage_errors_are_64_with_the_way_out(
    arguments: list[str], what: str, way_out: str, embedspec: Run
) -> None:
    plain = embedspec(*arguments)
    assert plain.code == 64, plain
    assert plain.out == ""
    assert what in plain.err
    assert way_out in plain.err
    assert "Traceback" not in plain.err

    machine = embedspec(*arguments, "--json")
    assert machine.code == 64
    error = machine.json["error"]
    assert set(machine.json) == {"error"}
    assert error["code"] == 64
    assert what in error["what"]
    assert error["fix"]


def test_an_option_before_the_verb_is_explained(embedspec: Run) -> None:
    done = embedspec("--json", "plan", "x.yaml")
    assert done.code == 64
    assert done.json["error"]["fix"] == "options stand after the verb: embedspec VERB SPEC --json"


def test_markdown_and_json_cannot_share_standard_output(embedspec: Run, project: Path) -> None:
    done = embedspec("plan", project, "--markdown", "-", "--json")
    assert done.code == 64
    assert "standard output" in done.json["error"]["what"]


def test_the_word_json_in_a_text_is_no_option(embedspec: Run) -> None:
    done = embedspec("query", "--oops", "--", "--json")
    assert done.code == 64
    assert done.out == ""


def test_version_and_bare_command(embedspec: Run) -> None:
    assert embedspec("--version").out.startswith("embedspec 0.")
    bare = embedspec()
    assert bare.code == 0
    assert "reconcile" in bare.out
