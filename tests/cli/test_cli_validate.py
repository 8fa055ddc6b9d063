"""`validate` and `schema`: no store, no model, no corpus; errors with their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import Ended, write_project

Run = Callable[..., Ended]


def test_a_valid_spec(embedspec: Run, project: Path) -> None:
    done = embedspec("validate", project.name, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {"spec": "hints", "path": "hints.yaml", "valid": True, "warnings": []}
    assert embedspec("validate", project.name).out == "hints  valid  hints.yaml\n"


def test_every_mistake_has_its_line(embedspec: Run, project: Path) -> None:
    text = project.read_text().replace("corpus:", "corpsu:")
    project.write_text(text + "keep_builds: many\n")
    done = embedspec("validate", project.name)
    assert done.code == 1
    assert done.out == ""
    assert "corpsu" in done.err
    assert "hints.yaml:3" in done.err
    assert "keep_builds" in done.err
    error = embedspec("validate", project.name, "--json").json["error"]
    assert error["code"] == 1
    assert error["where"].startswith("hints.yaml:")


def test_one_invalid_spec_does_not_hide_the_others(embedspec: Run, tmp_path: Path) -> None:
    write_project(tmp_path / "specs", name="good")
    (tmp_path / "specs" / "bad.yaml").write_text("name: [\n")
    write_project(tmp_path / "more", name="other")
    done = embedspec("validate", "specs", "more/other.yaml", "missing.yaml", "--json")
    assert done.code == 1
    specs = done.json["specs"]
    assert [entry["spec"] for entry in specs] == ["specs/bad.yaml", "good", "other", "missing.yaml"]
    assert [entry.get("valid") for entry in specs] == [None, True, True, None]
    assert [entry.get("error", {}).get("code") for entry in specs] == [1, None, None, 1]


def test_two_specs_of_one_name_in_a_folder_are_refused_together(embedspec: Run, tmp_path: Path) -> None:
    spec = write_project(tmp_path)
    (tmp_path / "copy.yaml").write_text(spec.read_text())
    done = embedspec("validate", tmp_path, "--json")
    assert done.code == 1
    assert "one name" in done.json["error"]["what"]


def test_python_specs_are_code_and_can_be_refused(embedspec: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.py").write_text("import sys\nprint('noise')\nsys.exit(3)\n")
    ran = embedspec("validate", "spec.py", "--json")
    assert ran.code == 1
    assert "SystemExit" in ran.json["error"]["what"]
    assert "noise" in ran.err
    refused = embedspec("validate", "spec.py", "--json", "--no-python")
    assert "--no-python" in refused.json["error"]["what"]
    assert "noise" not in refused.err


def test_schema_is_json_with_and_without_the_flag(embedspec: Run) -> None:
    plain, machine = embedspec("schema"), embedspec("schema", "--json")
    assert plain.json == machine.json
    assert machine.json["properties"]["name"]["pattern"]


@pytest.mark.parametrize("verb", [("validate",), ("reconcile", "--yes")])
def test_f22_a_key_given_twice_is_refused(verb: tuple[str, ...], embedspec: Run, project: Path) -> None:
    own = project.read_text()
    project.write_text(own + "embedding:\n  dimension: 384\n  metric: cosine\n  dimension: 128\n")
    done = embedspec(verb[0], project, *verb[1:], "--json")
    assert done.code == 1
    told = str(done.json["error"])
    lines = len(own.splitlines())
    assert "dimension" in told
    assert str(lines + 2) in told
    assert str(lines + 4) in told
    assert not (project.parent / ".embedspec").exists()

    project.write_text(own + "policy: {licenses: [mit]}\npolicy: {licenses: [apache-2.0]}\n")
    done = embedspec(verb[0], project, *verb[1:], "--json")
    assert done.code == 1
    assert "policy" in str(done.json["error"])
    assert not (project.parent / ".embedspec").exists()


def test_f22_a_merge_with_an_override_is_no_key_given_twice(embedspec: Run, project: Path) -> None:
    own = project.read_text()
    merged = own.replace(
        'source: {type: jsonl, path: "hints.jsonl"}',
        "source:\n    <<: &base {type: jsonl, path: other.jsonl}\n    path: hints.jsonl",
    )
    assert merged != own
    project.write_text(merged)
    done = embedspec("validate", project, "--json")
    # Either it keeps working, or anchors are refused by name.
    assert done.code == 0 or "anchor" in done.json["error"]["what"] or "<<" in done.json["error"]["what"]
